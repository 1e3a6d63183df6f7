"""Records -> text tables, CSV and HTML. Nothing here computes; nothing elsewhere formats."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment

from .api import Verification
from .converter.frontend import CheckReport
from .evaluate import Evaluation, Point
from .hwtargets import Violation
from .runtime.profile import LayerProfile
from .sweep import ERROR, LADDER, Sweep, SweepRun, knee


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns aligned: text to the left, numbers to the right."""
    cells = [[str(c) for c in row] for row in rows]
    widths = [max(len(r[i]) for r in [list(header), *cells]) for i in range(len(header))]
    numeric = [all(_is_number(r[i]) for r in cells) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        parts = (
            c.rjust(w) if right else c.ljust(w)
            for c, w, right in zip(row, widths, numeric, strict=True)
        )
        return "  ".join(parts).rstrip()

    return "\n".join([line(header), line(["-" * w for w in widths]), *map(line, cells)])


def _is_number(text: str) -> bool:
    return text.strip("-+.%,kMGe0123456789 ") in ("", "n/a")


def percent(value: float | None, digits: int = 2) -> str:
    return "n/a" if value is None else f"{100 * value:.{digits}f} %"


def interval(low: float | None, high: float | None) -> str:
    """A 95 % interval of a fraction; "" where there is none."""
    return "" if low is None or high is None else f"{100 * low:.1f}-{100 * high:.1f} %"


def count(value: float) -> str:
    """1234567 -> 1.23M"""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def shown_points(points: Sequence[Point]) -> list[Point]:
    """Those of a curve that a table shows: a few per octave, and the last."""
    chosen = [p for p in points if p.T in LADDER or p is points[-1]]
    return chosen if len(points) > 12 else list(points)


def curve_table(evaluation: Evaluation) -> str:
    """One row per shown T."""
    scored = evaluation.ann_accuracy is not None
    header = ["T", "latency"]
    header += ["accuracy", "95 % interval", "to ANN"] if scored else []
    classes = evaluation.classes
    header += ["agreement"] if classes else ["concordance"]
    header += ["95 % interval"] if classes and not scored else []
    header += ["error", "spikes/neuron", "synops/sample"]
    rows = []
    for p in shown_points(evaluation.points):
        row: list[Any] = [p.T, p.latency]
        if scored and p.accuracy is not None and evaluation.ann_accuracy is not None:
            difference = 100 * (p.accuracy - evaluation.ann_accuracy)
            row += [percent(p.accuracy), interval(p.low, p.high), f"{difference:+.2f}"]
        row.append(percent(p.agreement) if classes else f"{p.concordance:.4f}")
        bounds = bounds_of(evaluation, p)
        if bounds is not None and not scored:
            row.append(interval(*bounds))
        row += [
            f"{p.error:.3f}",
            f"{p.spikes_per_neuron:.2f}",
            count(p.synops_per_sample),
        ]
        rows.append(row)
    return table(header, rows)


def knee_text(evaluation: Evaluation) -> str:
    """The knee in words."""
    found, last = knee(evaluation), evaluation.points[-1]
    stays = "" if len(evaluation.points) == 1 else " and stays there"
    if not evaluation.classes:
        if found is None:
            return f"No step up to T={last.T} has an output error below {100 * ERROR:g} % for good."
        return f"T={found['T']} has an output error below {100 * ERROR:g} %{stays}."
    scored = evaluation.ann_accuracy is not None
    if found is None:
        what = "is within 0.5 point of the ANN" if scored else "agrees with the ANN on 99.5 %"
        return f"No step up to T={last.T} {what} for good."
    point = next(p for p in evaluation.points if found["T"] == p.T)
    bounds = bounds_of(evaluation, point) or (0.0, 1.0)
    if not scored:
        return (
            f"T={point.T} agrees with the ANN on {percent(point.agreement, 1)} of the samples "
            f"(95 % interval {interval(*bounds)}): within 0.5 point{stays}."
        )
    return (
        f"T={point.T} is within 0.5 point of the ANN in accuracy (95 % interval "
        f"{interval(*bounds)}, ANN {percent(evaluation.ann_accuracy)}){stays}."
    )


def bounds_of(evaluation: Evaluation, point: Point) -> tuple[float, float] | None:
    """The 95 % Wilson interval of the accuracy, else of the agreement; None for an error."""
    if point.low is not None and point.high is not None:
        return point.low, point.high
    low, high = point.agreement_low, point.agreement_high
    return None if low is None or high is None or not evaluation.classes else (low, high)


def run_text(title: str, evaluation: Evaluation) -> str:
    ann = "" if evaluation.ann_accuracy is None else f"ANN {percent(evaluation.ann_accuracy)}, "
    head = f"{title}: {ann}{evaluation.samples} samples, {count(evaluation.neurons)} neurons"
    text = f"{head}\n\n{curve_table(evaluation)}"
    if len(evaluation.outputs) > 1 or not evaluation.classes:
        text += f"\n\n{outputs_table(evaluation)}"
    return f"{text}\n\n{knee_text(evaluation)}"


def outputs_table(evaluation: Evaluation) -> str:
    """Every output after the last step: error and agreement with the ANN."""
    rows = [
        [
            o.name,
            "x".join(map(str, o.shape)) or "scalar",
            f"{o.error:.3f}",
            percent(o.agreement),
            f"{o.concordance:.4f}",
        ]
        for o in evaluation.outputs
    ]
    last = evaluation.points[-1].T
    return table([f"output at T={last}", "shape", "error", "same winner", "concordance"], rows)


def early_exit_text(stopped: Sequence[int]) -> str:
    """How many steps the samples took, where they could stop early."""
    total = max(sum(stopped), 1)
    mean = sum(t * n for t, n in enumerate(stopped)) / total
    rows = [[t, n, percent(n / total, 1)] for t, n in enumerate(stopped) if n]
    return f"\n{table(['steps used', 'samples', 'share'], rows)}\nmean steps used: {mean:.2f}"


def profile_text(profile: Sequence[LayerProfile]) -> str:
    """Where the time went, per layer, in processor milliseconds."""
    rows = [
        [
            p.name,
            *(f"{1e3 * s:.1f}" for s in (p.synapse, p.copies, p.neuron, p.counting)),
            f"{p.gflop_per_second:.1f}",
        ]
        for p in profile
    ]
    sums = [
        sum(getattr(p, f) for p in profile) for f in ("synapse", "copies", "neuron", "counting")
    ]
    rows.append(["total", *(f"{1e3 * s:.1f}" for s in sums), ""])
    return table(["layer", "synapse ms", "copies ms", "neuron ms", "counting ms", "GFLOP/s"], rows)


def notes_text(notes: Sequence[str]) -> str:
    return "".join(f"\nnote: {note}" for note in notes)


def sweep_text(sweep: Sweep) -> str:
    head = f"{sweep.model} on {sweep.data} ({sweep.samples} samples)"
    parts = [run_text(f"recipe {r.recipe}", r.evaluation) + notes_text(r.notes) for r in sweep.runs]
    return "\n\n".join([head, *parts])


def sweep_csv(sweep: Sweep) -> str:
    """One row per recipe and T, every field of the points."""
    out = io.StringIO()
    fields = list(Point.__dataclass_fields__)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["recipe", *fields, "ann_accuracy"])
    for run in sweep.runs:
        for point in run.evaluation.points:
            values = [getattr(point, f) for f in fields]
            writer.writerow([run.recipe, *values, run.evaluation.ann_accuracy])
    return out.getvalue()


def verify_text(name: str, v: Verification) -> str:
    header = ["layer", "tensor", "relative difference"]
    rows = [[c.name, c.tensor, f"{c.relative_diff:.2e}"] for c in v.layers]
    verdict = "equal" if v.relative_diff <= 1e-4 else "DIFFERENT"
    dropped = (
        f"\nLeft out at the output (softmax, argmax): {', '.join(v.dropped)}." if v.dropped else ""
    )
    return (
        f"{table(header, rows)}\n\n{name}: analog mode and ONNX Runtime are {verdict} on "
        f"{v.samples} samples: largest difference {v.max_abs_diff:.2e}, "
        f"{v.relative_diff:.2e} of the output range.{dropped}"
    )


def _kinds(found: Sequence[Violation]) -> list[str]:
    lacks = dict.fromkeys(f"{v.rule} ({v.node})" for v in found)
    more = f" and {len(lacks) - 3} more" if len(lacks) > 3 else ""
    return ["no" if found else "yes", ", ".join(list(lacks)[:3]) + more]


def check_text(report: CheckReport, chips: Mapping[str, Sequence[Violation]]) -> str:
    """A row per node, totals, and which chips have the kinds of operations."""
    rows = [
        [n.name, n.op, n.verdict, n.reason + (f" {n.remedy}" if n.remedy else "")]
        for n in report.nodes
    ]
    parts = [table(["node", "op", "verdict", "reason"], rows)] if rows else []
    for label, infos in (("input", report.inputs), ("output", report.outputs)):
        parts += [f"{label} {i.name}: {'x'.join(map(str, i.shape)) or 'scalar'}" for i in infos]
    totals = [
        [verdict, t["nodes"], count(t["macs"])]
        for verdict, t in report.totals.items()
        if t["nodes"]
    ]
    parts.append("\n" + table(["verdict", "nodes", "MACs"], totals))
    if chips:
        rows = [[chip, *_kinds(found)] for chip, found in chips.items()]
        parts.append("\n" + table(["chip", "kinds of operation", "what it lacks"], rows))
    name = Path(report.path).name
    if report.convertible:
        parts.append(f"\n{name} converts.")
    else:
        bad = report.totals["unsupported"]["nodes"]
        parts.append(f"\n{name} does not convert: {bad} unsupported node(s).")
    return "\n".join(parts)


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
td, th { padding: .2rem .8rem; border-bottom: 1px solid #ddd; text-align: right; }
svg { max-width: 100%; height: auto; } .note { color: #555; }
</style></head><body>
<h1>{{ title }}</h1>
<p>{{ sweep.data }}, {{ sweep.samples }} samples.
{% if ann is not none %}ANN accuracy {{ "%.2f" % (100 * ann) }} %.{% endif %}</p>
{{ chart }}
{% for run in runs %}
<h2>Recipe {{ run.recipe }}</h2><p>{{ run.knee }}</p>
{% for note in run.notes %}<p class="note">{{ note }}</p>{% endfor %}
<table><tr>{% for name in run.header %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in run.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table>
{% endfor %}
</body></html>
"""


def sweep_html(sweep: Sweep) -> str:
    """One self-contained page: chart with tooltips, tables, notes."""
    from markupsafe import Markup

    environment = Environment(autoescape=True)
    header = ["T", "latency", "accuracy", "low", "high", "agreement", "spikes/neuron", "synops"]
    return environment.from_string(PAGE).render(
        title=f"{sweep.model}: accuracy against time steps",
        sweep=sweep,
        ann=sweep.runs[0].evaluation.ann_accuracy,
        chart=Markup(curve_svg(sweep)),  # our own numbers and escaped names only
        runs=[
            {
                "recipe": r.recipe,
                "knee": knee_text(r.evaluation),
                "notes": r.notes,
                "header": header,
                "rows": [
                    [
                        p.T,
                        p.latency,
                        percent(p.accuracy),
                        percent(p.low),
                        percent(p.high),
                        percent(p.agreement),
                        f"{p.spikes_per_neuron:.2f}",
                        count(p.synops_per_sample),
                    ]
                    for p in shown_points(r.evaluation.points)
                ],
            }
            for r in sweep.runs
        ],
    )


COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def score(run: SweepRun, point: Point) -> float:
    """What the chart shows: accuracy, else agreement, else 1 - error."""
    if point.accuracy is not None:
        return point.accuracy
    if run.evaluation.classes and point.agreement is not None:
        return point.agreement
    return max(0.0, 1 - point.error)


def score_name(sweep: Sweep) -> str:
    """What ``score`` is, for an axis."""
    first = sweep.runs[0].evaluation
    if first.ann_accuracy is not None:
        return "accuracy (%)"
    return "agreement with the ANN (%)" if first.classes else "100 - error of the outputs (%)"


def curve_svg(sweep: Sweep) -> str:
    """The curves as SVG, T on a logarithmic axis, a tooltip on every point."""
    from math import log2

    from markupsafe import escape

    width, height, left, bottom = 760, 360, 60, 40
    top_t = max(run.steps for run in sweep.runs)
    span = log2(top_t) or 1.0

    def at(t: int, value: float) -> tuple[float, float]:
        x = left + (width - left - 20) * log2(t) / span
        return round(x, 1), round(20 + (height - 20 - bottom) * (1 - value), 1)

    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" font-size="12">']
    for i in range(0, 11, 2):
        _, y = at(1, i / 10)
        parts.append(f'<path d="M{left} {y}H{width - 20}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{i * 10} %</text>')
    t = 1
    while t <= top_t:
        parts.append(f'<text x="{at(t, 0)[0]}" y="{height - 18}" text-anchor="middle">{t}</text>')
        t *= 2
    ann = sweep.runs[0].evaluation.ann_accuracy
    if ann is not None:
        y = at(1, ann)[1]
        parts.append(f'<path d="M{left} {y}H{width - 20}" stroke="#333" stroke-dasharray="4"/>')
        parts.append(f'<text x="{width - 20}" y="{y - 5}" text-anchor="end">ANN</text>')
    at_legend = left + 10
    for n, run in enumerate(sweep.runs):
        colour = COLOURS[n % len(COLOURS)]
        parts += _svg_run(run, colour, at)
        parts.append(f'<text x="{at_legend}" y="14" fill="{colour}">{escape(run.recipe)}</text>')
        at_legend += 7 * len(run.recipe) + 24
    parts.append(f'<text x="{width / 2}" y="{height - 2}" text-anchor="middle">time steps T</text>')
    return "".join([*parts, "</svg>"])


def _svg_run(
    run: SweepRun, colour: str, at: Callable[[int, float], tuple[float, float]]
) -> list[str]:
    """One curve: its interval as a bar at every point, the line, and points with tooltips."""
    from markupsafe import escape

    points = [(p, *at(p.T, score(run, p))) for p in run.evaluation.points]
    line = " ".join(f"{x},{y}" for _, x, y in points)
    parts = []
    for p, x, y in points:
        bounds, tip = (
            bounds_of(run.evaluation, p),
            f"{run.recipe} T={p.T}: {percent(score(run, p))}",
        )
        if bounds is not None:
            top, bottom = at(p.T, bounds[1])[1], at(p.T, bounds[0])[1]
            bar = f'd="M{x} {top}V{bottom}" stroke="{colour}" stroke-opacity=".35"'
            parts.append(f"<path {bar}/>")
            tip += f" ({interval(*bounds)})"
        dot = f'cx="{x}" cy="{y}" r="3" fill="{colour}"'
        parts.append(f"<circle {dot}><title>{escape(tip)}</title></circle>")
    parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return parts
