"""``place``: check -> quantize and partition (the target's mapping step) -> mesh -> report.

report = place(graph, "loihi2", data=PlaceData(x=x, y=y, ann=0.985), steps=32)
print(render_text(report)); to_json(report); render_html(report)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError, TargetError
from ...runtime.graph import SpikingGraph
from .. import rules
from ..mapping import Request, Step
from ..mappings import MAPPINGS
from ..options import check_names
from ..target import HardwareTarget, Violation, load, targets
from ..truenorth import mapping as truenorth
from ..view.network import ChipNetwork, chip_view
from ..xylo import rules as xylo_rules
from .assembly import Assembly, PlaceData
from .report import PlacementReport


def load_target(name_or_path: str | Path) -> HardwareTarget:
    """A bundled target by name, or a user's TOML file by path.

    Raises:
        TargetError: E500 unknown name, E501 bad file, E504 unknown mapping step.
    """
    text = str(name_or_path)
    if text.endswith(".toml"):
        target = load(text)
    else:
        known = targets()
        if text not in known:
            raise TargetError(
                f"unknown target '{text}'",
                remedy=f"Choose one of {', '.join(known)}, or give a .toml file.",
                code="E500",
            )
        target = known[text]
    step_of(target)
    return target


def step_of(target: HardwareTarget) -> Step:
    """The mapping step that a target names."""
    if target.mapping not in MAPPINGS:
        raise TargetError(
            f"target '{target.name}' names an unknown mapping step '{target.mapping}'",
            where=target.path,
            remedy=f"Use one of {', '.join(MAPPINGS)}.",
            code="E504",
        )
    return MAPPINGS[target.mapping]


def missing_kinds(graph: SpikingGraph, target: HardwareTarget) -> tuple[Violation, ...]:
    """Kinds of neurons and operations in ``graph`` that the chip has no means for.

    Sizes and limits are left to ``place``: this answers before anything is calibrated.
    """
    network = chip_view(graph)
    match target.mapping:
        case "xylo":
            return xylo_rules.kinds(network, target)
        case "truenorth":
            return truenorth.kinds(network, target)
    return rules.check(network, target)


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
) -> PlacementReport:
    """Put a spiking graph on a chip and report.

    Parameters:
        target: a record, a bundled name or a TOML file.
        data: samples for accuracy and firing rates; without, rates are assumed to be ``rate``.
        steps: T, time steps per inference.
        chips: how many chips there are; None is the largest known board, else one chip.
        seconds: wall time of the mesh placement at most; seed: of its random numbers.
        options: of the mapping step, e.g. {"input": "bias"}.

    A network that does not fit gives a report with ``fits`` False and every violation.

    Raises:
        TargetError: unknown or bad target; DataError: samples that do not fit the input;
        UsageError: E514 an option that the target does not have.
    """
    chip = target if isinstance(target, HardwareTarget) else load_target(target)
    check_names(chip, options or {})
    network = chip_view(graph)
    _check_data(network, data)
    request = Request(
        steps=steps,
        x=None if data is None or data.x is None else np.asarray(data.x, np.float32),
        y=None if data is None else data.y,
        calib=None if data is None else data.calib,
        rate=rate,
        seconds=seconds,
        seed=seed,
        options=options or {},
    )
    step = step_of(chip)
    mapped = step(network, chip, request)
    available = chips or max([*(int(n) for n in chip.boards.values()), 1])
    return Assembly(network, chip, request, mapped, available, step, data).report()


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
