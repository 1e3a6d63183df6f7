"""Weights, biases and potentials on grids of powers of two: sums of spikes become exact.

A current is a sum of weights. In single precision its last bits depend on the order in which they
are added, which differs between engines, tile sizes and processors. Where a potential lies that
near to its threshold, a spike then moves by a step, and what follows differs: on a calibrated
ResNet-20 at T = 16 three spikes in ten thousand, and a readout by up to 5 % of its range.

So every channel gets a grid, coarse enough that the largest sum it can form has 24 bits (what a
float32 holds exactly), and everything that is added up in it is rounded to that grid: typically to
2^-15 of the threshold, 500 times finer than a quantization step at T = 64. Sums are then exact in
any order, and all engines agree spike for spike (the first layer's constant current is rounded by
the runtime, ``runtime.semantics.constants``). Thresholds are rounded to 12 bits before they are
folded into the weights that read them (``round_thresholds``), so that nothing is lost there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ...runtime import graph as snn
from ...runtime.neurons import Neuron, WindowedNeuron
from ...runtime.ops import Array, MultiplyingOp
from ...runtime.ops.arrays import narrowed, own, row_blocks
from ...runtime.ops.change import Change
from ...runtime.semantics.constants import grid_of
from ..statistics.measure import by_channel, channel_axis
from .bounds import Bounds

MANTISSA = 24  # bits of a float32
THRESHOLD_BITS = 12
HEADROOM = 2.0  # of the largest current: for the steps after which a potential is far below zero
RANGE = 32.0  # thresholds: how far below zero a potential stays exact in any case
# Neurons with no other traits than these add and subtract currents and thresholds only, or do the
# same to them whoever computes it.
SUMS = frozenset(
    ("if", "paced", "few-spike", "ttfs", "differential", "subtract", "levels", "signed", "lag")
) | {"refractory", "floor", "ceiling", "v_init", "bias"}
FINE = 2.0**-7  # of a level: what rounding weights may change the largest number's share by
COARSEST = 2.0**-10  # of the threshold: a layer whose sums are larger keeps its weights


def round_thresholds(neurons: Mapping[str, Neuron]) -> dict[str, Neuron]:
    """``neurons`` with thresholds of 12 significant bits; differential ones, which divide by the
    step's number anyway, are left."""
    return {
        name: neuron
        if neuron.coding == "differential"
        else neuron.having(v_threshold=_significant(neuron.v_threshold))
        for name, neuron in neurons.items()
    }


def _significant(x: Array) -> Array:
    mantissa, exponent = np.frexp(x.astype(np.float64))
    scale = 2.0**THRESHOLD_BITS
    return np.ldexp(np.rint(mantissa * scale) / scale, exponent).astype(np.float32)


def on_grid(graph: snn.SpikingGraph) -> snn.SpikingGraph:
    """``graph`` (thresholds folded) with its weights, biases and initial potentials on grids.

    Differential neurons divide, but neuron by neuron: where the currents of a step are exact, all
    engines do the same to the same numbers. Left as they are: neurons with a leak; currents that
    are not sums of spikes (of analog islands, of max pools between differential layers, of linear
    layers with no neuron in between); layers that would need a grid coarser than 2^-10 of a
    threshold.
    """
    walk = Bounds(graph)
    grids: dict[str, Array] = {}
    changed: dict[str, snn.Node] = {}
    for node in graph.nodes:
        if not isinstance(node, snn.Population | snn.Readout):
            continue
        terms = walk.terms(node)
        if terms is None:
            continue
        grid = _grid(node, terms, walk)
        if grid is None:
            continue
        changed[node.name] = _rounded_node(node, grid)
        for synapse in terms:
            before = grids.get(synapse.name)
            grids[synapse.name] = grid if before is None else np.maximum(before, grid)
    # Where calibration keeps the ANN's own values beside its own, so does this.
    keeps = any(
        n.ann_bias is not None for n in graph.nodes if isinstance(n, snn.Population | snn.Readout)
    )
    for name, grid in grids.items():
        kept = walk.nodes[name]
        assert isinstance(kept, snn.Synapse) and isinstance(kept.op, MultiplyingOp)
        fine = kept.op.per_output(grid)
        if keeps and kept.ann_op is None:
            kept = replace(kept, ann_op=kept.op, change=Change())
        changed[name] = _rounded_synapse(kept, fine)
    return graph.with_nodes(changed.values())


def is_exact(graph: snn.SpikingGraph) -> bool:
    """Whether every sum of ``graph`` can be exact in any order (``on_grid`` makes it so), so that
    all engines send the same spikes."""
    walk = Bounds(graph)
    for node in graph.nodes:
        if isinstance(node, snn.Population | snn.Readout):
            terms = walk.terms(node)
            if terms is None or _grid(node, terms, walk) is None:
                return False
    return True


def _grid(
    node: snn.Population | snn.Readout, terms: list[snn.Synapse], walk: Bounds
) -> Array | None:
    """The grid of every channel, broadcasting to the node's shape; None: too coarse, or the
    neurons do not only add and subtract."""
    if isinstance(node, snn.Readout):
        theta = np.zeros(())
    else:
        neuron = node.neuron
        if not neuron.traits <= SUMS:
            return None
        if not terms:
            return grid_of(node)
        theta = neuron.v_threshold.astype(np.float64) * neuron.levels
    axis = channel_axis(walk.facts, node.name)
    most = np.abs(by_channel(np.broadcast_to(node.bias, (1, *node.shape)), axis)).max(axis=1)
    most = most.astype(np.float64)
    for synapse in terms:
        assert isinstance(synapse.op, MultiplyingOp)
        sums = synapse.op.absolute_sums(node.shape, axis)
        most = most + (walk.largest(synapse.inputs[0]) or 0) * sums
    shape = [1] * len(node.shape)
    shape[axis : axis + 1] = [len(most)] * len(shape[axis : axis + 1])
    most = most.reshape(shape)
    if isinstance(node, snn.Population) and isinstance(node.neuron, WindowedNeuron):
        # The sums of a whole window too, where that leaves weights fine enough: one product in
        # single precision is then exact (``runtime.engine.fast.windows``).
        numbers = node.neuron.most(node.neuron.lag)
        whole = _power_of_two(max(numbers, HEADROOM) * most)
        if np.all(whole * numbers <= FINE * theta):
            return whole
    reach = HEADROOM * most + RANGE * theta
    grid = _power_of_two(reach)
    if isinstance(node, snn.Population) and np.any(grid > COARSEST * theta):
        return None
    return grid


def _power_of_two(reach: Array) -> Array:
    """The grid on which sums up to ``reach`` are exact."""
    return np.asarray(2.0 ** (np.ceil(np.log2(np.maximum(reach, 1e-30))) - MANTISSA))


def _rounded_synapse(node: snn.Synapse, grid: Array) -> snn.Synapse:
    """Its numbers on the ``grid``, which broadcasts to them, or they to it."""
    op, ann = node.op, node.ann_op
    assert isinstance(op, MultiplyingOp)
    change = node.change if isinstance(ann, MultiplyingOp) and op.factors.ndim else None
    if change is None or np.broadcast_shapes(grid.shape, op.factors.shape) != op.factors.shape:
        return replace(node, op=op.with_factors(_rounded(op.factors, grid=grid)), change=None)
    assert isinstance(ann, MultiplyingOp)
    change = replace(change, grid=narrowed(grid))
    return replace(node, op=op.with_factors(change.of(ann.factors)), change=change)


def _rounded_node(node: snn.Population | snn.Readout, grid: Array) -> snn.Population | snn.Readout:
    if np.any(node.bias):
        node = replace(node, bias=_rounded(node.bias, grid=grid))
    if isinstance(node, snn.Readout):
        return node
    neuron = node.neuron
    if "v_init" not in neuron.traits:
        return node
    return replace(node, neuron=neuron.having(v_init=_rounded(neuron.v_init, grid=grid)))


def _rounded(x: Array, *, grid: Array) -> Array:
    """``x`` to whole steps of ``grid``, float32."""
    shape = np.broadcast_shapes(x.shape, grid.shape)
    if x.ndim < 2 or x.shape != shape:
        return np.asarray(np.rint(x / grid) * grid).astype(np.float32)
    grid, out = np.broadcast_to(grid, shape), np.empty(shape, np.float32)
    for rows in row_blocks(x):
        out[rows] = np.rint(x[rows] / grid[rows]) * grid[rows]
    return own(out)
