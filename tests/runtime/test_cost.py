"""What networks cost, from the nonzero pattern of their operations' dense Jacobians."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

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


def onnx_node(op, source, out):
    return helper.make_node(op, [source], [out])


def onnx_model(nodes, shape):
    """A model of a chain of ``nodes``, all of whose results (N, *shape) are outputs."""
    float_, names = TensorProto.FLOAT, [nodes[0].input[0], *(n.output[0] for n in nodes)]
    given, *made = (helper.make_tensor_value_info(n, float_, ["N", *shape]) for n in names)
    graph = helper.make_graph(nodes, "island", [given], made)
    opsets = [helper.make_opsetid("", 19)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


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


def test_spikes_into_a_layer_that_analog_values_feed_are_no_synaptic_operations():
    """p and a linear chain meet before w2, which is dense; w3 reads p alone; the island is one of
    two outputs and counts once."""
    model = onnx_model([onnx_node("Sigmoid", "a", "b"), onnx_node("Neg", "b", "c")], (3,))

    def linear(name, source, out, inside):
        weight = np.ones((out, inside), np.float32)
        op = ops.Linear(weight=weight)
        return g.Synapse(name=name, inputs=(source,), shape=(out,), op=op)

    graph = g.SpikingGraph(
        nodes=(
            g.Input(name="x", shape=(3,)),
            linear("w1", "x", 3, 3),
            g.Population(name="p", shape=(3,), inputs=("w1",), neuron=neuron()),
            g.Analog(name="i1", inputs=("w1",), shape=(3,), model=model, output="b"),
            g.Analog(name="i2", inputs=("w1",), shape=(3,), model=model, output="c"),
            g.Synapse(name="sum", inputs=("p", "i1", "i2"), shape=(3,), op=ops.Add()),
            linear("w2", "sum", 5, 3),
            linear("w3", "p", 2, 3),
            g.Readout(name="a", shape=(5,), inputs=("w2",)),
            g.Readout(name="b", shape=(2,), inputs=("w3",)),
        )
    )
    cost = static_cost(GraphFacts(graph))
    assert {name: layer.drive for name, layer in cost.layers.items()} == {
        "w1": "input",
        "w2": "analog",
        "w3": "spikes",
    }
    np.testing.assert_array_equal(cost.fan_out["p"], np.full(3, 2))
    assert cost.islands == 1
    assert (cost.macs_once, cost.macs_per_step, cost.macs_ann) == (9, 15 + 6, 9 + 15 + 6 + 6)
    ran = simulate(graph, np.ones((1, 3), np.float32), 2)
    np.testing.assert_array_equal(ran.synops, [6, 6])  # 3 neurons, each into w3's 2 weights
