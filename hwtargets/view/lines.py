"""What every neuron of a spiking graph reads, as blocks of shared weights over numbered lines.

A *line* is one source of spikes: an input element or a neuron, numbered over the whole network.
Between populations the graph is linear, so a signal is a constant plus a sum of terms:

* ``Wires``: element e is scale[e] times the spikes of line ids[e] (what indexing ops keep), or
* ``Blocks``: weighted sums, P positions x O neurons that share one weight matrix (O, F):
  out[outputs[p, o]] += sum_f weights[o, f] spikes(fields[p, f]).

A convolution is one block (positions of the map), a dense layer one block with P = 1, a skip
connection one with F = 1. Crossbars need the synapses one by one; blocks keep them countable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, TypeAlias

import numpy as np

from ...errors import TargetError
from ...runtime import ops
from ...runtime.ops import Array, ElementOp, LinearOp, MultiplyingOp, Shape, windows_of
from ...runtime.tables import entry
from . import sparse

MAX_DENSE = 1 << 24  # entries of a matrix that has to be composed densely


@dataclass(frozen=True, eq=False, kw_only=True)
class Block:
    """See the module. fields: int64 (P, F), -1 reads nothing; outputs: int64 (P, O), -1 is no
    neuron; weights: float64 (O, F); ``grid``: the positions' shape, its product is P; ``unit``:
    consecutive F entries that belong together (a channel's kernel positions)."""

    fields: Array
    outputs: Array
    weights: Array
    grid: Shape
    unit: int = 1


@dataclass(frozen=True, eq=False)
class Wires:
    """ids: int64, of the signal's shape, -1 is silent; scale: float64, of the same shape."""

    ids: Array
    scale: Array


@dataclass(frozen=True, eq=False)
class Blocks:
    """Weighted sums; ``outputs`` of the blocks are flat elements of the signal."""

    blocks: tuple[Block, ...]


Term: TypeAlias = Wires | Blocks


@dataclass(frozen=True, eq=False, kw_only=True)
class Signal:
    """A constant and a sum of terms, all per step. ``constant``: float64, of ``shape``."""

    shape: Shape
    constant: Array
    terms: tuple[Term, ...] = field(default=())


def apply(op: LinearOp, signals: Sequence[Signal], where: str) -> Signal:
    """A synapse's operation on signals.

    Raises TargetError where a composition of two weighted layers is too large to be formed.
    """
    constant = op.apply(*(s.constant[np.newaxis] for s in signals))[0].astype(np.float64)
    shapes = tuple(s.shape for s in signals)
    terms = tuple(
        found
        for i, signal in enumerate(signals)
        for term in signal.terms
        for found in _apply_term(op, term, i, shapes, where)
    )
    return Signal(shape=tuple(constant.shape), constant=constant, terms=terms)


def _apply_term(
    op: LinearOp, term: Term, position: int, shapes: tuple[Shape, ...], where: str
) -> list[Term]:
    if isinstance(op, ElementOp):
        if not isinstance(op, MultiplyingOp):
            return [_indexed(op, term, position, shapes)]
        factor = op.factors.astype(np.float64)
        if isinstance(term, Wires):
            moved = _moved(op, term, position, shapes)
            return [Wires(moved.ids, moved.scale * factor)]
        out = op.output_shape(*shapes)
        if prod(out) == prod(shapes[position]):
            factor = np.broadcast_to(factor, out).reshape(-1)
            scaled = (_scaled(b, factor) for old in term.blocks for b in _split(old, factor))
            return [Blocks(tuple(scaled))]
    elif op.pattern == "windows" and isinstance(term, Wires):
        windows: Windows = entry(WINDOWS, op, "hwtargets.view.lines.WINDOWS")
        return [Blocks(windows(op, term))]
    return [_dense(op, term, position, shapes, where)]


def _split(block: Block, factor: Array) -> list[Block]:
    """The block where ``factor`` is the same at all positions, else its positions one by one."""
    found = np.where(block.outputs >= 0, factor[block.outputs], np.nan)
    if np.all(np.isnan(found) | (found == np.nanmax(found, axis=0, initial=-np.inf))):
        return [block]
    return positions(block)


def positions(block: Block) -> list[Block]:
    """One block per position."""
    return [
        replace(block, fields=block.fields[p : p + 1], outputs=block.outputs[p : p + 1], grid=(1,))
        for p in range(len(block.fields))
    ]


def _scaled(block: Block, factor: Array) -> Block:
    found = np.where(block.outputs >= 0, factor[block.outputs], -np.inf).max(axis=0)
    found = np.where(np.isfinite(found), found, 0.0)
    return replace(block, weights=block.weights * found[:, np.newaxis])


def _moved(op: ElementOp, wires: Wires, position: int, shapes: tuple[Shape, ...]) -> Wires:
    taken = op.sources(position, shapes) - 1
    ids, scale = wires.ids.reshape(-1), wires.scale.reshape(-1)
    return Wires(np.where(taken >= 0, ids[taken], -1), np.where(taken >= 0, scale[taken], 0.0))


def _indexed(op: ElementOp, term: Term, position: int, shapes: tuple[Shape, ...]) -> Term:
    """Operations in which every output is at most one element of this input."""
    if isinstance(term, Wires):
        return _moved(op, term, position, shapes)
    blocks = list(term.blocks)
    flat = (op.sources(position, shapes) - 1).reshape(-1)
    used = np.flatnonzero(flat >= 0)
    order = used[np.argsort(flat[used], kind="stable")]
    sources = flat[order]
    rank = np.arange(len(order)) - np.searchsorted(sources, sources)  # 0 = first copy, ...
    out: list[Block] = []
    for copy in range(int(rank.max(initial=-1)) + 1):
        new = np.full(prod(shapes[position]) + 1, -1, np.int64)
        new[sources[rank == copy]] = order[rank == copy]
        out += [replace(b, outputs=new[b.outputs]) for b in blocks]
    return Blocks(tuple(b for b in out if np.any(b.outputs >= 0)))


def _shared(
    fields: Array, *, scale: Array, weights: Array, outputs: Array, **kw: object
) -> list[Block]:
    """A block whose fields carry scales: folded into the weights, position by position where the
    scales differ between positions."""
    grid, unit = kw["grid"], kw["unit"]
    assert isinstance(grid, tuple) and isinstance(unit, int)
    known = np.where(fields >= 0, scale, -np.inf)
    common = known.max(axis=0)
    if np.all((fields < 0) | (scale == common)):
        common = np.where(np.isfinite(common), common, 0.0)
        return [
            Block(fields=fields, outputs=outputs, weights=weights * common, grid=grid, unit=unit)
        ]
    return [
        Block(
            fields=fields[p : p + 1],
            outputs=outputs[p : p + 1],
            weights=weights * np.where(fields[p] >= 0, scale[p], 0.0),
            grid=(1,),
            unit=unit,
        )
        for p in range(len(fields))
    ]


def _linear(op: ops.Linear, wires: Wires) -> tuple[Block, ...]:
    lead = wires.ids.shape[:-1]
    count, (outs, ins) = prod(lead), op.weight.shape
    return tuple(
        _shared(
            wires.ids.reshape(count, ins),
            scale=wires.scale.reshape(count, ins),
            weights=op.weight.astype(np.float64),
            outputs=np.arange(count * outs).reshape(count, outs),
            grid=lead or (1,),
            unit=1,
        )
    )


def _sum_pool(op: ops.SumPool, wires: Wires) -> tuple[Block, ...]:
    spans = (op.kernel, op.strides, op.dilations, op.pads)
    fields, scale = (windows_of(a[np.newaxis], *spans)[0] for a in (wires.ids + 1, wires.scale))
    return _sums(fields, scale=scale, rank=len(op.kernel))


def _reduce_sum(op: ops.ReduceSum, wires: Wires) -> tuple[Block, ...]:
    kept = [i for i in range(wires.ids.ndim) if i not in op.axes]
    fields, scale = (a.transpose(*kept, *op.axes) for a in (wires.ids + 1, wires.scale))
    return _sums(fields, scale=scale, rank=len(op.axes))


def _sums(fields: Array, *, scale: Array, rank: int) -> tuple[Block, ...]:
    """Sums over the last ``rank`` axes of lines numbered from 1, 0 for none, and their scales."""
    split = fields.ndim - rank
    grid, taps = fields.shape[:split], prod(fields.shape[split:])
    fields = fields.reshape(-1, taps) - 1
    return tuple(
        _shared(
            fields,
            scale=scale.reshape(-1, taps),
            weights=np.ones((1, taps)),
            outputs=np.arange(len(fields))[:, np.newaxis],
            grid=grid or (1,),
            unit=1,
        )
    )


def _conv(op: ops.Conv, wires: Wires) -> tuple[Block, ...]:
    spans = (op.kernel, op.strides, op.dilations, op.pads)
    rank, channels = len(op.kernel), wires.ids.shape[0]
    ids = windows_of(wires.ids[np.newaxis] + 1, *spans)[0] - 1
    scale = windows_of(wires.scale[np.newaxis], *spans)[0]
    grid = ids.shape[1 : 1 + rank]
    per_in, per_out = channels // op.groups, op.weight.shape[0] // op.groups
    outputs = np.arange(op.weight.shape[0] * prod(grid)).reshape(-1, prod(grid))
    out: list[Block] = []
    for group in range(op.groups):
        ins = slice(group * per_in, (group + 1) * per_in)
        outs = slice(group * per_out, (group + 1) * per_out)
        fields, scales = (
            np.moveaxis(a[ins].reshape(per_in, prod(grid), -1), 1, 0).reshape(prod(grid), -1)
            for a in (ids, scale)
        )
        weights = op.weight[outs].reshape(per_out, -1).astype(np.float64)
        out += _shared(
            fields,
            scale=scales,
            weights=weights,
            outputs=outputs[outs].T,
            grid=grid,
            unit=prod(op.kernel),
        )
    return tuple(out)


Windows: TypeAlias = Callable[[Any, Wires], tuple[Block, ...]]
# Operations of the pattern "windows", and the blocks of what they read.
WINDOWS: dict[type, Windows] = {
    ops.Linear: _linear,
    ops.Conv: _conv,
    ops.SumPool: _sum_pool,
    ops.ReduceSum: _reduce_sum,
}


def _dense(
    op: LinearOp, term: Term, position: int, shapes: tuple[Shape, ...], where: str
) -> Blocks:
    """Two weighted layers without neurons in between, composed into one matrix."""
    blocks = blocks_of(Signal(shape=shapes[position], constant=np.zeros(()), terms=(term,)))
    lines = np.unique(
        np.concatenate([b.fields.reshape(-1) for b in blocks] or [np.zeros(0, np.int64)])
    )
    lines = lines[lines >= 0]
    size = prod(shapes[position])
    outs = prod(op.output_shape(*shapes))
    if max(size, outs) * len(lines) > MAX_DENSE:
        raise TargetError(
            f"two weighted layers without neurons in between ({len(lines)} x {size} x {outs}) "
            "are too large to be composed into one crossbar layer",
            where=f"node '{where}'",
            remedy="Put an activation between them, or merge them in the model.",
            code="E520",
        )
    first = np.zeros((size, len(lines)))
    for b in blocks:
        p, o, f = np.nonzero((b.outputs >= 0)[:, :, None] & (b.fields >= 0)[:, None, :])
        at = np.searchsorted(lines, b.fields[p, f])
        np.add.at(first, (b.outputs[p, o], at), b.weights[o, f])
    second = sparse.of_op(op, position, shapes)
    whole = np.zeros((outs, len(lines)))
    np.add.at(whole, second.rows, second.values[:, None] * first[second.cols])
    return Blocks(
        (
            Block(
                fields=lines[np.newaxis],
                outputs=np.arange(outs)[np.newaxis],
                weights=whole,
                grid=(1,),
            ),
        )
    )


def blocks_of(signal: Signal) -> tuple[Block, ...]:
    """All terms as blocks; bare wires become blocks with one field, one per distinct scale."""
    out: list[Block] = []
    for term in signal.terms:
        if isinstance(term, Blocks):
            out += [b for b in term.blocks if np.any(b.weights)]
            continue
        ids, scale = term.ids.reshape(-1), term.scale.reshape(-1)
        for value in np.unique(scale[(ids >= 0) & (scale != 0)]):
            at = np.flatnonzero((ids >= 0) & (scale == value))
            out.append(
                Block(
                    fields=ids[at][:, np.newaxis],
                    outputs=at[:, np.newaxis],
                    weights=np.full((1, 1), value),
                    grid=(len(at),),
                )
            )
    return tuple(out)


def currents_of(blocks: Sequence[Block], spikes: Array, size: int) -> Array:
    """The blocks' sum, (n, size), for lines ``spikes`` (n, lines): one gather and one matrix
    product per block. The dtype is that of ``spikes``."""
    out = np.zeros((len(spikes), size + 1), spikes.dtype)
    padded = np.concatenate([spikes, np.zeros((len(spikes), 1), spikes.dtype)], axis=1)
    for b in blocks:
        read = padded[:, b.fields]  # (n, P, F); -1 is the silent last column
        current = read @ b.weights.T.astype(spikes.dtype)
        out[:, b.outputs.reshape(-1)] += current.reshape(len(spikes), -1)
    return out[:, :size]
