"""The composed geometry of a chain of synapses: what a part of the target reads of the source.

A chain such as pool -> pad -> conv reads, for the target position o, along each spatial axis,

    source positions  o * stride + offset,   offset in offsets,  inside [0, size)

and of the channels those of its group. Chains that are not of this form (a channel shuffle, a
transposed convolution) have no geometry; they are handled synapse by synapse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal, TypeAlias

import numpy as np

from ...runtime import ops
from ...runtime.ops import Array, LinearOp, Shape
from ...runtime.tables import entry


@dataclass(frozen=True)
class Window:
    """One operation along an axis: position o reads o * stride + offset, inside [0, size)."""

    stride: int
    offsets: tuple[int, ...]
    size: int


@dataclass(frozen=True)
class Axis:
    """One spatial axis of the source. ``target``: the spatial axis of the target that it follows,
    None where the target has a single position for it (global pooling, a dense layer).

    ``stride`` and ``offsets`` are those of the whole chain, as in the middle of a map; ``windows``
    are its operations, from the source on, whose borders decide what is read at the edges."""

    stride: int = 1
    offsets: tuple[int, ...] = (0,)
    target: int | None = None
    windows: tuple[Window, ...] = ()

    def after(self, stride: int, offsets: Sequence[int], size: int) -> Axis:
        """This axis read through another window over its ``size`` positions so far:
        o -> o * stride + offset."""
        found = sorted({o * self.stride + mine for o in offsets for mine in self.offsets})
        return replace(
            self,
            stride=self.stride * stride,
            offsets=tuple(found),
            windows=(*self.windows, Window(stride, tuple(offsets), size)),
        )

    def reads(self, low: int, high: int, size: int) -> Array:
        """Source positions that target positions [low, high) read, sorted."""
        return np.unique(self._pairs(low, high=high, size=size)[1])

    def counts(self, positions: int, size: int) -> Array:
        """How many source positions each target position reads."""
        positions = 1 if self.target is None else positions
        return np.bincount(self._pairs(0, high=positions, size=size)[0], minlength=positions)

    def readers(self, positions: int, size: int) -> Array:
        """How many target positions read each source position."""
        return np.bincount(self._pairs(0, high=positions, size=size)[1], minlength=size)

    def read_by(self, positions: int, tile: int, size: int) -> Array:
        """(tiles, size): how many target positions of each tile read each source position."""
        reader, source = self._pairs(0, high=positions, size=size)
        tiles = -(-positions // tile)
        key = reader // tile * size + source
        return np.bincount(key, minlength=tiles * size).reshape(tiles, size)

    def _pairs(self, low: int, *, high: int, size: int) -> tuple[Array, Array]:
        """Every (target position, source position that it reads) once.

        Window by window: what one window pads is nothing, even where the composed offset would
        fall on a source position that the window before left out.
        """
        if self.target is None:
            low, high = 0, 1
        reader = source = np.arange(low, high)
        for window in reversed(self.windows):
            moved = source[:, np.newaxis] * window.stride + np.array(window.offsets, np.int64)
            inside = (moved >= 0) & (moved < window.size)
            span = max(window.size, 1)
            keys = np.unique((reader[:, np.newaxis] * span + moved)[inside])
            reader, source = keys // span, keys % span
        kept = source < size
        return reader[kept], source[kept]


@dataclass(frozen=True)
class Geometry:
    """``groups``: channel groups (1: every channel reads all); ``weighted``: there are trained
    weights on the way (else pooling or a plain copy); ``rows``: of a dense layer, its input
    features (fewer than the source neurons behind a pool: the pooled ones share a row)."""

    axes: tuple[Axis, ...]
    groups: int
    channels: int
    weighted: bool
    rows: int = 0

    @property
    def taps(self) -> int:
        """Kernel positions."""
        return prod(len(axis.offsets) for axis in self.axes)

    @property
    def kind(self) -> Literal["dense", "conv", "pool", "identity"]:
        if self.groups == self.channels and self.taps == 1 and not self._mixes:
            return "identity"
        if self.groups == 1 and self.weighted and all(a.target is None for a in self.axes):
            return "dense"
        return "conv" if self.weighted else "pool"

    @property
    def _mixes(self) -> bool:
        return self.channels == 1 and self.weighted

    def _sizes(self, target: Shape) -> list[int]:
        return [1 if a.target is None else target[1 + a.target] for a in self.axes]

    def fan_in(self, source: Shape) -> int:
        """The largest number of source neurons per target neuron."""
        sizes = source[1:]
        reach = (min(len(a.offsets), n) for a, n in zip(self.axes, sizes, strict=True))
        return prod(reach) * source[0] // self.groups

    def fan_out(self, source: Shape, target: Shape) -> int:
        """The largest number of target neurons per source neuron."""
        per_axis = (
            int(a.readers(m, n).max())
            for a, m, n in zip(self.axes, self._sizes(target), source[1:], strict=True)
        )
        return prod(per_axis) * target[0] // self.groups

    def synapses(self, source: Shape, target: Shape) -> int:
        """All connections, padding excluded."""
        per_axis = (
            int(a.counts(m, n).sum())
            for a, m, n in zip(self.axes, self._sizes(target), source[1:], strict=True)
        )
        return prod(per_axis) * target[0] * (source[0] // self.groups)

    def weights(self, source: Shape, target: Shape) -> int:
        """Distinct weights, each kernel counted once."""
        if self.kind == "dense":
            return self.rows * target[0]
        return self.taps * target[0] * (source[0] // self.groups)

    def source_channels(self, low: int, high: int, source: int, target: int) -> tuple[int, int]:
        """The range of source channels that target channels [low, high) read."""
        if self.groups == 1:
            return 0, source
        per_in, per_out = source // self.groups, target // self.groups
        return low // per_out * per_in, -(-high // per_out) * per_in


@dataclass(frozen=True)
class State:
    """A geometry under construction. dims: for every current spatial axis, the source axis it
    follows (None: of size one). ``placed``: channels are a selection or an embedding of the
    source's; ``flat``: positions and channels are one axis now; ``lost``: no geometry unless a
    dense layer follows."""

    geometry: Geometry
    source: Shape
    shape: Shape
    dims: tuple[int | None, ...]
    placed: bool = False
    flat: bool = False
    lost: bool = False

    def window(self, axis: int, stride: int, offsets: Sequence[int]) -> State:
        """Read current spatial axis ``axis`` through a window."""
        source = self.dims[axis]
        if source is None:
            return self if 0 in offsets else replace(self, lost=True)
        axes = list(self.geometry.axes)
        axes[source] = axes[source].after(stride, offsets, self.shape[1 + axis])
        return replace(self, geometry=replace(self.geometry, axes=tuple(axes)))

    def collapsed(self) -> Geometry:
        """Every position at once: what all current positions together read of the source."""
        axes = [replace(axis, stride=0) for axis in self.geometry.axes]
        for at, dim in enumerate(self.dims):
            if dim is not None:
                now = replace(self.geometry.axes[dim], target=at)
                read = now.reads(0, self.shape[1 + at], self.source[1 + dim])
                offsets, size = tuple(read.tolist()), self.source[1 + dim]
                everything = (Window(0, offsets, size),)
                axes[dim] = replace(axes[dim], offsets=offsets, windows=everything)
        return replace(self.geometry, axes=tuple(axes))


def begun(source: Shape) -> State:
    """The geometry of a chain of no operation yet. A number per sample, which has no axis, counts
    as one channel."""
    source = source or (1,)
    axes = tuple(Axis(target=i) for i in range(len(source) - 1))
    start = Geometry(axes=axes, groups=source[0], channels=source[0], weighted=False)
    return State(start, source, source, tuple(range(len(axes))))


def continued(state: State | None, op: LinearOp, out: Shape) -> State | None:
    """One operation further, whose output has the shape ``out``; None where no geometry is left.
    Chains with a common beginning share its state."""
    if state is None or op.pattern == "irregular":
        return None
    out = out or (1,)
    step: Step = entry(STEPS, op, "hwtargets.view.geometry.STEPS")
    found = step(state, op, out)
    return found if found is None or found.shape == out else replace(found, shape=out)


def ended(state: State | None) -> Geometry | None:
    """The geometry of the whole chain, None where it has no such form."""
    if state is None or state.placed or state.flat or state.lost:
        return None
    final = [replace(axis, target=None) for axis in state.geometry.axes]
    for at, dim in enumerate(state.dims):
        if dim is not None:
            final[dim] = replace(final[dim], target=at)
    rows = state.geometry.rows or state.source[0] * state.geometry.taps
    return replace(state.geometry, axes=tuple(final), rows=rows)


def compose(
    source: Shape, chain: Sequence[tuple[LinearOp, int, tuple[Shape, ...]]]
) -> Geometry | None:
    """The geometry of a chain of operations, each with its input of the chain and the shapes of all
    of its inputs; None where it has no such form."""
    state: State | None = begun(source)
    for op, _, shapes in chain:
        state = continued(state, op, op.output_shape(*shapes))
    return ended(state)


def _same(s: State, op: LinearOp, out: Shape) -> State | None:
    return s if out == s.shape else None


def _concat(s: State, op: ops.Concat, out: Shape) -> State | None:
    return replace(s, placed=True) if op.axis == 0 else None


def _take(s: State, op: ops.Take, out: Shape) -> State | None:
    return replace(s, placed=s.placed or s.geometry.groups > 1) if op.axis == 0 else None


def _sum_pool(s: State, op: ops.SumPool, out: Shape) -> State | None:
    return _windows(s, op.kernel, strides=op.strides, dilations=op.dilations, pads=op.pads)


def _linear(s: State, op: ops.Linear, out: Shape) -> State | None:
    """Dense over everything that the chain has kept."""
    if len(s.shape) != 1:
        return None
    return replace(
        s,
        geometry=replace(s.geometry, groups=1, weighted=True, rows=op.weight.shape[1]),
        placed=False,
        flat=False,
        lost=False,
        dims=(),
    )


def _conv(s: State, op: ops.Conv, out: Shape) -> State | None:
    if s.flat or s.lost:
        return None
    outs, ins = op.weight.shape[0], op.weight.shape[1] * op.groups
    windows = _windows(s, op.kernel, strides=op.strides, dilations=op.dilations, pads=op.pads)
    if windows is None:
        return None
    before = s.geometry.groups
    if op.groups == 1 or before == 1:
        groups = 1
    elif s.placed:
        return None
    else:
        groups = op.groups if before == ins else int(np.gcd(op.groups, before))
    depthwise = op.groups == ins == outs
    placed = s.placed and (depthwise or before == 1)
    geometry = replace(windows.geometry, groups=groups, weighted=True)
    return replace(windows, geometry=geometry, placed=placed and op.groups > 1)


def _windows(
    s: State, kernel: Shape, *, strides: Shape, dilations: Shape, pads: Shape
) -> State | None:
    if s.flat or s.lost or len(kernel) != len(s.dims):
        return None
    for axis, (k, stride, d) in enumerate(zip(kernel, strides, dilations, strict=True)):
        s = s.window(axis, stride, [i * d - pads[axis] for i in range(k)])
    return s


def _reduce(s: State, op: ops.ReduceSum, out: Shape) -> State | None:
    if s.flat or s.lost or 0 in op.axes:
        return None
    for axis in op.axes:
        s = s.window(axis - 1, 0, range(s.shape[axis]))
    dims = [None if i + 1 in op.axes else d for i, d in enumerate(s.dims)]
    if not op.keepdims:
        dims = [d for i, d in enumerate(s.dims) if i + 1 not in op.axes]
    return replace(s, dims=tuple(dims))


def _pad(s: State, op: ops.Pad, out: Shape) -> State | None:
    if not any(op.pads):
        return s
    if s.flat or s.lost:
        return None
    rank = len(s.shape)
    for axis in range(1, rank):
        s = s.window(axis - 1, 1, [-op.pads[axis]])
    return replace(s, placed=s.placed or bool(op.pads[0] or op.pads[rank]))


def _slice(s: State, op: ops.Slice, out: Shape) -> State | None:
    if out == s.shape and all(step == 1 for step in op.steps):
        return s
    if s.flat or s.lost or any(step < 0 for step in op.steps[1:]):
        return None
    for axis in range(1, len(s.shape)):
        start = range(*slice(op.starts[axis], op.stops[axis]).indices(s.shape[axis])).start
        s = s.window(axis - 1, op.steps[axis], [start])
    whole = out[0] == s.shape[0] and op.steps[0] == 1
    return replace(s, placed=s.placed or (not whole and s.geometry.groups > 1))


def _reshape(s: State, op: ops.Reshape, out: Shape) -> State:
    if out == s.shape:
        return s
    here = [d for d, n in zip(s.dims, s.shape[1:], strict=True) if n > 1] if not s.flat else []
    if not s.flat and out and out[0] == s.shape[0]:
        sizes = [n for n in s.shape[1:] if n > 1]
        if [n for n in out[1:] if n > 1] == sizes:
            left = iter(here)
            return replace(s, dims=tuple(next(left) if n > 1 else None for n in out[1:]))
    return _mixed(s, out)


def _transpose(s: State, op: ops.Transpose, out: Shape) -> State:
    if op.perm == tuple(range(len(op.perm))):
        return s
    if s.flat or s.lost or op.perm[0] != 0:
        return _mixed(s, out)
    return replace(s, dims=tuple(s.dims[p - 1] for p in op.perm[1:]))


def _mixed(s: State, out: Shape) -> State:
    """Axes are merged or exchanged: from here on only "everything at once" is known."""
    geometry = s.geometry if s.flat or s.lost else s.collapsed()
    flat = len(out) == 1
    dims = (None,) * max(0, len(out) - 1)
    return replace(s, geometry=geometry, flat=flat, lost=not flat, dims=dims)


Step: TypeAlias = Callable[[State, Any, Shape], State | None]
# Operations whose pattern is not "irregular", and the geometry after them.
STEPS: dict[type, Step] = {
    ops.Linear: _linear,
    ops.Conv: _conv,
    ops.SumPool: _sum_pool,
    ops.ReduceSum: _reduce,
    ops.Scale: _same,
    ops.Add: _same,
    ops.Broadcast: _same,
    ops.Concat: _concat,
    ops.Pad: _pad,
    ops.Slice: _slice,
    ops.Take: _take,
    ops.Reshape: _reshape,
    ops.Transpose: _transpose,
}
