"""Pictures, with matplotlib (extra ``plot``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import UsageError
from .render import COLOURS, score
from .sweep import Sweep


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


def sweep_png(sweep: Sweep, path: Path) -> None:
    """Accuracy against time steps, one curve per recipe with its 95 % interval, and the ANN's."""
    fig = figure()
    axes = fig.subplots()
    for n, run in enumerate(sweep.runs):
        points, colour = run.evaluation.points, COLOURS[n % len(COLOURS)]
        steps = [p.T for p in points]
        last = f"{run.recipe} ({points[-1].spikes_per_neuron:.1f} spikes/neuron at T={steps[-1]})"
        style = "o" if len(points) == 1 else "-"
        axes.plot(steps, [100 * score(run, p) for p in points], style, color=colour, label=last)
        if points[0].low is not None:
            low = [100 * (p.low or 0) for p in points]
            high = [100 * (p.high or 0) for p in points]
            axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
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
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_xlabel("time steps T")
    scored = first.ann_accuracy is not None
    axes.set_ylabel("accuracy (%)" if scored else "agreement with the ANN (%)")
    axes.set_title(f"{sweep.model}, {sweep.samples} samples", fontsize=11)
    axes.grid(True, alpha=0.3)
    axes.legend(loc="lower right", fontsize=9)
    fig.savefig(path, dpi=120)
