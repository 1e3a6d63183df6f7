"""The execution plan: what runs when, in which buffers, for a tile of samples.

A segment is a node with state (or a synapse that several nodes read) with the synapses before it
that nobody else reads. A segment goes through a block of steps in chunks small enough that its
currents stay in the cache: product, neuron update, next chunk. Between segments only spikes are
kept, as small integers, for one block. All buffers are made here, once; running allocates nothing
of a signal's size.

Signals that are the same in every step (a constant current and the linear operations on it) are
computed once per tile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil

import numpy as np

from ....graph import Input, SpikingGraph
from ....ops import Array
from ....semantics.encoding import encode
from ...profile import Clock
from ..cells.base import Window
from ..cells.blocked import BlockedCell
from ..cells.events import EventCell, SharedCurrent
from ..cells.pointwise import PointwiseCell
from ..cells.readout import ReadoutCell
from ..constants import Filler
from ..counting import Counter
from .segment import Segment


@dataclass
class Plan:
    """Buffers and kernels for one thread. See ``make_plan``."""

    graph: SpikingGraph
    lanes: int
    block: int
    dtype: np.dtype
    segments: list[Segment]
    signals: dict[str, Array]
    constants: dict[str, Array]
    currents: Filler
    counters: dict[str, Counter]
    clocks: dict[str, Clock]
    onset: Mapping[str, int]
    remake: Callable[[int], Plan]
    smaller: dict[int, Plan] = field(default_factory=dict)
    inputs: dict[str, Array] = field(default_factory=dict)
    silent: dict[str, bool] = field(default_factory=dict)
    nothing: dict[str, Array] = field(default_factory=dict)
    index: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    seed: int = 0

    def borders(self, steps: int) -> set[int]:
        """Steps at which some window opens or closes; a block never crosses one."""
        return {t for onset in self.onset.values() for t in (onset, onset + steps)}

    def reset_clocks(self) -> None:
        for clock in self.clocks.values():
            clock.reset()

    def start(self, inputs: Mapping[str, Array], index: Array, seed: int) -> None:
        """A new tile: samples (at most ``lanes``) with their indices in the whole run."""
        self.index, self.seed = index, seed
        self.inputs = dict(inputs)
        for node in self.graph.of(Input):
            if node.name not in self.constants:
                self.signals[node.name][...] = 0
        self.currents.fill(inputs)
        for segment in self.segments:
            if segment.cell is not None:
                segment.cell.reset()

    def keep_lanes(self, lanes: Array, *, index: Array) -> Plan:
        """Go on with the samples in ``lanes`` only (``index``: theirs in the run), in the first
        lanes of this plan, or of a smaller one where they leave much of this one's unused."""
        size = 2 * ceil(len(lanes) / 2)  # few different sizes, whose plans are kept
        plan = self
        if size <= self.lanes * 3 // 4:
            plan = self.smaller.get(size) or self.smaller.setdefault(size, self.remake(size))
            plan.start({name: x[lanes] for name, x in self.inputs.items()}, index, self.seed)
        else:
            self.inputs = {name: x[lanes] for name, x in self.inputs.items()}
            self.index = index
        for old, new in zip(self.segments, plan.segments, strict=True):
            if old.cell is None or new.cell is None:
                continue
            target = new.cell.states()
            for name, array in old.cell.states().items():
                if array.ndim and len(array) == self.lanes:
                    target[name][: len(lanes)] = array[lanes]
                elif not array.ndim and plan is not self:  # the same for all: steps so far
                    target[name][...] = array
        if plan is self:
            for constant in self.constants.values():
                constant[0, : len(lanes)] = constant[0, lanes]
        return plan

    def run(self, t0: int, count: int, steps: int, by_lane: bool) -> None:
        """Steps t0 .. t0 + count - 1 of all segments. Counts are left in ``counters``."""
        for counter in self.counters.values():
            counter.start(by_lane)
        for node in self.graph.of(Input):
            if node.name not in self.constants:
                self._encode(node, t0, count=count, steps=steps)
        for segment in self.segments:
            self._run_segment(segment, t0, count=count, steps=steps)

    def _encode(self, node: Input, t0: int, *, count: int, steps: int) -> None:
        signal = self.signals[node.name][:count]
        if t0 >= steps:
            signal[...] = 0
            return
        x = encode(
            node,
            self.inputs[node.name],
            first_step=t0,
            steps=count,
            seed=self.seed,
            offset=self.index,
        )
        np.copyto(signal[:, : len(self.index)], x, casting="unsafe")
        self.silent[node.name] = False
        fired = np.empty(signal.shape[1:], self.dtype)
        for i in range(count):
            np.not_equal(signal[i], 0, out=fired)
            self.counters[node.name].add(i, fired, int(np.count_nonzero(signal[i])))

    def _run_segment(self, segment: Segment, t0: int, *, count: int, steps: int) -> None:
        node, total = segment.node, 0
        out = self.signals.get(node.name)
        if segment.rests(t0, count=count, steps=steps):
            assert out is not None
            out[:count] = 0
            self.silent[node.name] = True
            return
        for at in range(0, count, segment.chunk):
            n = min(segment.chunk, count - at)
            values = {
                name: self._source(name, t0, at=at, n=n, steps=steps) for name in segment.sources
            }
            self._run_inner(segment, values, n, t0 < steps)
            target = None if out is None else out[at : at + n]
            if segment.cell is None:
                assert target is not None
                np.copyto(target, values[node.name])
                total += 1
                continue
            window = Window(
                arrives=segment.begin <= t0 < segment.begin + steps,
                fires=segment.onset <= t0 < segment.onset + steps,
                first=t0 + at - segment.onset,
                at=at,
                steps=steps,
            )
            xs = [values[name] for name in segment.reads]
            owned = segment.owns_input
            if isinstance(segment.cell, ReadoutCell):
                segment.cell.read(xs[0], n, window, owned)
            elif isinstance(segment.cell, PointwiseCell):
                assert target is not None
                quiet = all(self._is_silent(name, t0 < steps) for name in segment.reads)
                total += segment.cell.run(() if quiet else xs, target, window)
            elif isinstance(segment.cell, BlockedCell | EventCell | SharedCurrent):
                assert target is not None
                silent = [self._is_silent(name, t0 < steps) for name in segment.reads]
                heard = [None if s else x for s, x in zip(silent, xs, strict=True)]
                total += segment.cell.run(heard, target, window, owned)
            else:
                assert target is not None
                total += segment.cell.run(xs, target, window, owned)
        self.silent[node.name] = total == 0

    def _source(self, name: str, t0: int, *, at: int, n: int, steps: int) -> Array:
        if name not in self.constants:
            return self.signals[name][at : at + n]
        if t0 < steps:
            return self.constants[name]
        if name not in self.nothing:  # after the input's window (start lags)
            self.nothing[name] = np.zeros_like(self.constants[name])
        return self.nothing[name]

    def _is_silent(self, name: str, input_on: bool) -> bool:
        """Whether a signal was zero all through this block, as far as known."""
        return self.silent.get(name, not input_on and name in self.constants)

    def _run_inner(
        self, segment: Segment, values: dict[str, Array], n: int, input_on: bool
    ) -> None:
        with segment.clock.synapse:
            quiet = all(self._is_silent(s, input_on) for s in segment.sources)
            for kernel, names, name, buffer in segment.inner:
                out = buffer[:n]
                if quiet:
                    out[...] = 0
                else:
                    kernel([values[i] for i in names], out)
                values[name] = out

    def nbytes(self) -> int:
        """Bytes of the signals, currents and states this plan holds (without kernels' own)."""
        arrays: list[Array] = [*self.signals.values(), *self.constants.values()]
        for segment in self.segments:
            arrays += [buffer for *_, buffer in segment.inner]
            if segment.cell is not None:
                arrays += list(segment.cell.states().values())
        unique = {a.__array_interface__["data"][0]: a.nbytes for a in arrays}
        return sum(unique.values())
