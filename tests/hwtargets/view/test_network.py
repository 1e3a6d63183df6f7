"""The chip's view of a graph, against the graph's own operations."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwtargets.chip_nets import SMALL, Net, build
from onnx2snn.hwtargets import chip_view, load_target, missing_kinds, place
from onnx2snn.hwtargets.view.geometry import compose
from onnx2snn.hwtargets.view.sparse import of_op
from onnx2snn.runtime import ops
from onnx2snn.runtime.facts import GraphFacts
from onnx2snn.runtime.graph import SpikingGraph, Synapse


def current(graph: SpikingGraph, target: str, source: str, x: np.ndarray) -> np.ndarray:
    """What ``target`` receives when only ``source`` sends x: the graph's own operations."""
    values = {}
    for node in graph.nodes:
        if node.name == source:
            values[node.name] = x
        elif isinstance(node, Synapse):
            values[node.name] = node.op.apply(*(values[n] for n in node.inputs))
        else:
            values[node.name] = np.zeros((len(x), *node.shape))
    return values[graph[target].inputs[0]]


def test_the_matrix_of_every_projection_equals_the_operations_of_its_path() -> None:
    graph = build(*SMALL)
    network = chip_view(graph)
    rng = np.random.default_rng(1)
    for layer in network.layers:
        for source in {p.source for p in layer.projections}:
            shape = graph[source].shape
            x = rng.normal(size=(2, *shape))
            total = sum(
                p.matrix.dense() @ x.reshape(2, -1).T
                for p in layer.projections
                if p.source == source
            )
            expected = current(graph, layer.name, source, x).reshape(2, -1).T
            np.testing.assert_allclose(total, expected, atol=1e-6)


def test_geometry_counts_equal_the_counts_of_the_matrix() -> None:
    network = chip_view(build(*SMALL))
    assert {p.kind for p in network.projections} == {"conv", "dense"}
    for p in network.projections:
        assert p.geometry is not None
        assert p.synapses == len(p.matrix.values), p.names
        assert p.fan_in == p.matrix.fan_in().max()
        assert p.fan_out == p.matrix.fan_out().max()


CASES = {
    "grouped": ops.Conv(
        weight=np.ones((4, 2, 3, 3)), strides=(1, 2), dilations=(2, 1), pads=(1, 1, 2, 1), groups=2
    ),
    "transposed": ops.ConvTranspose(
        weight=np.arange(1, 4 * 3 * 2 * 9 + 1, dtype=float).reshape(4, 6, 3, 3),
        strides=(2, 2), dilations=(1, 1), pads=(1, 1, 1, 1), output_padding=(1, 1), groups=1,
    ),
    "sum pool": ops.SumPool(kernel=(2, 3), strides=(2, 1), dilations=(1, 2), pads=(0, 1, 0, 1)),
    "scale": ops.Scale(scale=np.arange(1.0, 5).reshape(4, 1, 1)),
    "pad": ops.Pad(pads=(1, 0, 2, 0, 1, 0)),
    "slice": ops.Slice(starts=(0, 5, 1), stops=(4, -1, 6), steps=(2, -2, 2)),
    "take": ops.Take(axis=0, indices=np.array([3, 1, 1])),
    "transpose": ops.Transpose(perm=(2, 0, 1)),
    "reduce": ops.ReduceSum(axes=(1,), keepdims=True),
    "linear": ops.Linear(weight=np.arange(1.0, 13).reshape(2, 6)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_matrix_of_an_operation_equals_the_operation(name: str) -> None:
    op, shape = CASES[name], (4, 6, 6)
    x = np.random.default_rng(0).normal(size=(3, *shape))
    got = of_op(op, 0, (shape,)).dense() @ x.reshape(3, -1).T
    np.testing.assert_allclose(got.T, op.apply(x).reshape(3, -1), atol=1e-9)


def test_padding_behind_a_pool_that_left_positions_out_reads_nothing() -> None:
    """Pool 7 positions by two (the last is left out), then a padded strided convolution: its
    padding is nothing, though the composed offset falls on the position that was left out."""
    net = Net((1, 6, 7))
    net.pool(2)
    net.conv(1, 1, 2, 1)
    net.population("p")
    (projection,) = chip_view(net.graph).projections
    assert projection.geometry is not None
    width = projection.geometry.axes[1]
    assert width.reads(0, 3, 7).tolist() == [2, 3]
    assert width.counts(3, 7).tolist() == [0, 2, 0]
    assert width.readers(3, 7).tolist() == [0, 0, 1, 1, 0, 0, 0]
    assert projection.geometry.synapses((1, 6, 7), net.shape) == len(projection.matrix.cols)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_box_reads_exactly_the_sources_that_the_matrix_says(data: st.DataObject) -> None:
    draw = data.draw
    net = Net((3, draw(st.integers(6, 9)), draw(st.integers(6, 9))))
    for _ in range(draw(st.integers(1, 2))):
        if draw(st.booleans()):
            net.pool(2)
        else:
            net.conv(3, draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(0, 1)))
    chain = tuple((n.op, 0, (m.shape,)) for m, n in zip(net.nodes, net.nodes[1:], strict=False))
    net.population("p")
    geometry = compose((net.nodes[0].shape), chain)
    assert geometry is not None
    (projection,) = chip_view(net.graph).projections
    box = [sorted(draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in net.shape]
    assert projection.geometry == geometry
    wanted = np.zeros(net.shape, bool)
    wanted[tuple(slice(a, b) for a, b in box)] = True
    matrix = projection.matrix
    sources = np.unique(matrix.cols[wanted.reshape(-1)[matrix.rows]])
    axes = [
        len(a.reads(*box[1 + i], n))
        for i, (a, n) in enumerate(zip(geometry.axes, net.nodes[0].shape[1:], strict=True))
    ]
    low, high = geometry.source_channels(*box[0], net.nodes[0].shape[0], net.shape[0])
    expected = prod(axes) * (high - low if box[0][1] > box[0][0] else 0)
    if geometry.kind != "pool":
        assert len(sources) == expected


def doubled(levels: int) -> SpikingGraph:
    """y = a + a, ``levels`` times, behind a population."""
    net = Net((3,))
    net.dense(3)
    net.population("a")
    for i in range(levels):
        twice = (net.nodes[-1].name,) * 2
        net.nodes.append(Synapse(name=f"add{i}", inputs=twice, shape=(3,), op=ops.Add()))
    net.population("b")
    net.readout(2)
    return net.graph


def test_sums_of_sums_have_their_paths_up_to_a_bound_and_are_refused_beyond() -> None:
    (_, few, _) = chip_view(doubled(5)).layers
    assert len(few.projections) == 2**5 and not few.tangled
    assert few.projections[9].names == tuple(f"add{i}" for i in range(5))
    assert few.projections[9].matrix.dense().tolist() == np.eye(3).tolist()
    graph = doubled(40)
    (chain,) = (c for c in GraphFacts(graph).chains if c.sink == "b")
    assert len(chain.nodes) == 40 and chain.sources == ("a",)
    report = place(graph, "loihi2", seconds=0)
    (violation,) = report.violations
    assert (violation.node, violation.rule) == ("b", "paths of synapses") and not report.fits
    for target in ("truenorth", "xylo-audio3"):
        assert missing_kinds(graph, load_target(target))[0].rule == "paths of synapses"
