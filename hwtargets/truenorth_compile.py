"""From a spiking graph to TrueNorth cores: lower, fit, cut, route, emit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..runtime import graph as g
from ..runtime.ops import Array
from .target import HardwareTarget
from .truenorth_coding import coding_of
from .truenorth_draft import Widths
from .truenorth_emit import at_window, emit
from .truenorth_file import Crossbars
from .truenorth_fit import Fitted, fit, outline
from .truenorth_lower import Lowered, lower
from .truenorth_route import Routed, route
from .truenorth_run import NetworkRun, run_network
from .truenorth_tiles import Room


@dataclass(frozen=True, eq=False, kw_only=True)
class TrueNorthNetwork:
    """A mapped network: float units, integer units (in ``routed.units``), cores, and the room of a
    core. ``crossbars``: the bits; None where they were not asked for."""

    lowered: Lowered
    fitted: Fitted
    routed: Routed
    crossbars: Crossbars | None
    steps: int

    def run(self, x: Mapping[str, Array], steps: int, keep: tuple[str, ...] = ()) -> NetworkRun:
        """The integers executed; see ``truenorth_run``."""
        lowered = self.lowered
        return run_network(self.routed.units, lowered.sources, lowered.readings, x, steps, keep)


def compile_network(
    graph: g.SpikingGraph,
    target: HardwareTarget,
    samples: Mapping[str, Array],
    *,
    steps: int,
    coding: str = "axons4",
    copies: int = 1,
    output_copies: int = 4,
    tune: bool = True,
    fit_steps: int | None = None,
    emit_cores: int = 1 << 14,
) -> TrueNorthNetwork:
    """All of it: lower, fit, cut, route, and emit if there are at most ``emit_cores`` cores.

    Parameters:
        samples: to fit on, by input name, (n, *shape); no labels are used.
        steps: the longest window T for which no potential may overflow.
        fit_steps: of the measuring runs; None is T, at most 128.

    Raises:
        TargetError: a node without a TrueNorth form. UsageError: an unknown coding.
    """
    room = Room(axons=int(target.limit("axons")), neurons=int(target.limit("neurons")))
    lowered = lower(graph, samples, output_copies=output_copies)
    fitted = fit(
        lowered,
        samples,
        coding_of(coding),
        Widths.of(target, steps),
        room,
        steps=min(steps, fit_steps or 128),
        copies=copies,
        tune=tune,
    )
    routed = route(fitted.units, lowered.sources, room)
    routed = replace(routed, units=tuple(at_window(routed.units, routed.start)))
    small = routed.core_count <= emit_cores
    return TrueNorthNetwork(
        lowered=lowered,
        fitted=fitted,
        routed=routed,
        crossbars=emit(routed, lowered, room, steps) if small else None,
        steps=steps,
    )


def count_cores(
    graph: g.SpikingGraph,
    target: HardwareTarget,
    sample: Mapping[str, Array],
    coding: str,
    known: Routed | None = None,
) -> dict[str, int | str]:
    """Cores and chips that a coding needs, without fitting or running anything. ``known``: where
    the network is mapped with this coding already."""
    room = Room(axons=int(target.limit("axons")), neurons=int(target.limit("neurons")))
    if known is None:
        lowered = lower(graph, sample)
        made = outline(lowered, coding_of(coding), Widths.of(target, 1), room)
        known = route(made.units, lowered.sources, room)
    cores = known.core_count
    return {
        "coding": coding,
        "axons_per_input": coding_of(coding).axons,
        "cores": cores,
        "chips": -(-cores // int(target.limit("cores_per_chip"))),
    }
