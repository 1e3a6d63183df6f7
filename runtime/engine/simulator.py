"""Simulates a spiking graph: tiles of samples, blocks of time steps, layer by layer.

A plan (``plan``) holds everything allocated; here it is fed tiles, across threads, and what comes
out is collected. State is carried from block to block, so memory does not grow with the number of
steps (apart from the answers themselves), and results do not depend on tile, block or threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from ...errors import UsageError
from ..cost import StaticCost, static_cost
from ..facts import GraphFacts
from ..graph import Population, Readout, SpikingGraph
from ..ops import Array
from ..parallel.team import CAN_FORK, Team
from ..parallel.threads import available_threads, one_blas_thread, run_tasks
from ..semantics.samples import as_inputs
from ..semantics.spiking import apply_synapse, gate, gate_bias, run_expectation, run_population
from .early_exit import EarlyExit, judged_readout
from .events.choice import Events, available, check_option
from .events.layers import EventLayer, event_layers
from .layer_profile import profiles
from .layout import Layout, Order
from .planning.pilot import cheaper_by_spikes
from .planning.plan import Plan
from .planning.planner import make_plan, new_clocks
from .planning.sizes import Sizes, choose_sizes
from .profile import LayerProfile
from .tiles import Chance, TileResult, run_tile

__all__ = [
    "EarlyExit",
    "SimulationResult",
    "Simulator",
    "apply_synapse",
    "gate",
    "gate_bias",
    "run_expectation",
    "run_population",
    "simulate",
]

Progress = Callable[[int, int], None]
Tile = tuple[Any, ...]  # the arguments of ``run_tile`` after the plan

# A recent server core, to tell small work from large (measured: docs/performance.md).
SECONDS_PER_MAC = 2e-11
SECONDS_PER_UPDATE = 1e-9
SMALL_SECONDS = 0.02  # of a run alone: starting processes costs some ten milliseconds
SMALL_AGAIN_SECONDS = 0.004  # of the same simulator's next ones, for which they stay
SMALL_COMPILED_SECONDS = 0.004  # threads cost less than processes


@dataclass(frozen=True, eq=False, kw_only=True)
class SimulationResult:
    """What a simulation gives.

    Attributes:
        readouts: per readout, (steps, samples, *shape): the answer after every step (with
            ``at``: after those steps only). After an early exit the sample's answer stands.
        spikes: per population, (steps,): spikes (graded ones count once) in step latency + t,
            summed over samples; with start lags, those of all steps before that in the first.
        synops: (steps,): synaptic operations, the same.
        neurons: per population, how many neurons.
        macs_per_step, macs_once: dense operations per sample (see ``cost``).
        latency: steps from input to the first answer's window: sum of start lags.
        steps_used: (samples,) steps after which each sample stopped; None without early exit.
        profile: where the time went, per layer; empty unless asked for.
    """

    readouts: Mapping[str, Array]
    spikes: Mapping[str, Array]
    synops: Array
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


def simulate(
    graph: SpikingGraph,
    inputs: Array | Mapping[str, Array],
    steps: int,
    *,
    tile: int | None = None,
    block: int | None = None,
    seed: int = 0,
    dtype: np.dtype | type = np.float32,
    threads: int | None = None,
    mem_limit: int | None = None,
    kernels: Mapping[str, bytes] | None = None,
    events: Events = "auto",
    early_exit: EarlyExit | None = None,
    profile: bool = False,
    at: Sequence[int] | None = None,
    on_tile: Progress | None = None,
) -> SimulationResult:
    """Run ``graph`` for ``steps`` time steps on a batch of samples: ``Simulator`` made, run once.

    Raises DataError where inputs do not fit the graph, UsageError for options without sense.
    """
    simulator = Simulator(
        graph,
        tile=tile,
        block=block,
        dtype=dtype,
        threads=threads,
        mem_limit=mem_limit,
        kernels=kernels,
        events=events,
        profile=profile,
    )
    return simulator.run(inputs, steps, seed=seed, early_exit=early_exit, at=at, on_tile=on_tile)


@dataclass(eq=False)
class Simulator:
    """A graph with its plans, to run many times.

    Attributes:
        tile: samples simulated together (None: what fits a core's cache); rounded up to four.
        block: steps computed together before the next layer (None: what fits the cache).
        threads: tiles at once (None: the cores this process may use; one for little work).
        mem_limit: bytes for the plans' buffers, all threads together; makes tiles smaller.
        kernels: models of synapse chains for ONNX Runtime (see ``products.onnxruntime``), by the
            chain's last synapse: given, the engine keeps its signals in ONNX Runtime's order; {}
            does so too.
        events: layers driven by their spikes (see ``events``; they need numba, the extra
            ``fast``): "auto" where that is cheaper, "always" where it is possible, "never".
        profile: measure where the time goes.
    """

    graph: SpikingGraph
    tile: int | None = None
    block: int | None = None
    dtype: np.dtype | type = np.float32
    threads: int | None = None
    mem_limit: int | None = None
    kernels: Mapping[str, bytes] | None = None
    events: Events = "auto"
    profile: bool = False
    facts: GraphFacts = field(init=False, repr=False)
    cost: StaticCost = field(init=False)
    _layers: Mapping[str, EventLayer] | None = field(init=False, default=None)
    _blas: Any = field(init=False)
    _has_run: bool = field(init=False, default=False)
    _planned_for: int = field(init=False, default=0)  # threads
    _team: Team[Tile, TileResult] | None = field(init=False, default=None)
    _plans: dict[tuple[int, int], list[Plan]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("tile", "block", "threads", "mem_limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, got {value}")
        check_option(self.events)
        self.facts = GraphFacts(self.graph)
        self.cost = static_cost(self.facts)
        self._blas = ThreadpoolController()

    def run(
        self,
        inputs: Array | Mapping[str, Array],
        steps: int,
        *,
        seed: int = 0,
        early_exit: EarlyExit | None = None,
        at: Sequence[int] | None = None,
        on_tile: Progress | None = None,
        offset: int = 0,
    ) -> SimulationResult:
        """Simulate a batch.

        Parameters:
            inputs: (samples, *shape) for one input, or one array per input name.
            steps: answers are given after each of these steps.
            seed: for stochastic encodings; a run is reproducible from it.
            early_exit: stop a sample when its answer is stable; None runs all steps.
            at: steps (from 1) whose answers are kept; None keeps all.
            on_tile: called with (samples done, samples) after every tile.
            offset: index of the first sample in a longer run, for stochastic encodings: running
                that in parts then changes nothing.
        """
        if steps < 1:
            raise UsageError(f"the number of steps must be at least 1, got {steps}")
        kept = np.arange(1, steps + 1) if at is None else np.unique(np.asarray(at, np.int64))
        if kept.size == 0 or kept[0] < 1 or kept[-1] > steps:
            raise UsageError(f"answers can be kept for steps 1 to {steps}")
        if early_exit is not None:
            judged_readout(self.graph)
        arrays = as_inputs(self.graph, inputs, self.dtype)
        samples = len(next(iter(arrays.values())))
        total = _Total(self, steps, kept, samples, early_exit is not None, on_tile)
        with one_blas_thread(self._blas):
            if self._layers is None:
                self._layers = self._event_layers(arrays, steps, seed)
            sizes, workers = self._sizes(samples, steps)
            plans = self._prepare(sizes, 1 if self._forks else workers)
            for plan in plans:
                plan.reset_clocks()
            tiles = []
            for start in range(0, samples, sizes.lanes):
                part = {k: a[start : start + sizes.lanes] for k, a in arrays.items()}
                tiles.append((part, start, steps, kept, Chance(seed, offset), early_exit))
            if self._forks and workers > 1:
                self._team_of(plans[0], workers).run(tiles, total.collect)
            else:
                run_tasks(plans, tiles, _run_tile, total.collect, forks=False)
        self._has_run = True
        return total.result(plans)

    @property
    def _forks(self) -> bool:
        """Whether tiles run in processes. A profile is kept in the plans, which a process of its
        own would not share; compiled kernels do not hold the interpreter's lock, so threads do as
        well."""
        return CAN_FORK and not (self.profile or self._is_compiled)

    def _team_of(self, plan: Plan, workers: int) -> Team[Tile, TileResult]:
        """Processes with a copy of the plan each, kept from run to run."""
        team = self._team
        if team is None or not team.usable or len(team) < workers:
            if team is not None:
                team.close()
            team = self._team = Team([partial(_run_tile, plan)] * workers)
        return team

    def _useful_threads(self, samples: int, steps: int) -> int:
        """All cores, or one where the work is too little for threads or processes to help."""
        macs = self.cost.macs_ann - self.cost.macs_once
        neurons = sum(self.cost.neurons.values())
        seconds = samples * steps * (macs * SECONDS_PER_MAC + neurons * SECONDS_PER_UPDATE)
        small = SMALL_AGAIN_SECONDS if self._has_run else SMALL_SECONDS
        if self._is_compiled:
            small = SMALL_COMPILED_SECONDS
        return available_threads() if seconds > small else 1

    @property
    def _is_compiled(self) -> bool:
        """Whether all layers of neurons are driven by spikes."""
        layers = self._layers or {}
        populations = self.graph.of(Population)
        return all(p.name in layers and layers[p.name].neurons for p in populations)

    @property
    def _compiles(self) -> bool:
        """Whether compiled kernels may be used; they take single precision."""
        return self.events != "never" and np.dtype(self.dtype) == np.float32 and available()

    def _event_layers(
        self, arrays: Mapping[str, Array], steps: int, seed: int
    ) -> Mapping[str, EventLayer]:
        """The layers to drive by spikes, "auto": by what fires in a few steps of a few samples."""
        if not self._compiles:
            return {}
        layers = event_layers(self.facts, self.cost.fan_out)
        if not layers or self.events == "always":
            return layers
        return cheaper_by_spikes(self.facts, self.cost, layers, arrays, steps, seed, self._order)

    @property
    def _order(self) -> Order:
        return "rows" if self.kernels is None else "batch"

    def _sizes(self, samples: int, steps: int) -> tuple[Sizes, int]:
        """Sizes for this many samples, and how many threads or processes will have work."""
        threads = self.threads or self._useful_threads(samples, steps)
        sizes = choose_sizes(
            self.facts,
            samples,
            steps,
            threads=threads,
            tile=self.tile,
            block=self.block,
            mem_limit=self.mem_limit,
            itemsize=np.dtype(self.dtype).itemsize,
            order=self._order,
        )
        if threads <= self._planned_for:
            for lanes, block in self._plans:  # of an earlier run, as large or larger: used again
                if lanes >= sizes.lanes and block >= sizes.block:
                    sizes = Sizes(lanes, block)
        self._planned_for = max(threads, self._planned_for)
        return sizes, min(threads, -(-samples // sizes.lanes))

    def _prepare(self, sizes: Sizes, count: int) -> list[Plan]:
        """``count`` plans of these sizes."""
        if (sizes.lanes, sizes.block) not in self._plans:
            self._plans.clear()
            if self._team is not None:
                self._team.close()
        plans = self._plans.setdefault((sizes.lanes, sizes.block), [])
        while len(plans) < count:
            plans.append(
                make_plan(
                    self.facts,
                    self.cost,
                    layout=Layout(sizes.lanes, self._order),
                    block=sizes.block,
                    dtype=np.dtype(self.dtype),
                    kernels=self.kernels or {},
                    clocks=new_clocks(self.facts, self.profile),
                    events=self._layers or {},
                    compiled=self._compiles,
                )
            )
        return plans[:count]


def _run_tile(plan: Plan, tile: Tile) -> TileResult:
    return run_tile(plan, *tile)


class _Total:
    """What is accumulated over tiles."""

    def __init__(
        self,
        owner: Simulator,
        steps: int,
        kept: Array,
        samples: int,
        exits: bool,
        on_tile: Progress | None,
    ) -> None:
        self.owner, self.samples, self.steps, self.on_tile = owner, samples, steps, on_tile
        graph, dtype = owner.graph, owner.dtype
        self.readouts = {
            r.name: np.zeros((len(kept), samples, *r.shape), dtype) for r in graph.of(Readout)
        }
        self.spikes = {p.name: np.zeros(steps) for p in graph.of(Population)}
        self.synops = np.zeros(steps)
        self.steps_used = np.zeros(samples, np.int64) if exits else None
        self.done = 0

    def collect(self, tile: TileResult) -> None:
        where = slice(tile.start, tile.start + tile.samples)
        for name, answers in tile.readouts.items():
            self.readouts[name][:, where] = answers
        for name, spikes in tile.spikes.items():
            self.spikes[name] += spikes
        self.synops += tile.synops
        if self.steps_used is not None:
            self.steps_used[where] = tile.steps_used
        self.done += tile.samples
        if self.on_tile is not None:
            self.on_tile(self.done, self.samples)

    def result(self, plans: list[Plan]) -> SimulationResult:
        cost = self.owner.cost
        return SimulationResult(
            readouts=self.readouts,
            spikes=self.spikes,
            synops=self.synops,
            neurons=cost.neurons,
            macs_per_step=cost.macs_per_step,
            macs_once=cost.macs_once,
            latency=self.owner.facts.latency,
            samples=self.samples,
            steps_used=self.steps_used,
            profile=profiles(plans, self.samples * self.steps) if self.owner.profile else (),
        )
