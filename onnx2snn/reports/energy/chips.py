"""Energies and latencies of placement reports in words, the same for every text, page and table.

Each kind of energy has a row or column of its own, and nothing is added across them. "n/a" is a
kind that nothing was published of.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...display import counted
from ...hwtargets.energy import Energy, Joules
from ...hwtargets.energy.latency import Latency
from ...hwtargets.placement.report import PlacementReport

KINDS = {"dynamic_j": "dynamic", "static_j": "static", "undivided_j": "undivided"}
SAID = "undivided: dynamic and static in one published figure; n/a: nothing published"
PREFIXES = ((1, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p"), (1e-15, "f"))


def si(value: float, unit: str) -> str:
    """With an SI prefix, three digits."""
    for factor, prefix in PREFIXES:
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def joules(found: Joules | None) -> str:
    """An energy, for a cell of a table."""
    if found is None:
        return "n/a"
    return si(found.value, "J") + ("" if found.verified else " (not verified)")


def rows(energy: Energy) -> list[tuple[str, str, str, str]]:
    """Per kind: its name, energy, range, and what it is made of."""
    return [
        (KINDS[name], joules(kind), *_of(kind)) for name, kind in energy.kinds.items()
    ]  # fmt: skip


def _of(kind: Joules | None) -> tuple[str, str]:
    if kind is None:
        return "", ""
    return f"{si(kind.low, 'J')} to {si(kind.high, 'J')}", kind.basis


def summed_up(energy: Energy) -> str:
    """The kinds that are known, in a sentence; nothing is added."""
    known = [
        f"{KINDS[name]} {joules(kind)}" for name, kind in energy.kinds.items() if kind is not None
    ]
    return ", ".join(known) or "n/a (the target states none)"


def latency(found: Latency) -> str:
    """In a sentence; steps alone where no time per step is stated."""
    t = found.seconds
    if t is None:
        return (
            f"{counted(found.steps + found.lag_steps, 'step')}, the target states no time per step"
        )
    return f"{si(t.value, 's')} ({si(t.low, 's')} to {si(t.high, 's')})"


INPUTS = {
    "": "",
    "graded": "graded values in every step, sent by the host",
    "bias": "currents of the first layer, computed by the host, which is not counted",
    "population": "spikes of encoding neurons on the chip, which are counted",
    "spikes": "spikes, sent by the host",
}
SHORT = {"graded": "graded", "bias": "bias", "population": "spikes", "spikes": "spikes", "": "-"}


def conditions(reports: Sequence[PlacementReport], modes: str = "") -> str:
    """What each energy is made of, chips of the same kind and basis together; and how the input
    enters. ``modes``: as what, where it is the same for all."""
    known = [r for r in reports if r.fits and r.energy.known]
    if not known:
        return ""
    said: dict[str, list[str]] = {}
    for name, label in KINDS.items():
        for r in known:
            kind = r.energy.kinds[name]
            if kind is not None:
                said.setdefault(f"{label}: {kind.basis}", []).append(r.target)
    lines = [f"  {', '.join(chips)}, {line}" for line, chips in said.items()]
    alike = f", with the input as {modes} on all chips" if modes else ""
    return "\n".join(
        [f"Energy per inference{alike} ({SAID}):", *lines, *_unverified(known), *_inputs(known)]
    )


def _unverified(reports: Sequence[PlacementReport]) -> list[str]:
    """Constants that no public source confirms for the chip, with what was taken instead."""
    found: dict[str, list[str]] = {}
    for r in reports:
        for kind in r.energy.known:
            for part in () if kind.verified else kind.parts:
                source = r.energy.sources[part].removesuffix(" [not verified]")
                found.setdefault(f"{part}: {source}", []).append(r.target)
    return [f"  {', '.join(chips)}, not verified, {line}" for line, chips in found.items()]


def _inputs(reports: Sequence[PlacementReport]) -> list[str]:
    """How the input enters, and whether the energies are of one kind in this."""
    chips: dict[str, list[str]] = {}
    for r in reports:
        if r.input_mode:
            chips.setdefault(r.input_mode, []).append(r.target)
    ways = [f"  {', '.join(names)}, input: {INPUTS[mode]}" for mode, names in chips.items()]
    if len({SHORT[mode] for mode in chips}) > 1:
        ways.append(
            "  Energies with different inputs do not compare: the first layer's cost differs."
        )
    return ways
