"""One tile of samples through all steps."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ...graph import Population, Readout
from ...ops import Array
from ..early_exit import EarlyExit, Watch, judged_readout
from ..interface import TileResult
from .cells.readout import ReadoutCell
from .planning.plan import Plan

EXIT_BLOCK = 4  # with an early exit: what stopped inside a block is computed up to its end


@dataclass(frozen=True)
class Chance:
    """What stochastic encodings depend on: a seed, and the index of the run's first sample."""

    seed: int
    offset: int


def run_tile(
    plan: Plan,
    inputs: Mapping[str, Array],
    *,
    start: int,
    steps: int,
    kept: Array,
    chance: Chance,
    early_exit: EarlyExit | None,
) -> TileResult:
    """Simulate at most ``plan.lanes`` samples; answers after the steps ``kept`` (from 1)."""
    tile = _Tile(
        plan, inputs, start=start, steps=steps, kept=kept, chance=chance, early_exit=early_exit
    )
    block = min(plan.block, EXIT_BLOCK) if early_exit else plan.block
    for t0, count in blocks(plan.borders(steps), block):
        tile.advance(t0, count)
        if not tile.active.size:
            break
    return tile.result()


def blocks(borders: set[int], block: int) -> Iterator[tuple[int, int]]:
    """(first step, count) of blocks of at most ``block`` steps that cross no border."""
    ordered = sorted({0, *borders})
    for low, high in itertools.pairwise(ordered):
        for t0 in range(low, high, block):
            yield t0, min(block, high - t0)


class _Tile:
    """A tile under way. ``active``: positions in the tile of the samples still running; they sit
    in the plan's first lanes, in this order."""

    def __init__(
        self,
        plan: Plan,
        inputs: Mapping[str, Array],
        *,
        start: int,
        steps: int,
        kept: Array,
        chance: Chance,
        early_exit: EarlyExit | None,
    ) -> None:
        self.plan, self.inputs, self.start, self.steps = plan, inputs, start, steps
        self.samples = len(next(iter(inputs.values())))
        self.kept = {int(t): i for i, t in enumerate(kept)}
        graph = plan.graph
        self.readouts = {
            r.name: np.zeros((len(kept), self.samples, *r.shape), plan.dtype)
            for r in graph.of(Readout)
        }
        self.spikes = {p.name: np.zeros(steps) for p in graph.of(Population)}
        self.synops = np.zeros(steps)
        self.synops_of = dict.fromkeys(plan.counters, 0.0)
        self.watch = Watch(early_exit, self.samples) if early_exit else None
        self.judge = judged_readout(graph) if early_exit else ""
        self.latency = max(plan.onset[r.name] for r in graph.of(Readout))
        self.active = np.arange(self.samples)
        self.first = start + chance.offset
        plan.start(inputs, self.first + self.active, chance.seed)

    def advance(self, t0: int, count: int) -> None:
        lanes = self.plan.lanes
        by_lane = self.watch is not None or len(self.active) < lanes
        self.plan.run(t0, count, self.steps, by_lane)
        last = np.full(self.samples, t0 + count)  # absolute step after which each one stops
        if self.watch is not None:
            last = self._watch(t0, count=count)
        for segment in self.plan.segments:
            if isinstance(segment.cell, ReadoutCell):
                self._keep(segment.cell)
        self._count(t0, count=count, last=last)
        if self.watch is not None:
            self._retire()

    def _watch(self, t0: int, *, count: int) -> Array:
        """Let the watch see the block's answers; absolute steps after which samples stop."""
        assert self.watch is not None
        cell = self._cell(self.judge)
        for first, answers in cell.parts:
            for i, answer in enumerate(answers[:, : len(self.active)]):
                self.watch.see(first + i + 1, answer, self.active)
        onset = self.plan.onset[self.judge]
        done = self.watch.done_at
        return np.where(done > 0, np.minimum(done + onset, t0 + count), t0 + count)

    def _cell(self, name: str) -> ReadoutCell:
        for segment in self.plan.segments:
            if segment.node.name == name and isinstance(segment.cell, ReadoutCell):
                return segment.cell
        raise KeyError(name)

    def _keep(self, cell: ReadoutCell) -> None:
        """Store the block's answers; a sample that stopped keeps its last one."""
        out = self.readouts[cell.node.name]
        for first, answers in cell.parts:
            for i in range(len(answers)):
                step = first + i + 1
                if step in self.kept:
                    out[self.kept[step], self.active] = answers[i, : len(self.active)]
            if self.watch is not None:
                self._freeze(out, first, answers=answers)

    def _freeze(self, out: Array, first: int, *, answers: Array) -> None:
        assert self.watch is not None
        for lane, sample in enumerate(self.active):
            done = int(self.watch.done_at[sample])
            if 0 < done <= first + len(answers):
                rows = [row for step, row in self.kept.items() if step > done]
                if done > first:
                    out[rows, sample] = answers[done - first - 1, lane]

    def _count(self, t0: int, *, count: int, last: Array) -> None:
        """Add the block's counts, each sample until it stopped: what was sent before the first
        answer's step counts into that, so that the sum up to an answer is what it cost."""
        alive = last[self.active] - t0  # steps of this block in which each lane still ran
        for name, counter in self.plan.counters.items():
            events, operations = counter.events, counter.operations
            for i in range(count):
                if not 0 <= t0 + i - self.plan.onset[name] < self.steps:
                    continue
                t = max(t0 + i - self.latency, 0)
                if counter.by_lane:
                    runs = np.flatnonzero(alive > i)
                    spikes, synops = events[i, runs].sum(), operations[i, runs].sum()
                else:
                    spikes, synops = events[i, 0], operations[i, 0]
                self.synops[t] += synops
                self.synops_of[name] += synops
                if name in self.spikes:
                    self.spikes[name][t] += spikes

    def _retire(self) -> None:
        """Take the samples that stopped out of the tile; the others move together."""
        assert self.watch is not None
        running = np.flatnonzero(self.watch.done_at[self.active] == 0)
        if len(running) == len(self.active):
            return
        self.active = self.active[running]
        if len(running):
            self.plan = self.plan.keep_lanes(running, index=self.first + self.active)

    def result(self) -> TileResult:
        used = np.full(self.samples, self.steps)
        if self.watch is not None:
            used = np.where(self.watch.done_at > 0, self.watch.done_at, self.steps)
        return TileResult(
            start=self.start,
            samples=self.samples,
            readouts=self.readouts,
            spikes=self.spikes,
            synops=self.synops,
            synops_of=self.synops_of,
            steps_used=used,
        )
