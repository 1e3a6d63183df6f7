"""Each pass keeps what the network computes, and does what its name says."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx2snn.converter.ann.evaluate import evaluate
from onnx2snn.converter.ann.graph import AnnGraph, AnnNode, AnnOutput, Clip, Input, LeakyRelu, Relu
from onnx2snn.converter.ann.passes import (
    default_passes,
    drop_dead,
    fold_scale,
    run_passes,
    split_clip,
    split_leaky_relu,
    tree_maxpool,
)
from onnx2snn.errors import ModelError
from onnx2snn.runtime.ops import Array
from onnx2snn.runtime.ops.convolution import Conv, ConvTranspose
from onnx2snn.runtime.ops.linear import Add, Linear, Scale
from onnx2snn.runtime.ops.moves import Pad
from onnx2snn.runtime.ops.pool import MaxPool

RNG = np.random.default_rng(3)


def rand(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


def conv(out: int, into: int, pads: int = 0, groups: int = 1) -> Conv:
    weight = rand(out, into // groups, 3, 3)
    return Conv(
        weight=weight, strides=(1, 1), dilations=(1, 1), pads=(pads,) * 4, groups=groups
    )  # fmt: skip


def graph(*nodes: AnnNode, outputs: tuple[str, ...] = ()) -> AnnGraph:
    names = outputs or (nodes[-1].name,)
    return AnnGraph(
        nodes=nodes, outputs=tuple(AnnOutput(name=n, node=n, tensor=n) for n in names)
    )  # fmt: skip


def source(*shape: int) -> AnnNode:
    return AnnNode(name="x", layer=Input(), shape=shape, tensor="x")


def outputs(net: AnnGraph, data: Array) -> list[Array]:
    values = evaluate(net, {"x": data})
    return [values[o.node] for o in net.outputs]


def assert_same(one: AnnGraph, two: AnnGraph) -> None:
    data = rand(4, *one.inputs[0].shape)
    for a, b in zip(outputs(one, data), outputs(two, data), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.floats(-2, 2), st.booleans())
def test_leaky_relu_is_two_populations_for_any_slope(slope: float, per_channel: bool) -> None:
    value = rand(3, 1) if per_channel else np.float32(slope)
    layer = LeakyRelu(slope=value)
    net = graph(source(3, 4), AnnNode(name="a", layer=layer, inputs=("x",), shape=(3, 4)))
    split = split_leaky_relu(net)
    assert sum(isinstance(n.layer, Relu) for n in split.nodes) == 2
    assert not any(isinstance(n.layer, LeakyRelu) for n in split.nodes)
    assert split["a"].layer.__class__ is Add
    assert_same(net, split)


@settings(max_examples=20, deadline=None)
@given(st.floats(-3, 3), st.floats(0.1, 3) | st.none())
def test_clip_is_one_population_for_any_range(low: float, width: float | None) -> None:
    layer = Clip(low=low, high=None if width is None else low + width)
    net = graph(source(3, 4), AnnNode(name="a", layer=layer, inputs=("x",), shape=(3, 4)))
    split = split_clip(net)
    (relu,) = [n.layer for n in split.nodes if isinstance(n.layer, Relu)]
    assert relu.ceiling is None if width is None else relu.ceiling == pytest.approx(width)
    assert_same(net, split)


def test_clip_from_zero_is_a_relu_with_a_ceiling_and_nothing_else() -> None:
    layer = Clip(low=0.0, high=6.0)
    net = graph(source(3), AnnNode(name="a", layer=layer, inputs=("x",), shape=(3,)))
    assert len(split_clip(net).nodes) == 2


def scale_node(into: str, shape: tuple[int, ...], scale: Array, bias: Array) -> AnnNode:
    return AnnNode(
        name="bn", layer=Scale(scale=scale), inputs=(into,), shape=shape, bias=bias, tensor="bn_out"
    )


AFTER = {
    "Linear": (Linear(weight=rand(4, 5)), (5,), (4,)),
    "Linear on rows": (Linear(weight=rand(4, 5)), (3, 5), (4,)),
    "Conv": (conv(4, 2, pads=1), (2, 6, 6), (4, 1, 1)),
    "grouped Conv": (conv(4, 4, groups=2), (4, 6, 6), (4, 1, 1)),
    "ConvTranspose": (
        ConvTranspose(weight=rand(4, 2, 3, 3), strides=(2, 2), dilations=(1, 1), pads=(1, 1, 0, 0),
                      output_padding=(0, 1), groups=2), (4, 3, 3), (4, 1, 1)),
}  # fmt: skip


@pytest.mark.parametrize("case", AFTER)
def test_a_scale_after_a_weighted_layer_is_folded(case: str) -> None:
    layer, shape, channels = AFTER[case]
    out = layer.output_shape(shape)
    first = AnnNode(name="w", layer=layer, inputs=("x",), shape=out, bias=rand(*channels))
    net = graph(source(*shape), first, scale_node("w", out, rand(*channels), rand(*channels)))
    folded = fold_scale(net)
    assert [n.name for n in folded.nodes] == ["x", "w"]
    assert folded["w"].tensor == "bn_out"
    assert_same(net, folded)


@pytest.mark.parametrize("case", [c for c in AFTER if c != "ConvTranspose"])
def test_a_scale_before_a_weighted_layer_is_folded_where_nothing_is_padded(case: str) -> None:
    layer, shape, _ = AFTER[case]
    axis = -1 if isinstance(layer, Linear) else 0
    wide = tuple(n if i == axis % len(shape) else 1 for i, n in enumerate(shape))
    bias = np.zeros(wide, np.float32) if case == "Conv" else rand(*wide)
    before = scale_node("x", shape, rand(*wide), bias)
    last = AnnNode(name="w", layer=layer, inputs=("bn",), shape=layer.output_shape(shape))
    net = graph(source(*shape), before, last)
    folded = fold_scale(net)
    assert [n.name for n in folded.nodes] == ["x", "w"]
    assert_same(net, folded)


def test_two_scales_become_one() -> None:
    one = AnnNode(name="a", layer=Scale(scale=rand(3, 1)), inputs=("x",), shape=(3, 4),
                  bias=rand(3, 1))  # fmt: skip
    net = graph(source(3, 4), one, scale_node("a", (3, 4), rand(4), rand(3, 4)))
    folded = fold_scale(net)
    assert [n.name for n in folded.nodes] == ["x", "a"]
    assert folded["a"].tensor == "bn_out"
    assert_same(net, folded)


def test_a_shift_before_a_padded_convolution_stays() -> None:
    before = scale_node("x", (2, 6, 6), rand(2, 1, 1), rand(2, 1, 1))
    layer = conv(3, 2, pads=1)
    last = AnnNode(name="w", layer=layer, inputs=("bn",), shape=(3, 6, 6))
    net = graph(source(2, 6, 6), before, last)
    assert fold_scale(net).nodes == net.nodes


def test_a_scale_is_not_folded_into_a_layer_that_something_else_reads() -> None:
    layer = conv(4, 2)
    first = AnnNode(name="w", layer=layer, inputs=("x",), shape=(4, 4, 4))
    scale = scale_node("w", (4, 4, 4), rand(4, 1, 1), rand(4, 1, 1))
    total = AnnNode(name="sum", layer=Add(), inputs=("w", "bn"), shape=(4, 4, 4))
    net = graph(source(2, 6, 6), first, scale, total)
    assert fold_scale(net).nodes == net.nodes


def test_a_scale_on_an_output_that_the_model_gives_out_as_well_stays() -> None:
    first = AnnNode(name="w", layer=Linear(weight=rand(4, 5)), inputs=("x",), shape=(4,))
    net = graph(source(5), first, scale_node("w", (4,), rand(4), rand(4)), outputs=("w", "bn"))
    assert fold_scale(net).nodes == net.nodes


def test_a_scale_within_a_channel_stays() -> None:
    first = AnnNode(name="w", layer=conv(4, 2), inputs=("x",), shape=(4, 4, 4))
    net = graph(source(2, 6, 6), first, scale_node("w", (4, 4, 4), rand(4, 4), rand(4, 1, 1)))
    assert fold_scale(net).nodes == net.nodes


def test_dead_nodes_go_and_inputs_stay() -> None:
    used = AnnNode(name="a", layer=Relu(), inputs=("x",), shape=(3,))
    dead = AnnNode(name="b", layer=Relu(), inputs=("a",), shape=(3,))
    other = AnnNode(name="x2", layer=Input(), shape=(2,))
    net = graph(source(3), other, used, dead, outputs=("a",))
    assert [n.name for n in drop_dead(net).nodes] == ["x", "x2", "a"]


def failing(net: AnnGraph, what: str) -> AnnGraph:
    raise ModelError(what, where="node 'a'")


def test_an_error_in_a_pass_names_the_pass() -> None:
    net = graph(source(3))
    with pytest.raises(ModelError, match=r"pass .*failing.*, node 'a': broken"):
        run_passes(net, [drop_dead, partial(failing, what="broken")])


def test_passes_leave_the_graph_they_are_given_as_it_is() -> None:
    layer, shape, channels = AFTER["Conv"]
    out = layer.output_shape(shape)
    first = AnnNode(name="w", layer=layer, inputs=("x",), shape=out)
    net = graph(source(*shape), first, scale_node("w", out, rand(*channels), rand(*channels)))
    before = (net.nodes, layer.weight.copy())
    for step in default_passes():
        step(net)
    assert net.nodes is before[0]
    np.testing.assert_array_equal(layer.weight, before[1])


def test_two_splits_of_the_same_name_get_different_names() -> None:
    taken = AnnNode(name="a/relu", layer=Relu(), inputs=("x",), shape=(3,))
    clip = AnnNode(name="a", layer=Clip(low=-1.0, high=1.0), inputs=("a/relu",), shape=(3,))
    net = graph(source(3), taken, clip)
    assert_same(net, split_clip(net))


POOLS = {  # kernel, strides, dilations, pads, what is pooled; neurons of the tree per channel
    "2x2": (((2, 2), (2, 2), (1, 1), (0, 0, 0, 0)), (6, 6), 27),
    "3x3 of stride 2, padded": (
        ((3, 3), (2, 2), (1, 1), (1, 1, 1, 1)),
        (6, 7),
        2 * 3 * 7 + 2 * 3 * 4,
    ),
    "5x5 of stride 1 shares maxima": (((5, 5), (1, 1), (1, 1), (2, 2, 2, 2)), (6, 6), None),
    "uneven, ceil": (((2, 3), (3, 2), (1, 1), (1, 0, 1, 2)), (5, 6), None),
    "dilated, padded": (((2, 3), (1, 2), (2, 2), (1, 2, 1, 2)), (6, 7), None),
    "whole map": (((5, 3), (1, 1), (1, 1), (0, 0, 0, 0)), (5, 3), 14),
    "one axis": (((3,), (3,), (1,), (0, 0)), (9,), 6),
    "three axes": (((2, 2, 2), (2, 2, 2), (1, 1, 1), (0, 0, 0, 0, 0, 0)), (4, 4, 2), 28),
    "strided without a window": (((1, 1), (2, 2), (1, 1), (0, 0, 0, 0)), (5, 5), 0),
    "nothing": (((1, 1), (1, 1), (1, 1), (0, 0, 0, 0)), (3, 3), 0),
}


def pooling(case: str, *, positive: bool) -> AnnGraph:
    (kernel, strides, dilations, pads), size, _ = POOLS[case]
    layer = MaxPool(kernel=kernel, strides=strides, dilations=dilations, pads=pads)
    shape = (3, *size)
    rectified = AnnNode(name="r", layer=Relu(), inputs=("x",), shape=shape)
    pool = AnnNode(
        name="pool", layer=layer, inputs=("r" if positive else "x",),
        shape=layer.output_shape(shape), tensor="pooled",
    )  # fmt: skip
    return graph(source(*shape), *([rectified] if positive else []), pool)


@pytest.mark.parametrize("case", POOLS)
@pytest.mark.parametrize("positive", [True, False])
def test_a_max_pool_is_a_tree_of_neurons_for_values_of_any_sign(case: str, positive: bool) -> None:
    net = pooling(case, positive=positive)
    tree = tree_maxpool(net)
    assert not any(isinstance(n.layer, MaxPool) for n in tree.nodes)
    assert tree["pool"].tensor == "pooled"
    assert_same(net, tree)
    relus = [n for n in tree.nodes if isinstance(n.layer, Relu) and n.name != "r"]
    neurons = sum(int(np.prod(n.shape)) for n in relus)
    if POOLS[case][2] is not None:
        assert neurons == 3 * POOLS[case][2]


def test_an_exporters_padding_by_the_lowest_number_is_the_pools_own() -> None:
    bias = np.pad(np.zeros((2, 4, 4), np.float32), ((0, 0), (1, 1), (1, 1)), constant_values=-1e30)
    pad = AnnNode(name="p", layer=Pad(pads=(0, 1, 1, 0, 1, 1)), inputs=("x",), shape=(2, 6, 6),
                  bias=bias)  # fmt: skip
    layer = MaxPool(kernel=(3, 3), strides=(1, 1), dilations=(1, 1), pads=(0, 0, 0, 0))
    pool = AnnNode(name="pool", layer=layer, inputs=("p",), shape=(2, 4, 4))
    net = graph(source(2, 4, 4), pad, pool)
    assert_same(net, tree_maxpool(net))


def test_a_window_of_padding_alone_keeps_its_max_pool() -> None:
    layer = MaxPool(kernel=(2,), strides=(1,), dilations=(3,), pads=(1, 1))
    pool = AnnNode(name="pool", layer=layer, inputs=("x",), shape=(2, 1))
    net = graph(source(2, 2), pool)
    assert [n.name for n in tree_maxpool(net).nodes] == ["x", "pool"]
