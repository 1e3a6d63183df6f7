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

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np

from .cells import (
    Cell,
    ExpectationCell,
    Window,
    population_cell,
    spike_dtype,
)
from .chains import Chain, synapse_chains
from .convolution import Kernel
from .cost import StaticCost
from .counting import Counter
from .encoding import encode
from .graph import (
    Analog,
    Input,
    MaxPool,
    Node,
    Population,
    Readout,
    SpikingGraph,
    Synapse,
    onsets,
)
from .kernels import synapse_kernel
from .layout import Layout
from .ops import Add, Array, Conv, Shape
from .profile import Clock, running_clock
from .readout import ReadoutCell
from .sessions import session_kernel

CHUNK_BYTES = 512 * 1024  # currents of one chunk: a part of a core's L2 cache


@dataclass
class Segment:
    """``inner`` are (kernel, input names, own name, output buffer) in execution order; then
    ``node`` is run by ``cell`` (None: it is the synapse whose kernel comes last)."""

    node: Node
    sources: tuple[str, ...]
    inner: list[tuple[Kernel, tuple[str, ...], str, Array]]
    cell: Cell | ReadoutCell | None
    chunk: int
    clock: Clock
    begin: int
    onset: int
    synapses: tuple[Synapse, ...]


@dataclass
class Plan:
    """Buffers and kernels for one thread. See ``make_plan``."""

    graph: SpikingGraph
    layout: Layout
    block: int
    dtype: np.dtype
    segments: list[Segment]
    signals: dict[str, Array]
    constants: dict[str, Array]
    constant_kernels: list[tuple[Kernel, tuple[str, ...], str]]
    counters: dict[str, Counter]
    clocks: dict[str, Clock]
    onset: dict[str, int]
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
            if node.name in self.constants:
                natural = self.layout.natural(self.constants[node.name])
                natural[:, : len(index)] = inputs[node.name]
                natural[:, len(index) :] = 0
            else:
                self.signals[node.name][...] = 0
        for kernel, names, name in self.constant_kernels:
            kernel([self.constants[n] for n in names], self.constants[name])
        for segment in self.segments:
            if segment.cell is not None:
                segment.cell.reset()

    def keep_lanes(self, lanes: Array, index: Array) -> None:
        """Move the samples in ``lanes`` to the first lanes; ``index`` are theirs in the run."""
        for segment in self.segments:
            if segment.cell is None:
                continue
            for array in segment.cell.states().values():
                if array.ndim and len(array) == self.layout.lanes:
                    array[: len(lanes)] = array[lanes]
        for constant in self.constants.values():
            natural = self.layout.natural(constant)[0]
            natural[: len(lanes)] = natural[lanes]
        self.inputs = {name: x[lanes] for name, x in self.inputs.items()}
        self.index = index

    def run(self, t0: int, count: int, steps: int, by_lane: bool) -> None:
        """Steps t0 .. t0 + count - 1 of all segments. Counts are left in ``counters``."""
        for counter in self.counters.values():
            counter.start(by_lane)
        for node in self.graph.of(Input):
            if node.name not in self.constants:
                self._encode(node, t0, count, steps)
        for segment in self.segments:
            self._run_segment(segment, t0, count, steps)

    def _encode(self, node: Input, t0: int, count: int, steps: int) -> None:
        signal = self.signals[node.name][:count]
        if t0 >= steps:
            signal[...] = 0
            return
        x = encode(node, self.inputs[node.name], t0, count, self.seed, self.index)
        natural = self.layout.natural(signal)
        np.copyto(natural[:, : len(self.index)], x, casting="unsafe")
        self.silent[node.name] = False
        fired = np.empty(signal.shape[1:], self.dtype)
        for i in range(count):
            np.not_equal(signal[i], 0, out=fired)
            self.counters[node.name].add(i, fired, int(np.count_nonzero(signal[i])))

    def _run_segment(self, segment: Segment, t0: int, count: int, steps: int) -> None:
        node, total = segment.node, 0
        out = self.signals.get(node.name)
        for at in range(0, count, segment.chunk):
            n = min(segment.chunk, count - at)
            values = {name: self._source(name, t0, at, n, steps) for name in segment.sources}
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
            )
            xs = [values[name] for name in node.inputs]
            owned = bool(segment.inner) and node.inputs[0] == segment.inner[-1][2]
            if isinstance(segment.cell, ReadoutCell):
                segment.cell.read(xs[0], n, window, owned)
            else:
                assert target is not None
                total += segment.cell.run(xs, target, window, owned)
        self.silent[node.name] = total == 0

    def _source(self, name: str, t0: int, at: int, n: int, steps: int) -> Array:
        if name not in self.constants:
            return self.signals[name][at : at + n]
        if t0 < steps:
            return self.constants[name]
        if name not in self.nothing:  # after the input's window (start lags)
            self.nothing[name] = np.zeros_like(self.constants[name])
        return self.nothing[name]

    def _run_inner(
        self, segment: Segment, values: dict[str, Array], n: int, input_on: bool
    ) -> None:
        with segment.clock.synapse:
            quiet = all(
                self.silent.get(s, not input_on and s in self.constants) for s in segment.sources
            )
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


def make_plan(
    graph: SpikingGraph,
    cost: StaticCost,
    *,
    layout: Layout,
    block: int,
    dtype: np.dtype,
    kernels: Mapping[str, bytes],
    profile: bool,
) -> Plan:
    """Everything allocated for tiles of ``layout.lanes`` samples and blocks of ``block`` steps.

    ``kernels``: serialized ONNX models to run chains of synapses with, by the chain's last node
    (see ``chains``); chains without one run in NumPy.
    """
    shapes = {node.name: node.shape for node in graph.nodes}
    chains = synapse_chains(graph)
    onset = onsets(graph)
    clocks = {c.sink: running_clock() if profile else Clock() for c in chains if not c.constant}
    counters = {
        name: Counter(fan, layout, block, dtype)
        for name, fan in {**cost.fan_out, **cost.passed_on}.items()
    }
    maker = _Maker(graph, layout, block, dtype, kernels, shapes, counters, clocks, onset)
    constants = {
        c.sink: np.zeros((1, *layout.inner(shapes[c.sink])), dtype) for c in chains if c.constant
    }
    constant_kernels = [
        (maker.kernel(c.nodes[-1], 1, Clock()), c.nodes[-1].inputs, c.sink)
        for c in chains
        if c.constant and c.nodes
    ]
    segments = [maker.segment(c) for c in chains if not c.constant and c.sink in maker.runs]
    return Plan(
        graph=graph,
        layout=layout,
        block=block,
        dtype=dtype,
        segments=segments,
        signals=maker.signals(segments),
        constants=constants,
        constant_kernels=constant_kernels,
        counters=counters,
        clocks=clocks,
        onset=onset,
    )


class _Maker:
    """Makes the parts of a plan; scratch for currents is shared by all segments."""

    def __init__(
        self,
        graph: SpikingGraph,
        layout: Layout,
        block: int,
        dtype: np.dtype,
        kernels: Mapping[str, bytes],
        shapes: dict[str, Shape],
        counters: dict[str, Counter],
        clocks: dict[str, Clock],
        onset: dict[str, int],
    ) -> None:
        self.graph, self.layout, self.block, self.dtype = graph, layout, block, dtype
        self.kernels, self.shapes, self.counters = kernels, shapes, counters
        self.clocks, self.onset = clocks, onset
        self.arena = np.zeros(0, dtype)
        self.runs = {node.name for node in graph.nodes if not isinstance(node, Input)}

    def kernel(self, node: Synapse, chunk: int, clock: Clock) -> Kernel:
        shapes = [self.shapes[name] for name in node.inputs]
        return synapse_kernel(node.op, shapes, self.layout, self.dtype, chunk, clock)

    def segment(self, chain: Chain) -> Segment:
        node = self.graph[chain.sink]
        clock = self.clocks[chain.sink]
        chunk = self._chunk(chain)
        model = self.kernels.get(chain.nodes[-1].name) if chain.nodes else None
        if model is not None:
            last = chain.nodes[-1]
            shapes = [self.shapes[s] for s in chain.sources]
            kernel = session_kernel(model, shapes, self.layout, self.dtype, chunk, clock)
            inner = [(kernel, chain.sources, last.name, self._scratch(last.shape, chunk, 0))]
        else:
            inner = self._inner(chain, chunk, clock)
        inputs = [self.onset[name] for name in node.inputs]
        return Segment(
            node=node,
            sources=chain.sources,
            inner=inner,
            cell=self._cell(node, chunk, clock),
            chunk=chunk,
            clock=clock,
            begin=max(inputs, default=0),
            onset=self.onset[node.name],
            synapses=chain.nodes,
        )

    def _inner(
        self, chain: Chain, chunk: int, clock: Clock
    ) -> list[tuple[Kernel, tuple[str, ...], str, Array]]:
        at = 0
        inner: list[tuple[Kernel, tuple[str, ...], str, Array]] = []
        for node in chain.nodes:
            buffer = self._in_place(node, inner)
            if buffer is None:
                buffer = self._scratch(node.shape, chunk, at)
                at += -(-buffer.size // 16) * 16
            inner.append((self.kernel(node, chunk, clock), node.inputs, node.name, buffer))
        return inner

    def _in_place(
        self, node: Synapse, inner: list[tuple[Kernel, tuple[str, ...], str, Array]]
    ) -> Array | None:
        """An input's own buffer, where the sum of currents can be formed in it."""
        if not isinstance(node.op, Add):
            return None
        for name in node.inputs:
            for *_, made, buffer in inner:
                if (
                    made == name
                    and self.shapes[name] == node.shape
                    and node.inputs.count(name) == 1
                ):
                    return buffer
        return None

    def _chunk(self, chain: Chain) -> int:
        per_step = sum(self._step_bytes(node) for node in chain.nodes)
        return max(1, min(self.block, CHUNK_BYTES // max(per_step, 1)))

    def _step_bytes(self, node: Synapse) -> int:
        out = self.layout.nbytes(node.shape, self.dtype)
        if isinstance(node.op, Conv):
            read = self.layout.nbytes(self.shapes[node.inputs[0]], self.dtype)
            return out + read * node.op.kernel[-1] // node.op.strides[-1]
        return out

    def _scratch(self, shape: Shape, chunk: int, at: int) -> Array:
        inner = (chunk, *self.layout.inner(shape))
        if self.arena.size < at + prod(inner):
            # Views of a smaller arena stay valid; they only stop sharing their memory.
            self.arena = np.zeros(max(at + prod(inner), 2 * self.arena.size), self.dtype)
        return self.arena[at : at + prod(inner)].reshape(inner)

    def _cell(self, node: Node, chunk: int, clock: Clock) -> Cell | ReadoutCell | None:
        shapes = [self.shapes[name] for name in node.inputs]
        match node:
            case Population():
                counter = self.counters[node.name]
                return population_cell(node, self.layout, self.dtype, chunk, counter, clock)
            case MaxPool() | Analog():
                passed = self.counters.get(node.name)
                return ExpectationCell(node, shapes, self.layout, self.dtype, chunk, passed, clock)
            case Readout():
                return ReadoutCell(node, self.layout, self.dtype, chunk, clock)
        return None

    def signals(self, segments: list[Segment]) -> dict[str, Array]:
        """A buffer for what each segment passes on, reused when its last reader is done."""
        last = {name: i for i, s in enumerate(segments) for name in s.sources}
        out: dict[str, Array] = {}
        free: list[Array] = []
        for node in self.graph.of(Input):
            if node.encoding != "constant":
                shape = (self.block, *self.layout.inner(node.shape))
                out[node.name] = np.zeros(shape, np.int8)
        for i, segment in enumerate(segments):
            if not isinstance(segment.node, Readout):
                out[segment.node.name] = self._signal(segment.node, free)
            done = [name for name in segment.sources if last[name] == i and name in out]
            free += [_raw(out[n]) for n in done if not isinstance(self.graph[n], Input)]
        return out

    def _signal(self, node: Node, free: list[Array]) -> Array:
        dtype = self.dtype
        if isinstance(node, Population):
            dtype = spike_dtype(node.neuron, self.dtype)
        shape = (self.block, *self.layout.inner(node.shape))
        size = prod(shape) * dtype.itemsize
        fitting = [raw for raw in free if raw.nbytes >= size]
        if not fitting:
            return np.zeros(size, np.uint8).view(dtype).reshape(shape)
        raw = min(fitting, key=lambda r: r.nbytes)
        free[:] = [r for r in free if r is not raw]
        return raw[:size].view(dtype).reshape(shape)


def _raw(signal: Array) -> Array:
    """The bytes of a signal's buffer."""
    return signal.reshape(-1).view(np.uint8)
