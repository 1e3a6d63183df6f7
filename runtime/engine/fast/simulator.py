"""Simulates a spiking graph: tiles of samples, blocks of time steps, layer by layer.

A plan (``plan``) holds everything allocated; here it is fed tiles, across threads, and what comes
out is collected. State is carried from block to block, so memory does not grow with the number of
steps (apart from the answers themselves), and results do not depend on tile, block or threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace
from functools import partial
from typing import Any, Unpack

import numpy as np

from ...cost import static_cost
from ...facts import GraphFacts
from ...graph import Population, SpikingGraph
from ...neurons import windowed
from ...ops import Array
from ...parallel.team import CAN_FORK, Team
from ...parallel.threads import available_threads, one_blas_thread, run_tasks
from ..definition import DefinitionEngine
from ..interface import EngineOptions, How, Request, SimulationResult, TileResult, Total, request
from .events.choice import available
from .events.layers import EventLayer, event_layers
from .layer_profile import new_clocks, profiles
from .planning.pilot import cheaper_by_spikes
from .planning.plan import Plan
from .planning.planner import make_plan
from .planning.sizes import Sizes, choose_sizes
from .products.pointwise import pointwise_layers
from .products.sessions import ChainSessions
from .tiles import Chance, run_tile
from .windows import WindowSimulator

Tile = dict[str, Any]  # the arguments of ``run_tile`` after the plan

# A recent server core, to tell small work from large (measured: docs/performance.md).
SECONDS_PER_MAC = 2e-11
SECONDS_PER_UPDATE = 1e-9
SMALL_SECONDS = 0.02  # of a run alone: starting processes costs some ten milliseconds
SMALL_AGAIN_SECONDS = 0.004  # of the same simulator's next ones, for which they stay
SMALL_COMPILED_SECONDS = 0.004  # threads cost less than processes


class FastEngine:
    """The engine "fast": the simulator of the graph it ran last."""

    def __init__(self, options: EngineOptions) -> None:
        self.options = options
        self._simulator: Simulator | None = None
        self._windows: WindowSimulator | None = None

    def run(
        self,
        graph: SpikingGraph,
        inputs: Array | Mapping[str, Array],
        steps: int,
        **how: Unpack[How],
    ) -> SimulationResult:
        """As ``Engine.run``."""
        if any(windowed(p.neuron) for p in graph.of(Population)):
            return self._by_windows(graph, inputs, steps, how)
        if self._simulator is None or self._simulator.graph is not graph:
            self._simulator = Simulator(graph, **vars(self.options))
        return self._simulator.run(inputs, steps, **how)

    def _by_windows(
        self, graph: SpikingGraph, inputs: Array | Mapping[str, Array], steps: int, how: How
    ) -> SimulationResult:
        """Neurons that send one number per window: layer after layer, or as defined."""
        if self._windows is None or self._windows.graph is not graph:
            self._windows = WindowSimulator(graph, self.options)
        if not self._windows.applies(how):
            options = replace(self.options, events="auto")
            return DefinitionEngine(options).run(graph, inputs, steps, **how)
        return self._windows.run(inputs, steps, **how)


class Simulator:
    """A graph with its plans, to run many times; ``options``: the fields of ``EngineOptions``."""

    def __init__(self, graph: SpikingGraph, **options: Any) -> None:
        self.graph, self.options = graph, EngineOptions(**options)
        self.facts = GraphFacts(graph)
        self.cost = static_cost(self.facts)
        self._sessions = ChainSessions(self.facts)
        self._layers: Mapping[str, EventLayer] | None = None
        self._compiled: Set[str] = frozenset()
        self._has_run = False
        self._planned_for = 0  # threads
        self._team: Team[Tile, TileResult] | None = None
        self._plans: dict[tuple[int, int], list[Plan]] = {}

    def run(
        self, inputs: Array | Mapping[str, Array], steps: int, **how: Unpack[How]
    ) -> SimulationResult:
        """As ``Engine.run``, of this graph."""
        asked = request(self.graph, inputs, steps, self.options.dtype, **how)
        total = Total(asked, self.cost)
        with one_blas_thread():
            if self._layers is None:
                self._layers = self._event_layers(asked)
                self._compiled = self._compiled_layers(self._layers)
            sizes, workers = self._sizes(asked.samples, steps=steps)
            plans = self._prepare(sizes, 1 if self._forks else workers)
            for plan in plans:
                plan.reset_clocks()
            tiles = []
            for start in range(0, asked.samples, sizes.lanes):
                part = {k: a[start : start + sizes.lanes] for k, a in asked.arrays.items()}
                chance = Chance(asked.seed, asked.offset)
                tile = {"inputs": part, "start": start, "steps": steps, "kept": asked.kept}
                tiles.append(tile | {"chance": chance, "early_exit": asked.early_exit})
            if self._forks and workers > 1:
                self._team_of(plans[0], workers).run(tiles, total.collect)
            else:
                run_tasks(plans, tiles, _run_tile, total.collect, forks=False)
        self._has_run = True
        profiled = self.options.profile
        return total.result(profiles(plans, asked.samples * steps) if profiled else ())

    @property
    def _forks(self) -> bool:
        """Whether tiles run in processes. A profile is kept in the plans, which a process of its
        own would not share; compiled kernels do not hold the interpreter's lock, so threads do as
        well."""
        return CAN_FORK and not (self.options.profile or self._is_compiled)

    def _team_of(self, plan: Plan, workers: int) -> Team[Tile, TileResult]:
        """Processes with a copy of the plan each, kept from run to run."""
        team = self._team
        if team is None or not team.usable or len(team) < workers:
            if team is not None:
                team.close()
            team = self._team = Team([partial(_run_tile, plan)] * workers)
        return team

    def _useful_threads(self, samples: int, *, steps: int) -> int:
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
        """Whether compiled kernels update all neurons, and all that reaches them are spikes or
        products that hold no lock either."""
        return self._compiled >= {p.name for p in self.graph.of(Population)}

    @property
    def _compiles(self) -> bool:
        """Whether compiled kernels may be used; they take single precision."""
        single = np.dtype(self.options.dtype) == np.float32
        return single and self.options.events != "never" and available()

    def _event_layers(self, asked: Request) -> Mapping[str, EventLayer]:
        """The layers to drive by spikes, "auto": by what fires in a few steps of a few samples."""
        if not self._compiles:
            return {}
        layers = event_layers(self.facts, self.cost.fan_out)
        if not layers or self.options.events == "always":
            return layers
        return cheaper_by_spikes(
            self.facts, self.cost, layers, asked=asked, sessions=self._sessions
        )

    def _compiled_layers(self, layers: Mapping[str, EventLayer]) -> Set[str]:
        """The layers whose neurons compiled kernels update as spikes or products reach them."""
        if not self._compiles:
            return frozenset()
        fans = {**self.cost.fan_out, **self.cost.passed_on}
        pointwise = pointwise_layers(self.facts, fans, layers)
        return {*pointwise, *(name for name, layer in layers.items() if layer.neurons)}

    def _sizes(self, samples: int, *, steps: int) -> tuple[Sizes, int]:
        """Sizes for this many samples, and how many threads or processes will have work."""
        threads = self.options.threads or self._useful_threads(samples, steps=steps)
        sizes = choose_sizes(
            self.facts,
            samples,
            steps=steps,
            threads=threads,
            tile=self.options.tile,
            block=self.options.block,
            mem_limit=self.options.mem_limit,
            itemsize=np.dtype(self.options.dtype).itemsize,
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
                    lanes=sizes.lanes,
                    block=sizes.block,
                    dtype=np.dtype(self.options.dtype),
                    sessions=self._sessions,
                    clocks=new_clocks(self.facts, self.options.profile),
                    events=self._layers or {},
                    compiled=self._compiles,
                )
            )
        return plans[:count]


def _run_tile(plan: Plan, tile: Tile) -> TileResult:
    return run_tile(plan, **tile)
