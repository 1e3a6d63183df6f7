"""From a spiking graph to TrueNorth cores: lower, fit, cut, route, emit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ....runtime import graph as g
from ....runtime.ops import Array
from ...target import HardwareTarget
from ..file import Crossbars
from ..run import NetworkRun, run_network
from .coding import coding_of
from .copies import Chosen, Copies, after_fit, choose
from .draft import Widths
from .emit import at_window, emit
from .fit import Fitted, fit
from .lower import Lowered, lower
from .route import Routed, route
from .tiles import Room


@dataclass(frozen=True, eq=False, kw_only=True)
class TrueNorthNetwork:
    """A mapped network: float units, integer units (in ``routed.units``), cores, and the room of a
    core. ``crossbars``: the bits; None where they were not asked for. ``copies``: of partial sums.
    """

    lowered: Lowered
    copies: Chosen
    fitted: Fitted
    routed: Routed
    crossbars: Crossbars | None
    steps: int

    def run(self, x: Mapping[str, Array], steps: int, keep: tuple[str, ...] = ()) -> NetworkRun:
        """The integers executed; see ``run``."""
        lowered = self.lowered
        return run_network(
            self.routed.units, lowered.sources, lowered.readings, x, steps, keep=keep
        )


def compile_network(
    graph: g.SpikingGraph,
    target: HardwareTarget,
    samples: Mapping[str, Array],
    *,
    steps: int,
    coding: str = "axons4",
    copies: Copies = "auto",
    output_copies: int = 4,
    tune: bool = True,
    fit_steps: int | None = None,
    emit_cores: int = 1 << 14,
) -> TrueNorthNetwork:
    """All of it: lower, fit, cut, route, and emit if there are at most ``emit_cores`` cores.

    Parameters:
        samples: to fit on, by input name, (n, *shape); no labels are used.
        steps: the longest window T for which no potential may overflow.
        copies: staggered neurons per partial sum; see ``copies`` on "auto".
        fit_steps: of the measuring runs; None is T, at most 128.

    Raises:
        TargetError: a node without a TrueNorth form. UsageError: an unknown coding.
    """
    lowered = lower(graph, samples, output_copies=output_copies)
    return compile_lowered(
        lowered, target, samples, steps=steps, coding=coding, copies=copies, tune=tune,
        fit_steps=fit_steps, emit_cores=emit_cores,
    )  # fmt: skip


def compile_lowered(
    lowered: Lowered,
    target: HardwareTarget,
    samples: Mapping[str, Array],
    *,
    steps: int,
    coding: str,
    copies: Copies,
    tune: bool,
    fit_steps: int | None,
    emit_cores: int,
) -> TrueNorthNetwork:
    """``compile_network`` of what was lowered already, with the same ``samples``."""
    room = Room(axons=int(target.limit("axons")), neurons=int(target.limit("neurons")))

    def routed_with(number: int) -> tuple[Fitted, Routed]:
        fitted = fit(
            lowered,
            samples,
            coding_of(coding),
            Widths.of(target, steps),
            room,
            steps=min(steps, fit_steps or 128),
            copies=number,
            tune=tune,
        )
        return fitted, route(fitted.units, lowered.sources, room)

    first = choose(lowered, target, coding, copies)
    fitted, routed = routed_with(first.number)
    chosen = after_fit(first, routed.core_count)
    if chosen.number != first.number:
        fitted, routed = routed_with(chosen.number)
    routed = replace(routed, units=tuple(at_window(routed.units, routed.start)))
    small = routed.core_count <= emit_cores
    return TrueNorthNetwork(
        lowered=lowered,
        copies=chosen,
        fitted=fitted,
        routed=routed,
        crossbars=emit(routed, lowered, room, steps) if small else None,
        steps=steps,
    )
