"""What an engine is: something that runs a spiking graph on samples and says what came out.

Engines differ in how they compute, never in what: on converted networks their spikes and readouts
are the same to the last bit (``converter.lowering.grid``), on others to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, TypedDict, Unpack, get_args

import numpy as np

from ...display import counted
from ...errors import UsageError
from ...spelling import spelled
from ..cost import StaticCost
from ..graph import Population, Readout, SpikingGraph
from ..neurons import windowed
from ..ops import Array
from ..semantics.samples import as_inputs
from ..semantics.upstream import onsets
from .early_exit import EarlyExit, judged_readout
from .fast.events.choice import Events, check_option
from .profile import LayerProfile

Device: TypeAlias = Literal["cpu", "cuda"]
Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How an engine may compute; answers do not depend on it.

    Attributes:
        tile: samples simulated together (None: the engine's choice).
        block: steps computed together before the next layer (None: the engine's choice).
        dtype: of currents and potentials, single or double precision.
        threads: tiles at once (None: the cores this process may use, or one for little work).
        mem_limit: bytes for buffers, all threads together; makes tiles smaller.
        events: layers driven by their spikes (see ``events``; they need numba, the extra
            ``fast``): "auto" where that is cheaper, "always" where it is possible, "never".
        profile: measure where the time goes.
        device: "cpu", or "cuda", a GPU; of engines that have a choice. None: the CPU.

    Raises UsageError for options without sense.
    """

    tile: int | None = None
    block: int | None = None
    dtype: np.dtype | type = np.float32
    threads: int | None = None
    mem_limit: int | None = None
    events: Events = "auto"
    profile: bool = False
    device: Device | None = None

    def __post_init__(self) -> None:
        for name in ("tile", "block", "threads", "mem_limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, got {value}")
        check_option(self.events)
        if self.device not in (None, *get_args(Device)):
            raise UsageError(
                f"{spelled('device')} must be one of {', '.join(get_args(Device))}, "
                f"got '{self.device}'"
            )

    def refuse_of_fast(self, engine: str) -> None:
        """Raise UsageError for what only the engine "fast" does. ``engine``: which one is asked,
        in words."""
        if self.events == "always" or self.profile:
            lacks = "keeps no profile" if self.profile else "drives no layer by its spikes"
            raise UsageError(f"{engine} {lacks}", remedy="Use the engine 'fast'.")


@dataclass(frozen=True, eq=False, kw_only=True)
class SimulationResult:
    """What a simulation gives.

    Attributes:
        readouts: per readout, (steps, samples, *shape): the answer after every step (with
            ``at``: after those steps only). After an early exit the sample's answer stands.
        spikes: per population, (steps,): spikes (graded ones count once) in step latency + t,
            summed over samples; with start lags, those of all steps before that in the first.
        synops: (steps,): synaptic operations, the same.
        synops_of: those of each node that sends spikes (populations, spiking inputs, max pools of
            spikes), over all steps.
        neurons: per population, how many neurons.
        macs_per_step, macs_once: dense operations per sample (see ``cost``).
        latency: steps from input to the first answer's window: sum of start lags.
        steps_used: (samples,) steps after which each sample stopped; None without early exit.
        profile: where the time went, per layer; empty unless asked for.
    """

    readouts: Mapping[str, Array]
    spikes: Mapping[str, Array]
    synops: Array
    synops_of: Mapping[str, float]
    neurons: Mapping[str, int]
    macs_per_step: int
    macs_once: int
    latency: int
    samples: int
    steps_used: Array | None = None
    profile: tuple[LayerProfile, ...] = ()

    @property
    def spikes_per_neuron(self) -> Array:
        """(steps,): mean spikes per neuron and sample up to and including each step."""
        neurons = max(sum(self.neurons.values()), 1)
        total = sum(self.spikes.values(), start=np.zeros_like(self.synops))
        return np.cumsum(total) / (neurons * self.samples)

    @property
    def synops_per_sample(self) -> Array:
        """(steps,): mean synaptic operations per sample up to and including each step."""
        return np.cumsum(self.synops) / self.samples


class How(TypedDict, total=False):
    """Further parameters of ``Engine.run``.

    Attributes:
        seed: for stochastic encodings; a run is reproducible from it [0].
        offset: index of the first sample in a longer run, for stochastic encodings: running that
            in parts then changes nothing [0].
        early_exit: stop a sample when its answer is stable; None runs all steps.
        at: steps (from 1) whose answers are kept; None keeps all.
        on_tile: called with (samples done, samples) after every tile.
    """

    seed: int
    offset: int
    early_exit: EarlyExit | None
    at: Sequence[int] | None
    on_tile: Progress | None


class Engine(Protocol):
    """Made once with its ``EngineOptions``; what it prepares for a graph it may keep from run to
    run of the same graph."""

    def run(
        self,
        graph: SpikingGraph,
        inputs: Array | Mapping[str, Array],
        steps: int,
        **how: Unpack[How],
    ) -> SimulationResult:
        """Simulate a batch: ``inputs`` (samples, *shape) for one input, or one array per input
        name; answers are given after each of ``steps`` steps.

        Raises DataError where inputs do not fit the graph, UsageError for options without sense.
        """
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Request:
    """A run as an engine is asked for it, checked: ``arrays`` (samples, *shape) by input, answers
    after the steps ``kept`` (from 1, in order); else as ``How``."""

    graph: SpikingGraph
    arrays: Mapping[str, Array]
    samples: int
    steps: int
    kept: Array
    dtype: np.dtype
    seed: int
    offset: int
    early_exit: EarlyExit | None
    on_tile: Progress | None


def request(
    graph: SpikingGraph,
    inputs: Array | Mapping[str, Array],
    steps: int,
    dtype: np.dtype | type,
    **how: Unpack[How],
) -> Request:
    """The run that ``Engine.run`` is asked for. Raises what that raises."""
    if steps < 1:
        raise UsageError(f"the number of steps must be at least 1, got {steps}")
    check_windows(graph, steps)
    at, early_exit = how.get("at"), how.get("early_exit")
    kept = np.arange(1, steps + 1) if at is None else np.unique(np.asarray(at, np.int64))
    if kept.size == 0 or kept[0] < 1 or kept[-1] > steps:
        raise UsageError(f"answers can be kept for steps 1 to {steps}")
    if early_exit is not None:
        judged_readout(graph)
    arrays = as_inputs(graph, inputs, dtype)
    return Request(
        graph=graph,
        arrays=arrays,
        samples=len(next(iter(arrays.values()))),
        steps=steps,
        kept=kept,
        dtype=np.dtype(dtype),
        seed=how.get("seed", 0),
        offset=how.get("offset", 0),
        early_exit=early_exit,
        on_tile=how.get("on_tile"),
    )


def too_little_memory(limit: int, need: float, *, threads: int) -> UsageError:
    """The error for a memory limit of fewer bytes than one sample needs."""
    return UsageError(
        f"a memory limit of {limit / 2**20:.0f} MiB is too small",
        remedy=f"This network needs about {need / 2**20:.0f} MiB with "
        f"{counted(threads, 'thread')}.",
    )


def check_windows(graph: SpikingGraph, steps: int) -> None:
    """Raise UsageError E117 for more steps than neurons wait that send one number per window."""
    most = min((p.neuron.lag for p in graph.of(Population) if windowed(p.neuron)), default=steps)
    if steps > most:
        raise UsageError(
            f"the network's windows have {counted(most, 'step')}, it cannot be run for {steps}",
            remedy=f"Run it with {spelled('steps', most)}, or convert it again for T={steps}.",
            code="E117",
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class TileResult:
    """As ``SimulationResult``, for samples ``start`` .. ``start + samples - 1``."""

    start: int
    samples: int
    readouts: Mapping[str, Array]
    spikes: Mapping[str, Array]
    synops: Array
    synops_of: Mapping[str, float]
    steps_used: Array


class Total:
    """What is collected over the tiles of a run."""

    def __init__(self, asked: Request, cost: StaticCost) -> None:
        self.asked, self.cost, self.done = asked, cost, 0
        self.readouts = {
            r.name: np.zeros((len(asked.kept), asked.samples, *r.shape), asked.dtype)
            for r in asked.graph.of(Readout)
        }
        self.spikes = {name: np.zeros(asked.steps) for name in cost.neurons}
        self.synops = np.zeros(asked.steps)
        self.synops_of = dict.fromkeys((*cost.fan_out, *cost.passed_on), 0.0)
        exits = asked.early_exit is not None
        self.steps_used = np.zeros(asked.samples, np.int64) if exits else None

    def collect(self, tile: TileResult) -> None:
        where = slice(tile.start, tile.start + tile.samples)
        for name, answers in tile.readouts.items():
            self.readouts[name][:, where] = answers
        for name, spikes in tile.spikes.items():
            self.spikes[name] += spikes
        self.synops += tile.synops
        for name, operations in tile.synops_of.items():
            self.synops_of[name] += operations
        if self.steps_used is not None:
            self.steps_used[where] = tile.steps_used
        self.done += tile.samples
        if self.asked.on_tile is not None:
            self.asked.on_tile(self.done, self.asked.samples)

    def result(self, profile: tuple[LayerProfile, ...] = ()) -> SimulationResult:
        onset = onsets(self.asked.graph)
        return SimulationResult(
            readouts=self.readouts,
            spikes=self.spikes,
            synops=self.synops,
            synops_of=self.synops_of,
            neurons=self.cost.neurons,
            macs_per_step=self.cost.macs_per_step,
            macs_once=self.cost.macs_once,
            latency=max(onset[r.name] for r in self.asked.graph.of(Readout)),
            samples=self.asked.samples,
            steps_used=self.steps_used,
            profile=profile,
        )
