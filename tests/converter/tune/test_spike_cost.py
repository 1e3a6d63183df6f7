"""The price of a spike in calibration: what is counted, and that it buys fewer spikes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from converter.digits_nets import ann, converted, samples
from onnx2snn.converter.convert import convert
from onnx2snn.converter.recipes.options import Options
from onnx2snn.converter.tune.rates import Drive, decoded_rates
from onnx2snn.errors import UsageError
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.file.codec import encode_graph
from onnx2snn.runtime.file.naming import FileNames
from onnx2snn.runtime.neurons import FewSpikeParams, Neuron, NeuronParams, TtfsParams

STEPS = 4
HALF = np.full((1, 1, 1), 0.5, np.float32)
NEURONS: dict[str, Neuron] = {
    "binary": NeuronParams(v_threshold=2 * HALF, v_init=HALF),
    "graded": NeuronParams(v_threshold=HALF / 2, v_init=HALF / 4, levels=5, signed=True),
    "few-spike": FewSpikeParams(v_threshold=2 * HALF, v_init=HALF, lag=STEPS),
    "ttfs": TtfsParams(v_threshold=2 * HALF, v_init=HALF, lag=STEPS),
}


@pytest.mark.parametrize("name", NEURONS)
def test_spikes_are_counted_as_the_neurons_send_them(name: str) -> None:
    """Against the neuron model itself, step by step."""
    neuron, n = NEURONS[name], 12
    late = neuron.lag
    currents = np.random.default_rng(0).normal(0.3, 0.6, (STEPS, 1, n)).astype(np.float32)
    if late:  # one number for the whole window
        currents = np.repeat(currents[:1], STEPS, axis=0)
    drive = Drive(
        current=currents[: 1 if late else STEPS],
        target=np.zeros((1, n), np.float32),
        first=0,
        begin=0,
        fire=late,
        steps=STEPS,
    )
    _, _, fired = decoded_rates(neuron, np.zeros((1, 1, 1), np.float32), drive, counted=True)
    state = neuron.initial_state(1, (1, n), np.dtype(np.float32))
    spikes, events = np.zeros((1, 1, n), np.float32), 0
    for t in range(late + STEPS):
        now = currents[t][np.newaxis] if t < STEPS else np.zeros((1, 1, n), np.float32)
        neuron.step(state, now, spikes, may_fire=t >= late, position=t - late, steps=STEPS)
        events += int(np.count_nonzero(spikes))
    assert events > 0 and fired[0, 0] == pytest.approx(events / n)


@pytest.mark.parametrize(
    ("recipe", "share"),  # ttfs sends one spike for all but the smallest values as it is
    [("binary", 0.9), ("signed", 0.9), ("graded", 0.9), ("few-spike", 0.9), ("ttfs", 0.99),
     ("differential", 0.9), ("synchronous", 0.9)],
)  # fmt: skip
def test_a_price_buys_fewer_spikes_in_every_recipe(recipe: str, share: float) -> None:
    sent = []
    for cost in (0.0, 0.2):
        net = converted("digits_mlp", recipe=recipe, steps=STEPS, spike_cost=cost).graph
        result = simulate(net, samples("x_test")[:60], STEPS, at=[STEPS])
        sent.append(result.spikes_per_neuron[-1])
    assert sent[1] < share * sent[0]


def test_no_price_changes_nothing() -> None:
    """The default is the conversion without the search's further candidates, to the last bit."""

    def written(**options: Any) -> dict[str, bytes]:
        graph = converted("digits_mlp", steps=STEPS, **options).graph
        arrays = encode_graph(graph, FileNames(graph))[1]
        return {name: array.tobytes() for name, array in arrays.items()}

    assert written() == written(spike_cost=0.0)
    assert written() != written(spike_cost=0.02)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"tune": False}, "E114"),
        ({"reset": "zero"}, "E114"),
        ({"spike_cost": -1.0}, "E116"),
        ({"spike_cost": float("nan")}, "E116"),
        ({"spike_cost": float("inf")}, "E116"),
    ],
)
def test_a_price_that_nothing_would_weigh_is_refused(options: dict[str, Any], code: str) -> None:
    with pytest.raises(UsageError) as refused:
        Options(**{"spike_cost": 0.1, **options})
    assert refused.value.code == code


def test_without_samples_there_is_nothing_to_weigh_it_on() -> None:
    with pytest.raises(UsageError, match="on calibration samples"):
        convert(ann("digits_mlp"), None, Options(spike_cost=0.1))
