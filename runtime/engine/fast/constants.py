"""A tile's constant currents, computed once and kept where the plan reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ...facts import GraphFacts
from ...ops import Array, Shape
from ...ops.arrays import valid_taps
from ...ops.convolution import Conv
from ...semantics.constants import constant_currents
from .buffers import copied, zeros

LANES = 64  # samples in double precision at once: bounds the memory for it
KIND = np.dtype(np.float64)


class Filler:
    """Fills the constant signals a plan keeps, ``into`` (1, lanes, *shape), of ``shapes``. What
    ``line_convolution`` computes stays in its memory order, which saves bringing it into another
    one before its reader does that anyway."""

    def __init__(
        self, facts: GraphFacts, shapes: Mapping[str, Shape], *, lanes: int, dtype: np.dtype
    ) -> None:
        self.currents = constant_currents(facts)
        self.lanes = ceil(lanes / ceil(lanes / LANES))
        self.kernels = {
            node.name: line_convolution(node.op, shapes[node.inputs[0]], self.lanes)
            for node in self.currents.synapses
            if isinstance(node.op, Conv) and _has_lines(node.op)
        }
        self.into = {name: zeros((1, lanes, *shape), dtype) for name, shape in shapes.items()}
        for name in self.kernels:
            channels, height, width = shapes[name]
            lines = zeros((1, height, channels, width, lanes), dtype)
            self.into[name] = lines.transpose(0, 4, 2, 1, 3)

    def fill(self, inputs: Mapping[str, Array]) -> None:
        """The signals of samples ``inputs``, (samples, *shape); lanes without one get zeros."""
        names = self.currents.inputs
        if not names:
            return
        samples = len(inputs[names[0]])
        for name in names:
            self.into[name][0, :samples] = inputs[name]
        for start in range(0, samples if self.currents.synapses else 0, self.lanes):
            part = slice(start, min(start + self.lanes, samples))
            given = {name: inputs[name][part] for name in names}
            for name, x in self.currents.of(given, self.kernels).items():
                self.into[name][0, part] = x
        for array in self.into.values():
            array[0, samples:] = 0


def _has_lines(op: Conv) -> bool:
    return len(op.kernel) == 2 and op.groups == 1 and op.dilations[0] == 1


def line_convolution(op: Conv, shape: Shape, lanes: int) -> Callable[[Array], Array]:
    """A convolution of at most ``lanes`` samples in double precision, as ``op.apply``; the result
    is only valid until the next call.

    Kept as (H, C, W, samples), the kernel-height rows of an output row follow each other in memory,
    so that im2col copies the horizontal axis only: a third of the record's time, which is what a
    small network's first layer costs in eight steps.
    """
    channels, height, _ = shape
    out_channels, rows, width = op.output_shape(shape)
    top, left, bottom, _ = op.pads
    line, depth = width * lanes, channels * op.kernel[0] * op.kernel[1]
    columns = zeros((height + top + bottom, op.kernel[1], channels, width, lanes), KIND)
    row, item = columns.strides[0], KIND.itemsize
    strides = (row * op.strides[0], line * item, item)
    windows = as_strided(columns, (rows, depth, line), strides, writeable=False)
    matrix = copied(op.weight.transpose(0, 2, 3, 1).reshape(out_channels, depth), KIND)
    out = zeros((rows, out_channels, line), KIND)
    taps = list(
        valid_taps(
            op.kernel[1],
            stride=op.strides[1],
            dilation=op.dilations[1],
            pad=left,
            size=shape[2],
            size_out=width,
        )
    )

    def run(x: Array) -> Array:
        inside, count = x.transpose(2, 1, 3, 0), len(x)
        for tap, target, source in taps:
            np.copyto(columns[top : top + height, tap, :, target, :count], inside[:, :, source])
        np.matmul(matrix, windows, out=out)
        return out.reshape(rows, out_channels, width, lanes).transpose(3, 1, 0, 2)[:count]

    return run
