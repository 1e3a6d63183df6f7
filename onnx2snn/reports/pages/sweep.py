"""The page of a sweep or of several runs: chart with tooltips, tables, notes, in one HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from markupsafe import Markup

from ...diagnosis.advice import heaviest
from ...display import displayed
from ...evaluation.chips import said as said_on
from ...evaluation.energy.verdict import verdicts as verdicts_of
from ...evaluation.evaluate import Point
from ...evaluation.sweep import Sweep, SweepRun, knee
from ...provenance import Provenance
from .. import spiking
from ..comparison import (
    SPREAD_HEADER,
    chips_notes,
    chips_rows,
    spread_line,
    spread_rows,
)
from ..diagnosis import HEADER, rows
from ..energy import verdicts
from ..figures import count
from ..spiking import answers_text
from ..text import (
    COLOURS,
    curve_rows,
    knee_text,
    output_rows,
    percent,
    score,
    score_name,
    several_outputs,
)
from . import Answer, Figure, figures, page
from .curves import charts, ratio_of
from .errors import errors_svg, keys

NO_PAGES: Mapping[tuple[int, str], str] = MappingProxyType({})
LAYERS_HEADER = (
    *("layer", "spikes/neuron", "synops/sample"),
    *("energy, SNN / ANN: arithmetic alone", "with memory", "same precision"),
)
SAID = 5  # curves that the answer names


def sweep_html(
    sweep: Sweep,
    *,
    command: str = "",
    kind: str = "sweep",
    placements: Mapping[tuple[int, str], str] = NO_PAGES,
) -> str:
    """One self-contained page: answers, charts, tables, notes, how everything was made.

    Parameters:
        command: what made it, as it was typed. kind: "sweep" or "run".
        placements: pages beside it, by the id of a run's network and the chip.
    """
    found = displayed(sweep)
    curve = any(len(run.evaluation.points) > 1 for run in found.runs)
    drawn = charts(found)
    pages = [
        [(c.target, placements[id(run.network), c.target]) for c in run.chips
         if (id(run.network), c.target) in placements]
        for run in sweep.runs
    ]  # fmt: skip
    return page(
        "sweep.html.j2",
        kind=kind,
        title=f"{found.model}: accuracy {'against time steps' if curve else 'and cost'}",
        answer=_answer(found),
        sweep=found,
        shown=score_name(found),
        bands=_bands(found),
        said=SAID,
        charts=[(name, Markup(svg)) for name, svg in drawn],  # our numbers, escaped names
        command=command,
        runs=[
            {**_section(run, COLOURS[n % len(COLOURS)]), "pages": displayed(linked)}
            for n, (run, linked) in enumerate(zip(found.runs, pages, strict=True))
        ],
    )


def _bands(sweep: Sweep) -> str:
    """What ``reports.text.band`` is of, for the charts' caption."""
    seeded = any(run.spread for run in sweep.runs)
    return "from the lowest to the highest of the seeds" if seeded else "95 % intervals"


def _answer(sweep: Sweep) -> Answer:
    """The knee of the curve that reaches it with the least, then those of others."""
    best, point, reached = _best(sweep)
    runs = [best, *(run for run in sweep.runs if run is not best)]
    said = [
        f"{run.recipe}: {line}"
        for run in runs
        for line in spiking.headline(run.evaluation.spiking, run.steps)
    ]
    spikes = [run for run in runs if run.evaluation.spiking.verdict != "no"]
    said += [f"{run.recipe}: {knee_text(run.evaluation)}" for run in runs[:SAID]]
    said += [f"{len(runs) - SAID} more curves below."] if len(runs) > SAID else []
    chips = [
        (said_on(chip.points[-1]), chip) for run in sweep.runs for chip in run.chips if chip.points
    ]
    on_chip = []
    if chips:
        value, chip = max(chips, key=lambda found: found[0])
        note = f"{chip.target}, T={chip.points[-1].T}; the best of {len(chips)}"
        on_chip.append(Figure(name="on a chip's integers", value=percent(value), note=note))
    elif refused := [chip.target for run in sweep.runs for chip in run.chips]:
        on_chip.append(Figure(name="on chips", value="fits none", note=", ".join({*refused})))
    return Answer(
        said=tuple(said),
        good=False if not spikes else True if reached else None,
        figures=(
            figures.score(best.evaluation, point),
            Figure(name="latency", value=f"{point.latency} steps", note=best.recipe),
            Figure(name="spikes per neuron", value=f"{point.spikes_per_neuron:.2f}"),
            *_energy(best, point),
            *on_chip,
        ),
    )


def _best(sweep: Sweep) -> tuple[SweepRun, Point, bool]:
    """The curve that the page begins with, its point, and whether that is near to the ANN: the
    knee with the least energy (or latency); where there is none, the best last answer."""
    found = []
    for run in sweep.runs:
        near = knee(run.evaluation)
        if near is not None:
            point = next(p for p in run.evaluation.points if near["T"] == p.T)
            found.append((ratio_of(run, point) or float(point.latency), run, point))
    if found:
        _, run, point = min(found, key=lambda known: known[0])
        return run, point, True
    run = max(sweep.runs, key=lambda run: score(run, run.evaluation.points[-1]))
    return run, run.evaluation.points[-1], False


def _energy(run: SweepRun, point: Point) -> list[Figure]:
    ratio = ratio_of(run, point)
    if ratio is None:
        return []
    note = f"the {'SNN' if ratio < 1 else 'ANN'} needs less (model with memory)"
    return [Figure(name="energy, SNN / 8-bit ANN", value=f"{ratio:.2f}", note=note)]


def _section(run: SweepRun, colour: str) -> dict[str, Any]:
    """What the page says of one run: what the text report says."""
    header, rows = curve_rows(run.evaluation)
    share = run.evaluation.spiking
    return {
        "recipe": run.recipe,
        "colour": colour,
        "knee": knee_text(run.evaluation),
        "size": f"{count(run.evaluation.neurons)} neurons; ANN: "
        f"{count(run.evaluation.macs_ann)} multiply-accumulates. {'. '.join(spiking.lines(share))}."
        f" Sums over the T steps of one answer; {spiking.KEY}; {answers_text(run)}.",
        "energy": verdicts.lines(run.evaluation.events),
        "converted": _converted(run),
        "notes": run.notes,
        "layers": _layers(run),
        "errors": _errors(run),
        "layers_header": LAYERS_HEADER,
        "last": run.evaluation.points[-1].T,
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


def _errors(run: SweepRun) -> dict[str, Any] | None:
    """What each layer adds to the error; None where it was not measured."""
    found = run.layers
    if found is None:
        return None
    most = heaviest(found)
    said = "no layer adds an error of its own"
    if most is not None:
        said = f"most is added at '{most.name}' ({percent(most.adds, 1)} of rms(a))"
    return {
        "said": f"Error by layer at T={found.steps}: {said}",
        "samples": found.samples,
        "keys": keys(found),
        "chart": Markup(errors_svg(found)),  # our numbers, escaped names
        "header": HEADER,
        "rows": rows(found),
    }


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
    """How the network was made and simulated, by name; not the digests of single samples."""
    record = Provenance.of(run.network)
    parts = {
        "": record.options,
        "model ": None if record.source is None else asdict(record.source),
        "calibration ": None if record.calibration is None else asdict(record.calibration),
        "preprocessing ": None if record.preprocessing is None else asdict(record.preprocessing),
        "simulation ": run.evaluation.how,
        "version of ": record.versions,
    }
    return [
        (f"{of}{name}", "-" if value is None else str(value))
        for of, part in parts.items()
        for name, value in (part or {}).items()
        if name != "digests"
    ]
