"""Pictures, with matplotlib (extra ``plot``)."""

from __future__ import annotations

from io import BytesIO
from itertools import cycle
from typing import Any

from ...display import counted, displayed, shown
from ...errors import UsageError
from ...evaluation.chips import said
from ...evaluation.sweep import Sweep, SweepRun
from ...experiments.plan import LADDER
from ...results.marks import PNG_TEXT
from .. import spiking
from ..text import COLOURS, band, score, score_name

DASHES = ("--", ":", "-.")  # of chips, in their order


def available() -> bool:
    """Whether matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def figure(width: float = 7.0, *, height: float = 4.2) -> Any:
    """A figure that needs no screen. Raises UsageError where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(
            "pictures need matplotlib", remedy="pip install 'onnx2snn[plot]'.", code="E101"
        ) from error

    class Chart(Figure):
        """In a notebook its picture, also where no backend of one was chosen."""

        def _repr_png_(self) -> bytes:
            return png(self, dpi=72)

    return Chart(figsize=(width, height), layout="constrained")


def literal(text: str) -> str:
    """A name as matplotlib draws it letter by letter: dollar signs begin formulas."""
    return shown(text).replace("$", r"\$")


def short(name: str, length: int = 44) -> str:
    """The end of a name says most."""
    return name if len(name) <= length else "..." + name[3 - length :]


def sweep_png(sweep: Sweep) -> bytes:
    """``sweep_figure`` as a PNG file."""
    return png(sweep_figure(sweep))


def sweep_figure(sweep: Sweep) -> Any:
    """Accuracy against time steps, one curve per run with its 95 % interval, and the ANN's; where
    every run has one point, the runs beside each other."""
    sweep = displayed(sweep, literal)
    if all(len(run.evaluation.points) == 1 for run in sweep.runs):
        return _beside(sweep)
    fig = figure(8.2, height=4.0 + 0.2 * sum(1 + len(run.chips) for run in sweep.runs))
    axes = fig.subplots()
    for n, run in enumerate(sweep.runs):
        aside = 1.015 ** (n - (len(sweep.runs) - 1) / 2)
        _curve(axes, run, COLOURS[n % len(COLOURS)], aside, few=len(sweep.runs) < 3)
        for dashes, chip in zip(cycle(DASHES), run.chips, strict=False):
            if chip.points:
                where, values = [p.T for p in chip.points], [100 * said(p) for p in chip.points]
                name = f"{short(run.recipe)} on {chip.target}"
                line = {"linestyle": dashes, "marker": "o", "markerfacecolor": "white"}
                axes.plot(where, values, color=COLOURS[n % len(COLOURS)], label=name, ms=3, **line)
    _ann_line(axes, sweep)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("time steps T")
    _finish(axes, sweep)
    fig.legend(fontsize=8, loc="outside lower center")
    return fig


def _beside(sweep: Sweep) -> Any:
    """One point per run, with its interval; T, latency and cost under its name."""
    fig = figure(max(4.5, 2.1 * len(sweep.runs) + 1.2), height=4.6)
    axes = fig.subplots()
    labels = []
    for n, run in enumerate(sweep.runs):
        p, colour = run.evaluation.points[0], COLOURS[n % len(COLOURS)]
        value, bounds = 100 * score(run, p), band(run, p)
        bars = None
        if bounds is not None:
            bars = [[value - 100 * bounds[0]], [100 * bounds[1] - value]]
        axes.errorbar([n], [value], bars, fmt="o", color=colour, capsize=4)
        name = short(run.recipe, 20)
        latency = f"T={p.T}, latency {counted(p.latency, 'step')}"
        cost = spiking.short(run.evaluation.spiking, p).replace(", ", "\n", 1)
        labels.append(f"{name}\n{latency}\n{cost}")
    axes.set_xticks(range(len(labels)), labels, fontsize=8)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    _ann_line(axes, sweep)
    _finish(axes, sweep)
    if sweep.runs[0].evaluation.ann_accuracy is not None:
        axes.legend(fontsize=9, loc="best")
    return fig


def _ann_line(axes: Any, sweep: Sweep) -> None:
    first = sweep.runs[0].evaluation
    if first.ann_accuracy is not None:
        axes.axhline(
            100 * first.ann_accuracy,
            color="0.2",
            linestyle="--",
            linewidth=1,
            label=f"ANN ({100 * first.ann_accuracy:.1f} %)",
        )


def _finish(axes: Any, sweep: Sweep) -> None:
    axes.set_ylabel(score_name(sweep))
    model = sweep.model if len(sweep.model) <= 60 else f"{len(sweep.runs)} networks"
    axes.set_title(f"{model}, {counted(sweep.samples, 'sample')}", fontsize=11)
    axes.grid(True, alpha=0.3)


def png(fig: Any, *, dpi: int = 120) -> bytes:
    """The figure as a PNG file, marked as ours."""
    out = BytesIO()
    fig.savefig(out, dpi=dpi, format="png", metadata=PNG_TEXT)
    return out.getvalue()


def _curve(axes: Any, run: SweepRun, colour: str, aside: float, *, few: bool) -> None:
    """A line with its interval: a band where curves are ``few``, else bars at some points, moved
    ``aside`` so that they do not cover each other."""
    points = run.evaluation.points
    steps, values = [p.T for p in points], [100 * score(run, p) for p in points]
    last = (
        f"{short(run.recipe)} (T={steps[-1]}: latency {counted(points[-1].latency, 'step')}, "
        f"{spiking.short(run.evaluation.spiking, points[-1])})"
    )
    bounds = [band(run, p) for p in points]
    low, high = ([100 * b[side] for b in bounds if b is not None] for side in (0, 1))
    if len(points) > 3:
        axes.plot(steps, values, "-", color=colour, label=last)
        if low and not few:
            at = [i for i, t in enumerate(steps) if t in LADDER or t == steps[-1]]
            below, above = ([abs(values[i] - b[i]) for i in at] for b in (low, high))
            places = [steps[i] * aside for i in at]
            shown = [values[i] for i in at]
            axes.errorbar(places, shown, [below, above], fmt="o", color=colour, ms=3, capsize=2)
        elif low:
            axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
        return
    bars = None
    if low:
        below = [v - b for v, b in zip(values, low, strict=True)]
        bars = [below, [b - v for v, b in zip(values, high, strict=True)]]
    axes.errorbar(
        [t * aside for t in steps], values, bars, fmt="o-", color=colour, capsize=4, label=last
    )
