"""Pictures, with matplotlib (extra ``plot``)."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from .errors import UsageError
from .render import COLOURS, bounds_of, score, score_name
from .sweep import Sweep, SweepRun


def available() -> bool:
    """Whether matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def figure(width: float = 7.0, height: float = 4.2) -> Any:
    """A figure that needs no screen. Raises UsageError where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(
            "pictures need matplotlib", remedy="pip install 'onnx2snn[plot]'.", code="E101"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def sweep_png(sweep: Sweep) -> bytes:
    """Accuracy against time steps, one curve per run with its 95 % interval, and the ANN's."""
    fig = figure()
    axes = fig.subplots()
    for n, run in enumerate(sweep.runs):
        aside = 1.04 ** (n - (len(sweep.runs) - 1) / 2)
        _curve(axes, run, COLOURS[n % len(COLOURS)], aside)
    first = sweep.runs[0].evaluation
    if first.ann_accuracy is not None:
        axes.axhline(
            100 * first.ann_accuracy,
            color="0.2",
            linestyle="--",
            linewidth=1,
            label=f"ANN ({100 * first.ann_accuracy:.1f} %)",
        )
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    longest = max(run.steps for run in sweep.runs)
    if longest == min(run.evaluation.points[0].T for run in sweep.runs):
        axes.set_xlim(longest / 2, longest * 2)
    axes.set_xlabel("time steps T")
    axes.set_ylabel(score_name(sweep))
    axes.set_title(f"{sweep.model}, {sweep.samples} samples", fontsize=11)
    axes.grid(True, alpha=0.3)
    axes.legend(loc="best", fontsize=9)
    out = BytesIO()
    fig.savefig(out, dpi=120, format="png")
    return out.getvalue()


def _curve(axes: Any, run: SweepRun, colour: str, aside: float) -> None:
    """A line with a band; a few points with bars, moved ``aside`` so that bars do not cover each
    other."""
    points = run.evaluation.points
    steps, values = [p.T for p in points], [100 * score(run, p) for p in points]
    last = f"{run.recipe} ({points[-1].spikes_per_neuron:.1f} spikes/neuron at T={steps[-1]})"
    bounds = [bounds_of(run.evaluation, p) for p in points]
    low, high = ([100 * b[side] for b in bounds if b is not None] for side in (0, 1))
    if len(points) > 3:
        axes.plot(steps, values, "-", color=colour, label=last)
        if low:
            axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
        return
    bars = None
    if low:
        below = [v - b for v, b in zip(values, low, strict=True)]
        bars = [below, [b - v for v, b in zip(values, high, strict=True)]]
    axes.errorbar(
        [t * aside for t in steps], values, bars, fmt="o-", color=colour, capsize=4, label=last
    )
