"""New spoken digits from five examples each: prototypes on a network that never heard them.

    python benchmarks/spoken.py --recordings FOLDER [--choose] [--digits 8,9]

``FOLDER``: the free-spoken-digit-dataset or its ``recordings/`` (Jakobovski et al., CC BY-SA 4.0):
50 recordings of 10 digits by 6 speakers each, of which the first five are the test data. For every
pair of digits: a network is trained here (PyTorch) on the training recordings of the eight others,
converted, and given a layer of prototypes that learns these eight and then the pair, from five
examples of each (draws of them).

What the network hears is the logarithm of 16 mel bands over 32 moments. Two things make its
features fit for words that it does not know. It learns the recordings played backwards as eight
more words; and its last hidden layer is a whitening: what varies within a digit (speakers, takes)
is made equal in all directions, so that a direction counts by how well it tells words apart (Fisher
1936). A spiking neuron says no negative number, so each of the 256 directions has two.

The five examples are learned as they are and in ``VARIED`` variations each (faster, higher,
louder), as the network's own training data are.

``--choose``: the first five takes of the training recordings are held back, and settings are
compared on these, which are next to the test data (a speaker's takes drift: later ones are easier
by up to six points). Test data are looked at without it only.
"""

from __future__ import annotations

import argparse
import tempfile
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from learning import drawn, of_classes, right, share
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import onnx2snn
from onnx2snn import Samples
from onnx2snn.runtime.graph import SpikingGraph

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
TAKES, TEST, HELD = 50, range(5), range(5, 10)
PAIRS = ((8, 9), (0, 1), (2, 3), (4, 5), (6, 7))
RATE, WINDOW, HOP, BANDS, MOMENTS, RANGE = 8000, 256, 80, 16, 32, 60.0  # Hz, samples, dB
DIRECTIONS, RIDGE = 256, 0.5
EPOCHS, BATCH, STEPS = 40, 64, 32
SHOTS, DRAWS, VARIED = 5, 5, 8
FIRST: Mapping[str, float] = {"threshold": 24, "inhibition": 1000, "most": 1, "rate": 0.05}
THEN: Mapping[str, float] = {"threshold": 23.5, "rate": 0.05}
FIRST_PASSES, THEN_PASSES, OLD_SAMPLES = 1, 2, 400
COMPARED: tuple[tuple[Mapping[str, float], Mapping[str, float]], ...] = (
    (FIRST, THEN),
    (FIRST, {**THEN, "threshold": 24}),
    (FIRST, {**THEN, "threshold": 22.5}),
    ({**FIRST, "most": 2}, THEN),
    ({**FIRST, "most": 0}, THEN),
    ({**FIRST, "inhibition": 0, "threshold": 4}, {"threshold": 3.75}),
    ({}, {}),
)


@dataclass(frozen=True, eq=False)
class Words:
    """``x``: (words, 1, BANDS, MOMENTS) in [0, 1]; the ``digit`` and the ``take`` of each."""

    x: np.ndarray
    digit: np.ndarray
    take: np.ndarray

    def of(self, digits: object, takes: range) -> Words:
        chosen = np.isin(self.digit, [*digits]) & np.isin(self.take, [*takes])  # type: ignore[misc]
        return Words(self.x[chosen], self.digit[chosen], self.take[chosen])


def words(folder: Path) -> Words:
    """All recordings, (digit, speaker, take) in order."""
    mel = mel_bands()
    rows = [(d, s, n) for d in range(10) for s in SPEAKERS for n in range(TAKES)]
    inner = folder / "recordings"
    folder = inner if inner.is_dir() else folder
    x = [log_mel(recording(folder / f"{d}_{s}_{n}.wav"), mel) for d, s, n in rows]
    return Words(
        np.stack(x)[:, None], np.array([r[0] for r in rows]), np.array([r[2] for r in rows])
    )


def recording(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16) / 32768


def mel_bands() -> np.ndarray:
    """(BANDS, frequencies): triangles, evenly spaced from 50 Hz to 4 kHz on the mel scale."""
    mels = np.linspace(*(2595 * np.log10(1 + f / 700) for f in (50, RATE / 2)), BANDS + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    f, low, top, high = np.fft.rfftfreq(WINDOW, 1 / RATE), edges[:-2], edges[1:-1], edges[2:]
    up, down = (
        (f - low[:, None]) / (top - low)[:, None],
        (high[:, None] - f) / (high - top)[:, None],
    )
    return np.maximum(0, np.minimum(up, down))


def log_mel(sound: np.ndarray, mel: np.ndarray) -> np.ndarray:
    """(BANDS, MOMENTS): the decibels below the loudest, from -RANGE as 0 to 0 as 1."""
    sound = np.pad(sound, (0, max(0, WINDOW - len(sound))))
    starts = range(0, len(sound) - WINDOW + 1, HOP)
    frames = np.stack([sound[n : n + WINDOW] for n in starts]) * np.hanning(WINDOW)
    power = 10 * np.log10(np.abs(np.fft.rfft(frames)) ** 2 @ mel.T + 1e-10).T
    at = np.linspace(0, power.shape[1] - 1, MOMENTS)
    power = np.stack([np.interp(at, np.arange(power.shape[1]), band) for band in power])
    return np.clip((power - power.max() + RANGE) / RANGE, 0, 1).astype(np.float32)


# Training


def layers(classes: int) -> nn.Sequential:
    made: list[nn.Module] = []
    for before, after in ((1, 16), (16, 32), (32, 32)):
        conv = nn.Conv2d(before, after, 3, padding=1, bias=False)
        made += [conv, nn.BatchNorm2d(after), nn.ReLU(), nn.AvgPool2d(2)]
    return nn.Sequential(*made, nn.Flatten(), nn.Dropout(0.3), nn.Linear(256, classes))


def trained(known: Words, seed: int) -> nn.Sequential:
    """On the known digits, and on the same backwards as words of their own."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    labels = np.unique(known.digit, return_inverse=True)[1]
    classes, count = labels.max() + 1, len(labels)
    net = layers(2 * classes)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
    total = EPOCHS * -(-count // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=total)
    for _ in range(EPOCHS):
        order = rng.permutation(count)
        for start in range(0, count, BATCH):
            at = order[start : start + BATCH]
            x = np.concatenate([known.x[at], known.x[at, ..., ::-1]])
            y = np.concatenate([labels[at], labels[at] + classes])
            answers = net(torch.from_numpy(varied(x, rng)))
            optimizer.zero_grad()
            nn.functional.cross_entropy(answers, torch.from_numpy(y)).backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def varied(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Faster or slower, higher or lower, louder or quieter, with noise."""
    out = np.empty_like(x)
    for n, word in enumerate(x[:, 0]):
        begin, end = rng.uniform(-0.12, 0.12, 2) * (MOMENTS - 1)
        moved = between(word, np.linspace(begin, MOMENTS - 1 + end, MOMENTS))
        moved = between(moved.T, np.arange(BANDS) + rng.uniform(-1.5, 1.5)).T
        noise = rng.normal(0, 0.1) + rng.normal(0, 0.05, moved.shape)
        out[n, 0] = np.clip(moved * rng.uniform(0.8, 1.2) + noise, 0, 1)
    return out


def between(x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """``x`` at places of its last axis, the edge beyond."""
    at = np.clip(at, 0, x.shape[-1] - 1)
    low = np.floor(at).astype(int)
    high, part = np.minimum(low + 1, x.shape[-1] - 1), at - low
    return x[..., low] * (1 - part) + x[..., high] * part


# The network as an ONNX file


def whitening(features: np.ndarray, digit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(inputs, DIRECTIONS) and (DIRECTIONS,): makes the covariance within digits one (with a
    ridge), then keeps the directions in which the words vary most."""
    mean = features.mean(0)
    digits, which = np.unique(digit, return_inverse=True)
    inside = features - np.stack([features[digit == c].mean(0) for c in digits])[which]
    covariance = inside.T @ inside / len(inside)
    ridge = RIDGE * np.trace(covariance) / len(covariance)
    values, vectors = np.linalg.eigh(covariance + ridge * np.eye(len(covariance)))
    scaled = vectors * values**-0.5
    seen = (features - mean) @ scaled
    most = np.linalg.eigh(seen.T @ seen)[1][:, -DIRECTIONS:]
    return scaled @ most, -mean @ scaled @ most


def exported(net: nn.Sequential, known: Words, path: Path) -> None:
    """The convolutions, the whitening in two neurons per direction, and Fisher's discriminant."""
    nodes, constants, x = [], [], "input"

    def add(op: str, inputs: list[str], **attributes: object) -> str:
        out = f"v{len(nodes)}"
        nodes.append(helper.make_node(op, inputs, [out], name=out, **attributes))
        return out

    def constant(values: object) -> str:
        name = f"w{len(constants)}"
        constants.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    for n in range(3):
        conv, norm = net[4 * n], net[4 * n + 1]
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        weight = (conv.weight * gain[:, None, None, None]).detach().numpy()
        bias = (norm.bias - norm.running_mean * gain).detach().numpy()
        x = add("Conv", [x, constant(weight), constant(bias)], pads=[1] * 4)
        x = add("Relu", [x])
        if n < 2:
            x = add("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2])
    with torch.no_grad():
        features = net[:11](torch.from_numpy(known.x)).flatten(1).numpy().astype(np.float64)
    matrix, offset = whitening(features, known.digit)
    white = features @ matrix + offset
    digits = np.unique(known.digit)
    means = np.stack([white[known.digit == c].mean(0) for c in digits])
    both = np.concatenate([matrix, -matrix], 1), np.concatenate([offset, -offset])
    x = add("Flatten", [x])
    x = add("Relu", [add("Gemm", [x, *(constant(a) for a in both)])])
    head = np.concatenate([means, -means], 1).T, -(means**2).sum(1) / 2
    last = add("Gemm", [x, *(constant(a) for a in head)])
    nodes[-1].output[0] = "scores"
    assert last
    shape = ["N", 1, BANDS, MOMENTS]
    graph = helper.make_graph(
        nodes,
        "spoken",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", len(digits)])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)


# What it learns


@dataclass(frozen=True, eq=False)
class Task:
    """A converted network that knows eight digits as the classes 0 to 7, and words of all ten, the
    new two as 8 and 9: ``known``, ``pool`` of the examples, and what is ``asked``."""

    network: SpikingGraph
    known: Samples
    pool: Samples
    asked: Samples


def task(
    heard: Words, pair: tuple[int, int], *, learned: range, asked: range, seed: int = 0
) -> Task:
    old = [d for d in range(10) if d not in pair]
    known = heard.of(old, learned)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spoken.onnx"
        exported(trained(known, seed), known, path)
        model = onnx2snn.load_onnx(path)
    names = np.argsort([*old, *pair])

    def samples(some: Words) -> Samples:
        return onnx2snn.load_samples((some.x, names[some.digit]), model)

    taught = samples(known)
    few = taught.at(drawn(taught, range(8), OLD_SAMPLES // 8, 0))
    return Task(
        network=onnx2snn.convert(model, few, steps=STEPS, recipe="binary"),
        known=few,
        pool=samples(heard.of(pair, learned)),
        asked=samples(heard.of(range(10), asked)),
    )


@dataclass(frozen=True, eq=False)
class Found:
    """Right answers, of the old and new words asked: of the network itself, of the layer before
    and, for each draw, after the new digits; how many prototypes there are then."""

    network: int
    before: int
    kept: np.ndarray
    named: np.ndarray
    prototypes: tuple[int, int]
    old: int
    new: int

    def __str__(self) -> str:
        new = 100 * self.named / self.new
        lost = 100 * (self.before - self.kept) / self.old
        return (
            f"converted {share(self.network, self.old)}; old digits, {self.prototypes[0]} "
            f"prototypes: {share(self.before, self.old)}; new ones, {SHOTS} examples, "
            f"{len(new)} draws: {new.mean():.1f} % of {self.new} "
            f"({new.min():.1f} to {new.max():.1f}), "
            f"{lost.mean():.1f} points lost ({lost.min():.1f} to {lost.max():.1f}), "
            f"{self.prototypes[1]} prototypes"
        )


def examples(given: Task, draw: int, variations: int = VARIED) -> Samples:
    """``SHOTS`` recordings of each new digit, and ``variations`` of each of these."""
    few = given.pool.at(drawn(given.pool, (8, 9), SHOTS, draw))
    x, rng = next(iter(few.whole().values())), np.random.default_rng(draw)
    more = [x, *(varied(x, rng) for _ in range(variations))]
    labels = np.tile(few.labels, len(more))
    return onnx2snn.load_samples((np.concatenate(more), labels), given.network)


def found(
    given: Task, first: Mapping[str, float] = FIRST, then: Mapping[str, float] = THEN
) -> Found:
    old, new = of_classes(given.asked, range(8)), of_classes(given.asked, (8, 9))
    layer = onnx2snn.learn(
        given.network, given.known, rule="prototype", settings=first, passes=FIRST_PASSES
    )
    late = [
        onnx2snn.learn(
            layer.network, examples(given, draw), settings=then, passes=THEN_PASSES, seed=draw
        )
        for draw in range(DRAWS)
    ]
    return Found(
        network=right(given.network, old, STEPS),
        before=right(layer.network, old, STEPS),
        kept=np.array([right(one.network, old, STEPS) for one in late]),
        named=np.array([right(one.network, new, STEPS) for one in late]),
        prototypes=(layer.named, late[0].named),
        old=len(old),
        new=len(new),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--recordings", type=Path, required=True, help="folder of .wav files")
    parser.add_argument("--digits", help="the two that are new, as 8,9 [five pairs]")
    parser.add_argument("--choose", action="store_true", help="training recordings only")
    given = parser.parse_args()
    heard = words(given.recordings)
    first, second = (int(d) for d in (given.digits or "8,9").split(","))
    if given.choose:
        held = task(heard, (first, second), learned=range(HELD.stop, TAKES), asked=HELD)
        for old, late in COMPARED:
            print(f"{dict(old)}, then {dict(late)}: {found(held, old, late)}", flush=True)
        return
    for pair in [(first, second)] if given.digits else PAIRS:
        given_task = task(heard, pair, learned=range(TEST.stop, TAKES), asked=TEST)
        print(f"new digits {pair}: {found(given_task)}", flush=True)


if __name__ == "__main__":
    main()
