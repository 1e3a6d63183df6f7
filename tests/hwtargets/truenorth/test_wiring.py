"""Blocks of shared weights against the operations themselves."""

from __future__ import annotations

import numpy as np
import pytest

from onnx2snn.errors import TargetError
from onnx2snn.hwtargets.view import lines as w
from onnx2snn.runtime import ops

F32 = np.float32
RNG = np.random.default_rng(0)
WINDOW = {"kernel": (2, 2), "strides": (2, 2), "dilations": (1, 1), "pads": (0, 0, 0, 0)}


def conv(outs, ins, groups=1, stride=1, pad=1):
    return ops.Conv(
        weight=RNG.normal(size=(outs, ins // groups, 3, 3)).astype(F32),
        strides=(stride, stride),
        dilations=(1, 1),
        pads=(pad,) * 4,
        groups=groups,
    )


SCALE = ops.Scale(scale=RNG.uniform(0.5, 2, (4, 1, 1)).astype(F32))
UNEVEN = ops.Scale(scale=RNG.uniform(0.5, 2, (4, 6, 6)).astype(F32))
CHAINS = {
    "conv": [conv(3, 4)],
    "strided conv": [conv(3, 4, stride=2, pad=0)],
    "grouped conv": [conv(4, 4, groups=2)],
    "depthwise conv": [conv(4, 4, groups=4)],
    "scale, conv, scale": [
        SCALE,
        conv(3, 4),
        ops.Scale(scale=RNG.normal(size=(3, 1, 1)).astype(F32)),
    ],
    "scale that differs between positions, conv": [UNEVEN, conv(3, 4)],
    "conv, scale that differs between positions": [conv(4, 4), UNEVEN],
    "pad, conv": [ops.Pad(pads=(0, 1, 1, 0, 2, 0)), conv(2, 4, pad=0)],
    "pool": [ops.SumPool(**WINDOW)],
    "pool, conv": [ops.SumPool(**WINDOW), conv(3, 4)],
    "conv, pool": [conv(3, 4), ops.SumPool(**WINDOW)],
    "mean, dense": [
        ops.ReduceSum(axes=(1, 2), keepdims=False),
        ops.Linear(weight=RNG.normal(size=(5, 4)).astype(F32)),
    ],
    "flatten, dense": [
        ops.Reshape(shape=(144,)),
        ops.Linear(weight=RNG.normal(size=(5, 144)).astype(F32)),
    ],
    "dense, dense": [
        ops.Linear(weight=RNG.normal(size=(7, 6)).astype(F32)),
        ops.Linear(weight=RNG.normal(size=(3, 7)).astype(F32)),
    ],
    "slice, transpose": [
        ops.Slice(starts=(1, 0, 5), stops=(4, 6, -1), steps=(1, 2, -1)),
        ops.Transpose(perm=(2, 0, 1)),
    ],
    "conv, channel slice": [
        conv(4, 4),
        ops.Slice(starts=(1, 0, 0), stops=(3, 6, 6), steps=(1, 1, 1)),
    ],
    "conv, take twice": [conv(3, 4), ops.Take(axis=0, indices=np.array([0, 2, 0, 1]))],
    "transposed conv": [
        ops.ConvTranspose(
            weight=RNG.normal(size=(4, 2, 3, 3)).astype(F32),
            strides=(2, 2),
            dilations=(1, 1),
            pads=(1, 1, 1, 1),
            output_padding=(0, 0),
        )
    ],
}


def lines(shape, first=0):
    ids = np.arange(first, first + np.prod(shape)).reshape(shape)
    return w.Signal(shape=shape, constant=np.zeros(shape), terms=(w.Wires(ids, np.ones(shape)),))


def value(signal, spikes):
    size = int(np.prod(signal.shape))
    total = w.currents_of(w.blocks_of(signal), spikes, size) + signal.constant.reshape(-1)
    return total.reshape(len(spikes), *signal.shape)


@pytest.mark.parametrize("name", sorted(CHAINS))
def test_blocks_give_what_the_operations_give(name):
    x = RNG.integers(0, 2, (3, 4, 6, 6)).astype(np.float64)
    signal, expected = lines((4, 6, 6)), x
    for op in CHAINS[name]:
        signal = w.apply(op, [signal], "node")
        expected = op.apply(expected)
    assert signal.shape == expected.shape[1:]
    np.testing.assert_allclose(value(signal, x.reshape(3, -1)), expected, rtol=1e-5, atol=1e-5)


def test_sums_and_joins_of_two_sources():
    x = RNG.integers(0, 2, (3, 64)).astype(np.float64)
    a, b = lines((2, 4, 4)), lines((2, 4, 4), 32)
    left, right = x[:, :32].reshape(3, 2, 4, 4), x[:, 32:].reshape(3, 2, 4, 4)
    op = conv(2, 2)
    summed = w.apply(ops.Add(), [w.apply(op, [a], "n"), b], "n")
    np.testing.assert_allclose(value(summed, x), op.apply(left) + right, atol=1e-5)
    joined = w.apply(ops.Concat(axis=0), [a, w.apply(op, [b], "n")], "n")
    np.testing.assert_allclose(
        value(joined, x), np.concatenate([left, op.apply(right)], axis=1), atol=1e-5
    )


def test_constants_pass_through_padding_as_the_operations_say():
    signal = lines((2, 4, 4))
    shifted = w.Signal(shape=signal.shape, constant=np.full((2, 4, 4), -0.5), terms=signal.terms)
    op = conv(3, 2)
    x = RNG.integers(0, 2, (2, 32)).astype(np.float64)
    found = value(w.apply(op, [shifted], "n"), x)
    np.testing.assert_allclose(found, op.apply(x.reshape(2, 2, 4, 4) - 0.5), atol=1e-5)


def test_two_large_weighted_layers_without_neurons_between_are_refused():
    first = w.apply(conv(4, 4), [lines((4, 96, 96))], "a")
    with pytest.raises(TargetError, match="without neurons in between") as refused:
        w.apply(conv(2, 4), [first], "b")
    assert refused.value.code == "E520" and "activation" in refused.value.remedy
