"""What networks cost, from the nonzero pattern of their operations' dense Jacobians."""

from __future__ import annotations

import numpy as np
import pytest

from onnx2snn.runtime import graph as g
from onnx2snn.runtime import ops
from onnx2snn.runtime.cost import static_cost
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.facts import GraphFacts
from onnx2snn.runtime.neurons import NeuronParams
from runtime.random_graphs import PLAIN, array

pytestmark = pytest.mark.usefixtures("engines")

RNG = np.random.default_rng(0)


def jacobian(op, shapes, position):
    """d output / d input, dense, by pushing every basis vector through the operation."""
    size = int(np.prod(shapes[position]))
    xs = [np.zeros((size, *s)) for s in shapes]
    xs[position] = np.eye(size).reshape(size, *shapes[position])
    return op.apply(*xs).reshape(size, -1)


def neuron(**changes):
    unit = np.float32(1)
    return NeuronParams(v_threshold=unit, v_init=np.float32(0.5), **{**PLAIN, **changes})


def conv(out, inside, stride=1):
    return ops.Conv(
        weight=array(RNG, (out, inside, 3, 3), 1, 8),
        strides=(stride, stride),
        dilations=(1, 1),
        pads=(1, 1, 1, 1),
    )


def test_fan_out_follows_pools_branches_and_skips():
    """p1 feeds a pooled conv and a skip connection; both count, and only those."""
    pool = ops.SumPool(kernel=(2, 2), strides=(2, 2), dilations=(1, 1), pads=(0,) * 4)
    after = conv(3, 2)
    graph = g.SpikingGraph(
        nodes=(
            g.Input(name="x", shape=(2, 4, 4)),
            g.Population(name="p1", shape=(2, 4, 4), inputs=("x",), neuron=neuron()),
            g.Synapse(name="pool", shape=(2, 2, 2), inputs=("p1",), op=pool),
            g.Synapse(name="conv", shape=(3, 2, 2), inputs=("pool",), op=after),
            g.Population(name="p2", shape=(3, 2, 2), inputs=("conv",), neuron=neuron()),
            g.Population(name="p3", shape=(2, 4, 4), inputs=("p1",), neuron=neuron()),
            g.Readout(name="a", shape=(3, 2, 2), inputs=("p2",)),
            g.Readout(name="b", shape=(2, 4, 4), inputs=("p3",)),
        )
    )
    pooled = (jacobian(after, [(2, 2, 2)], 0) != 0).sum(axis=1)
    through = (jacobian(pool, [(2, 4, 4)], 0) @ pooled).reshape(2, 4, 4)
    fan_out = static_cost(GraphFacts(graph)).fan_out
    np.testing.assert_array_equal(fan_out["p1"], through + 1)
    np.testing.assert_array_equal(fan_out["p2"], np.ones((3, 2, 2)))


@pytest.mark.parametrize("encoding", ["rate", "poisson"])
def test_spikes_of_the_input_cost_synaptic_operations_and_a_constant_one_macs(encoding):
    def network(encoding):
        return g.SpikingGraph(
            nodes=(
                g.Input(name="x", shape=(4,), encoding=encoding),
                g.Synapse(
                    name="w", shape=(3,), inputs=("x",), op=ops.Linear(weight=np.ones((3, 4)))
                ),
                g.Readout(name="out", shape=(3,), inputs=("w",)),
            )
        )

    x = np.array([[1.0, 1.0, 0.0, -1.0]], np.float32)
    spiking = simulate(network(encoding), x, 5)
    np.testing.assert_array_equal(spiking.synops, [9.0] * 5)
    assert spiking.macs_once == spiking.macs_per_step == 0
    constant = simulate(network("constant"), x, 5)
    np.testing.assert_array_equal(constant.synops, np.zeros(5))
    assert constant.macs_once == 12


def test_what_a_max_pool_passes_on_counts_in_the_layer_that_reads_it():
    """Two spikes of one window: one comes out, and it alone reaches the three weights after it."""
    pool = ops.MaxPool(kernel=(2,), strides=(2,), dilations=(1,), pads=(0, 0))
    graph = g.SpikingGraph(
        nodes=(
            g.Input(name="x", shape=(1, 2)),
            g.Population(name="p", shape=(1, 2), inputs=("x",), neuron=neuron()),
            g.MaxPool(name="pool", shape=(1, 1), inputs=("p",), op=pool),
            g.Synapse(
                name="w", shape=(1, 3), inputs=("pool",), op=ops.Linear(weight=np.ones((3, 1)))
            ),
            g.Readout(name="out", shape=(1, 3), inputs=("w",)),
        )
    )
    result = simulate(graph, np.ones((1, 1, 2), np.float32), 2)
    np.testing.assert_array_equal(result.synops, [2 + 3, 2 + 3])
