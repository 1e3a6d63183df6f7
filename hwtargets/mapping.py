"""What a mapping step takes and gives: the seam between the common pipeline and a kind of chip.

    step(network, target, request) -> Mapped

A step cuts the network's neurons into cores, says what each core uses, who sends how many spikes
to whom, and how to run the mapped network in the chip's own integers. It reports violations
instead of raising. Everything after it (mesh, energy, report) is common.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..runtime.ops import Array
from .target import HardwareTarget, Violation
from .view.network import ChipNetwork


@dataclass(frozen=True, eq=False, kw_only=True)
class Request:
    """What the user asked for.

    Attributes:
        steps: T, time steps per inference.
        x: samples as the network takes them (n, *input shape), or None: then nothing is run and
            rates are assumed.
        y: labels (n,), or None.
        calib: calibration samples (m, *input shape) for steps that tune in the chip's integers, or
            None.
        rate: spikes per neuron and step where nothing was measured.
        seconds: wall time that the mesh placement may take.
        seed: of the mesh placement.
        options: the mapping step's own options, e.g. {"coding": "ternary"}; they override the
            target's ``[options]``.
    """

    steps: int = 32
    x: Array | None = None
    y: Array | None = None
    calib: Array | None = None
    rate: float = 0.1
    seconds: float = 10.0
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def option(self, target: HardwareTarget, name: str, default: Any) -> Any:
        """The user's option, else the target's, else ``default``."""
        return self.options.get(name, target.options.get(name, default))


@dataclass(frozen=True, eq=False, kw_only=True)
class Traffic:
    """Spikes per time step from core to core, each counted once per source neuron and destination
    core (multicast). source, destination: int (edges,); weight: float (edges,).
    ``measured``: from firing rates on data; else from ``Request.rate``."""

    source: Array
    destination: Array
    weight: Array
    measured: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Cores:
    """Cores in use, before the mesh. Arrays have one entry per core.

    Attributes:
        layer: index into ``layers`` of the layer that the core belongs to.
        layers: names, in execution order (inputs that occupy cores included).
        neurons: neurons on the core.
        used: per resource that has a limit per core, the amount used; the keys are limit names.
    """

    layer: Array
    layers: tuple[str, ...]
    neurons: Array
    used: Mapping[str, Array]

    @property
    def count(self) -> int:
        return len(self.layer)


@dataclass(frozen=True, eq=False, kw_only=True)
class ChipRun:
    """Outcome of running the mapped network in integers.

    Attributes:
        readout: (steps, n, classes) after every step, in any positive scale per output.
        spikes: total spikes per layer name over all samples and steps.
        saturations: per layer, how often a state hit its bit width (0: the integers are exact).
        rates: mean spikes per neuron and step, per layer name, in the layer's shape.
    """

    readout: Array
    spikes: Mapping[str, float] = field(default_factory=dict)
    saturations: Mapping[str, int] = field(default_factory=dict)
    rates: Mapping[str, Array] = field(default_factory=dict)


Runner = Callable[[Array, int], ChipRun]  # (x, steps): the chip's integers
Placed = Callable[[Array, Array], tuple[Mapping[str, bytes], tuple[Violation, ...]]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Mapped:
    """The outcome of a mapping step.

    Attributes:
        cores, traffic: see there.
        violations: every rule that the mapping breaks; empty if it fits (chips aside).
        run: runs the mapped network in the chip's integers, or None if it cannot be run.
        ideal: the same with nothing but the quantization of weights, thresholds and biases (no
            saturation, exact input): separates quantization loss from mapping loss.
        core_of: layer name -> core of each neuron, (neurons,) or (neurons, copies), -1 for none.
        files: what the chip's tools read, by file name.
        placed: the same for what depends on where the cores are: (chip (cores,), x and y on the
            joint grid of all chips (cores, 2)) -> files, violations; None where nothing does.
        facts: further plain JSON values for the report (replication factor, added ticks, ...).
        notes: sentences for the report: what is approximate, what is not verified.
        positions: (cores, 3) chip, x, y where the step placed the cores itself, else None.
        would_fit: number of chips -> what would fit on them instead, counted; None where the
            common variants say it.
    """

    cores: Cores
    traffic: Traffic
    violations: tuple[Violation, ...] = ()
    run: Runner | None = None
    ideal: Runner | None = None
    core_of: Callable[[str], Array] | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    placed: Placed | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    positions: Array | None = None
    would_fit: Callable[[int], tuple[Mapping[str, Any], ...]] | None = None


class Step(Protocol):
    """A mapping step."""

    def __call__(
        self, network: ChipNetwork, target: HardwareTarget, request: Request
    ) -> Mapped: ...


def no_traffic() -> Traffic:
    """No spikes between cores (a chip of one core)."""
    nothing = np.zeros(0, np.int64)
    return Traffic(source=nothing, destination=nothing, weight=np.zeros(0))


# Mapping step -> suffix of the file that the chip's tools read, where it emits one.
EMITTED: Mapping[str, str] = {"truenorth": ".npz", "xylo": ".json"}


def chip_files(target: HardwareTarget) -> tuple[str, ...]:
    """Names of the files for the chip's tools that a placement may emit."""
    return (target.name + EMITTED[target.mapping],) if target.mapping in EMITTED else ()
