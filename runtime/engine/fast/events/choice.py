"""Which layers are driven by their spikes: by shape, and by how many spikes there really are.

A layer's step costs one addition per connection of a spike when driven by spikes, and one
multiplication and addition per connection whether there are spikes or not when computed as a
product. How many spikes there are is measured: the first samples run for a few steps, all layers
that qualify driven by spikes. So the choice depends on the network and the samples alone, never on
a clock; it is made once per simulator, and changes results by rounding at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Literal, TypeAlias, get_args

from .....errors import UsageError
from ..native import kernels
from .layers import EventLayer, EventSource

Events: TypeAlias = Literal["auto", "never", "always"]
PILOT_SAMPLES = 4
PILOT_STEPS = 8
LARGE_BYTES = 1_000_000  # weights beyond a core's cache, which every spike reads again

# Costs in multiply-and-adds of a dense product (measured: docs/performance.md), so that a layer is
# driven by its spikes only where that is faster. Products share a weight among samples and steps,
# spikes do not.
COST = 1.35  # of a spike's addition, against ONNX Runtime's products
LARGE_COST = 2.0  # times as much where weights do not stay in the cache
EVENT_COST = 250  # of a spike, however many additions it causes
POINT_COST = 0.3  # of a connection from one channel to one channel, spikes or not
MOVE_COST = 30  # of a neuron's spike, from the order of these kernels into a product's operand
UPDATE_COST = 20  # of a neuron's update in several passes, beyond that in one


def check_option(events: str) -> None:
    """Raises UsageError for an option that is none, or that needs what is not installed."""
    if events not in get_args(Events):
        raise UsageError(f"events must be one of {', '.join(get_args(Events))}, got '{events}'")
    if events == "always" and not available():
        raise UsageError(
            "layers driven by their spikes need kernels that numba compiles, which cannot be used",
            remedy="Install it with: pip install 'onnx2snn[fast]'.",
        )


def available() -> bool:
    """Whether the compiled kernels can be used (``native``)."""
    return kernels() is not None


def worth_it(
    layers: Mapping[str, EventLayer], densities: Mapping[str, float]
) -> dict[str, EventLayer]:
    """The layers for which spikes are cheaper than products, given the share of each source's
    neurons that fire in a step."""
    return {name: layer for name, layer in layers.items() if _is_worth(layer, densities)}


def _is_worth(layer: EventLayer, densities: Mapping[str, float]) -> bool:
    by_events = 0.0
    updates = layer.readers if layer.neurons is None else 1
    dense = float(UPDATE_COST * updates * prod(layer.node.shape))
    for source in layer.sources:
        table = source.table
        neurons = table.width * table.positions
        moved = len(source.names) * table.width * (source.pool or table).positions
        dense += table.operations + MOVE_COST * moved
        if table.points:
            by_events += POINT_COST * table.operations
            continue
        cost = COST * (LARGE_COST if table.weight.nbytes > LARGE_BYTES else 1)
        additions = table.operations + EVENT_COST * neurons
        by_events += _density(source, densities) * cost * additions
    return by_events <= dense


def _density(source: EventSource, densities: Mapping[str, float]) -> float:
    """The share of what a layer reads that is not zero: of window sums, as if spikes were spread
    evenly."""
    share = sum(densities.get(name, 1.0) for name in source.names)
    if source.pool is None:
        return share
    windows = source.pool.positions / max(prod(source.pooled[1:]), 1)
    return float(1 - (1 - min(share, 1.0)) ** windows)
