"""Compiled steps of the neuron models give what each model's own step gives, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from onnx2snn.runtime.engine.fast.cells import blocked as cells_blocked
from onnx2snn.runtime.engine.fast.cells.base import Bias, Window
from onnx2snn.runtime.engine.fast.cells.blocked import BlockedCell
from onnx2snn.runtime.engine.fast.cells.compiled import CompiledCell, CompiledPlainCell
from onnx2snn.runtime.engine.fast.cells.general import GeneralCell
from onnx2snn.runtime.engine.fast.counting import Counter
from onnx2snn.runtime.engine.fast.events.choice import available
from onnx2snn.runtime.engine.fast.native.steps import has_compiled_step
from onnx2snn.runtime.engine.fast.products.terms import is_plain
from onnx2snn.runtime.engine.fast.simulator import Simulator
from onnx2snn.runtime.engine.profile import Clock
from onnx2snn.runtime.graph import Input, Population, Readout, SpikingGraph
from onnx2snn.runtime.neurons import NeuronParams, PacedParams
from onnx2snn.runtime.neurons.differential import DifferentialParams

pytestmark = pytest.mark.skipif(not available(), reason="needs the extra 'fast'")

SHAPE, LANES, STEPS, LAG = (6, 5, 4), 4, 9, 3
KIND = np.dtype(np.float32)


def thresholds(where):
    shape = {"one": (), "channel": (6, 1, 1), "neuron": SHAPE}[where]
    return np.random.default_rng(1).uniform(0.2, 1.5, shape).astype(np.float32)


MODELS = {
    "plain": lambda v: NeuronParams(v_threshold=v, v_init=v / 2),
    "plain, late": lambda v: NeuronParams(v_threshold=v, v_init=v / 3, lag=LAG),
    "signed": lambda v: NeuronParams(v_threshold=v, v_init=v / 2, signed=True),
    "signed burst": lambda v: NeuronParams(v_threshold=v, v_init=v / 2, signed=True, levels=15),
    "burst": lambda v: NeuronParams(v_threshold=v, v_init=v / 3, levels=5, lag=LAG),
    "paced": lambda v: PacedParams(v_threshold=v, v_init=v / 2, lag=LAG),
    "differential": lambda v: DifferentialParams(v_threshold=v / 8, powers=4, bias=v - 1),
    "differential with a ceiling": lambda v: DifferentialParams(
        v_threshold=v / 8, powers=4, bias=v - 1, ceiling=0.4
    ),
    "differential of a rate": lambda v: DifferentialParams(
        v_threshold=v / 8, powers=7, source="rate"
    ),
}


def both_cells(neuron, bias):
    """The same population through its own step and compiled, each with a counter of its own."""
    node = Population(name="p", shape=SHAPE, inputs=("x",), neuron=neuron, bias=bias)
    fan = np.random.default_rng(2).integers(1, 9, SHAPE).astype(np.float64)
    counters = [Counter(fan, LANES, STEPS, KIND) for _ in range(2)]
    plain = Bias(bias, SHAPE, LANES, KIND, STEPS)
    general = GeneralCell(
        neuron, SHAPE, plain, lanes=LANES, dtype=KIND, counter=counters[0], clock=Clock()
    )
    kind = CompiledPlainCell if is_plain(neuron) else CompiledCell
    compiled = kind(node, LANES, STEPS, counters[1], Clock())
    return (general, compiled), counters


def windows(lag):
    """Blocks of a run: before the firing window, inside both, and after the input's."""
    yield 0, lag, Window(arrives=True, fires=False, first=-lag, at=0, steps=STEPS)
    yield lag, STEPS, Window(arrives=True, fires=True, first=0, at=0, steps=STEPS)
    yield (
        STEPS,
        STEPS + lag,
        Window(arrives=False, fires=True, first=STEPS - lag, at=0, steps=STEPS),
    )


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("where", ["one", "channel", "neuron"])
def test_spikes_states_and_counts_are_the_same(model, where):
    neuron = MODELS[model](thresholds(where))
    assert has_compiled_step(neuron)
    rng = np.random.default_rng(3)
    bias = np.zeros((), np.float32)
    if not isinstance(neuron, DifferentialParams):
        bias = rng.normal(0, 0.1, (6, 1, 1)).astype(np.float32)
    cells, counters = both_cells(neuron, bias)
    for _ in range(2):  # a second tile starts afresh
        sent = 0
        for cell in cells:
            cell.reset()
        for begin, end, window in windows(neuron.lag):
            current = rng.normal(0.3, 0.8, (end - begin, LANES, *SHAPE)).astype(np.float32)
            out = [np.empty(current.shape, np.int8) for _ in cells]
            for counter in counters:
                counter.start(False)
            events = [c.run([current], o, window, False) for c, o in zip(cells, out, strict=True)]
            np.testing.assert_array_equal(out[0], out[1])
            assert events[0] == events[1]
            np.testing.assert_array_equal(counters[0].events, counters[1].events)
            np.testing.assert_array_equal(counters[0].operations, counters[1].operations)
            sent += np.abs(out[0].astype(int)).sum()
        assert sent > 1000
        for name in {"v", "sent", "received", "charge", "due"} & set(cells[0].states()):
            np.testing.assert_array_equal(cells[0].states()[name], cells[1].states()[name])


@pytest.mark.parametrize("where", ["one", "channel", "neuron"])
@pytest.mark.parametrize("size", [2, 3])  # channels of a block
@pytest.mark.parametrize("lanes", [1, 3])
def test_plain_neurons_of_the_blocked_order(where, size, lanes, monkeypatch):
    """One pass does what NumPy's passes do, on pieces of one lane, of several, and of less."""
    for piece in (40, 150, 1000):  # a lane has 120 neurons
        monkeypatch.setattr(cells_blocked, "PIECE", piece)
        theta = thresholds(where)
        neuron = NeuronParams(v_threshold=theta, v_init=theta / 2)
        node = Population(name="p", shape=SHAPE, inputs=("x",), neuron=neuron)
        rng = np.random.default_rng(4)
        fan = rng.integers(1, 9, 120).astype(np.float64)
        counters = [Counter(fan, lanes, STEPS, KIND) for _ in range(2)]
        cells = [
            BlockedCell(node, lanes, size, counter, Clock(), constant=True, compiled=compiled)
            for counter, compiled in zip(counters, (False, True), strict=True)
        ]
        current = rng.normal(0.3, 0.8, (1, lanes, *SHAPE)).astype(np.float32)
        window = Window(arrives=True, fires=True, first=0, at=0, steps=STEPS)
        out = [np.empty((STEPS, *cell.v.shape), np.int8) for cell in cells]
        for counter, cell in zip(counters, cells, strict=True):
            counter.start(False)
            cell.reset()
        events = [c.run([current], o, window, False) for c, o in zip(cells, out, strict=True)]
        assert events[0] == events[1] > 100 * lanes
        np.testing.assert_array_equal(out[0], out[1])
        np.testing.assert_array_equal(cells[0].v, cells[1].v)
        np.testing.assert_array_equal(counters[0].operations, counters[1].operations)


@pytest.mark.parametrize(
    "field", [{"leak": 0.1}, {"refractory": 1}, {"reset": "zero"}, {"v_min": 0.0}, {"levels": 200}]
)
def test_other_dynamics_are_left_to_their_own_step(field):
    assert not has_compiled_step(
        NeuronParams(v_threshold=np.ones(()), v_init=np.zeros(()), **field)
    )


def test_never_means_without_compiled_steps(monkeypatch):
    """``events="never"`` is what runs where numba is not installed."""
    neuron = MODELS["signed"](thresholds("channel"))
    graph = SpikingGraph(
        nodes=(
            Input(name="x", shape=SHAPE),
            Population(name="p", shape=SHAPE, inputs=("x",), neuron=neuron),
            Readout(name="y", shape=SHAPE, inputs=("p",)),
        )
    )
    made = []
    monkeypatch.setattr(CompiledCell, "reset", lambda self: made.append(self))
    x = np.ones((2, *SHAPE), np.float32)
    Simulator(graph, events="never").run(x, 2)
    assert not made
