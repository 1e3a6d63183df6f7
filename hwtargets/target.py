"""A chip as data: limits with their sources, capabilities, and named design rules.

A target is read from a TOML file (see ``target_file``). It names its mapping (``mapping =
"cores"``, ``"crossbar"``, ...; see ``mapping.ChipMapping``). No class per chip: a user's own file
for a core-with-memory chip or a crossbar needs no code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, TypeAlias

from ..errors import TargetError
from ..runtime.plasticity import RULES
from .kinds import Choice, Choices, Flag, Kind, Whole
from .view.network import ChipNetwork

UNBOUNDED = inf  # of a limit that does not bind where a file does not state it
WHOLE = "whole"  # an energy constant with the chip's static power in it
DYNAMIC = "dynamic"  # one without it
COVERS = (DYNAMIC, WHOLE)
# How a number came into a file: read in its source; quoted, read in another source that cites it;
# fitted to what was published; assumed.
BASES = ("read", "quoted", "fit", "assumed")


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A number of the chip: its value, unit, where it comes from, and whether that was verified.

    ``verified`` is False for a number remembered or fitted: every report that depends on it says
    so. ``uncertainty`` is a relative half-width (0.2 is +-20 %), None where unknown. ``covers``, of
    an energy constant: what was measured, one of ``COVERS``, or "" for what its name says.
    """

    name: str
    value: float
    source: str
    verified: bool
    unit: str = ""
    uncertainty: float | None = None
    covers: str = ""
    basis: str = ""
    by: str = ""
    others: tuple[Limit, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Range:
    """A number of the chip that is known to lie in a range only."""

    name: str
    low: float
    high: float
    source: str
    verified: bool
    unit: str = ""
    basis: str = ""


@dataclass(frozen=True, kw_only=True)
class Known:
    """A number that target files of some mapping may state.

    Attributes:
        help, unit: what it counts.
        unstated: the value where a file does not state it, ``UNBOUNDED`` for a limit that does not
            bind then; None: a mapping that asks for it refuses the file (E502).
        only: the one value that the mapping is built on; others are refused. None: any.
        uncertainty: relative half-width of a constant whose file states none.
    """

    help: str
    unit: str = ""
    unstated: float | None = None
    only: float | None = None
    uncertainty: float | None = None


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One rule broken by one node: ``used`` against ``limit``, and what the user can do.

    ``rule`` names what the network has and the chip does not take ("analog node", "start lag"), or
    a limit; never the demand ("no analog nodes"), which reads as the opposite behind a colon.
    """

    node: str
    rule: str
    used: float | str
    limit: float | str
    remedy: str


@dataclass(frozen=True, eq=False, kw_only=True)
class HardwareTarget:
    """What a chip offers.

    Attributes:
        name, title: what ``--target`` takes; what reports print.
        mapping: name of the mapping.
        limits: numbers with sources, by name.
        known: what the mapping knows of limits, by name; see ``ChipMapping.limits``.
        capabilities: what neurons and spikes can do, e.g. ``reset = ["subtract"]``,
            ``levels = 1``, ``signed = false``, ``lag = true``; each with a default in
            ``CAPABILITIES``.
        energy: constants of the energy and latency model, as limits.
        times: what events take of a step, in ranges; see ``energy.bounds``.
        boards: known boards, by name: number of chips.
        options: the file's ``[options]``, which override the defaults of ``ChipMapping.options``.
        notes: sentences that every report repeats.
    """

    name: str
    title: str
    mapping: str
    limits: Mapping[str, Limit]
    known: Mapping[str, Known]
    capabilities: Mapping[str, Any]
    energy: Mapping[str, Limit] = field(default_factory=dict)
    times: Mapping[str, Range] = field(default_factory=dict)
    boards: Mapping[str, int] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    path: str = ""

    def limit(self, name: str) -> float:
        """The value of a limit, where the file does not state it that of the mapping's table;
        TargetError E502 if there is none. KeyError, a bug: the mapping's table lacks the name."""
        if name in self.limits:
            return self.limits[name].value
        if name not in self.known:
            raise KeyError(f"mapping '{self.mapping}' lists no limit '{name}'")
        unstated = self.known[name].unstated
        if unstated is None:
            raise TargetError(
                f"target '{self.name}' (mapping '{self.mapping}') states no limit '{name}'",
                where=self.path,
                remedy=f"Add [limits.{name}] with value, source and verified.",
                code="E502",
            )
        return unstated

    def can(self, name: str) -> Any:
        """A capability; where the file does not state it that of ``CAPABILITIES``."""
        return self.capabilities.get(name, CAPABILITIES[name].unstated)

    @property
    def largest_board(self) -> int:
        """Chips of the largest known board; 1 where none is known."""
        return max([*self.boards.values(), 1])

    def smallest_board(self, chips: int) -> str | None:
        """The known board with the fewest chips that has as many."""
        fitting = {name: n for name, n in self.boards.items() if n >= chips}
        return min(fitting, key=lambda name: fitting[name]) if fitting else None

    @property
    def otherwise(self) -> Mapping[str, HardwareTarget]:
        """The same chip with all that one other source states of its limits, by that source."""
        found: dict[str, dict[str, Limit]] = {}
        for limit in self.limits.values():
            for other in limit.others:
                found.setdefault(other.by, {})[limit.name] = other
        return {by: replace(self, limits={**self.limits, **own}) for by, own in found.items()}

    @property
    def unverified(self) -> tuple[Limit, ...]:
        """The numbers a report has to mark."""
        return tuple(n for n in (*self.limits.values(), *self.energy.values()) if not n.verified)


Check: TypeAlias = Callable[[ChipNetwork, HardwareTarget], Iterable[Violation]]


@dataclass(frozen=True, kw_only=True)
class DesignRule:
    """A named predicate: ``statement`` says it in a sentence, ``check`` yields what breaks it."""

    name: str
    statement: str
    check: Check


@dataclass(frozen=True, kw_only=True)
class Capability:
    """What neurons and spikes can do: the kind of its values, and what holds where a file does not
    state it."""

    kind: Kind
    help: str
    unstated: Any


ENTRIES = ("graded", "bias", "population", "rate")  # how an analog input may enter, on any chip

CAPABILITIES: Mapping[str, Capability] = {
    "reset": Capability(
        kind=Choices(("subtract", "zero")), help="how a neuron may reset", unstated=["subtract"]
    ),
    "soft_reset_neurons": Capability(
        kind=Whole(), help="hardware neurons of one neuron that resets by subtraction", unstated=1
    ),
    "levels": Capability(kind=Whole(), help="largest spike payload", unstated=1),
    "signed": Capability(kind=Flag(), help="negative spikes", unstated=False),
    "leak": Capability(kind=Flag(), help="multiplicative membrane leak", unstated=True),
    "lag": Capability(
        kind=Flag(), help="integrating without firing for the first steps", unstated=False
    ),
    "paced": Capability(
        kind=Flag(), help="behind a lag: even spikes, read by when they come", unstated=False
    ),
    "windowed": Capability(
        kind=Flag(),
        help="one number per window: thresholds that fall, sums that weigh, by the step",
        unstated=False,
    ),
    "refractory": Capability(kind=Flag(), help="a refractory period", unstated=False),
    "per_neuron_bias": Capability(
        kind=Flag(), help="biases may differ within a layer", unstated=True
    ),
    "v_init": Capability(
        kind=Flag(), help="an initial membrane potential other than 0", unstated=True
    ),
    "threshold_per": Capability(
        kind=Choice(("layer", "group", "neuron")),
        help="how often a threshold may differ",
        unstated="layer",
    ),
    "input": Capability(
        kind=Choices(ENTRIES), help="how an analog input may enter", unstated=["population"]
    ),
    "v_min": Capability(kind=Flag(), help="a floor of the membrane", unstated=False),
    "learning": Capability(
        kind=Choices((*RULES, "none")),
        help="rules by which synapses could learn on the chip",
        unstated=["none"],
    ),
    "strict": Capability(
        kind=Flag(), help="fires at v > threshold instead of v >= threshold", unstated=False
    ),
}
