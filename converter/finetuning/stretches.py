"""How much is computed at once, so that what gradients need fits into memory.

A batch may be computed in parts whose gradients are added up, and time in stretches: only the
states between them are kept, and a stretch is computed again when gradients reach it (gradient
checkpointing; Chen et al. 2016). Neither changes what is computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ...runtime import graph as snn
from ...runtime.cost import static_cost
from ...runtime.facts import GraphFacts
from ...runtime.ops import MultiplyingOp

SAVED = 10  # numbers kept per value of a signal and step: currents, potentials, their derivatives
LARGE = 60_000_000  # multiply-accumulates of a layer at once from which threads pay
EFFICIENT = 4  # samples at once: time is cut before batches get smaller


@dataclass(frozen=True, kw_only=True)
class Parts:
    """``samples`` at once, ``steps`` of a stretch."""

    samples: int
    steps: int


def parts_of(network: snn.SpikingGraph, *, batch: int, steps: int, memory: int) -> Parts:
    """Of batches of ``batch`` samples that run for ``steps`` steps in all."""
    values = sum(prod(node.shape) for node in network.nodes)
    samples, stretch = batch, steps

    def needed() -> int:
        stretches = -(-steps // stretch)
        kept = 0 if stretches == 1 else 3 * stretches
        return 4 * values * samples * (SAVED * stretch + kept)

    while needed() > memory and samples > EFFICIENT:
        samples = max(samples // 2, EFFICIENT)
    while needed() > memory and stretch > 1 and stretch * stretch > steps:
        stretch = -(-stretch // 2)
    while needed() > memory and samples > 1:
        samples //= 2
    return Parts(samples=samples, steps=stretch)


def threads_of(network: snn.SpikingGraph, parts: Parts) -> int | None:
    """Of PyTorch: one where layers are small, None (all) else. Threads that wait for each other
    after every small operation are slow beside other programs, by more than they ever gain."""
    layers = [node for node in network.of(snn.Synapse) if isinstance(node.op, MultiplyingOp)]
    each = static_cost(GraphFacts(network)).macs_ann / max(len(layers), 1)
    return None if each * parts.samples * parts.steps >= LARGE else 1
