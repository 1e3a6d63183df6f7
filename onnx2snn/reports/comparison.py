"""Networks beside each other, as text: what `auto` weighed, and what several runs gave."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from math import inf
from typing import Any

from ..converter.recipes import recipe_named
from ..display import counted
from ..evaluation.chips import said
from ..evaluation.energy.models import with_memory
from ..evaluation.energy.verdict import ratio_at
from ..evaluation.evaluate import Point
from ..evaluation.spread import Spread
from ..evaluation.sweep import ERROR, POINT, Sweep, SweepRun, knee
from ..provenance import Provenance
from ..spelling import spelled
from . import spiking
from .figures import count, ratio
from .spiking import answers_text
from .text import (
    answer_lines,
    csv_name,
    interval,
    notes_text,
    percent,
    run_text,
    shown_points,
    table,
    value_cells,
    values_text,
)

ENERGY_KEY = (
    "energy/ANN: with memory, by counted events and published prices (nothing is measured); the "
    "range and other models are in the page and JSON"
)

DROPS = {
    "accuracy": "points of accuracy lost against the ANN",
    "agreement": "points of agreement with the ANN lost",
    "error": "per cent error of the outputs",
}


def auto_text(auto: Mapping[str, Any]) -> str:
    """The candidates that recipe "auto" weighed, and the one it took."""
    header = [
        "recipe", "T", "lag", "latency", "drop", "95 % interval", "expected", "within",
        "spikes/neuron", "bits/spike", "synops/sample", "MACs/sample", "nJ/sample", "samples", "",
    ]  # fmt: skip
    best = auto["chosen"]
    rows = [
        [
            c["recipe"],
            c["T"],
            "" if recipe_named(c["recipe"]).waits else c["lag"],  # layers wait for T steps
            c["latency"],
            f"{c['drop']:.2f}",
            "" if c["low"] is None else f"{c['low']:.2f} to {c['high']:.2f}",
            f"{c['expected']:.2f}",
            "yes" if c["within"] else "no",
            f"{c['spikes_per_neuron']:.2f}",
            recipe_named(c["recipe"]).bits,
            count(c["synops_per_sample"]),
            count(c["macs_per_sample"]),
            f"{1e-3 * c['energy_pj']:.3g}",
            c["samples"],
            "chosen" if c == best else "",
        ]
        for c in auto["candidates"]
    ]
    order = f"preferred ({auto['prefer']}): {auto['order']}"
    others = [
        f"{name}: {c['recipe']} T={c['T']}" + (f" lag {c['lag']}" if c["lag"] else "")
        for name, c in auto["best"].items()
        if c != best and name != auto["prefer"]
    ]
    order += f"\nanother {spelled('prefer')} would take: {', '.join(others)}" if others else ""
    left = "".join(f"\nnot weighed: {reason}" for reason in auto["left_out"])
    return f"{_verdict(auto)}\n\n{table(header, rows)}\n{order}{left}{_front_text(auto)}"


def _front_text(auto: Mapping[str, Any]) -> str:
    """What a price for spikes saves and loses, of the recipe and T that were chosen; "" in files
    that do not say."""
    best, front = auto["chosen"], auto.get("front") or []
    if not front:
        return ""
    key = ("recipe", "T", "lag")
    free = [c for c in auto["candidates"] if [c[k] for k in key] == [front[0][k] for k in key]]
    header = [
        "spike cost", "spikes/neuron", "change", "drop", "95 % interval", "expected", "within",
        "synops/sample", "nJ/sample", "",
    ]  # fmt: skip
    rows = [
        [
            f"{c['spike_cost']:g}",
            f"{c['spikes_per_neuron']:.2f}",
            f"{round(100 * (c['spikes_per_neuron'] / free[0]['spikes_per_neuron'] - 1)):+d} %",
            f"{c['drop']:.2f}",
            "" if c["low"] is None else f"{c['low']:.2f} to {c['high']:.2f}",
            f"{c['expected']:.2f}",
            "yes" if c["within"] else "no",
            count(c["synops_per_sample"]),
            f"{1e-3 * c['energy_pj']:.3g}",
            "chosen" if c == best else "",
        ]
        for c in (free[0], *front)
        if free[0]["spikes_per_neuron"]
    ]
    option = spelled("spike_cost", "C")
    title = f"{best['recipe']} at T={best['T']} where spikes have a price ({option}):"
    return f"\n\n{title}\n{table(header, rows)}"


def _verdict(auto: Mapping[str, Any]) -> str:
    """What was chosen, and how sure that is."""
    best, limit = auto["chosen"], auto["max_drop"]
    lag = f", lag {best['lag']}" if best["lag"] else ""
    price = f", {spelled('spike_cost', best['spike_cost'])}" if best.get("spike_cost") else ""
    verdict = (
        f"chosen: {best['recipe']} at T={best['T']}{lag}{price}, {best['drop']:.2f} "
        f"{DROPS[auto['measure']]}, on {counted(auto['held_back'], 'sample')} "
        "held back "
        f"(expected drop {best['expected']:.2f}, limit {limit:g})"
    )
    if not auto["within"]:
        verdict = (
            f"NO candidate up to the given T stays within the limit of {limit:g}; taken is the "
            f"smallest drop (exit status 1)\n{verdict}"
        )
    if best["drop"] < 0:
        verdict += "\na negative drop is chance: the held-back samples are few"
    if best["high"] is not None:
        wide = (best["high"] - best["low"]) / 2
        verdict += (
            f"\n95 % interval of the drop {best['low']:.2f} to {best['high']:.2f}: these samples "
            f"tell it to about {wide:.1f} points either way"
        )
        if best.get("confidence") is not None:
            verdict += (
                f"; on unseen data like these the limit of {limit:g} holds with a probability of "
                f"about {100 * best['confidence']:.0f} % (less if the ANN was trained on these)"
            )
        one = 100 / auto["held_back"]
        if one > limit > 0:
            verdict += (
                f"; one of them is worth {one:.1f} points, more than the limit: give more "
                "calibration samples"
            )
    return f"{verdict}\n'samples': how many a candidate was converted on"


def runs_text(runs: Sequence[SweepRun], *, said: Collection[str] = ()) -> str:
    """The last step of every run, one row each. ``said``: the runs of which it stands elsewhere
    that they are not spiking."""
    scored = runs[0].evaluation.ann_accuracy is not None
    header = ["network", "T", "latency"]
    header += ["accuracy", "95 % interval", "to ANN"] if scored else []
    classes = runs[0].evaluation.classes
    ann_values = runs[0].evaluation.ann_values
    header += ["RMSE", "MAE", "R2"] if ann_values is not None else []
    header += ["agreement" if classes else "concordance"]
    header += ["95 % interval"] if classes and not scored else []
    header += ["error", "bits/spike", *spiking.HEADER]
    rows = []
    for run in runs:
        p, ann = run.evaluation.points[-1], run.evaluation.ann_accuracy
        row: list[Any] = [run.recipe, p.T, p.latency]
        if scored:
            apart = (
                "n/a" if p.accuracy is None or ann is None else f"{100 * (p.accuracy - ann):+.2f}"
            )
            row += [percent(p.accuracy), interval(p.low, p.high), apart]
        if ann_values is not None:
            row += value_cells(p.rmse, mae=p.mae, r2=p.r2)
        row.append(percent(p.agreement) if classes else f"{p.concordance:.4f}")
        if classes and not scored:
            row.append(interval(p.agreement_low, p.agreement_high))
        bits = Provenance.of(run.network).bits_per_spike
        row += [f"{p.error:.3f}", "" if bits is None else bits]
        rows.append([*row, *spiking.costs(p)])
    first = runs[0].evaluation
    head = "".join(
        f"{run.recipe}: {line}\n"
        for run in runs
        if run.recipe not in said
        for line in spiking.headline(run.evaluation.spiking, run.steps)
    )
    head += f"ANN {percent(first.ann_accuracy)}, " if scored else ""
    if ann_values is not None:
        head += f"ANN against the labels: {values_text(vars(ann_values))}; "
    return f"{head}{counted(first.samples, 'sample')}\n\n{table(header, rows)}\n{spiking.KEY}"


def sweep_text(sweep: Sweep) -> str:
    """What the curve with the shortest answer near the ANN comes to, and all of them in a table;
    then one after the other."""
    best = min(sweep.runs, key=_latency)
    head = "\n".join(
        [
            *answer_lines(best.recipe, best.evaluation),
            f"{sweep.model} on {sweep.data} ({counted(sweep.samples, 'sample')})",
        ]
    )
    answer = _answer_text(sweep) + notes_text(sweep.left_out)
    curves = (_curve_text(run, answered=run is best) for run in sweep.runs)
    return "\n\n".join([head, answer, *curves])


def _latency(run: SweepRun) -> float:
    """Of the first answer near the ANN; infinite where there is none."""
    found = knee(run.evaluation) if run.evaluation.spiking.emits else None
    near = (p.latency for p in run.evaluation.points if found is not None and found["T"] == p.T)
    return next(near, inf)


def _answer_text(sweep: Sweep) -> str:
    """A row per curve: the fewest steps with which it stays near the ANN, and what they cost."""
    first = sweep.runs[0].evaluation
    scored, classes = first.ann_accuracy is not None, first.classes
    limit = f"{100 * POINT:g} point of the ANN" if classes else f"an error of {100 * ERROR:g} %"
    measure = ["accuracy", "to ANN"] if scored else ["agreement"] if classes else ["error"]
    header = ["network", "T", "latency", *measure, "spikes/neuron", "synops/ANN", "energy/ANN"]
    rows = [[run.recipe, *_answer_row(run, scored)] for run in sweep.runs]
    said = f"The fewest steps from which a network stays within {limit} (none: its last T):"
    return f"{said}\n\n{table(header, rows)}\n{ENERGY_KEY}"


def _answer_row(run: SweepRun, scored: bool) -> list[str]:
    found = run.evaluation
    near = knee(found) if found.spiking.emits else None
    steps = found.points[-1].T if near is None else near["T"]
    point = next(p for p in found.points if steps == p.T)
    if scored:
        ann, own = found.ann_accuracy, point.accuracy
        apart = "n/a" if own is None or ann is None else f"{100 * (own - ann):+.2f}"
        measure = [percent(own), apart]
    else:
        measure = [percent(point.agreement) if found.classes else percent(point.error, 1)]
    energy = ratio_at(with_memory(found.events.bits).prices, found.events, point)
    return [
        f"{steps}" if near is not None else f"none ({steps})",
        str(point.latency),
        *measure,
        f"{point.spikes_per_neuron:.2f}",
        ratio(point.synops_to_ann),
        "n/a" if energy is None else f"{energy:.2f}",
    ]


def sweep_rows(sweep: Sweep) -> tuple[list[str], list[list[Any]]]:
    """Header, and one row per recipe and T, every field of the points."""
    fields = list(Point.__dataclass_fields__)
    rows = []
    for run in sweep.runs:
        found = run.evaluation
        whole = [found.ann_accuracy, found.macs_ann, found.spiking.verdict]
        whole.append(Provenance.of(run.network).bits_per_spike)
        rows += [
            [run.recipe, *(getattr(point, f) for f in fields), *whole] for point in found.points
        ]
    return ["recipe", *fields, "ann_accuracy", "ann_macs", "spiking", "bits_per_spike"], rows


def sweep_csv(sweep: Sweep) -> str:
    """``sweep_rows`` as a file."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    header, rows = sweep_rows(sweep)
    writer.writerow(header)
    writer.writerows([csv_name(row[0]), *row[1:]] for row in rows)
    return out.getvalue()


def _curve_text(run: SweepRun, *, answered: bool) -> str:
    text = run_text(f"recipe {run.recipe}", run.evaluation, brief=True, answered=answered)
    return f"{text}\n{answers_text(run)}{notes_text(run.notes)}{spread_text(run)}{chips_text(run)}"


SPREAD_HEADER = ["T", "mean", "deviation", "lowest", "highest"]


def spread_line(found: Spread) -> str:
    """What the rows are of."""
    same = all(point.low == point.high for point in found.points)
    return f"over {len(found.seeds)} seeds" + (
        ": all gave the same. A seed draws positions and samples of calibration where there are "
        "more than it uses, and spikes of random encodings"
        if same
        else "; what is said above is of the first"
    )


def spread_rows(run: SweepRun) -> list[list[str]]:
    """``SPREAD_HEADER`` of the shown points; none without a spread."""
    if run.spread is None:
        return []
    points = [run.spread.at(point.T) for point in shown_points(run.evaluation.points)]
    return [
        [
            str(point.T),
            percent(point.mean),
            f"{100 * point.deviation:.2f}",
            percent(point.low),
            percent(point.high),
        ]
        for point in points
    ]


def spread_text(run: SweepRun) -> str:
    """The line and the table, each on lines of their own; "" without a spread."""
    if run.spread is None:
        return ""
    return f"\n\n{spread_line(run.spread)}:\n{table(SPREAD_HEADER, spread_rows(run))}"


def chips_rows(run: SweepRun) -> tuple[list[str], list[list[str]]]:
    """Header, and per shown T the accuracy (without labels the agreement) on every chip that the
    network fits."""
    fitting = [chip for chip in run.chips if chip.points]
    by_chip = [{point.T: point for point in chip.points} for chip in fitting]
    rows = []
    for point in shown_points(run.evaluation.points):
        cells = [str(point.T)]
        cells += [percent(said(at[point.T]) if point.T in at else None) for at in by_chip]
        rows.append(cells)
    return ["T", *(chip.target for chip in fitting)], rows if fitting else []


def chips_notes(run: SweepRun) -> list[str]:
    """Of every chip that it cannot run on why, and of those that are too many for a board."""
    notes = [
        f"not on {c.target}: {'; '.join(reason.rstrip('.') for reason in c.refused)}."
        for c in run.chips
        if c.refused
    ]
    return notes + [
        f"{c.target}: {counted(c.cores, 'core')}, at least {counted(c.chips, 'chip')}; the "
        "largest board has "
        f"{c.available}"
        for c in run.chips
        if not c.refused and c.chips > c.available
    ]


def chips_text(run: SweepRun) -> str:
    """What chips say, on lines of their own; "" without any."""
    header, rows = chips_rows(run)
    parts = [f"in the chips' integers:\n{table(header, rows)}"] if rows else []
    return "".join(f"\n\n{part}" for part in [*parts, *chips_notes(run)])
