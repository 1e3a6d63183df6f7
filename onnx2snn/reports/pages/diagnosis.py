"""The page of a diagnosis: what is lost and where, the layers' errors, the accuracy curve."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

from markupsafe import Markup

from ...diagnosis import Diagnosis
from ...diagnosis.measure import RULE
from ...display import displayed
from ..diagnosis import (
    HEADER,
    beginning,
    energy_lines,
    layer_lines,
    marked,
    networks_text,
    parts_total,
    rows,
    summary,
)
from ..text import percent
from . import Answer, Figure, figures, page
from .curves import charts
from .errors import errors_svg, keys, short


def diagnosis_html(
    diagnosis: Diagnosis, pictures: Mapping[str, bytes], *, command: str = ""
) -> str:
    """One self-contained page; ``pictures``: PNG files by name, of which that of the rates has no
    other form here; ``command``: what made it, as it was typed."""
    diagnosis = displayed(diagnosis)
    measured = diagnosis.measured
    rates = pictures.get("rates.png")
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
        keys=keys(measured),
        rows=list(zip(rows(measured), marked(diagnosis), strict=True)),
        rates=None if rates is None else b64encode(rates).decode(),
    )


def _answer(diagnosis: Diagnosis) -> Answer:
    said = beginning(diagnosis) or ["What is lost was not measured."]
    said += layer_lines(diagnosis)
    loss, found = diagnosis.loss, []
    if diagnosis.curves:
        done = diagnosis.curves[0].evaluation
        found.append(figures.score(done, done.points[-1]))
    if (first := diagnosis.first) is not None:
        note = f"adds {percent(first.adds, 1)} of rms(a)"
        found.append(Figure(name="most error begins at", value=short(first.name), note=note))
    shares = parts_total(diagnosis.measured)
    part = max(shares, key=lambda name: shares[name])
    if shares[part] > 0:
        note = f"{percent(shares[part], 0)} of the squared errors that layers add"
        found.append(Figure(name="costs most", value=part, note=note))
    if diagnosis.curves:
        found += figures.energy(diagnosis.curves[0].evaluation.events)
    # Neither good nor bad: a loss that may be chance.
    chance = loss is None or (loss.low is not None and loss.low <= 0 and not loss.is_nothing)
    good = None if loss is None or chance else loss.is_nothing
    return Answer(said=tuple(said), good=good, figures=tuple(found))
