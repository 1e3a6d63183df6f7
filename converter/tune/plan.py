"""What calibration keeps of samples: spikes first, activations in what is left, within a limit.

Spikes of a population are read when later ones are calibrated. Where they take too much they are
not kept: a reader lets the population fire again, on the spikes of those before it, which stay for
that long. Activations only save the ANN's work once more and give way first. So memory decides
what is computed twice, and only where not even that fits, that fewer samples are used.

What is worked on, and what a layer's fit takes (``memory``), is there beside it: the limit is what
they leave, layer by layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType

from ...runtime import graph as snn
from ...runtime.neurons import Neuron
from .replay import last_readers, sources
from .trains import bytes_each

DEEPEST = 2  # populations in a row that fire again: each costs what all before it do
FEWEST_BYTES = 1 << 20  # of which something is kept however small the limit


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """What is kept of ``samples`` samples.

    Attributes:
        trains: populations whose spikes are kept, activations: those whose activations are.
        until: per population, the last node that needs its spikes.
        peak: bytes of them, at most.
    """

    samples: int
    trains: frozenset[str]
    activations: frozenset[str]
    until: Mapping[str, str]
    peak: int

    @property
    def again(self) -> frozenset[str]:
        """The populations that fire again for their readers."""
        return frozenset(self.until) - self.trains


def planned(
    graph: snn.SpikingGraph,
    neurons: Mapping[str, Neuron],
    *,
    steps: int,
    samples: int,
    memory: int,
    fits: Mapping[str, int] = MappingProxyType({}),
) -> Plan:
    """What is kept of ``samples`` samples, or of as many as fit, in ``memory`` bytes less what the
    ``fits`` of a population or readout take while it is calibrated; ``steps``: 1 with windows."""
    facts = _Facts.of(graph, neurons, steps)
    room = [max(memory - fits.get(name, 0), FEWEST_BYTES) for name in facts.order]
    # What is kept early, where there is room, may leave too little later on.
    rooms = [room, [min(room, default=0)] * len(room)]
    while True:
        tried = [_trains(facts, samples=samples, room=room) for room in rooms]
        enough = [
            _enough(held, room=room, deepest=deepest)
            for room, (*_, held, deepest) in zip(rooms, tried, strict=True)
        ]
        if samples == 1 or any(enough):
            break
        samples = max(1, samples * 3 // 4)
    trains, until, held, _ = tried[enough.index(True) if any(enough) else -1]
    activations = _activations(facts, held, samples=samples, room=room)
    return Plan(
        samples=samples,
        trains=trains,
        activations=activations,
        until=until,
        peak=max(held, default=0),
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class _Facts:
    """Populations and readouts in order, and what bears on them; bytes are of one sample."""

    order: list[str]
    at: dict[str, int]
    last: dict[str, str]
    sources: dict[str, set[str]]
    spikes: dict[str, int]
    values: dict[str, int]

    @staticmethod
    def of(graph: snn.SpikingGraph, neurons: Mapping[str, Neuron], steps: int) -> _Facts:
        nodes = [n for n in graph.nodes if isinstance(n, snn.Population | snn.Readout)]
        last = last_readers(graph)
        layers = [n for n in nodes if isinstance(n, snn.Population) and n.name in last]
        return _Facts(
            order=[node.name for node in nodes],
            at={node.name: i for i, node in enumerate(nodes)},
            last=last,
            sources={node.name: sources(graph, node.name) for node in nodes},
            spikes={p.name: prod(p.shape) * bytes_each(neurons[p.name], steps) for p in layers},
            values={p.name: 4 * prod(p.shape) for p in layers},
        )

    def end(self, name: str, until: Mapping[str, str]) -> int:
        """When ``name`` is needed for the last time."""
        return self.at[until[name]]


def _trains(
    facts: _Facts, *, samples: int, room: list[int]
) -> tuple[frozenset[str], dict[str, str], list[int], int]:
    """Whose spikes are kept, until when, what they take while each node is calibrated, and how
    many populations in a row fire again."""
    kept: set[str] = set()
    until = {name: facts.last[name] for name in facts.spikes}
    held = [0] * len(facts.order)
    depth: dict[str, int] = {}
    for name in facts.spikes:
        at, size = facts.at[name], facts.spikes[name] * samples
        depth[name] = 0
        # What this population reads for the last time gives its place to what it sends, tile by
        # tile.
        ending = [s for s in kept & facts.sources[name] if facts.end(s, until) == at]
        beside = _taken(facts, kept - set(ending), until, at, samples)
        before = beside + sum(facts.spikes[s] for s in ending) * samples
        later = range(at + 1, facts.end(name, until) + 1)
        if beside + size <= room[at] and all(
            _taken(facts, kept, until, node, samples) + size <= room[node] for node in later
        ):
            kept.add(name)
            held[at] = max(before, beside + size)
            continue
        depth[name] = 1 + max((depth[s] for s in facts.sources[name]), default=0)
        _prolong(facts, name, until)
        held[at] = before
    for at in range(len(facts.order)):
        held[at] = max(held[at], _taken(facts, kept, until, at, samples))
    return frozenset(kept), until, held, max(depth.values(), default=0)


def _enough(held: list[int], *, room: list[int], deepest: int) -> bool:
    return deepest <= DEEPEST and all(took <= most for took, most in zip(held, room, strict=True))


def _taken(facts: _Facts, kept: set[str], until: Mapping[str, str], at: int, samples: int) -> int:
    """Bytes of the ``kept`` that are there before node ``at`` and needed by it or later."""
    return samples * sum(facts.spikes[s] for s in kept if facts.at[s] < at <= facts.end(s, until))


def _prolong(facts: _Facts, name: str, until: dict[str, str]) -> None:
    """What a population fires on stays as long as the population is needed."""
    for source in facts.sources[name]:
        if facts.end(source, until) < facts.end(name, until):
            until[source] = until[name]
            _prolong(facts, source, until)


def _activations(
    facts: _Facts, held: list[int], *, samples: int, room: list[int]
) -> frozenset[str]:
    """Whose activations are kept in what is left: the deepest first, as computing them again takes
    longest. ``held`` grows by them."""
    kept = set()
    for name in reversed(list(facts.values)):
        size = facts.values[name] * samples
        span = range(facts.at[name], facts.at[facts.last[name]] + 1)
        if all(held[at] + size <= room[at] for at in span):
            kept.add(name)
            for at in span:
                held[at] += size
    return frozenset(kept)
