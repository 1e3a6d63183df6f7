"""The layers' errors as a chart: a name and a bar for each."""

from __future__ import annotations

from markupsafe import escape

from ...diagnosis.layers import PARTS
from ...diagnosis.measure import Measured
from ..pictures.diagnosis import COLOURS, UNSPLIT, parts_of
from ..text import percent

WIDTH, ROW = 420, 34
SHOWN = 44  # characters of a name


def keys(measured: Measured) -> list[tuple[str, str]]:
    """The parts that there are, and their colours."""
    used = {part for layer in measured.layers for part in parts_of(layer)}
    return [(part, COLOURS[part]) for part in (*PARTS, UNSPLIT) if part in used]


def short(name: str) -> str:
    """The end of a name says most."""
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
        out.append(f'<text x="0" y="{y + 12}">{escape(short(layer.name))}</text>')
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
