"""A sum of currents does not depend on which of its inputs comes first."""

from __future__ import annotations

import numpy as np
import pytest

from onnx2snn.runtime import ops
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.graph import Input, Population, Readout, SpikingGraph, Synapse
from onnx2snn.runtime.neurons import NeuronParams

pytestmark = pytest.mark.usefixtures("engines")


@pytest.mark.parametrize("order", [("spikes", "w"), ("w", "spikes")])
@pytest.mark.parametrize("block", [1, 3, 8])
def test_a_skip_connection_may_come_before_or_after_the_layer(
    order: tuple[str, str], block: int
) -> None:
    weight = np.asarray([[0.5, 0.25], [-0.5, 1.0]], np.float32)
    one = NeuronParams(v_threshold=np.float32(1), v_init=np.float32(0.5))
    graph = SpikingGraph(
        nodes=(
            Input(name="x", shape=(2,)),
            Population(name="spikes", inputs=("x",), shape=(2,), neuron=one),
            Synapse(name="w", inputs=("spikes",), shape=(2,), op=ops.Linear(weight=weight)),
            Synapse(name="sum", inputs=order, shape=(2,), op=ops.Add()),
            Readout(name="y", inputs=("sum",), shape=(2,)),
        )
    )
    x = np.asarray([[0.25, 0.75], [1.0, 0.5]], np.float32)
    found = simulate(graph, x, 8, block=block).readouts["y"][-1]
    np.testing.assert_allclose(found, x + x @ weight.T, atol=1e-6)
