"""The page of a sweep or of several runs: chart with tooltips, tables, notes, in one HTML file."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from markupsafe import Markup

from ...display import displayed
from ...evaluation.energy.verdict import verdicts as verdicts_of
from ...evaluation.sweep import Sweep, SweepRun
from ...provenance import Provenance
from .. import spiking
from ..comparison import (
    SPREAD_HEADER,
    chips_notes,
    chips_rows,
    spread_line,
    spread_rows,
)
from ..energy import verdicts
from ..figures import count
from ..spiking import answers_text
from ..text import (
    COLOURS,
    curve_rows,
    knee_text,
    output_rows,
    score_name,
    several_outputs,
)
from . import page
from .curves import charts


def sweep_html(sweep: Sweep, *, command: str = "") -> str:
    """One self-contained page: answers, charts, tables, notes, how everything was made.
    ``command``: what made it, as it was typed."""
    sweep = displayed(sweep)
    return page(
        "sweep.html.j2",
        title=f"{sweep.model}: accuracy against time steps",
        sweep=sweep,
        ann=sweep.runs[0].evaluation.ann_accuracy,
        shown=score_name(sweep),
        charts=[(name, Markup(svg)) for name, svg in charts(sweep)],  # our numbers, escaped names
        command=command,
        runs=[_section(run, COLOURS[n % len(COLOURS)]) for n, run in enumerate(sweep.runs)],
    )


def _section(run: SweepRun, colour: str) -> dict[str, Any]:
    """What the page says of one run: what the text report says."""
    header, rows = curve_rows(run.evaluation)
    share = run.evaluation.spiking
    return {
        "recipe": run.recipe,
        "colour": colour,
        "knee": knee_text(run.evaluation),
        "no": " ".join(spiking.headline(share, run.steps)),
        "size": f"{count(run.evaluation.neurons)} neurons; ANN: "
        f"{count(run.evaluation.macs_ann)} multiply-accumulates. {'. '.join(spiking.lines(share))}."
        f" Sums over the T steps of one answer; {spiking.KEY}; {answers_text(run)}.",
        "energy": verdicts.lines(run.evaluation.events),
        "converted": _converted(run),
        "notes": run.notes,
        "layers": _layers(run),
        "made": _made(run),
        "chips_header": chips_rows(run)[0],
        "chips_rows": chips_rows(run)[1],
        "chips_notes": chips_notes(run),
        "spread": "" if run.spread is None else spread_line(run.spread),
        "spread_header": SPREAD_HEADER,
        "spread_rows": spread_rows(run),
        "header": header,
        "rows": rows,
        "outputs": output_rows(run.evaluation) if several_outputs(run.evaluation) else [],
    }


def _converted(run: SweepRun) -> str:
    """What the points of a curve are."""
    if run.each:
        return "every point is a network of its own, converted for that T"
    if len(run.evaluation.points) == 1:
        return f"one network, converted for T={run.steps}"
    return f"one network, converted for T={run.steps}; the other points are its early answers"


def _layers(run: SweepRun) -> list[list[str]]:
    """Per layer: spikes per neuron, synaptic operations, and energy relative to the ANN's."""
    found = run.evaluation.events
    judged = {v.model.name: v.layers for v in verdicts_of(found)}
    rows = []
    for name, layer in found.layers.items():
        ratios = [judged[model].get(name) for model in judged]
        rows.append(
            [name, f"{layer.spikes / layer.neurons:.3f}" if layer.neurons else ""]
            + [count(layer.synops)]
            + ["" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
        )
    return rows


def _made(run: SweepRun) -> list[tuple[str, str]]:
    """How the network was made, by name."""
    record = Provenance.of(run.network)
    rows = [(name, f"{value}") for name, value in (record.options or {}).items()]
    if record.calibration is not None:
        rows += [(f"calibration {k}", f"{v}") for k, v in asdict(record.calibration).items()]
    if record.preprocessing is not None:
        rows += [(k, f"{v}") for k, v in asdict(record.preprocessing).items()]
    return rows + [(f"version of {k}", v) for k, v in (record.versions or {}).items()]
