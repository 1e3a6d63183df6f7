"""Intervals hold for every input; a layer without a rule is known as such."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx2snn.converter.ann.evaluate import compute
from onnx2snn.converter.ann.graph import AnnNode, Clip, Input, Layer, LeakyRelu, Opaque, Relu
from onnx2snn.converter.ann.ranges import RANGES, range_of
from onnx2snn.errors import GraphError
from onnx2snn.runtime import ops
from onnx2snn.runtime.ops.linear import CumSum
from onnx2snn.runtime.ops.pool import MaxPool

RNG = np.random.default_rng(0)
SHAPE = (3, 6, 6)
WINDOW = {"strides": (2, 2), "dilations": (1, 1), "pads": (1, 1, 1, 1)}

TIGHT = ("relu", "relu6", "clip", "clip below", "reshape", "transpose", "broadcast", "concat")


def weights(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


LAYERS: dict[str, Layer] = {
    "relu": Relu(),
    "relu6": Relu(ceiling=0.4),
    "clip": Clip(low=-0.3, high=0.2),
    "clip below": Clip(low=-0.3, high=None),
    "leaky": LeakyRelu(slope=weights(3, 1, 1)),
    "linear": ops.Linear(weight=weights(4, 6)),
    "conv": ops.Conv(weight=weights(4, 3, 3, 3), **WINDOW),
    "sum pool": ops.SumPool(kernel=(3, 3), **WINDOW),
    "max pool": MaxPool(kernel=(3, 3), **WINDOW),
    "sum": ops.ReduceSum(axes=(1, 2), keepdims=True),
    "running": CumSum(axis=1),
    "running exclusive": CumSum(axis=2, exclusive=True, reverse=True),
    "scale": ops.Scale(scale=weights(3, 1, 1)),
    "add": ops.Add(),
    "concat": ops.Concat(axis=0),
    "pad": ops.Pad(pads=(0, 1, 1, 0, 1, 1)),
    "slice": ops.Slice(starts=(0, 0, 1), stops=(3, 6, 6), steps=(1, 1, 2)),
    "take": ops.Take(axis=1, indices=np.array([0, 5])),
    "reshape": ops.Reshape(shape=(108,)),
    "transpose": ops.Transpose(perm=(2, 0, 1)),
    "broadcast": ops.Broadcast(shape=(2, 3, 6, 6)),
}


@pytest.mark.parametrize("kind", LAYERS)
@settings(max_examples=25, deadline=None)
@given(
    low=st.floats(-3, 3, width=32),
    span=st.floats(0, 4, width=32),
    bias=st.sampled_from([None, -1.5, 0.7]),
    seed=st.integers(0, 99),
)
def test_no_value_leaves_its_interval(
    kind: str, low: float, span: float, bias: float | None, seed: int
) -> None:
    layer, rng = LAYERS[kind], np.random.default_rng(seed)
    count = 2 if isinstance(layer, ops.Add | ops.Concat) else 1
    ends = [(low + i, low + i + span) for i in range(count)]
    xs = [rng.choice([a, b, (a + b) / 2], size=(8, *SHAPE)).astype(np.float32) for a, b in ends]
    sources = [AnnNode(name=f"x{i}", layer=Input(), shape=SHAPE) for i in range(count)]
    out = compute(AnnNode(name="y", layer=layer, shape=SHAPE), xs)
    linear = isinstance(layer, ops.LinearOp)
    held = None if bias is None or not linear else np.full((), bias, np.float32)
    node = AnnNode(name="y", layer=layer, shape=out.shape[1:], bias=held)
    y = compute(node, xs)
    smallest, largest = range_of(node, sources, ends)
    slack = 1e-4 * (1 + np.abs(y).max())
    assert smallest - slack <= y.min() and y.max() <= largest + slack
    if kind in TIGHT:  # where values are at both ends, so is the result
        ends_seen = {float(end) for x in xs for end in (x.min(), x.max())}
        if ends_seen == {float(np.float32(end)) for pair in ends for end in pair}:
            assert y.min() <= smallest + slack and y.max() >= largest - slack


def test_every_layer_that_is_no_linear_operation_has_a_rule() -> None:
    others = {op for op in ops.ALL_OPS if not issubclass(op, ops.LinearOp)}
    assert MaxPool in others
    assert {Input, Opaque, Relu, LeakyRelu, Clip, *others} <= set(RANGES)


def test_a_linear_operation_without_a_rule_can_give_anything_and_another_layer_not() -> None:
    class Further(CumSum):
        pass

    class Other(Relu):
        pass

    def ranged(layer: Layer) -> tuple[float, float]:
        source = AnnNode(name="x", layer=Input(), shape=SHAPE)
        node = AnnNode(name="y", layer=layer, shape=SHAPE)
        return range_of(node, [source], [(0.0, 1.0)])

    assert ranged(Further(axis=1)) == (-np.inf, np.inf)
    with pytest.raises(GraphError, match="RANGES"):
        ranged(Other())


def test_unbounded_values_stay_unbounded() -> None:
    source = AnnNode(name="x", layer=Input(), shape=SHAPE)
    anything = (-np.inf, np.inf)
    for kind, layer in LAYERS.items():
        out = compute(AnnNode(name="y", layer=layer, shape=SHAPE), [np.zeros((1, *SHAPE), "f4")] * 2
                      if kind in ("add", "concat") else [np.zeros((1, *SHAPE), "f4")])  # fmt: skip
        node = AnnNode(name="y", layer=layer, shape=out.shape[1:])
        count = 2 if kind in ("add", "concat") else 1
        low, high = range_of(node, [source] * count, [anything] * count)
        assert not np.isnan(low) and not np.isnan(high)
        assert (low, high) == {
            "relu": (0, np.inf),
            "relu6": (0, 0.4),
            "clip": (-0.3, 0.2),
            "clip below": (-0.3, np.inf),
        }.get(kind, anything)
