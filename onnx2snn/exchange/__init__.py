"""Converted networks for other tools, and back: every format is a line of ``FORMATS``.

A format writes what its readers take for the same network, spike for spike. What it cannot say is
refused by the name of the node, unless the caller asks for an approximation (``approximate``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError, did_you_mean
from ..results import claim_files
from ..runtime.graph import SpikingGraph
from ..runtime.ops import Array
from ..spelling import spelled
from .flat import ONNX
from .format import Choices, Format
from .nir import NIR, import_nir
from .sanafe import SANAFE
from .torch import TORCH

FORMATS: dict[str, Format] = {form.name: form for form in (ONNX, TORCH, NIR, SANAFE)}

__all__ = ["FORMATS", "Choices", "Exported", "Format", "export", "import_network"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Exported:
    """What was written: the files, and what a user of them must know."""

    to: str
    files: tuple[Path, ...]
    notes: tuple[str, ...]


def export(
    network: SpikingGraph,
    path: str | Path,
    *,
    to: str,
    inline: bool = False,
    approximate: bool = False,
    sample: Mapping[str, Array] | None = None,
    force: bool = False,
    inputs: Iterable[Path] = (),
) -> Exported:
    """Write ``network`` for other tools.

    Parameters:
        path: the file; formats of several files name the others after it.
        to: a key of ``FORMATS``.
        inline: of "onnx": no local functions.
        approximate: of formats with no word for something: write it with its declared convention.
        sample: of formats that hold one sample: arrays (count, *shape) by input, the first of
            which is taken.
        force: replace files that onnx2snn did not make.
        inputs: files that must not be replaced in any case.

    Raises UsageError for what the format has no use for, GraphError (E430) for what it cannot say,
    DataError (E220 to E224) where the files cannot be written. Then nothing is written.
    """
    form = format_named(to)
    choices = Choices(inline=inline, approximate=approximate, sample=sample)
    form.check(choices)
    place = Path(path)
    results = claim_files(place.parent, form.files(place.name), inputs=inputs, force=force)
    written = form.write(network, place.name, choices)
    for name, content in written.contents.items():
        results.write(name, content)
    files = tuple(place.parent / name for name in written.contents)
    return Exported(to=to, files=files, notes=written.notes)


def format_named(to: str) -> Format:
    """The format ``to``. Raises UsageError for another name."""
    form = FORMATS.get(to)
    if form is None:
        raise UsageError(
            f"{spelled('to')} is a format, not '{to}'", remedy=did_you_mean(to, FORMATS)
        )
    return form


def import_network(
    path: str | Path, *, steps: int | None = None, dt: float | None = None
) -> SpikingGraph:
    """The network in a NIR file, such as ``export`` writes or another tool: graphs without cycles
    of Input, Output, Affine, Linear, Scale, Conv1d, Conv2d, SumPool2d, AvgPool2d, Flatten, Delay,
    IF, LIF and Threshold.

    Parameters:
        steps: T, where the file does not say.
        dt: the length of a time step, where the file does not say and has times in it.

    Raises ModelError (E301, E340, which names the node), UsageError where ``dt`` is missing, and
    GraphError (E431) where the network does not do what the file, run as it stands, does.
    """
    return import_nir(Path(path), steps=steps, dt=dt)
