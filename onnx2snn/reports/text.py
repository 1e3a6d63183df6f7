"""Records -> text tables, CSV and HTML. Nothing here computes; nothing elsewhere formats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..display import counted, shown
from ..display import table as table
from ..evaluation.evaluate import Evaluation, Point
from ..evaluation.spread import judged
from ..evaluation.sweep import ERROR, Sweep, SweepRun, knee
from ..experiments.plan import LADDER
from ..runtime.engine import LayerProfile
from ..spelling import spelled
from . import spiking
from .energy import verdicts
from .figures import counted_short


def duration(seconds: float) -> str:
    """Rounded for people: 3.2 s, 14 min, 2.5 h."""
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def percent(value: float | None, digits: int = 2) -> str:
    return "n/a" if value is None else f"{100 * value:.{digits}f} %"


def interval(low: float | None, high: float | None) -> str:
    """A 95 % interval of a fraction; "" where there is none."""
    return "" if low is None or high is None else f"{100 * low:.1f}-{100 * high:.1f} %"


def shown_points(points: Sequence[Point]) -> list[Point]:
    """Those of a curve that a table shows: a few per octave, and the last."""
    chosen = [p for p in points if p.T in LADDER or p is points[-1]]
    return chosen if len(points) > 12 else list(points)


def curve_rows(evaluation: Evaluation) -> tuple[list[str], list[list[Any]]]:
    """Header, and one row per shown T."""
    scored = evaluation.ann_accuracy is not None
    header = ["T", "latency"]
    header += ["accuracy", "95 % interval", "to ANN"] if scored else []
    classes = evaluation.classes
    valued = evaluation.ann_values is not None
    header += ["RMSE", "MAE", "R2"] if valued else []
    header += ["agreement"] if classes else ["concordance"]
    header += ["95 % interval"] if classes and not scored else []
    header += ["error", *spiking.HEADER]
    rows = []
    for p in shown_points(evaluation.points):
        row: list[Any] = [p.T, p.latency]
        if scored and p.accuracy is not None and evaluation.ann_accuracy is not None:
            difference = 100 * (p.accuracy - evaluation.ann_accuracy)
            row += [percent(p.accuracy), interval(p.low, p.high), f"{difference:+.2f}"]
        row += value_cells(p.rmse, mae=p.mae, r2=p.r2) if valued else []
        row.append(percent(p.agreement) if classes else f"{p.concordance:.4f}")
        bounds = bounds_of(evaluation, p)
        if bounds is not None and not scored:
            row.append(interval(*bounds))
        rows.append([*row, f"{p.error:.3f}", *spiking.costs(p)])
    return header, rows


def curve_table(evaluation: Evaluation) -> str:
    """One row per shown T."""
    return table(*curve_rows(evaluation))


def knee_text(evaluation: Evaluation) -> str:
    """The knee in words, and what it costs."""
    if not evaluation.spiking.emits:
        return "T means nothing here: without neurons every step gives the ANN's answer."
    found, last = knee(evaluation), evaluation.points[-1]
    if found is None:
        return _no_knee(evaluation)
    stays = "" if found["T"] == last.T else " and stays there"
    point = next(p for p in evaluation.points if found["T"] == p.T)
    if not evaluation.classes:
        said = f"has an output error of {percent(point.error, 1)}, below {100 * ERROR:g} %"
        return f"T={point.T} {said}{stays}: {_cost(point)}."
    bounds = interval(*(bounds_of(evaluation, point) or (0.0, 1.0)))
    if evaluation.ann_accuracy is None:
        return (
            f"T={point.T} agrees with the ANN on {percent(point.agreement, 1)} of the samples "
            f"(95 % interval {bounds}): within 0.5 point{stays}; {_cost(point)}."
        )
    return (
        f"T={point.T} is within 0.5 point of the ANN (95 % interval {bounds}, ANN "
        f"{percent(evaluation.ann_accuracy)}{_paired(point, evaluation.ann_accuracy)}){stays}: "
        f"{_cost(point)}."
    )


def _no_knee(evaluation: Evaluation) -> str:
    last, ann = evaluation.points[-1], evaluation.ann_accuracy
    head = f"No T up to {last.T}"
    if not evaluation.classes:
        now = f"T={last.T} has {percent(last.error, 1)}"
        return f"{head} keeps the output error below {100 * ERROR:g} %; {now}."
    if ann is None:
        now = f"T={last.T} agrees on {percent(last.agreement, 1)}"
        return f"{head} keeps agreeing with the ANN on 99.5 % of the samples; {now}."
    now = f"T={last.T} is at {percent(last.accuracy)}"
    bounds = interval(*(bounds_of(evaluation, last) or (0.0, 1.0)))
    return (
        f"{head} stays within 0.5 point of the ANN; {now} (95 % interval {bounds}, ANN "
        f"{percent(ann)}{_paired(last, ann)})."
    )


def _paired(point: Point, ann: float) -> str:
    """The difference to the ANN on the same samples."""
    low, high = point.difference_low, point.difference_high
    if low is None or high is None or point.accuracy is None:
        return ""
    apart = f"{100 * (point.accuracy - ann):+.2f}"
    return f"; difference {apart} points, {100 * low:+.1f} to {100 * high:+.1f}"


def _cost(point: Point) -> str:
    """What comes with every accuracy."""
    return (
        f"latency {counted(point.latency, 'step')}, {point.spikes_per_neuron:.2f} spikes per "
        f"neuron, {spiking.operations(vars(point))}"
    )


def bounds_of(evaluation: Evaluation, point: Point) -> tuple[float, float] | None:
    """The 95 % Wilson interval of the accuracy, else of the agreement; None for an error."""
    if point.low is not None and point.high is not None:
        return point.low, point.high
    low, high = point.agreement_low, point.agreement_high
    return None if low is None or high is None or not evaluation.classes else (low, high)


def run_text(
    title: str, evaluation: Evaluation, *, brief: bool = False, answered: bool = False
) -> str:
    """What comes of one network's curve, then the curve; ``brief``: of energy the verdict alone;
    ``answered``: what comes of it was said above."""
    ann = "" if evaluation.ann_accuracy is None else f"ANN {percent(evaluation.ann_accuracy)}, "
    head = (
        f"{ann}{counted(evaluation.samples, 'sample')}, "
        f"{counted_short(evaluation.neurons, 'neuron')}"
    )
    share = evaluation.spiking
    answer = [title] if answered else answer_lines(title, evaluation)
    head = "\n".join([*answer, head, *spiking.lines(share)])
    asked = spelled("regression", True)
    if evaluation.logit:
        head += f"\none logit: class 1 where it is above 0 ({asked}: for a value)"
    head += regression_text(evaluation)
    if evaluation.guessed_classes and not evaluation.logit:
        head += f"\nno labels: the outputs are taken for class scores ({asked}: for values)"
    text = f"{head}\n\n{curve_table(evaluation)}\n{spiking.KEY}"
    if several_outputs(evaluation):
        text += f"\n\n{outputs_table(evaluation)}"
    said = verdicts.lines(evaluation.events)
    if brief:
        said = [f"At T={evaluation.points[-1].T}: {line}" for line in said[:1]]
    energy = "\n".join(["", *said])
    return f"{text}\n{energy}"


def answer_lines(title: str, evaluation: Evaluation) -> list[str]:
    """What a report begins with: whether the network is spiking at all, and the knee."""
    last = evaluation.points[-1].T
    return [*spiking.headline(evaluation.spiking, last), f"{title}: {knee_text(evaluation)}"]


def regression_text(evaluation: Evaluation) -> str:
    """The first lines of a report on values: ANN and SNN against the labels, then the difference
    between the two; "" where labels are no values."""
    ann, last = evaluation.ann_values, evaluation.points[-1]
    if ann is None:
        return ""
    rows = [
        ["ANN", *value_cells(ann.rmse, mae=ann.mae, r2=ann.r2)],
        [f"SNN, T={last.T}", *value_cells(last.rmse, mae=last.mae, r2=last.r2)],
    ]
    apart = f"the SNN's outputs differ from the ANN's by {100 * last.error:.1f} % (relative norm)"
    head = ["values against the labels", "RMSE", "MAE", "R2"]
    return f"\n\n{table(head, rows)}\n{apart}"


def value_cells(rmse: float | None, *, mae: float | None, r2: float | None) -> list[str]:
    return [*("n/a" if v is None else f"{v:.4g}" for v in (rmse, mae)), r2_text(r2)]


def r2_text(r2: float | None) -> str:
    return "n/a" if r2 is None else f"{r2:.4f}"


def values_text(found: Mapping[str, float | None]) -> str:
    """RMSE, MAE and R2 in a sentence."""
    rmse, mae, r2 = value_cells(found["rmse"], mae=found["mae"], r2=found["r2"])
    return f"RMSE {rmse}, MAE {mae}, R2 {r2}"


def several_outputs(evaluation: Evaluation) -> bool:
    """Whether there is more to say of the outputs than one agreement."""
    return len(evaluation.outputs) > 1 or not evaluation.classes


def output_rows(evaluation: Evaluation) -> list[list[str]]:
    """Name, shape, error, agreement and concordance of every output."""
    return [
        [
            o.name,
            "x".join(map(str, o.shape)) or "scalar",
            f"{o.error:.3f}",
            percent(o.agreement),
            f"{o.concordance:.4f}",
        ]
        for o in evaluation.outputs
    ]


def outputs_table(evaluation: Evaluation) -> str:
    """Every output after the last step: error and agreement with the ANN."""
    last = evaluation.points[-1].T
    header = [f"output at T={last}", "shape", "error", "same winner", "concordance"]
    return table(header, output_rows(evaluation))


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


def csv_name(name: str) -> str:
    """A name as a cell that no spreadsheet takes for a formula (OWASP: CSV injection)."""
    return f"'{shown(name)}" if name.startswith(("=", "+", "-", "@")) else shown(name)


COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def score(run: SweepRun, point: Point) -> float:
    """What the chart shows: accuracy, else agreement, else 1 - error; over several seeds the
    mean."""
    return judged(run.evaluation, point) if run.spread is None else run.spread.at(point.T).mean


def band(run: SweepRun, point: Point) -> tuple[float, float] | None:
    """What the chart shows around ``score``: its interval; over several seeds the lowest and the
    highest."""
    if run.spread is None:
        return bounds_of(run.evaluation, point)
    found = run.spread.at(point.T)
    return found.low, found.high


def score_name(sweep: Sweep) -> str:
    """What ``score`` is, for an axis."""
    first = sweep.runs[0].evaluation
    if first.ann_accuracy is not None:
        return "accuracy (%)"
    return "agreement with the ANN (%)" if first.classes else "100 - error of the outputs (%)"
