"""Clock cycles and power, after the vendor's published cycle model.

Model: SynSense, rockpool 3.1.0, ``devices/xylo/{syns61201,syns63300}/power_cycles_model.py``
(the second for Audio 3 and IMU). Cycles of one time step, with firing probabilities p (a step with
several spikes counts as one):

    N_in (3.5 p_in N_ien + 1) + N_hid (7 p_hid fan_out + 3) + N_oen p_hid (8 N_out + 1)
    + N_hid (19 + 3 p_hid + alias terms) + 12 N_out

The clock has to run the worst case (all p = 1) in real time, with 20 % margin. Power is taken as
proportional to the clock (so says the vendor's hint on reducing power), from one published
measurement per chip; its spread is the report's uncertainty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...errors import TargetError
from ..energy import AnnComparison, Energy, Joules
from ..energy.constants import Span, spread
from ..energy.latency import Latency
from ..target import DYNAMIC, HardwareTarget, Known, Limit
from .core import XyloConfig

MARGIN = 0.2
SOURCE = (
    "SynSense rockpool 3.1.0, devices/xylo/*/power_cycles_model.py (cycles_model, est_clock_freq)"
)


ENERGY: Mapping[str, Known] = {
    "core_power_uw": Known(
        help="measured power of the core; without an uncertainty the report's range is one value",
        unit="uW", uncertainty=0.0,
    ),
    "core_power_mhz": Known(help="clock of that measurement", unit="MHz", uncertainty=0.0),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Activity:
    """Probability that a channel or neuron fires at all in a step; 1 is the worst case."""

    inputs: float = 1.0
    hidden: float = 1.0


WORST = Activity()


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What the cycle model asks of a configuration. ``expansion_in``, ``expansion_out``: hidden
    neurons that inputs project to, and that project to outputs; ``fan_out``: mean over hidden
    neurons; ``aliases``: neurons with an alias (each a source, each alias a target)."""

    inputs: int
    hidden: int
    outputs: int
    expansion_in: int
    expansion_out: int
    fan_out: float
    aliases: int = 0


def shape_of(config: XyloConfig, *, expansion: bool) -> Shape:
    """``expansion``: the chip has input and output expansion (Audio 3, IMU); without it every
    hidden neuron takes part (Audio 2)."""
    reached = int(np.count_nonzero(np.any(config.weights_in != 0, axis=0)))
    read = int(np.count_nonzero(np.any(config.weights_out != 0, axis=1)))
    return Shape(
        inputs=config.inputs,
        hidden=config.hidden,
        outputs=config.outputs,
        expansion_in=reached if expansion else config.hidden,
        expansion_out=read if expansion else config.hidden,
        fan_out=float(np.count_nonzero(config.weights_rec)) / max(config.hidden, 1),
    )


def cycles(shape: Shape, activity: Activity = WORST) -> float:
    """Clock cycles per time step."""
    p, alias = activity.hidden, shape.aliases / max(shape.hidden, 1)
    per_neuron = (
        19 + 2 * max(p, alias**2) + 3 * max(p * alias, alias**2) + p + max(p, alias) * alias
    )
    return (
        shape.inputs * (activity.inputs * shape.expansion_in * 3.5 + 1)
        + shape.hidden * (shape.fan_out * 7 * p + 3)
        + shape.expansion_out * p * (1 + 8 * shape.outputs)
        + shape.hidden * per_neuron
        + 12 * shape.outputs
    )


@dataclass(frozen=True, kw_only=True)
class Power:
    """Estimate for real-time operation at time step ``dt`` (seconds).

    Attributes:
        cycles_worst, cycles_typical: per time step; typical with the measured activity.
        clock_mhz: needed clock, worst case and margin. dt_least: shortest dt at the fastest clock.
        power_uw, energy_uj: of the core, per inference of T steps; low and high from the
            uncertainty of the published figure.
        latency_ms: T dt.
        source, verified: of the power figure.
    """

    dt: float
    cycles_worst: float
    cycles_typical: float
    clock_mhz: float
    dt_least: float
    power_uw: float
    power_uw_low: float
    power_uw_high: float
    energy_uj: float
    latency_ms: float
    source: str
    verified: bool


def power(
    config: XyloConfig, target: HardwareTarget, steps: int, activity: Activity, dt: float
) -> Power:
    """The estimate for a configuration; the target states ``[energy.core_power_uw]`` (measured)
    and ``[energy.core_power_mhz]`` (at this clock), and ``[limits.clock_mhz]``."""
    shape = shape_of(config, expansion="input_expansion" in target.limits)
    worst = cycles(shape)
    clock = worst * (1 + MARGIN) / dt / 1e6
    known, at = _measurement(target)
    value, half = known.value * clock / at.value, spread(known, ENERGY)
    return Power(
        dt=dt,
        cycles_worst=worst,
        cycles_typical=cycles(shape, activity),
        clock_mhz=clock,
        dt_least=worst * (1 + MARGIN) / (target.limit("clock_mhz") * 1e6),
        power_uw=value,
        power_uw_low=value * (1 - half),
        power_uw_high=value * (1 + half),
        energy_uj=value * steps * dt,
        latency_ms=steps * dt * 1e3,
        source=f"{SOURCE}; {known.source}",
        verified=known.verified and at.verified,
    )


def _measurement(target: HardwareTarget) -> tuple[Limit, Limit]:
    """Power and its clock; TargetError E502 where the target does not state both."""
    for name in ENERGY:
        if name not in target.energy:
            raise TargetError(
                f"target '{target.name}' (mapping '{target.mapping}') states no '{name}'",
                where=target.path,
                remedy=f"Add [energy.{name}] with value, source and verified.",
                code="E502",
            )
    return target.energy["core_power_uw"], target.energy["core_power_mhz"]


def explained(estimate: Power, target: HardwareTarget) -> str:
    """The estimate as a sentence: clock, power, and where they come from."""
    known, at = _measurement(target)
    return (
        f"Steps of {estimate.dt * 1e3:g} ms in real time need a clock of {estimate.clock_mhz:.2f} "
        f"MHz ({estimate.cycles_worst:,.0f} cycles per step with every channel and neuron firing, "
        f"{100 * MARGIN:g} % margin; {estimate.cycles_typical:,.0f} at the measured activity), "
        f"hence {estimate.power_uw:.0f} uW ({estimate.power_uw_low:.0f} to "
        f"{estimate.power_uw_high:.0f}), in proportion to the clock from {known.value:g} uW at "
        f"{at.value:g} MHz{'' if estimate.verified else ' [not verified]'}. "
        f"Sources: {estimate.source}."
    )


def energy_of(estimate: Power, target: HardwareTarget, steps: int, ann: AnnComparison) -> Energy:
    """Joules per inference: all of it dynamic where the vendor published dynamic power, else
    undivided (the power of the core as it runs). No static power by itself was published."""
    half = (estimate.power_uw_high - estimate.power_uw_low) / (2 * estimate.power_uw)
    value = estimate.energy_uj * 1e-6
    mark = "" if estimate.verified else " [not verified]"
    dynamic = _measurement(target)[0].covers == DYNAMIC
    leakage = (
        "" if dynamic else " (its leakage does not fall with the clock: too little at low ones)"
    )
    core = Joules(
        value=value,
        low=value * (1 - half),
        high=value * (1 + half),
        parts={"core": value},
        basis=f"{'dynamic ' if dynamic else ''}power of the core, in proportion to the clock that "
        f"real time needs{leakage}, for {steps} steps of {estimate.dt:g} s, whatever fires; "
        "without sensor front end, input and output",
        verified=estimate.verified,
    )
    return Energy(
        dynamic_j=core if dynamic else None,
        undivided_j=None if dynamic else core,
        counts={"cycles": estimate.cycles_typical * steps},
        sources={"core": estimate.source + mark},
        missing=("sensor front end", "input and output"),
        ann=ann,
    )


def latency_of(estimate: Power, steps: int) -> Latency:
    """Seconds per inference; the time step is the user's choice."""
    most = steps * estimate.dt
    return Latency(
        steps=steps,
        lag_steps=0,
        seconds=Span(value=most, low=steps * estimate.dt_least, high=most),
        source=f"time step of {estimate.dt:g} s as given; low: the shortest at the chip's "
        f"fastest clock, {estimate.dt_least:.3g} s ({SOURCE})",
    )
