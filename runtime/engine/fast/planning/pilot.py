"""How many spikes there are, from a few steps of a few samples: what ``events`` chooses by."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....cost import StaticCost
from ....facts import GraphFacts
from ....graph import Input
from ...interface import Request
from ..events.choice import PILOT_SAMPLES, PILOT_STEPS, worth_it
from ..events.layers import EventLayer
from ..layer_profile import new_clocks
from ..products.sessions import ChainSessions
from ..tiles import Chance, run_tile
from .planner import make_plan


def cheaper_by_spikes(
    facts: GraphFacts,
    cost: StaticCost,
    layers: Mapping[str, EventLayer],
    *,
    asked: Request,
    sessions: ChainSessions,
) -> Mapping[str, EventLayer]:
    """Those of ``layers`` that cost less driven by their spikes than as products; all
    of them run so on the first samples of the run ``asked`` for."""
    part = {name: x[:PILOT_SAMPLES] for name, x in asked.arrays.items()}
    count, steps = len(next(iter(part.values()))), min(asked.steps, PILOT_STEPS)
    plan = make_plan(
        facts,
        cost,
        lanes=PILOT_SAMPLES,
        block=steps,
        dtype=np.dtype(np.float32),
        sessions=sessions,
        clocks=new_clocks(facts, False),
        events=layers,
        compiled=True,
    )
    found = run_tile(
        plan,
        part,
        start=0,
        steps=steps,
        kept=np.asarray([steps]),
        chance=Chance(asked.seed, 0),
        early_exit=None,
    )
    densities = {
        name: float(fired.sum()) / (cost.neurons[name] * count * steps)
        for name, fired in found.spikes.items()
    }
    for node in facts.graph.of(Input):
        if node.encoding != "constant":
            densities[node.name] = float(np.abs(part[node.name]).mean())
    return worth_it(layers, densities)
