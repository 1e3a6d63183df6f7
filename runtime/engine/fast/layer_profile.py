"""Clocks of a plan's layers, and profiles of the threads' plans as one record per layer."""

from __future__ import annotations

from collections.abc import Sequence

from ...facts import GraphFacts
from ...graph import SpikingGraph
from ...ops import WeightedOp
from ..profile import Clock, LayerProfile, layer_profile, running_clock
from .planning.plan import Plan
from .planning.segment import Segment


def new_clocks(facts: GraphFacts, profile: bool) -> dict[str, Clock]:
    """A clock for each layer of one thread, measuring only for a ``profile``."""
    sinks = [chain.sink for chain in facts.chains if not chain.constant]
    return {sink: running_clock() if profile else Clock() for sink in sinks}


def profiles(plans: Sequence[Plan], sample_steps: int) -> tuple[LayerProfile, ...]:
    """One record per layer, in execution order, of ``sample_steps`` samples times steps."""
    return tuple(
        layer_profile(
            segment.node.name,
            [plan.clocks[segment.node.name] for plan in plans],
            2.0 * _weight_uses(plans[0].graph, segment) * sample_steps,
        )
        for segment in plans[0].segments
    )


def _weight_uses(graph: SpikingGraph, segment: Segment) -> int:
    shapes = {node.name: node.shape for node in graph.nodes}
    return sum(
        node.op.uses(shapes[node.inputs[0]])
        for node in segment.synapses
        if isinstance(node.op, WeightedOp)
    )
