"""Activations that are a population, or a few of them: piecewise linear functions."""

from __future__ import annotations

import numpy as np

from ....runtime import ops
from ....runtime.ops import Array
from ...ann.graph import Clip, LeakyRelu, Relu
from ..builder import GraphBuilder, Value, sample_constant
from ..node import NoSpikingForm, OnnxNode, Refused
from ..registry import handles

UNBOUNDED = 3e38  # exporters write the largest float for "no bound"
FAR = 100.0  # a bound beyond it lies outside of what activations reach


def scaled(
    graph: GraphBuilder,
    node: OnnxNode,
    x: Value,
    factor: float,
    *,
    bias: Array | float | None = None,
    part: str = "",
) -> Value:
    """factor * x + bias as one node."""
    layer = ops.Scale(scale=np.asarray(factor, np.float32))
    current = None if bias is None else np.asarray(bias, np.float32)
    return graph.emit(node, layer, [x], bias=current, part=part)


@handles("Relu", becomes="a population")
def relu(graph: GraphBuilder, node: OnnxNode) -> None:
    graph.finish(node, graph.emit(node, Relu(), [graph.value(node.input(0))]))


def _bound(graph: GraphBuilder, node: OnnxNode, key: str, index: int) -> float | None:
    value = node.attrs.get(key)
    if value is None and node.input(index):
        constant = graph.constant(node.input(index))
        if constant is None or constant.size != 1:
            raise NoSpikingForm(f"its bound '{node.input(index)}' is not a constant number")
        value = float(constant.reshape(-1)[0])
    return None if value is None else float(value)


def clipped(
    graph: GraphBuilder, node: OnnxNode, x: Value, *, low: float | None, high: float | None
) -> Value:
    """clip(x, low, high): Relu where low is 0; high - Relu(high - x) without a low.

    A bound that x cannot reach is left out. One far from 0 on the side where x hardly comes is a
    population that hardly fires, beside x itself (``beside``): c + Relu(x - c)
    would lose x in the rounding to single precision, and in steps of |c| / T.
    """
    if low is not None and high is not None and high <= low:
        raise NoSpikingForm(f"an empty range [{low}, {high}]")
    low, high = _reached(graph, x, low, high=high)
    if low is None and high is None:
        return x
    if low is not None and low < -FAR:
        last = "" if high is None else "low"
        x = beside(graph, node, x, sign=-1.0, bound=np.asarray(low), part=last)
        return x if high is None else clipped(graph, node, x, low=None, high=high)
    if low is None and high is not None and high > FAR:
        return beside(graph, node, x, sign=1.0, bound=np.asarray(high))
    if low == 0:
        return graph.emit(node, Relu(ceiling=high), [x])
    if low is not None:
        return graph.emit(node, Clip(low=low, high=high), [x])
    y = scaled(graph, node, x, -1, bias=high, part="below")
    y = graph.emit(node, Relu(), [y], part="relu")
    return scaled(graph, node, y, -1, bias=high)


def _reached(
    graph: GraphBuilder, x: Value, low: float | None, *, high: float | None
) -> tuple[float | None, float | None]:
    """The bounds without those that x cannot reach; a lower one of 0 stays where it makes a
    population with a ceiling."""
    if (low is not None and low >= UNBOUNDED) or (high is not None and high <= -UNBOUNDED):
        raise NoSpikingForm("an infinite bound on the wrong side")
    smallest, largest = graph.range_of(x)
    if high is not None and high >= min(largest, UNBOUNDED):
        high = None
    if low is not None and low <= max(smallest, -UNBOUNDED):
        low = 0.0 if smallest >= 0 and high is not None else None
    elif low is None and high is not None and smallest >= 0 and high > 0:
        low = 0.0
    return low, high


def beside(
    graph: GraphBuilder,
    node: OnnxNode,
    x: Value,
    *,
    sign: float,
    bound: Array,
    part: str = "",
    where: Array | float = 1.0,
) -> Value:
    """x - Relu(x - bound) for ``sign`` 1, x + Relu(bound - x) for -1: exact, and the population
    silent, where x is within its bound; only ``where`` that is 1, with no bound elsewhere."""
    layer = ops.Scale(scale=np.asarray(sign * where, np.float32))
    over = graph.emit(
        node, layer, [x], bias=np.asarray(-sign * bound * where, np.float32), part=f"{part}over"
    )
    over = graph.emit(node, Relu(beside=True), [over], part=f"{part}relu")
    if sign > 0:
        over = scaled(graph, node, over, -1, part=f"{part}excess")
    return graph.emit(node, ops.Add(), [x, over], part=part)


@handles("Clip", becomes="a population with a ceiling; shifted where the range is not from 0")
def clip(graph: GraphBuilder, node: OnnxNode) -> None:
    low, high = _bound(graph, node, "min", 1), _bound(graph, node, "max", 2)
    graph.finish(node, clipped(graph, node, graph.value(node.input(0)), low=low, high=high))


@handles("LeakyRelu", becomes="two populations")
def leaky_relu(graph: GraphBuilder, node: OnnxNode) -> None:
    slope = np.asarray(node.attrs.get("alpha", 0.01), np.float32)
    x = graph.value(node.input(0))
    graph.finish(node, graph.emit(node, LeakyRelu(slope=slope), [x]))


@handles("PRelu", becomes="two populations")
def p_relu(graph: GraphBuilder, node: OnnxNode) -> None:
    slope = graph.constant(node.input(1))
    if slope is None:
        raise NoSpikingForm("its slope is computed from the data")
    x = graph.value(node.input(0))
    if slope.size == 1:
        slope = slope.reshape(())
    slope = sample_constant(slope, len(x.shape))
    if np.broadcast_shapes(slope.shape, x.shape) != x.shape:
        raise NoSpikingForm("its slope does not fit its input")
    graph.finish(node, graph.emit(node, LeakyRelu(slope=slope), [x]))


@handles("HardSigmoid", becomes="a scale, then a population with ceiling 1")
def hard_sigmoid(graph: GraphBuilder, node: OnnxNode) -> None:
    """clip(alpha x + beta, 0, 1)."""
    alpha, beta = node.attrs.get("alpha", 0.2), node.attrs.get("beta", 0.5)
    y = scaled(graph, node, graph.value(node.input(0)), alpha, bias=beta, part="scale")
    graph.finish(node, graph.emit(node, Relu(ceiling=1.0), [y]))


@handles("Abs", becomes="two populations: Relu(x) + Relu(-x)")
def absolute(graph: GraphBuilder, node: OnnxNode) -> None:
    x = graph.value(node.input(0))
    positive = graph.emit(node, Relu(), [x], part="positive")
    negated = scaled(graph, node, x, -1, part="negated")
    negative = graph.emit(node, Relu(beside=True), [negated], part="negative")
    graph.finish(node, graph.emit(node, ops.Add(), [positive, negative]))


@handles("Identity", "Dropout", becomes="nothing")
def identity(graph: GraphBuilder, node: OnnxNode) -> None:
    if node.op == "Dropout" and node.input(2):
        training = graph.constant(node.input(2))
        if training is None or training.any():
            raise Refused("in training mode", "Export the model after model.eval().")
    graph.finish(node, graph.value(node.input(0)))


FLOATS = (1, 10, 11, 16)  # TensorProto FLOAT, FLOAT16, DOUBLE, BFLOAT16


@handles("Cast", becomes="nothing, between floating-point types and from a network input")
def cast(graph: GraphBuilder, node: OnnxNode) -> None:
    if node.attrs.get("to") not in FLOATS and not graph.is_float(node.outputs[0]):
        raise NoSpikingForm("a cast to a type that is not floating point")
    graph.finish(node, graph.value(node.input(0)))
