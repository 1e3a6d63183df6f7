"""Training: what of a network changes, that a run goes on where it stopped, what stops it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from graphs import residual_cnn

from onnx2snn.converter.finetuning.parameters import KINDS, parameters_of, together, with_values
from onnx2snn.converter.finetuning.settings import Settings
from onnx2snn.converter.finetuning.state import State
from onnx2snn.converter.finetuning.stretches import Parts, parts_of, threads_of
from onnx2snn.converter.finetuning.variations import varied
from onnx2snn.converter.lowering.copies import gathered
from onnx2snn.converter.lowering.grid import is_exact, on_grid
from onnx2snn.errors import DataError, UsageError
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime.engine import make_engine
from onnx2snn.runtime.semantics.analog import run_analog

STEPS = 4


@cache
def network() -> snn.SpikingGraph:
    return residual_cnn(np.random.default_rng(0))


def with_copies() -> snn.SpikingGraph:
    """Two neurons for each value of the first layer."""
    made = network()
    first = made["relu1"]
    assert isinstance(first, snn.Population)
    half = np.asarray(first.neuron.v_threshold / 2)
    copy = replace(
        first, name="copy", neuron=first.neuron.having(v_init=first.neuron.v_init + half)
    )
    both = snn.Synapse(
        name="both",
        inputs=("relu1", "copy"),
        shape=first.shape,
        op=snn.ops.Add(),
    )
    pool = replace(made["max"], inputs=("both",))
    nodes: list[snn.Node] = []
    for node in made.nodes:
        nodes += [pool] if node.name == "max" else [node]
        nodes += [copy, both] if node.name == "relu1" else []
    return snn.SpikingGraph(nodes=tuple(nodes))


@cache
def samples() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(24, 2, 8, 8)).astype(np.float32)


def changes(graph: snn.SpikingGraph, size: float) -> tuple[Any, dict[str, np.ndarray]]:
    parameters = parameters_of(together(graph), KINDS, coded=False)
    rng = np.random.default_rng(2)
    made = {p.key: size * rng.normal(size=p.start.shape).astype(np.float32) for p in parameters}
    return parameters, made


@pytest.mark.parametrize("made", [network, with_copies])
def test_other_values_leave_the_ann_and_thresholds_as_they_are(made: Any) -> None:
    graph = made()
    parameters, values = changes(graph, 0.2)
    changed = with_values(graph, parameters, values)
    np.testing.assert_array_equal(
        run_analog(changed, samples())["out"], run_analog(graph, samples())["out"]
    )
    spikes = [make_engine("numpy").run(g, samples(), STEPS).spikes for g in (graph, changed)]
    assert any((spikes[0][name] != spikes[1][name]).any() for name in spikes[0])
    for node in graph.of(snn.Population):
        np.testing.assert_array_equal(
            node.neuron.v_threshold,
            changed[node.name].neuron.v_threshold,  # type: ignore[union-attr]
        )
    same = with_values(graph, parameters, changes(graph, 0)[1])
    for before, after in zip(graph.nodes, same.nodes, strict=True):
        if isinstance(before, snn.Synapse):
            assert isinstance(after, snn.Synapse)
            np.testing.assert_array_equal(
                getattr(before.op, before.op.array, 0), getattr(after.op, after.op.array, 0)
            )
    assert gathered(on_grid(changed))[1] == gathered(graph)[1]


def test_a_gain_does_what_a_threshold_does() -> None:
    graph = network()
    parameters, values = changes(graph, 0)
    gained = [p for p in parameters if p.kind == "thresholds"]
    assert {p.node for p in gained} == {"relu1", "relu2"}
    values |= {p.key: np.full(p.start.shape, np.log(2), np.float32) for p in gained}
    # A power of two: nothing is rounded.
    halved = with_values(graph, parameters, values)
    doubled = graph.with_nodes(
        replace(p, neuron=p.neuron.having(v_threshold=2 * p.neuron.v_threshold))
        for p in graph.of(snn.Population)
    )
    spikes = [make_engine("numpy").run(g, samples(), STEPS).spikes for g in (halved, doubled)]
    for name in ("relu1", "relu2"):
        np.testing.assert_array_equal(spikes[0][name], spikes[1][name])
        assert spikes[0][name].sum() > 100


def test_what_is_written_lies_on_grids() -> None:
    graph = on_grid(network())
    assert is_exact(graph)
    parameters, values = changes(graph, 0.05)
    assert is_exact(on_grid(with_values(graph, parameters, values)))


def test_a_computation_is_cut_until_it_fits() -> None:
    graph, many = network(), {"batch": 32, "steps": 64}
    assert parts_of(graph, **many, memory=2**40) == Parts(samples=32, steps=64)
    sizes = [parts_of(graph, **many, memory=2**n) for n in range(30, 10, -1)]
    work = [p.samples * p.steps for p in sizes]
    assert work == sorted(work, reverse=True) and work[-1] == 8 * sizes[-1].samples
    assert all(p.steps == 64 for p in sizes if p.samples > 4)


def test_small_layers_are_computed_on_one_thread() -> None:
    assert threads_of(network(), Parts(samples=32, steps=4)) == 1
    assert threads_of(network(), Parts(samples=10**6, steps=4)) is None


def task(labels: np.ndarray | None = None) -> Any:
    pytest.importorskip("torch")
    from onnx2snn.converter.finetuning.train import Task

    def fetch(numbers: np.ndarray) -> dict[str, np.ndarray]:
        return {"x": samples()[numbers]}

    return Task(
        network=network(),
        steps=STEPS,
        coded=False,
        fetch=fetch,
        learn=np.arange(16),
        judge=np.arange(16, 24),
        labels=labels,
        classes=True,
    )


FEW = Settings(epochs=2, rate=0.01, batch=8, augment=("flip", "noise:0.1"))


def trained(settings: Settings = FEW, labels: Any = None, **more: Any) -> tuple[State, list[State]]:
    from onnx2snn.converter.finetuning.train import train

    kept: list[State] = []
    state, _, _ = train(task(labels), settings, keep=kept.append, threads=1, **more)
    return state, kept


def same(a: State, b: State) -> bool:
    return (
        all(np.array_equal(a.values[k], b.values[k]) for k in a.values)
        and a.history[1:] == b.history[1:]
    )


def test_a_run_that_was_stopped_goes_on_to_the_same_numbers() -> None:
    task()
    whole, kept = trained()
    assert len(kept) == 3 and len(whole.history) == 3 and whole.steps == 4
    assert any(x.any() for x in whole.values.values())
    again = State.from_bytes(kept[1].to_bytes("run"), "run", where="here")
    assert same(trained(state=again)[0], whole) and same(trained()[0], whole)
    assert not same(trained(replace(FEW, seed=1))[0], whole)
    for content, known in ((kept[1].to_bytes("run"), "other"), (b"nothing", "run")):
        with pytest.raises(DataError, match="unfinished fine-tuning") as error:
            State.from_bytes(content, known, where="here")
        assert error.value.code == "E226"


def test_what_is_computed_at_once_changes_nothing() -> None:
    task()
    small = replace(FEW, epochs=1, mem_limit=120_000)
    assert parts_of(network(), batch=8, steps=STEPS, memory=120_000) == Parts(samples=2, steps=2)
    (whole, _), (parts, _) = trained(replace(FEW, epochs=1)), trained(small)
    for key, x in whole.values.items():
        np.testing.assert_allclose(parts.values[key], x, atol=2e-3, err_msg=key)
    assert abs(parts.history[-1].loss / whole.history[-1].loss - 1) < 1e-3


@pytest.mark.parametrize(
    "change", [{}, {"spike_penalty": 3.0, "match": 0.0}, {"train": ("biases",)}], ids=str
)
def test_the_loss_falls(change: dict[str, Any]) -> None:
    labels = np.arange(24) % 3 if "spike_penalty" in change else None
    task()
    state, _ = trained(replace(FEW, epochs=6, rate=0.02, augment=(), **change), labels=labels)
    assert state.history[-1].loss < 0.95 * state.history[1].loss
    if "spike_penalty" in change:
        assert state.history[-1].held_spikes < 0.9 * state.history[0].held_spikes
    if "train" in change:
        assert {key.split("/")[0] for key in state.values} == {"biases"}


def test_a_loss_that_is_no_number_is_said() -> None:
    task()
    with pytest.raises(DataError, match="no number any more in epoch 1: gradients") as error:
        trained(replace(FEW, rate=3e38))
    assert error.value.code == "E141" and "rate" in error.value.remedy


def test_variations_keep_what_they_should() -> None:
    x = np.arange(16 * 3 * 4 * 5, dtype=np.float32).reshape(16, 3, 4, 5)
    rng = np.random.default_rng(0)
    flipped = varied({"x": x}, ["flip"], rng)["x"]
    assert all((a == b).all() or (a == b[..., ::-1]).all() for a, b in zip(flipped, x, strict=True))
    moved = varied({"x": x}, ["shift:1"], rng)["x"]
    assert {*moved.ravel()} <= {*x.ravel()} and moved.shape == x.shape and (moved != x).any()
    mixed = varied({"x": x}, ["mix:0.5"], rng)["x"]
    assert mixed.min() >= x.min() - 0.01 and mixed.max() <= x.max() + 0.01 and (mixed != x).any()
    cut = varied({"x": x}, ["cut:0.5"], rng)["x"]
    assert {*cut.ravel()} <= {*x.ravel()} and 0.02 < (cut != x).mean() < 0.5
    gray = varied({"x": x}, ["contrast:0.2"], rng)["x"]
    for one, before in zip(gray, x, strict=True):
        for channel, own in zip(one, before, strict=True):
            scale, offset = np.polyfit(own.ravel(), channel.ravel(), 1)
            assert 0.8 < scale < 1.2 and abs(offset) < 0.2 * x.std()
            np.testing.assert_allclose(channel, scale * own + offset, atol=1e-5)
    noisy = varied({"x": x}, ["noise:0.1"], rng)["x"]
    assert 0 < np.abs(noisy - x).mean() < 0.2 * x.std()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"surrogate": "arctn"}, "surrogate takes arctan, triangle, sigmoid, got 'arctn'"),
        ({"train": ("weight",)}, "train takes weights, biases"),
        ({"train": ()}, "train names nothing"),
        ({"rate": 0.0}, "rate must be above 0, got 0"),
        ({"width": float("nan")}, "width must be above 0, got nan"),
        ({"hold_out": 1.0}, "hold_out must be above 0 and below 1, got 1"),
        ({"spike_penalty": -1.0}, "spike_penalty must be at least 0"),
        ({"augment": ("shift",)}, "augment takes flip, shift:N"),
        ({"augment": ("flip:2",)}, "augment takes flip"),
        ({"augment": ("noise:x",)}, "augment takes flip"),
        ({"augment": ("noise:inf",)}, "augment takes flip"),
        ({"augment": ("cut:2",)}, "augment cut: a share, at most 1, got 'cut:2'"),
        ({"augment": ("shift:0.5",)}, "augment shift: a whole number of places"),
        ({"rate": float("inf")}, "rate must be above 0 and finite, got inf"),
        ({"spike_penalty": float("inf")}, "at least 0 and finite, got inf"),
    ],
    ids=str,
)
def test_settings_without_sense_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        Settings(**change)
    assert error.value.code == "E140"


def test_a_target_has_a_price() -> None:
    assert Settings(spike_target=0.3).spike_penalty == 10
