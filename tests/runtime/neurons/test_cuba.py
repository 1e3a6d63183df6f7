"""Neurons behind a synaptic current in a network whose layers have windows of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from onnx2snn.errors import GraphError
from onnx2snn.runtime import file as snnfile
from onnx2snn.runtime import graph as g
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.neurons import CubaParams, NeuronParams
from runtime import naive_oracle

from .models import EXAMPLES, HALF, THETA, made
from .test_contract import T, network, samples


@pytest.mark.parametrize("case", EXAMPLES[CubaParams])
def test_behind_a_lag_and_a_delay_it_is_the_naive_loop_and_the_file(
    case: str, tmp_path: Path
) -> None:
    """Neurons that wait two steps, a delay of one, and the model twice: the bias arrives in the
    window, and nothing fires before it."""
    neuron = made(CubaParams, EXAMPLES[CubaParams][case])
    plain = network(neuron)
    waits = NeuronParams(v_threshold=THETA, v_init=HALF, lag=2)
    graph = g.SpikingGraph(
        nodes=(
            *plain.nodes[:2],
            replace(plain["p"], name="first", neuron=waits),
            g.Delay(name="late", inputs=("first",), shape=(6,), steps=1),
            replace(plain["p"], name="again", inputs=("late",)),
            replace(plain["p"], inputs=("again",)),
            *plain.nodes[3:],
        )
    )
    x = samples()
    spikes, answers = naive_oracle.simulate(graph, x, T)
    found = simulate(graph, x, T, tile=2, block=4)
    for name in ("again", "p"):
        assert found.spikes[name].sum() == spikes[name].sum() > 0
    snnfile.save(graph, tmp_path / "n.snn.onnx")
    session = ort.InferenceSession(str(tmp_path / "n.snn.onnx"))
    stock = session.run(["sent", "out"], {"x": x, "steps": np.array([T], np.int64)})
    for name, values in zip(("sent", "out"), stock, strict=True):
        np.testing.assert_allclose(found.readouts[name], answers[name], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(values, answers[name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("field", "value"), [("synaptic_leak", 0.0), ("leak", 1.5), ("reset", "x"), ("v_threshold", 0)]
)
def test_what_no_such_neuron_has_is_refused_by_the_name_of_its_field(
    field: str, value: object
) -> None:
    with pytest.raises(GraphError, match=f"^{field} must be"):
        made(CubaParams, {field: np.float32(0) if value == 0 else value})
