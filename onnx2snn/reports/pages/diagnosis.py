"""The page of a diagnosis: what is lost and where, the layers' errors, the accuracy curve."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

from markupsafe import Markup, escape

from ...diagnosis import Diagnosis
from ...diagnosis.layers import PARTS
from ...diagnosis.measure import RULE, Measured
from ...display import displayed
from ..diagnosis import (
    HEADER,
    beginning,
    energy_lines,
    marked,
    networks_text,
    parts_total,
    rows,
    summary,
)
from ..pictures.diagnosis import COLOURS, UNSPLIT, parts_of
from ..text import percent
from . import Answer, Figure, figures, page
from .curves import charts

WIDTH, ROW = 420, 34  # of the chart of errors: a name and a bar per layer
SHOWN = 44  # characters of a name


def diagnosis_html(
    diagnosis: Diagnosis, pictures: Mapping[str, bytes], *, command: str = ""
) -> str:
    """One self-contained page; ``pictures``: PNG files by name, of which that of the rates has no
    other form here; ``command``: what made it, as it was typed."""
    diagnosis = displayed(diagnosis)
    measured = diagnosis.measured
    rates = pictures.get("rates.png")
    used = {part for layer in measured.layers for part in parts_of(layer)}
    drawn = charts(diagnosis.sweep())[:1] if diagnosis.curves else []
    return page(
        "diagnosis.html.j2",
        kind="diagnosis",
        title=f"{diagnosis.network or diagnosis.model}: where the error comes from",
        answer=_answer(diagnosis),
        command=command,
        d=diagnosis,
        summary=summary(diagnosis),
        rule=RULE,
        header=HEADER,
        networks=networks_text(diagnosis),
        energy=energy_lines(diagnosis),
        charts=[
            ("Error by layer, divided as its parts' squares", Markup(errors_svg(measured))),
            *((f"Accuracy against {name}", Markup(svg)) for name, svg in drawn),
        ],
        keys=[(part, COLOURS[part]) for part in (*PARTS, UNSPLIT) if part in used],
        rows=list(zip(rows(measured), marked(diagnosis), strict=True)),
        rates=None if rates is None else b64encode(rates).decode(),
    )


def _answer(diagnosis: Diagnosis) -> Answer:
    said = beginning(diagnosis) or ["What is lost was not measured."]
    loss, found = diagnosis.loss, []
    if diagnosis.curves:
        done = diagnosis.curves[0].evaluation
        found.append(figures.score(done, done.points[-1]))
    if (first := diagnosis.first) is not None:
        note = f"adds {percent(first.adds, 1)} of rms(a)"
        found.append(Figure(name="most error begins at", value=_short(first.name), note=note))
    shares = parts_total(diagnosis.measured)
    part = max(shares, key=lambda name: shares[name])
    if shares[part] > 0:
        note = f"{percent(shares[part], 0)} of the squared errors that layers add"
        found.append(Figure(name="costs most", value=part, note=note))
    if diagnosis.curves:
        found += figures.energy(diagnosis.curves[0].evaluation.events)
    good = None if loss is None else loss.is_nothing
    return Answer(said=tuple(said), good=good, figures=tuple(found))


def _short(name: str) -> str:
    return name if len(name) <= SHOWN else "..." + name[3 - SHOWN :]


def errors_svg(measured: Measured) -> str:
    """A bar per layer, as long as its error, divided as the squares of its parts."""
    most = max((layer.error for layer in measured.layers), default=0.0) or 1.0
    height = ROW * len(measured.layers)
    label = "Error of every layer, relative to the ANN's activation"
    out = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}" font-size="12" '
        'fill="currentColor">'
    ]
    for i, layer in enumerate(measured.layers):
        y, x = ROW * i, 0.0
        out.append(f'<text x="0" y="{y + 12}">{escape(_short(layer.name))}</text>')
        for part, share in parts_of(layer).items():
            wide = (WIDTH - 52) * share / (100 * most)
            if wide > 0:
                tip = f"{layer.name}: {percent(layer.error, 1)}, {part} {share:.1f}"
                out.append(
                    f'<rect x="{x:.1f}" y="{y + 16}" width="{wide:.1f}" height="10" '
                    f'fill="{COLOURS[part]}"><title>{escape(tip)}</title></rect>'
                )
                x += wide
        out.append(f'<text x="{x + 5:.1f}" y="{y + 25}">{percent(layer.error, 1)}</text>')
    return "".join([*out, "</svg>"])
