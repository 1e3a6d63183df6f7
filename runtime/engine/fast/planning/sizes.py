"""How many samples and steps are computed together, from what fits a core's cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod

from ....facts import Chain, GraphFacts
from ....graph import Population
from ....ops import Shape
from ....ops.convolution import Conv
from ...interface import too_little_memory

# For one layer's step of a tile: more of a core's own cache makes fewer tiles and calls, each of
# which costs ONNX Runtime some microseconds; beyond it currents come back from memory.
TILE_BYTES = 4_700_000
SPIKE_BYTES = 2_500_000  # for a block's spikes of one layer: read again by the next while cached
CHUNK_BYTES = 512 * 1024  # currents of one chunk: still in L2 when the neurons read them
MOST_LANES = 128
SMALLEST = 4  # lanes that a memory limit leaves while blocks can still be made shorter


@dataclass(frozen=True)
class Sizes:
    """``lanes`` samples per tile, ``block`` steps."""

    lanes: int
    block: int


def choose_sizes(
    facts: GraphFacts,
    samples: int,
    *,
    steps: int,
    threads: int,
    tile: int | None,
    block: int | None,
    mem_limit: int | None,
    itemsize: int,
) -> Sizes:
    """Tile and block; what is given stands. ``mem_limit`` (bytes) bounds all threads' buffers.

    Raises UsageError where even the smallest tile needs more.
    """
    per_sample = _step_bytes(facts, itemsize)
    if tile is None:
        most = min(max(TILE_BYTES // per_sample, SMALLEST), MOST_LANES)
        lanes = _balanced(most, samples=samples, threads=threads)
    else:
        lanes = tile
    if block is None:
        spikes = max((prod(p.shape) for p in facts.graph.of(Population)), default=1)
        block = min(max(SPIKE_BYTES // (spikes * lanes), 8), 32, steps)
    sizes = Sizes(lanes, block)
    if mem_limit is None:
        return sizes
    while _plan_bytes(facts, sizes, itemsize) * threads > mem_limit:
        if sizes.block > 1:
            sizes = Sizes(sizes.lanes, sizes.block // 2)
        elif sizes.lanes > SMALLEST:
            sizes = Sizes(max(SMALLEST, sizes.lanes // 2), sizes.block)
        else:
            need = _plan_bytes(facts, sizes, itemsize) * threads
            raise too_little_memory(mem_limit, need, threads=threads)
    return sizes


def _balanced(most: int, *, samples: int, threads: int) -> int:
    """Lanes up to ``most`` (and not below half of it) with which the threads are done soonest: as
    few lanes as possible through the rounds of tiles that each thread does, unused ones counted.
    A lane more is charged for every round, for what a tile costs however small it is."""
    most = min(most, ceil(samples / threads))
    sizes = range(most, max(1, most // 2) - 1, -1)
    return min(sizes, key=lambda lanes: ceil(ceil(samples / lanes) / threads) * (lanes + 1))


def _step_bytes(facts: GraphFacts, itemsize: int) -> int:
    """Bytes that a step of one sample needs in the largest segment: what its synapses write, the
    operands of its products, and its membrane potentials."""
    shapes = facts.shapes
    largest = 1
    for chain in facts.chains:
        if not chain.constant:
            size = prod(shapes[chain.sink]) + _step_elements(chain, shapes)
            largest = max(largest, size * itemsize)
    return largest


def chunk_steps(chain: Chain, shapes: Mapping[str, Shape], itemsize: int) -> int:
    """Steps whose currents stay in the cache until the neurons read them; ``itemsize``: of an
    element in all lanes."""
    return max(1, CHUNK_BYTES // max(_step_elements(chain, shapes) * itemsize, 1))


def _step_elements(chain: Chain, shapes: Mapping[str, Shape]) -> int:
    """What a step of one sample writes in a chain's synapses, and the operands of its products."""
    size = 0
    for node in chain.nodes:
        size += prod(node.shape)
        if isinstance(node.op, Conv):
            size += prod(shapes[node.inputs[0]]) * node.op.kernel[-1] // node.op.strides[-1]
    return size


def _plan_bytes(facts: GraphFacts, sizes: Sizes, itemsize: int) -> int:
    """An upper estimate of one plan's buffers: every state, and a block of the largest signals."""
    elements = [prod(shape) for shape in facts.shapes.values()]
    states, largest = sum(elements) * itemsize * 2, max(elements)
    return sizes.lanes * (states + largest * sizes.block * 4 + 4 * _step_bytes(facts, itemsize))
