"""The placement report as text for a terminal, and a table that compares several chips."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from types import MappingProxyType
from typing import Any

from ..display import counted, displayed
from ..evaluation.energy.events import Events
from ..hwtargets.placement.report import PlacementReport
from ..hwtargets.target import Violation
from ..spelling import spelled
from .energy import verdicts, work
from .energy.chips import INPUTS, KINDS, SAID, SHORT, conditions, joules, latency, summed_up
from .energy.chips import rows as energies
from .figures import ratio
from .text import table, values_text

LOST = 0.01  # of accuracy, above which the answer says it


def render_text(report: PlacementReport, done: Events | None = None) -> str:
    """Everything but the floor plan, at most about 100 columns wide. ``done``: what the network did
    on the samples, for the verdict against its ANN."""
    report = displayed(report)
    parts = [
        "\n".join([_verdict(report), *work.otherwise(report)]),
        _violations(report),
        _layers(report),
        _resources(report),
        _traffic(report),
        "\n".join(work.lines(report)),
        "" if report.fits else accuracy_text(report),
        _energy(report, counted=done is not None),
        "" if done is None else "\n".join(verdicts.lines(done)),
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
    """The answer: whether it fits, and what comes of it."""
    where = f"{counted(r.cores, 'core')} on {counted(r.chips, 'chip')}"
    if not r.fits:
        return f"{r.title}: does NOT fit, {counted(len(r.violations), 'violation')}."
    board = r.facts.get("boards", {}).get("smallest_that_holds_it")
    on = f" ({board})" if board else ""
    b = r.binding
    return "\n".join(
        [
            f"{r.title}: fits, {where}{on}.",
            accuracy_text(r) + _lost(r),
            f"Energy per inference: {summed_up(r.energy)}.",
            f"Latency per inference: {latency(r.latency)}.",
            f"Binding limit: {b['name']}, {_cell(b['used'])} of {_cell(b['limit'])}, margin "
            f"{100 * b['margin']:.0f} %{'' if b['verified'] else ' (limit not verified)'}.",
        ]
    )


def _lost(r: PlacementReport) -> str:
    """What the chip costs, where that is more than a point."""
    chip, snn = r.accuracy.get("chip"), r.accuracy.get("float_snn")
    if chip is None or snn is None or snn - chip <= LOST:
        return ""
    return f" The chip loses {100 * (snn - chip):.1f} points."


def _violations(r: PlacementReport) -> str:
    if not r.violations:
        return ""
    lines = []
    for v, then in zip_longest(r.violations, r.violations[1:]):
        lines.append(f"  '{v.node}' {v.rule}: {_cell(v.used)}, limit {_cell(v.limit)}")
        if then is None or then.remedy != v.remedy:  # one that serves several is said once
            lines.append(f"    -> {v.remedy}")
    variants = [f"  {_variant(v)}" for v in r.would_fit]
    extra = [f"{tried(r)}:", *variants] if variants else []
    return "\n".join(["Violations:", *lines, *extra])


def tried(r: PlacementReport) -> str:
    """What the variants of a report are."""
    fits = any(v["fits"] for v in r.would_fit)
    return "What would fit (computed)" if fits else "Tried, and does not fit either (computed)"


def _variant(v: Mapping[str, Any]) -> str:
    told = [] if v.get("still") else [(v.get(k), k[:-1]) for k in ("cores", "chips")]
    counts = [counted(number, noun) for number, noun in told if number is not None]
    still = [f"still: {', '.join(v['still'])}"] if v.get("still") else []
    verdict = "fits" if v["fits"] else "does not fit"
    return f"{v['change']}: {', '.join([verdict, *counts, *still])}"


def _layers(r: PlacementReport) -> str:
    macs = any(row.analog_macs for row in r.layers)
    rows = [
        (
            row.name,
            row.kind,
            "x".join(map(str, row.shape)),
            row.cores,
            row.neurons,
            row.fan_in,
            row.weights,
            *((row.analog_macs,) if macs else ()),
            "x".join(map(str, row.tile)) or "-",
            f"{100 * row.utilization[row.binding]:.0f} % {row.binding}" if row.binding else "-",
        )
        for row in r.layers
    ]
    head = ("layer", "kind", "shape", "cores", "neurons", "fan-in", "weights")
    head = (*head, *(("analog MACs",) if macs else ()), "tile", "fullest")
    said = analog_text(r)
    return _table(head, rows) + (f"\n{said}" if said else "")


def analog_text(r: PlacementReport) -> str:
    """What of the work is done on analog values, beside the synaptic operations; "" where none."""
    macs = r.analog.get("macs_per_sample")
    if not macs:
        return ""
    where = " (by the host)" if r.fits else ""
    return (
        f"On analog values{where}: {macs:,} multiply-accumulates per inference, "
        f"{ratio(r.analog['macs_to_ann'])} times the ANN's{_synops(r)}."
    )


def _synops(r: PlacementReport) -> str:
    count = r.energy.counts.get("synop")
    return "" if count is None else f"; {count:,.0f} synaptic operations"


def _resources(r: PlacementReport) -> str:
    rows = [
        (x.name, x.used, x.limit, share_text(x.share), "" if x.verified else "not verified")
        for x in r.resources
    ]
    return _table(("resource (fullest core)", "used", "limit", "share", ""), rows)


def share_text(share: float, *, digits: int = 0) -> str:
    """Of a limit; in times where it is far above."""
    return f"{share:,.0f} times" if share >= 10 else f"{100 * share:.{digits}f} %"


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


def accuracy_text(r: PlacementReport) -> str:
    a = r.accuracy
    if not a.get("samples"):
        return "Accuracy: not measured (no data)."
    if a.get("values"):
        return _values(a)
    parts = [
        f"{label} {100 * a[key]:.2f} %"
        for key, label in (("ann", "ANN"), ("float_snn", "float SNN"), ("chip", "chip integers"))
        if a.get(key) is not None
    ]
    if not parts:
        return f"Accuracy: not measured (no labels), {counted(a['samples'], 'sample')}."
    return f"Accuracy at T = {a['T']} on {counted(a['samples'], 'sample')}: {', '.join(parts)}."


def _values(a: Mapping[str, Any]) -> str:
    """A regression: ANN and SNN against the labels first, then the difference between them."""
    found, head = (
        a["values"],
        f"Values (a regression) at T = {a['T']} on {counted(a['samples'], 'sample')}",
    )
    parts = [
        f"{label} {values_text(found[key])}"
        for key, label in (("ann", "ANN"), ("float_snn", "float SNN"))
        if found[key] is not None
    ]
    apart = found["difference"]
    parts.append(
        f"SNN less ANN: RMSE {apart['rmse']:.4g}, {100 * apart['error']:.1f} % of the ANN's values"
    )
    missing = "" if found["ann"] else " No labels to compare with."
    return (
        f"{head}: {'; '.join(parts)}.{missing} The chip's readouts have a scale of their own: "
        "its values are not scored."
    )


def _energy(r: PlacementReport, *, counted: bool) -> str:
    """``counted``: a verdict from counted events follows, which the rougher one makes way for."""
    if not r.fits:
        return ""
    parts = []
    if r.energy.known:
        entering = INPUTS[r.input_mode]
        parts += [
            _table(("energy per inference", "", "range"), [row[:-1] for row in energies(r.energy)]),
            *(f"{kind}: {basis}." for kind, *_, basis in energies(r.energy) if basis),
            f"({SAID}.)" + (f" Input: {entering}." if entering else ""),
        ]
    if r.energy.ann is not None and not counted:
        parts.append(f"Against an 8-bit ANN in the same technology: {r.energy.ann.verdict}")
    if said := work.step(r):
        parts.append(said)
    return "\n".join(parts)


def _notes(r: PlacementReport) -> str:
    lines = [f"- {note}" for note in r.notes]
    if r.unverified:
        names = ", ".join(str(n["name"]) for n in r.unverified)
        lines.append(f"- Not verified in a public source: {names}.")
    return "\n".join(["Notes:", *lines]) if lines else ""


Alike = Mapping[str, PlacementReport]  # by target, where the input enters as on the other chips
NONE: Alike = MappingProxyType({})


MACS = "analog MACs/ANN"


def comparison_columns(alike: Alike) -> tuple[str, ...]:
    """Of the table of several chips."""
    energies = [f"{label} energy" for label in KINDS.values()]
    same = [f"accuracy with input as {_way(alike)}"] if alike else []
    columns = ("target", "fits", "cores", "chips", "binding limit", "input", "chip accuracy")
    return (*columns, MACS, *same, *energies)


def _way(alike: Alike) -> str:
    """As what the input enters all chips."""
    return " or ".join(sorted({SHORT[r.input_mode] for r in alike.values()}))


def comparison_rows(reports: Sequence[PlacementReport], alike: Alike) -> list[tuple[str, ...]]:
    """A row of ``comparison_columns`` per chip. Energies, and the accuracy beside them, are with
    the input alike; multiply-accumulates on analog values are with the chip's own. "n/a": an energy
    that nothing was published of; "-": what a chip that does not hold the network, or was not run,
    does not have."""
    rows = []
    for r in reports:
        same = alike.get(r.target, r)
        energies = [joules(kind) if same.fits else "-" for kind in same.energy.kinds.values()]
        counts = (r.fits, r.cores or None, r.chips or None)
        accuracies = [_share(r), *([_share(same)] if alike else [])]
        rows.append(
            (
                r.target,
                *map(_cell, counts),
                _bound(r),
                r.input_mode or "-",
                accuracies[0],
                ratio(r.analog.get("macs_to_ann")),
                *accuracies[1:],
                *energies,
            )
        )
    return rows


def _share(r: PlacementReport) -> str:
    chip = r.accuracy.get("chip")
    return "-" if chip is None else f"{100 * chip:.2f} %"


def render_comparison(
    reports: Sequence[PlacementReport], alike: Alike = NONE, done: Events | None = None
) -> str:
    """Which chips it fits, and a line per chip: fits, cores, binding limit, input, accuracy on its
    integers, energies. Below it, what the accuracy is compared with, what the energies are, why
    the network does not fit, and the verdict against its ANN. ``alike``: the reports that energies
    are taken from; ``done``: what the network did on the samples.
    """
    reports, alike = displayed(reports), displayed(alike)
    table = _table(comparison_columns(alike), comparison_rows(reports, alike))
    return "\n\n".join([which_fit(reports), table, *comparison_notes(reports, alike, done)])


def which_fit(reports: Sequence[PlacementReport]) -> str:
    """The answer of a comparison in a sentence."""
    fits = [r.target for r in reports if r.fits]
    no = [r.target for r in reports if not r.fits]
    if not fits:
        return f"Fits none of {counted(len(reports), 'chip')}."
    rest = f"; not {', '.join(no)}" if no else ""
    return f"Fits {len(fits)} of {counted(len(reports), 'chip')}: {', '.join(fits)}{rest}."


def comparison_notes(
    reports: Sequence[PlacementReport], alike: Alike, done: Events | None = None
) -> list[str]:
    """What stands below the table, a paragraph each."""
    refused = [
        f"{r.target}: {_short(v)}" + (f" (and {more} more)" if more else "")
        for r in reports
        for v, more in [(v, len(r.violations) - 1) for v in r.violations[:1]]
    ]
    refused += [
        f"{r.target}: does not hold the network with its input as {_way(alike)}, so that it has no "
        "energy to compare."
        for r in reports
        if r.fits and r.target in alike and not alike[r.target].fits
    ]
    tried = [f"{r.target}: {_variant(v)}" for r in reports for v in r.would_fit if v["fits"]]
    same = [alike.get(r.target, r) for r in reports]
    parts = [_compared(reports), conditions(same, _way(alike)), "\n".join(refused)]
    if tried:
        parts.append("\n".join(["What would fit (computed):", *tried]))
    if done is not None:
        parts.append("\n".join(verdicts.lines(done)))
    return [part for part in parts if part]


def _bound(r: PlacementReport) -> str:
    if r.violations:
        v = r.violations[0]
        return f"{v.rule}: {_cell(v.used)}, limit {_cell(v.limit)}"
    b = r.binding
    mark = "" if b["verified"] else " (not verified)"
    return f"{b['name']}, {100 * (1 - b['margin']):.0f} % used{mark}"


def _short(v: Violation) -> str:
    return f"'{v.node}', {v.rule}: {v.remedy}"


def _compared(reports: Sequence[PlacementReport]) -> str:
    """What was run; how to get what is missing."""
    a = next((r.accuracy for r in reports if r.accuracy.get("samples")), None)
    if a is not None and a.get("values"):
        return _values(a)
    if a is None:
        return (
            "Nothing was run: energies assume firing rates. Give samples "
            f"({spelled('data')}) for measured ones, and labels for accuracy."
        )
    known = [
        f"{label} {100 * a[key]:.2f} %"
        for key, label in (("ann", "ANN"), ("float_snn", "SNN in floating point"))
        if a.get(key) is not None
    ]
    measured = ", ".join(known) or "no labels were given, so there is no accuracy"
    return f"T = {a['T']}, {counted(a['samples'], 'sample')}: {measured}."
