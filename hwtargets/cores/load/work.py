"""What every core has to do in a step: neurons updated, synaptic operations, words of memory read.

Regular projections are contracted axis by axis: a core's synaptic operations are, for all source
neurons together, rate x (channels of the tile that read its channel) x (rows of the tile that read
its row) x ... No synapse is listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ....runtime.ops import Array, Shape
from ...energy.bounds import Work
from ...target import HardwareTarget
from ...view.network import ChipNetwork, Projection
from ..memory import MemoryModel
from ..partition import Tiling, hardware_neurons


def work(
    network: ChipNetwork,
    target: HardwareTarget,
    model: MemoryModel,
    tilings: Sequence[Tiling],
    rates: Mapping[str, Array] | None,
    *,
    rate: float,
    sent: float,
) -> Work:
    """Of every core. ``rates``: measured spikes per neuron and step, in the layer's shape;
    ``rate``: assumed for layers without; ``sent``: for inputs without, the share of their values
    that is sent in every step."""
    inputs = {node.name for node in network.inputs}
    updates, synops, reads = [np.zeros(0)], [np.zeros(0)], [np.zeros(0)]
    for t in tilings:
        layer = network.find(t.name)
        updates.append(t.neurons() * float(hardware_neurons(layer, target)))
        found = np.zeros((2, t.cores))
        for p in () if layer is None or layer.analog else layer.projections:
            assumed = sent if p.source in inputs else rate
            found += of_projection(p, model, t, (rates or {}).get(p.source), assumed)
        synops.append(found[0])
        reads.append(found[1])
    return Work(
        updates=np.concatenate(updates), synops=np.concatenate(synops), reads=np.concatenate(reads)
    )


def of_projection(
    p: Projection, model: MemoryModel, tiling: Tiling, measured: Array | None, rate: float
) -> Array:
    """(2, cores): synaptic operations, and words read, per step on every tile of the target."""
    if p.geometry is None:
        return _listed(p, model, tiling, measured, rate)
    values = None if measured is None else np.abs(measured).reshape(p.source_shape)
    channels = _channels(p, tiling)
    axes = [
        axis.read_by(*_along(tiling, axis.target), size)
        for axis, size in zip(p.geometry.axes, p.source_shape[1:], strict=True)
    ]
    return np.stack(
        [
            _everywhere(p, tiling, _contracted(values, [matrix, *axes], rate))
            for matrix in (channels, _words(p, model)[channels])
        ]
    )


def _along(tiling: Tiling, axis: int | None) -> tuple[int, int]:
    """Positions of the target along a spatial axis, and of a full tile."""
    return (1, 1) if axis is None else (tiling.shape[1 + axis], tiling.tile[1 + axis])


def _channels(p: Projection, tiling: Tiling) -> Array:
    """(tiles, source channels): how many channels of each tile read each channel."""
    assert p.geometry is not None
    own, groups = p.source_shape[0], p.geometry.groups
    per_out, per_in = tiling.shape[0] // groups, own // groups
    reads = np.zeros((tiling.grid[0], own), np.int64)
    for tile in range(tiling.grid[0]):
        outs = np.arange(tile * tiling.tile[0], min((tile + 1) * tiling.tile[0], tiling.shape[0]))
        count = np.bincount(outs // per_out, minlength=groups)
        reads[tile] = np.repeat(count, per_in)
    return reads


def _words(p: Projection, model: MemoryModel) -> Array:
    """Words of the list of 0, 1, 2, ... output channels that one spike reads at one position."""
    interleave = model.interleave if model.shared and p.kind != "dense" else 1
    if p.kind == "dense" or model.shared:
        rows = [model.row(n / interleave) for n in range(1, p.target_shape[0] + 1)]
    else:
        one = model.row(1, extra=model.index_bits)
        rows = [one * n for n in range(1, p.target_shape[0] + 1)]
    return np.array([0, *rows])


def _contracted(values: Array | None, matrices: Sequence[Array], rate: float) -> Array:
    """Over every axis of the source, (tiles along each)."""
    if values is None:
        out = np.full((), rate)
        for matrix in matrices:
            out = np.multiply.outer(out, matrix.sum(1))
        return out
    for axis, matrix in enumerate(matrices):
        values = np.moveaxis(np.tensordot(matrix, values, (1, axis)), 0, axis)
    return values


def _everywhere(p: Projection, tiling: Tiling, found: Array) -> Array:
    """Axes of the source put where the target has them; along others every position reads all."""
    assert p.geometry is not None
    followed: dict[int, int] = {}
    for at, axis in enumerate(p.geometry.axes):
        if axis.target is not None:
            followed[axis.target] = 1 + at
    order = [0, *(followed[axis] for axis in sorted(followed))]
    single = tuple(a for a in range(found.ndim) if a not in order)
    kept = np.transpose(found, (*order, *single)).reshape([found.shape[a] for a in order])
    shape: Shape = tuple(n if a == 0 or a - 1 in followed else 1 for a, n in enumerate(tiling.grid))
    out = kept.reshape(shape)
    for at in range(1, len(tiling.shape)):
        if at - 1 not in followed:
            size, tile = tiling.shape[at], tiling.tile[at]
            sizes = np.minimum(tile, size - tile * np.arange(tiling.grid[at]))
            out = out * sizes.reshape(*(-1 if a == at else 1 for a in range(out.ndim)))
    return np.asarray(out).reshape(-1)


def _listed(
    p: Projection, model: MemoryModel, tiling: Tiling, measured: Array | None, rate: float
) -> Array:
    """Irregular projections, from the list of synapses."""
    matrix = p.matrix
    core = tiling.core_of()[matrix.rows] - tiling.first
    pair, length = np.unique(core * matrix.shape[1] + matrix.cols, return_counts=True)
    spikes = np.full(len(pair), rate)
    if measured is not None:
        spikes = np.abs(measured).reshape(-1)[pair % matrix.shape[1]]
    most = int(length.max(initial=0))
    rows = np.array([0, *(model.row(n, extra=model.index_bits) for n in range(1, most + 1))])
    at = pair // matrix.shape[1]
    return np.stack(
        [
            np.bincount(at, weights=spikes * n, minlength=tiling.cores)
            for n in (length, rows[length])
        ]
    )
