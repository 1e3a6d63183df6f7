"""``place``: check -> quantize and partition (the target's mapping step) -> mesh -> report.

report = place(graph, "loihi2", data=PlaceData(x=x, y=y, ann=0.985), steps=32)
print(render_text(report)); to_json(report); render_html(report)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError, TargetError
from ...runtime.graph import SpikingGraph
from ...runtime.ops import Array
from ..kinds import suggested
from ..mapping import ChipMapping, Mapped, refused
from ..mappings import MAPPINGS, targets
from ..options import known_options
from ..rules import tangled
from ..target import HardwareTarget, Violation
from ..toml import Mappings, read_target
from ..view.network import ChipNetwork, chip_view
from .assembly import Assembly, PlaceData
from .report import PlacementReport
from .screen import Screening, screen


def load_target(name_or_path: str | Path, mappings: Mappings = MAPPINGS) -> HardwareTarget:
    """A bundled target by name, in whatever letters and dashes ("Loihi 2", "XyloIMU"), or a user's
    TOML file by path. ``mappings``: the kinds of chips.

    Raises:
        TargetError: E500 unknown name, E501 bad file, E504 unknown mapping.
    """
    text = str(name_or_path)
    if text.endswith(".toml"):
        return read_target(text, mappings)
    known = {_letters(name): target for name, target in targets().items()}
    asked = _letters(text)
    if asked in known:
        return known[asked]
    family = [target.name for letters, target in known.items() if asked and asked in letters]
    either = " or ".join(f"'{name}'" for name in family)
    remedy = f"Did you mean {either}?" if family else ""
    raise TargetError(
        f"unknown target '{text}'",
        remedy=f"{remedy or suggested(text, targets()) + '.'} Or give a .toml file.",
        code="E500",
    )


def _letters(name: str) -> str:
    """Letters and digits alone, which is what names of chips are told apart by."""
    return "".join(filter(str.isalnum, name.lower()))


def mapping_of(target: HardwareTarget, mappings: Mappings = MAPPINGS) -> ChipMapping[Any]:
    """The mapping that a target names."""
    if target.mapping not in mappings:
        raise TargetError(
            f"target '{target.name}' names an unknown mapping '{target.mapping}'",
            where=target.path,
            remedy=f"{suggested(target.mapping, mappings)}.",
            code="E504",
        )
    return mappings[target.mapping]


def options_of(target: HardwareTarget, mappings: Mappings = MAPPINGS) -> tuple[str, ...]:
    """The names that ``place`` takes as options for a target."""
    return known_options(mapping_of(target, mappings).options)


def emitted(target: HardwareTarget, mappings: Mappings = MAPPINGS) -> tuple[str, ...]:
    """Names of the files for the chip's tools that ``place`` may write."""
    ending = mapping_of(target, mappings).emits
    return (f"{target.name}{ending}",) if ending else ()


def missing_kinds(
    graph: SpikingGraph, target: HardwareTarget, mappings: Mappings = MAPPINGS
) -> tuple[Violation, ...]:
    """Kinds of neurons and operations in ``graph`` that the chip has no means for.

    This answers before anything is calibrated, as ``screened`` does, which looks at sizes too.
    """
    network = chip_view(graph)
    return tangled(network) or mapping_of(target, mappings).kinds(network, target)


def screened(
    graph: SpikingGraph, targets: Iterable[HardwareTarget], mappings: Mappings = MAPPINGS
) -> dict[str, Screening]:
    """Per target, by name, whether ``graph`` may fit, told from kinds and shapes; see ``screen``.

    Raises:
        TargetError: E504 unknown mapping.
    """
    network = chip_view(graph)
    return {chip.name: screen(network, chip, mapping_of(chip, mappings)) for chip in targets}


def place(
    graph: SpikingGraph,
    target: HardwareTarget | str | Path,
    *,
    data: PlaceData | None = None,
    steps: int = 32,
    chips: int | None = None,
    rate: float = 0.1,
    seconds: float = 5.0,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    mappings: Mappings = MAPPINGS,
) -> PlacementReport:
    """Put a spiking graph on a chip and report.

    Parameters:
        target: a record, a bundled name or a TOML file.
        data: samples for accuracy and firing rates; without, rates are assumed to be ``rate``.
        steps: T, time steps per inference.
        chips: how many chips there are; None is the largest known board, else one chip.
        seconds: of work for the mesh placement at most, counted, not timed (``mesh``); seed: of its
            random numbers.
        options: of the mapping, e.g. {"input": "bias"}.
        mappings: the kinds of chips; with one of your own, {**MAPPINGS, "mine": MINE}.

    A network that does not fit gives a report with ``fits`` False and every violation.

    Raises:
        TargetError: unknown or bad target; DataError: samples that do not fit the input;
        UsageError: E514 an option that the target does not have, or another code for a value that
        the option does not take.
    """
    chip = target if isinstance(target, HardwareTarget) else load_target(target, mappings)
    mapping = mapping_of(chip, mappings)
    network = chip_view(graph)
    _check_data(network, data)
    request = mapping.request(
        chip,
        options,
        steps=steps,
        x=None if data is None or data.x is None else np.asarray(data.x, np.float32),
        y=None if data is None else data.y,
        calib=None if data is None else data.calib,
        rate=rate,
        seconds=seconds,
        seed=seed,
    )
    knots = tangled(network)
    mapped = refused(network, knots) if knots else mapping.step(network, chip, request)
    return Assembly(
        network, chip, request, mapped, chips or chip.largest_board, data, _board(chip, chips)
    ).report()


def _board(chip: HardwareTarget, given: int | None) -> str:
    """Whose chips there are, in words."""
    if given is not None:
        return "as given"
    name = max(chip.boards, key=lambda name: chip.boards[name], default=None)
    return f"the largest known board, {name}" if name else "no board is known"


def mapped(
    graph: SpikingGraph,
    target: HardwareTarget,
    *,
    steps: int,
    calib: Array | None = None,
    mappings: Mappings = MAPPINGS,
) -> Mapped:
    """The mapping step alone, with the target's own options: what runs a network in the chip's
    integers (``Mapped.run``), or the violations for which it cannot. Nothing is placed.

    Parameters:
        calib: calibration samples (m, *input shape); None draws random ones.
    """
    network, mapping = chip_view(graph), mapping_of(target, mappings)
    _check_data(network, PlaceData(calib=calib))
    knots = tangled(network)
    if knots:
        return refused(network, knots)
    return mapping.step(network, target, mapping.request(target, steps=steps, calib=calib))


def _check_data(network: ChipNetwork, data: PlaceData | None) -> None:
    if data is None or not network.inputs:
        return
    wanted = tuple(network.inputs[0].shape)
    for what, x in (("samples", data.x), ("calibration samples", data.calib)):
        if x is not None and tuple(np.shape(x)[1:]) != wanted:
            raise DataError(
                f"{what} have shape {np.shape(x)[1:]}, the network takes {wanted}",
                where=network.inputs[0].name,
                remedy="Give the data as the converted network takes them.",
                code="E201",
            )
