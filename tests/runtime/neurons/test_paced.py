"""Paced neurons: even spikes behind a start lag, and what reading them by time is worth. (That the
engine computes them as defined: test_engine_against_naive.)"""

from __future__ import annotations

import numpy as np
import pytest

from onnx2snn.errors import GraphError
from onnx2snn.runtime import graph as g
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.engine.early_exit import EarlyExit
from onnx2snn.runtime.neurons import NeuronParams, PacedParams
from onnx2snn.runtime.neurons.differential import DifferentialParams

PACED = PacedParams(v_threshold=np.ones(()), v_init=np.float32(0.5), lag=2)


def one_layer(count, lag, kind=PacedParams, coding="paced"):
    """Neurons with threshold 1 fed their input, and a readout of their spikes."""
    neuron = kind(v_threshold=np.ones(()), v_init=np.float32(0.5), lag=lag)
    return g.SpikingGraph(
        nodes=(
            g.Input(name="x", shape=(count,)),
            g.Population(name="p", shape=(count,), inputs=("x",), neuron=neuron),
            g.Readout(name="out", shape=(count,), inputs=("p",), coding=coding),
        )
    )


@pytest.mark.parametrize(("steps", "lag"), [(8, 4), (8, 1), (16, 8), (32, 2)])
def test_spikes_of_a_constant_input_are_even_whatever_the_rate(steps, lag):
    rates = np.linspace(0.01, 0.99, 67, dtype=np.float32)
    sent = simulate(one_layer(67, lag, coding="rate"), rates[np.newaxis], steps).readouts["out"]
    t = np.arange(1, steps + 1)[:, np.newaxis]
    np.testing.assert_allclose(sent[:, 0] * t, np.floor(rates * t + 0.5), atol=1e-4)


@pytest.mark.parametrize(("steps", "error"), [(8, 0.165), (16, 0.128), (32, 0.094)])
def test_read_by_time_a_train_tells_more_than_its_count(steps, error):
    """Root mean square errors in spikes, rates uniform in [0, 1]; by count alone 1/sqrt(12)."""
    rates = ((np.arange(4000) + 0.5) / 4000).astype(np.float32)
    for coding, expected in (("paced", error), ("rate", 12**-0.5)):
        graph = one_layer(4000, steps // 2, coding=coding)
        (decoded,) = simulate(graph, rates[np.newaxis], steps, at=[steps]).readouts["out"][:, 0:1]
        off = steps * (decoded[0] - rates)
        assert abs(off.mean()) < 0.01
        assert np.sqrt(np.mean(off**2)) == pytest.approx(expected, abs=0.002)


def test_plain_neurons_behind_a_lag_send_a_burst():
    graph = one_layer(1, 4, kind=NeuronParams, coding="rate")
    sent = simulate(graph, np.full((1, 1), 0.5, np.float32), 8).readouts["out"]
    assert (sent[:3, 0, 0] == 1).all() and sent[-1, 0, 0] == 0.5


def test_what_a_spike_is_worth_sums_to_one():
    for steps in (1, 2, 7, 32):
        assert PACED.worth(steps).sum() == pytest.approx(1, abs=1e-6)
        assert (np.diff(PACED.worth(steps)) < 0).all()


@pytest.mark.parametrize(
    "field", [{"leak": 0.1}, {"refractory": 1}, {"reset": "zero"}, {"signed": True}, {"levels": 2}]
)
def test_other_dynamics_are_refused(field):
    with pytest.raises(GraphError, match="paced"):
        PacedParams(v_threshold=np.ones(()), v_init=np.zeros(()), lag=1, **field)


def test_a_delay_of_no_step_is_refused():
    with pytest.raises(GraphError, match="delay"):
        g.Delay(name="d", inputs=("x",), shape=(1,), steps=0)


DIFFERENTIAL = DifferentialParams(v_threshold=np.float32(0.25), source="rate")


@pytest.mark.parametrize("kind", ["paced", "differential"])
def test_early_exit_carries_all_state_into_smaller_tiles(kind):
    """Samples that go on give the answers they would have given without the others: charges, what
    waits in delays, and how many steps there were."""
    neuron = PACED if kind == "paced" else DIFFERENTIAL
    nodes = [
        g.Input(name="x", shape=(4,)),
        g.Population(name="p", shape=(4,), inputs=("x",), neuron=neuron),
    ]
    if kind == "paced":
        nodes.append(g.Delay(name="d", shape=(4,), inputs=("p",), steps=3))
    nodes.append(g.Readout(name="out", shape=(4,), inputs=(nodes[-1].name,), coding=kind))
    graph = g.SpikingGraph(nodes=tuple(nodes))
    x = (np.random.default_rng(0).integers(0, 65, (64, 4)) / 64).astype(np.float32)
    whole = simulate(graph, x, 24).readouts["out"]
    exits = EarlyExit(margin=0.3, patience=3)
    some = simulate(graph, x, 24, early_exit=exits, tile=64, threads=1)
    assert some.steps_used is not None and len(set(some.steps_used)) > 3
    for sample, used in enumerate(some.steps_used):
        answer = some.readouts["out"][-1, sample]
        np.testing.assert_array_equal(answer, whole[used - 1, sample])
