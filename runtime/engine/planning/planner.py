"""Makes execution plans: chooses kernels and cells, and allocates every buffer once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

import numpy as np

from ...cost import StaticCost
from ...facts import Chain, GraphFacts
from ...graph import (
    Analog,
    Delay,
    Input,
    MaxPool,
    Node,
    Population,
    Readout,
    Synapse,
)
from ...ops import Array
from ...ops.convolution import Conv
from ...semantics.constants import constant_currents
from ..buffers import zeros
from ..cells.base import Cell, spike_dtype
from ..cells.blocked import BlockedCell
from ..cells.choose import population_cell
from ..cells.compiled import CompiledCell, CompiledPlainCell
from ..cells.delay import DelayCell
from ..cells.events import EventCell, EventCurrent
from ..cells.expectation import ExpectationCell
from ..cells.readout import ReadoutCell
from ..constants import Filler
from ..counting import Counter
from ..events.layers import EventLayer
from ..layout import Layout
from ..native.steps import has_compiled_step
from ..products.blocked import BlockedTerm, to_blocks
from ..products.blocked_layers import BlockedLayers, blocked_layers
from ..products.numpy import synapse_kernel
from ..products.numpy_convolution import Kernel, has_large_weight
from ..products.onnxruntime import session_kernel
from ..products.terms import is_plain
from ..profile import Clock, running_clock
from .orders import Orders
from .plan import Plan
from .segment import Segment, Step

CHUNK_BYTES = 512 * 1024  # currents of one chunk: a part of a core's L2 cache


def make_plan(
    facts: GraphFacts,
    cost: StaticCost,
    *,
    layout: Layout,
    block: int,
    dtype: np.dtype,
    kernels: Mapping[str, bytes],
    clocks: dict[str, Clock],
    events: Mapping[str, EventLayer],
    compiled: bool,
) -> Plan:
    """Everything allocated for tiles of ``layout.lanes`` samples and blocks of ``block`` steps.

    ``kernels``: serialized ONNX models to run chains of synapses with, by the chain's last node
    (see ``chains``); chains without one run in NumPy. With the models of ``products.blocked`` among
    them, layers that these can compute run so. ``clocks``: each layer's (``new_clocks``).
    ``events``: the layers to drive by their spikes. ``compiled``: neurons are updated in one pass
    where their model has one (``native.steps``).
    """
    shapes, chains = facts.shapes, facts.chains
    blocked = blocked_layers(facts, layout, dtype, kernels, events)
    fans = {**cost.fan_out, **cost.passed_on}
    fans |= {name: to_blocks(fans[name], blocked.size).reshape(-1) for name in blocked.terms}
    counters = {name: Counter(fan, layout, block, dtype) for name, fan in fans.items()}
    maker = _Maker(
        *(facts, layout, block, dtype, kernels, counters, clocks, blocked, events, compiled),
    )
    constants = {
        c.sink: zeros((1, *layout.inner(shapes[c.sink])), dtype) for c in chains if c.constant
    }
    segments = [maker.segment(c) for c in chains if not c.constant and c.sink in maker.runs]
    return Plan(
        graph=facts.graph,
        layout=layout,
        block=block,
        dtype=dtype,
        segments=segments,
        signals=maker.signals(segments),
        constants=constants,
        currents=Filler(constant_currents(facts), constants, layout),
        counters=counters,
        clocks=clocks,
        onset=facts.onsets,
        remake=lambda lanes: make_plan(
            facts,
            cost,
            layout=replace(layout, lanes=lanes),
            block=block,
            dtype=dtype,
            kernels=kernels,
            clocks=clocks,
            events=events,
            compiled=compiled,
        ),
    )


def new_clocks(facts: GraphFacts, profile: bool) -> dict[str, Clock]:
    """A clock for each layer of one thread, measuring only for a ``profile``."""
    sinks = [chain.sink for chain in facts.chains if not chain.constant]
    return {sink: running_clock() if profile else Clock() for sink in sinks}


class _Maker:
    """Makes the parts of a plan; scratch for currents is shared by all segments."""

    def __init__(
        self,
        facts: GraphFacts,
        layout: Layout,
        block: int,
        dtype: np.dtype,
        kernels: Mapping[str, bytes],
        counters: dict[str, Counter],
        clocks: dict[str, Clock],
        blocked: BlockedLayers,
        events: Mapping[str, EventLayer],
        compiled: bool,
    ) -> None:
        self.blocked, self.events, self.compiled = blocked, events, compiled
        self.shapes, self.onset, self.nodes = facts.shapes, facts.onsets, facts.by_name
        self.orders = Orders(layout, self.shapes, blocked, events)
        self.facts, self.layout, self.block, self.dtype = facts, layout, block, dtype
        self.kernels, self.counters, self.clocks = kernels, counters, clocks
        self.arena = zeros(0, np.uint8)
        sources = {t.source for terms in blocked.terms.values() for t in terms}
        most = max((prod(self.shapes[name]) for name in sources), default=0)
        self.held = zeros(most * layout.lanes, np.float32)
        self.dtypes = self._dtypes()
        self.runs = {node.name for node in facts.graph.nodes if not isinstance(node, Input)}

    def _dtypes(self) -> dict[str, np.dtype]:
        """The type each signal is kept in: spikes stay small integers while they are only moved."""
        out: dict[str, np.dtype] = {}
        constant = self.facts.constant
        for node in self.facts.graph.nodes:
            out[node.name] = self.dtype
            if node.name in constant:
                continue
            if isinstance(node, Input):
                out[node.name] = np.dtype(np.int8)
            elif isinstance(node, Population):
                out[node.name] = spike_dtype(node.neuron, self.dtype)
            elif isinstance(node, Delay):
                out[node.name] = out[node.inputs[0]]
            elif isinstance(node, Synapse) and node.op.moves:
                before = {out[name] for name in node.inputs}
                out[node.name] = before.pop() if len(before) == 1 else self.dtype
        return out

    def kernel(self, node: Synapse, chunk: int, clock: Clock) -> Kernel:
        shapes = [self.shapes[name] for name in node.inputs]
        most = self._most(node.inputs[0])
        return synapse_kernel(node.op, shapes, self.layout, self.dtype, chunk, clock, most)

    def _most(self, name: str) -> int | None:
        """The largest magnitude of a signal of small integers; None for other signals."""
        node, kind = self.nodes[name], self.dtypes[name]
        if kind != np.int8:
            return None
        if isinstance(node, Population):
            return node.neuron.levels
        if isinstance(node, Synapse):  # it moves spikes
            return max(self._most(i) or 0 for i in node.inputs)
        return int(np.iinfo(kind).max)

    def segment(self, chain: Chain) -> Segment:
        node = self.nodes[chain.sink]
        clock = self.clocks[chain.sink]
        if node.name in self.orders.channels_last:
            return self._event_segment(chain, self.events[node.name], clock)
        if isinstance(node, Population) and node.name in self.blocked.terms:
            return self._blocked_segment(chain, node, clock)
        chunk = self._chunk(chain)
        if node.name in self.events:
            inner = self._event_current(chain, self.events[node.name], chunk, clock)
            return self._segment(chain, node, inner, chunk, clock)
        model = self.kernels.get(chain.nodes[-1].name) if chain.nodes else None
        if model is not None and _ends_once(chain, node) and not self._has_large_weight(chain):
            last = chain.nodes[-1]
            shapes = [self.shapes[s] for s in chain.sources]
            kernel = session_kernel(model, shapes, self.layout, self.dtype, chunk, clock)
            inner = [(kernel, chain.sources, last.name, self._scratch(last, chunk, 0))]
        else:
            inner = self._inner(chain, chunk, clock)
        elsewhere = {*self.blocked.terms, *self.orders.channels_last}
        moved = [name for name in chain.sources if name in elsewhere]
        inner = [*self.orders.to_layout(moved, chunk, clock), *inner]
        return self._segment(chain, node, inner, chunk, clock)

    def _segment(
        self, chain: Chain, node: Node, inner: list[Step], chunk: int, clock: Clock
    ) -> Segment:
        return Segment(
            node=node,
            sources=chain.sources,
            reads=node.inputs,
            inner=inner,
            cell=self._cell(node, chunk, clock),
            chunk=chunk,
            clock=clock,
            **self._window(chain, node),
            synapses=chain.nodes,
        )

    def _window(self, chain: Chain, node: Node) -> dict[str, int]:
        """When inputs arrive and when the output's window begins (see ``Segment``)."""
        return {
            "first": min((self.onset[name] for name in chain.sources), default=0),
            "begin": max((self.onset[name] for name in node.inputs), default=0),
            "onset": self.onset[node.name],
        }

    def _blocked_segment(self, chain: Chain, node: Population, clock: Clock) -> Segment:
        size, terms = self.blocked.size, self.blocked.terms[node.name]
        moved = [name for name in chain.sources if name in self.orders.channels_last]
        counter, lanes = self.counters[node.name], self.layout.lanes
        kind = {"constant": not terms, "compiled": self.compiled}
        cell = BlockedCell(node, lanes, size, counter, clock, **kind)
        cell.terms = [
            BlockedTerm(
                term,
                self.blocked.sessions,
                size,
                self.shapes[term.source],
                term.source in self.blocked.terms,
                cell.v,
                cell.bias_now,
                self.held,
            )
            for term in terms
        ]
        return Segment(
            node=node,
            sources=chain.sources,
            reads=tuple(t.source for t in terms) or node.inputs,
            inner=self.orders.to_layout(moved, self.block, clock),
            cell=cell,
            chunk=self.block,
            clock=clock,
            **self._window(chain, node),
            synapses=chain.nodes,
        )

    def _event_segment(self, chain: Chain, layer: EventLayer, clock: Clock) -> Segment:
        inner, reads = self.orders.for_events(layer, self.block, clock)
        node = layer.node
        return Segment(
            node=node,
            sources=chain.sources,
            reads=reads or node.inputs,
            inner=inner,
            cell=EventCell(layer, self.layout, self.block, self.counters[node.name], clock),
            chunk=self.block,
            clock=clock,
            **self._window(chain, node),
            synapses=chain.nodes,
        )

    def _event_current(
        self, chain: Chain, layer: EventLayer, chunk: int, clock: Clock
    ) -> list[Step]:
        inner, reads = self.orders.for_events(layer, chunk, clock)
        last = self.nodes[layer.node.inputs[0]]
        kernel = EventCurrent(layer, self.layout, chunk)
        return [*inner, (kernel, reads, last.name, self._scratch(last, chunk, 0))]

    def _inner(self, chain: Chain, chunk: int, clock: Clock) -> list[Step]:
        at = 0
        inner: list[Step] = []
        for node in chain.nodes:
            buffer = self._in_place(node, inner)
            if buffer is None:
                buffer = self._scratch(node, chunk, at)
                at += -(-buffer.nbytes // 64) * 64
            inner.append((self.kernel(node, chunk, clock), node.inputs, node.name, buffer))
        return inner

    def _in_place(self, node: Synapse, inner: list[Step]) -> Array | None:
        """An input's own buffer, where the sum of currents can be formed in it."""
        if not node.op.adds:
            return None
        for name in node.inputs:
            for *_, made, buffer in inner:
                if (
                    made == name
                    and buffer.dtype == self.dtypes[node.name]
                    and self.shapes[name] == node.shape
                    and node.inputs.count(name) == 1
                ):
                    return buffer
        return None

    def _has_large_weight(self, chain: Chain) -> bool:
        return any(has_large_weight(n.op, self.shapes[n.inputs[0]]) for n in chain.nodes)

    def _chunk(self, chain: Chain) -> int:
        if self._has_large_weight(chain):
            return self.block
        per_step = sum(self._step_bytes(node) for node in chain.nodes)
        return max(1, min(self.block, CHUNK_BYTES // max(per_step, 1)))

    def _step_bytes(self, node: Synapse) -> int:
        out = self.layout.nbytes(node.shape, self.dtype)
        if isinstance(node.op, Conv):
            read = self.layout.nbytes(self.shapes[node.inputs[0]], self.dtype)
            return out + read * node.op.kernel[-1] // node.op.strides[-1]
        return out

    def _scratch(self, node: Node, chunk: int, at: int) -> Array:
        """A buffer for the chunk's currents at byte ``at`` of the memory all segments share."""
        inner = (chunk, *self.layout.inner(node.shape))
        dtype = self.dtypes[node.name]
        size = prod(inner) * dtype.itemsize
        if self.arena.size < at + size:
            # Views of a smaller arena stay valid; they only stop sharing their memory.
            self.arena = zeros(max(at + size, 2 * self.arena.size), np.uint8)
        return self.arena[at : at + size].view(dtype).reshape(inner)

    def _cell(self, node: Node, chunk: int, clock: Clock) -> Cell | ReadoutCell | None:
        shapes = [self.shapes[name] for name in node.inputs]
        match node:
            case Population():
                counter = self.counters[node.name]
                if self.compiled and has_compiled_step(node.neuron):
                    kind = CompiledPlainCell if is_plain(node.neuron) else CompiledCell
                    return kind(node, self.layout, chunk, counter, clock)
                return population_cell(node, self.layout, self.dtype, chunk, counter, clock)
            case MaxPool() | Analog():
                passed = self.counters.get(node.name)
                return ExpectationCell(node, shapes, self.layout, self.dtype, chunk, passed, clock)
            case Delay():
                dtype = self.dtypes[node.name]
                return DelayCell(node.steps, node.shape, dtype, self.layout, clock)
            case Readout():
                return ReadoutCell(node, self.layout, self.dtype, chunk, clock)
        return None

    def signals(self, segments: list[Segment]) -> dict[str, Array]:
        """A buffer for what each segment passes on, reused when its last reader is done."""
        last = {name: i for i, s in enumerate(segments) for name in s.sources}
        out: dict[str, Array] = {}
        free: list[Array] = []
        for node in self.facts.graph.of(Input):
            if node.encoding != "constant":
                shape = (self.block, *self.layout.inner(node.shape))
                out[node.name] = zeros(shape, np.int8)
        for i, segment in enumerate(segments):
            if not isinstance(segment.node, Readout):
                out[segment.node.name] = self._signal(segment.node, free)
            done = [name for name in segment.sources if last[name] == i and name in out]
            free += [_raw(out[n]) for n in done if not isinstance(self.nodes[n], Input)]
        return out

    def _signal(self, node: Node, free: list[Array]) -> Array:
        dtype = self.dtypes[node.name]
        shape = (self.block, *self.orders.memory_shape(node))
        size = prod(shape) * dtype.itemsize
        fitting = [raw for raw in free if raw.nbytes >= size]
        if not fitting:
            return zeros(size, np.uint8).view(dtype).reshape(shape)
        raw = min(fitting, key=lambda r: r.nbytes)
        free[:] = [r for r in free if r is not raw]
        return raw[:size].view(dtype).reshape(shape)


def _ends_once(chain: Chain, node: Node) -> bool:
    """Whether ``node`` reads nothing of its chain's synapses but the last one (an island may)."""
    inner = {synapse.name for synapse in chain.nodes[:-1]}
    return not inner & set(node.inputs)


def _raw(signal: Array) -> Array:
    """The bytes of a signal's buffer."""
    return signal.reshape(-1).view(np.uint8)
