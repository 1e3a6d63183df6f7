"""How many spikes there are, from a few steps of a few samples: what ``events`` chooses by."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...cost import StaticCost
from ...facts import GraphFacts
from ...graph import Input
from ...ops import Array
from ..events.choice import PILOT_SAMPLES, PILOT_STEPS, worth_it
from ..events.layers import EventLayer
from ..layout import Layout, Order
from ..tiles import Chance, run_tile
from .planner import make_plan, new_clocks


def cheaper_by_spikes(
    facts: GraphFacts,
    cost: StaticCost,
    layers: Mapping[str, EventLayer],
    inputs: Mapping[str, Array],
    steps: int,
    seed: int,
    order: Order,
) -> Mapping[str, EventLayer]:
    """Those of ``layers`` that cost less driven by their spikes than as products in ``order``; all
    of them run so on the first samples of ``inputs`` (samples, *shape)."""
    part = {name: x[:PILOT_SAMPLES] for name, x in inputs.items()}
    count, steps = len(next(iter(part.values()))), min(steps, PILOT_STEPS)
    plan = make_plan(
        facts,
        cost,
        layout=Layout(PILOT_SAMPLES, order),
        block=steps,
        dtype=np.dtype(np.float32),
        kernels={},
        clocks=new_clocks(facts, False),
        events=layers,
        compiled=True,
    )
    found = run_tile(plan, part, 0, steps, np.asarray([steps]), Chance(seed, 0), None)
    densities = {
        name: float(fired.sum()) / (cost.neurons[name] * count * steps)
        for name, fired in found.spikes.items()
    }
    for node in facts.graph.of(Input):
        if node.encoding != "constant":
            densities[node.name] = float(np.abs(part[node.name]).mean())
    return worth_it(layers, densities, order)
