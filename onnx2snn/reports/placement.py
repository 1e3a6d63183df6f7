"""The placement report as text for a terminal, and a table that compares several chips."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..display import displayed
from ..hwtargets.placement.report import PlacementReport
from ..hwtargets.target import Violation
from .text import table


def render_text(report: PlacementReport) -> str:
    """Everything but the floor plan, at most about 100 columns wide."""
    report = displayed(report)
    parts = [
        _verdict(report),
        _violations(report),
        _layers(report),
        _resources(report),
        _traffic(report),
        _accuracy(report),
        _energy(report),
        _notes(report),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    return table(head, [[_cell(value) for value in row] for row in rows])


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
        case int():
            return f"{value:,}"
    return str(value)


def _verdict(r: PlacementReport) -> str:
    where = f"{_many(r.cores, 'core')} on {_many(r.chips, 'chip')}"
    if not r.fits:
        return f"{r.title}: does NOT fit, {_many(len(r.violations), 'violation')}."
    board = r.facts.get("boards", {}).get("smallest_that_holds_it")
    on = f" ({board})" if board else ""
    b = r.binding
    return (
        f"{r.title}: fits, {where}{on}.\n"
        f"Binding limit: {b['name']}, {_cell(b['used'])} of {_cell(b['limit'])}, margin "
        f"{100 * b['margin']:.0f} %{'' if b['verified'] else ' (limit not verified)'}."
    )


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _violations(r: PlacementReport) -> str:
    if not r.violations:
        return ""
    lines = [
        f"  '{v.node}' {v.rule}: {_cell(v.used)}, limit {_cell(v.limit)}\n    -> {v.remedy}"
        for v in r.violations
    ]
    tried = [f"  {_variant(v)}" for v in r.would_fit]
    extra = ["What would fit (computed):", *tried] if tried else []
    return "\n".join(["Violations:", *lines, *extra])


def _variant(v: Mapping[str, Any]) -> str:
    counts = [_many(v[k], k[:-1]) for k in ("cores", "chips") if k in v]
    still = [f"still: {', '.join(v['still'])}"] if v.get("still") else []
    verdict = "fits" if v["fits"] else "does not fit either"
    return f"{v['change']}: {', '.join([verdict, *counts, *still])}"


def _layers(r: PlacementReport) -> str:
    rows = [
        (
            row.name,
            row.kind,
            "x".join(map(str, row.shape)),
            row.cores,
            row.neurons,
            row.fan_in,
            row.weights,
            "x".join(map(str, row.tile)) or "-",
            f"{100 * row.utilization[row.binding]:.0f} % {row.binding}" if row.binding else "-",
        )
        for row in r.layers
    ]
    head = ("layer", "kind", "shape", "cores", "neurons", "fan-in", "weights", "tile", "fullest")
    return _table(head, rows)


def _resources(r: PlacementReport) -> str:
    rows = [
        (x.name, x.used, x.limit, f"{100 * x.share:.0f}%", "" if x.verified else "not verified")
        for x in r.resources
    ]
    return _table(("resource (fullest core)", "used", "limit", "share", ""), rows)


def _traffic(r: PlacementReport) -> str:
    t = r.traffic
    if r.cores < 2:
        return "Traffic: none between cores." if r.cores else ""
    rates = "measured rates" if t.get("measured") else "assumed rates"
    return (
        f"Traffic per step ({rates}): {_cell(t['packets'])} packets, {_cell(t['spike_hops'])} "
        f"spike-hops, {t['avg_hops']:.2f} hops on average, {_cell(t['max_hops'])} at most, "
        f"{_cell(t['max_link'])} on the busiest link, {_cell(t['chip_crossings'])} between chips."
    )


def _accuracy(r: PlacementReport) -> str:
    a = r.accuracy
    if not a.get("samples"):
        return "Accuracy: not measured (no data)."
    parts = [
        f"{label} {100 * a[key]:.2f} %"
        for key, label in (("ann", "ANN"), ("float_snn", "float SNN"), ("chip", "chip integers"))
        if a.get(key) is not None
    ]
    return f"Accuracy at T = {a['T']} on {a['samples']:,} samples: {', '.join(parts)}."


def _energy(r: PlacementReport) -> str:
    lines = []
    if r.energy.get("value") is not None:
        e = r.energy
        lines.append(
            f"Energy per inference: {_si(e['value'])}J ({_si(e['low'])}J to {_si(e['high'])}J)."
        )
        if "ann" in e:
            lines.append(f"Against an 8-bit ANN in the same technology: {e['ann']['verdict']}")
    if r.latency.get("value") is not None:
        t = r.latency
        lines.append(
            f"Latency per inference: {_si(t['value'])}s ({_si(t['low'])}s to {_si(t['high'])}s)."
        )
    return "\n".join(lines)


def _si(value: float) -> str:
    """With an SI prefix, three digits."""
    for factor, prefix in ((1, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}"
    return "0 "


def _notes(r: PlacementReport) -> str:
    lines = [f"- {note}" for note in r.notes]
    if r.unverified:
        names = ", ".join(str(n["name"]) for n in r.unverified)
        lines.append(f"- Not verified in a public source: {names}.")
    return "\n".join(["Notes:", *lines]) if lines else ""


def render_comparison(reports: Sequence[PlacementReport]) -> str:
    """One line per chip: fits, cores, binding limit, accuracy on its integers, energy. Below it,
    what the accuracy is compared with, what the energies count, and why the network does not fit.
    """
    reports = displayed(reports)
    rows = []
    for r in reports:
        energy, chip = r.energy.get("value"), r.accuracy.get("chip")
        rows.append(
            (
                r.target,
                r.fits,
                r.cores or None,
                r.chips or None,
                _bound(r),
                "-" if chip is None else f"{100 * chip:.2f} %",
                "-" if energy is None or not r.fits else f"{_si(float(energy))}J",
            )
        )
    head = ("target", "fits", "cores", "chips", "binding limit", "chip accuracy", "energy")
    refused = [
        f"{r.target}: {_short(v)}" + (f" (and {more} more)" if more else "")
        for r in reports
        for v, more in [(v, len(r.violations) - 1) for v in r.violations[:1]]
    ]
    tried = [f"{r.target}: {_variant(v)}" for r in reports for v in r.would_fit if v["fits"]]
    parts = [_table(head, rows), _compared(reports), _counted(reports), "\n".join(refused)]
    if tried:
        parts.append("\n".join(["What would fit (computed):", *tried]))
    return "\n\n".join(part for part in parts if part)


def _bound(r: PlacementReport) -> str:
    if r.violations:
        v = r.violations[0]
        return f"{v.rule}: {_cell(v.used)}, limit {_cell(v.limit)}"
    b = r.binding
    mark = "" if b["verified"] else " (not verified)"
    return f"{b['name']}, {100 * (1 - b['margin']):.0f} % used{mark}"


def _counted(reports: Sequence[PlacementReport]) -> str:
    """What each energy is made of: they are not of one kind."""
    known = [r for r in reports if r.fits and r.energy.get("value") is not None]
    kinds: dict[str, list[str]] = {}
    for r in known:
        unsure = "" if r.energy["verified"] else " [not verified]"
        kinds.setdefault(" + ".join(r.energy["parts"]) + unsure, []).append(r.target)
    if len(kinds) < 2:
        return ""
    listed = "; ".join(f"{', '.join(names)}: {parts}" for parts, names in kinds.items())
    return f"Energies count different things and compare orders of magnitude at best: {listed}."


def _short(v: Violation) -> str:
    return f"'{v.node}', {v.rule}: {v.remedy}"


def _compared(reports: Sequence[PlacementReport]) -> str:
    """What was run; how to get what is missing."""
    a = next((r.accuracy for r in reports if r.accuracy.get("samples")), None)
    if a is None:
        return (
            "Nothing was run: energies assume firing rates. Give samples (--data) for measured "
            "ones, and labels for accuracy."
        )
    known = [
        f"{label} {100 * a[key]:.2f} %"
        for key, label in (("ann", "ANN"), ("float_snn", "SNN in floating point"))
        if a.get(key) is not None
    ]
    measured = ", ".join(known) or "no labels were given, so there is no accuracy"
    return f"T = {a['T']}, {a['samples']:,} samples: {measured}."
