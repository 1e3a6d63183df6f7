"""What a mapping takes and gives: the seam between the common pipeline and a kind of chip.

    mapping.step(network, target, request) -> Mapped

A kind of chip is one ``ChipMapping``: its options, the numbers that its target files may state,
what it has no means for, and the step. ``mappings`` lists them.

A step cuts the network's neurons into cores, says what each core uses, who sends how many spikes
to whom, and how to run the mapped network in the chip's own integers. It reports violations
instead of raising. Everything after it (mesh, energy, report) is common.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias

import numpy as np

from ..runtime.ops import Array, Shape
from .energy import Energy
from .energy.bounds import Work
from .energy.latency import Latency
from .options import O, P, read_options
from .target import HardwareTarget, Known, Violation
from .view.network import ChipNetwork


@dataclass(frozen=True, eq=False, kw_only=True)
class Request(Generic[O]):
    """What the user asked for.

    Attributes:
        steps: T, time steps per inference.
        x: samples as the network takes them (n, *input shape), or None: then nothing is run and
            rates are assumed.
        y: labels (n,), or None.
        calib: calibration samples (m, *input shape) for steps that tune in the chip's integers, or
            None.
        rate: spikes per neuron and step where nothing was measured.
        seconds: of work that the mesh placement may take, counted, not timed.
        seed: of the mesh placement.
        options: of the mapping: the user's, else the target's, else their defaults.
        dry: cores are counted only; nothing is quantized or run.
    """

    options: O
    steps: int = 32
    x: Array | None = None
    y: Array | None = None
    calib: Array | None = None
    rate: float = 0.1
    seconds: float = 10.0
    seed: int = 0
    dry: bool = False

    def choosing(self, options: P) -> Request[P]:
        """The same request of another mapping."""
        asked = {name: value for name, value in vars(self).items() if name != "options"}
        return Request(options=options, **asked)


@dataclass(frozen=True, eq=False, kw_only=True)
class Multicast:
    """Spikes per time step by all the cores that each goes to, as one route carries them.

    Attributes:
        source, weight: (groups,) the core that sends, and its spikes to just these cores.
        group, core: (pins,) group after group, each destination of a group once.
    """

    source: Array
    weight: Array
    group: Array
    core: Array


@dataclass(frozen=True, eq=False, kw_only=True)
class Traffic:
    """Spikes per time step from core to core, each counted once per source neuron and destination
    core. source, destination: int (edges,); weight: float (edges,).
    ``measured``: from firing rates on data; else from ``Request.rate``.
    ``multicast``: the same spikes by all their destinations; None: each goes to one core."""

    source: Array
    destination: Array
    weight: Array
    measured: bool = False
    multicast: Multicast | None = None

    @property
    def routes(self) -> Multicast:
        """What goes from a core to others, by all its destinations."""
        if self.multicast is not None:
            return self.multicast
        away = self.source != self.destination
        return Multicast(
            source=self.source[away], weight=self.weight[away],
            group=np.arange(int(away.sum())), core=self.destination[away],
        )  # fmt: skip


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


Runner: TypeAlias = Callable[[Array, int], ChipRun]  # (x, steps): the chip's integers
Placed: TypeAlias = Callable[[Array, Array], tuple[Mapping[str, bytes], tuple[Violation, ...]]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Mapped:
    """The outcome of a mapping step.

    Attributes:
        cores, traffic: see there.
        work: of every core; None where the mapping does not tell.
        violations: every rule that the mapping breaks; empty if it fits (chips aside).
        run: runs the mapped network in the chip's integers, or None if it cannot be run.
        ideal: the same with nothing but the quantization of weights, thresholds and biases (no
            saturation, exact input): separates quantization loss from mapping loss.
        core_of: layer name -> core of each neuron, (neurons,) or (neurons, copies), -1 for none.
        files: what the chip's tools read, by file name.
        placed: the same for what depends on where the cores are: (chip (cores,), x and y on the
            joint grid of all chips (cores, 2)) -> files, violations; None where nothing does.
        would_fit: number of chips -> what would fit on them instead, counted.
        otherwise: number of chips -> what it takes with what other sources state of the chip's
            limits, counted.
        energy, latency: of the report, where the chip's are not those of ``energy``.
        input_mode: how the input enters, "graded", "bias", "population" or "spikes"; "" where the
            mapping does not say.
        sent: share of the input's values, or of each of them, that reach the first layer as
            spikes in every step.
        encoders: neurons on the chip that turn the input into spikes.
        hosted: populations of the network whose spikes the host sends.
        tiles: layer name -> neurons along each axis that a core takes, where it is cut so.
        facts: further plain JSON values for the report (replication factor, added ticks, ...); no
            code reads them.
        notes: sentences for the report: what is approximate, what is not verified.
    """

    cores: Cores
    traffic: Traffic
    work: Work | None = None
    violations: tuple[Violation, ...] = ()
    run: Runner | None = None
    ideal: Runner | None = None
    core_of: Callable[[str], Array] | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    placed: Placed | None = None
    would_fit: Callable[[int], tuple[Mapping[str, Any], ...]] | None = None
    otherwise: Callable[[int], tuple[Mapping[str, Any], ...]] | None = None
    energy: Energy | None = None
    latency: Latency | None = None
    input_mode: str = ""
    sent: float | Array = 0.0
    encoders: int = 0
    hosted: frozenset[str] = frozenset()
    tiles: Mapping[str, Shape] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Least:
    """What every placement of a network takes at the least, whatever its weights and options.

    Attributes:
        cores: 0 where nothing is known.
        violations: limits of the mapping that are broken for certain; not the number of cores,
            which is common to all chips.
        conditions: what a placement still depends on, in words.
    """

    cores: int = 0
    violations: tuple[Violation, ...] = ()
    conditions: tuple[str, ...] = ()


Step: TypeAlias = Callable[[ChipNetwork, HardwareTarget, Request[O]], Mapped]
KindsCheck: TypeAlias = Callable[[ChipNetwork, HardwareTarget], tuple[Violation, ...]]
LeastCheck: TypeAlias = Callable[[ChipNetwork, HardwareTarget, O], Least]


def nothing_known(network: ChipNetwork, target: HardwareTarget, options: Any) -> Least:
    """No bound, of a mapping that tells none."""
    return Least(conditions=("sizes are told by `place` only",))


@dataclass(frozen=True, eq=False, kw_only=True)
class ChipMapping(Generic[O]):
    """A kind of chip.

    Attributes:
        name: what a target file's ``mapping`` says.
        options: the record whose fields are the options of ``place`` and of ``[options]``.
        limits, energy: the numbers that ``[limits.*]`` and ``[energy.*]`` may state.
        times: the ranges that ``[time.*]`` may state.
        inputs: the ways in which an analog input may enter; see ``CAPABILITIES["input"]``.
        kinds: neurons and operations that a chip has no means for, whatever their size.
        least: a lower bound of what any placement takes, fast: from shapes, without calibration.
        step: see the module.
        emits: how the name of the file for the chip's tools ends, which begins with the target's;
            "" where there is none.
    """

    name: str
    options: type[O]
    limits: Mapping[str, Known]
    energy: Mapping[str, Known]
    inputs: tuple[str, ...]
    kinds: KindsCheck
    step: Step[O]
    least: LeastCheck[O] = nothing_known
    emits: str = ""
    times: Mapping[str, Known] = field(default_factory=dict)

    def request(
        self, target: HardwareTarget, options: Mapping[str, Any] | None = None, **asked: Any
    ) -> Request[O]:
        """A request with the target's options, overridden by ``options``.

        Raises:
            UsageError: E514 an unknown option, or the option's own code for its value.
        """
        read = read_options(self.options, options or {}, of=target.name, stated=target.options)
        return Request(options=read, **asked)


# What placement itself reads of any target.
PLACEMENT: Mapping[str, Known] = {
    "cores_per_chip": Known(help="cores on one chip", unit="cores"),
    "mesh_width": Known(help="width of a chip's mesh; 0: a square", unit="cores", unstated=0),
    "mesh_height": Known(help="height of a chip's mesh; 0: a square", unit="cores", unstated=0),
    "router_width": Known(help="columns of cores that share a router", unit="cores", unstated=1),
    "router_height": Known(help="rows of cores that share a router", unit="cores", unstated=1),
    "packet_bits": Known(help="a spike on a link, without its payload", unit="bits", unstated=1),
}


def refused(network: ChipNetwork, found: Iterable[Violation]) -> Mapped:
    """Nothing is placed, for these reasons."""
    nothing = np.zeros(0, np.int64)
    layers = tuple(layer.name for layer in network.layers)
    cores = Cores(layer=nothing, layers=layers, neurons=nothing, used={})
    return Mapped(cores=cores, traffic=no_traffic(), violations=tuple(found))


SHARES = (0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125)  # of channels, tried for what would fit


def no_traffic() -> Traffic:
    """No spikes between cores (a chip of one core)."""
    nothing = np.zeros(0, np.int64)
    return Traffic(source=nothing, destination=nothing, weight=np.zeros(0))
