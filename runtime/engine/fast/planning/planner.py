"""Makes execution plans: chooses kernels and cells, and allocates every buffer once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

import numpy as np

from ....cost import StaticCost
from ....facts import Chain, GraphFacts
from ....graph import (
    Analog,
    Delay,
    Input,
    MaxPool,
    Node,
    PlasticSynapse,
    Population,
    Product,
    Readout,
    Synapse,
)
from ....ops import Array, Shape, WeightedOp
from ....ops.convolution import Conv
from ....ops.pool import SumPool
from ....tables import entry
from ...profile import Clock
from ..buffers import LINE, Arena, zeros
from ..cells.base import Cell
from ..cells.blocked import BlockedCell
from ..cells.choose import population_cell
from ..cells.compiled import CompiledCell, CompiledPlainCell
from ..cells.delay import DelayCell
from ..cells.events import EventCell, EventCurrent, SharedCurrent
from ..cells.expectation import ExpectationCell
from ..cells.pointwise import PointwiseCell
from ..cells.readout import ReadoutCell
from ..constants import Filler
from ..counting import Counter
from ..events.layers import EventLayer
from ..native.steps import has_compiled_step
from ..products.blocked import BlockedTerm, to_blocks
from ..products.blocked.layers import BlockedLayers, blocked_layers
from ..products.large import has_large_weight, large_kernel
from ..products.onnxruntime import session_kernel
from ..products.pointwise import PointwiseLayer, PointwiseProduct, Shared, pointwise_layers
from ..products.records import Kernel, byte_pool_kernel, record_kernel
from ..products.sessions import ChainSessions
from ..products.terms import is_plain
from .integers import largest_integers
from .memory import signal_buffers
from .orders import Orders
from .plan import Plan
from .segment import Segment, Step, ends_once, those_read
from .sizes import chunk_steps


def make_plan(
    facts: GraphFacts,
    cost: StaticCost,
    *,
    lanes: int,
    block: int,
    dtype: np.dtype,
    sessions: ChainSessions,
    clocks: dict[str, Clock],
    events: Mapping[str, EventLayer],
    compiled: bool,
) -> Plan:
    """Everything allocated for tiles of ``lanes`` samples and blocks of ``block`` steps.

    ``sessions``: of chains of synapses with weights (see ``chains``), which ONNX Runtime runs in
    single precision, but for layers in blocks of channels (``products.blocked``) and those of
    ``events``, which their spikes drive. ``clocks``: each layer's (``new_clocks``). ``compiled``:
    neurons are updated in one pass where their model has one (``native.steps``).
    """
    shapes, chains = facts.shapes, facts.chains
    fans = {**cost.fan_out, **cost.passed_on}
    pointwise = pointwise_layers(facts, fans, events) if compiled else {}
    blocked = blocked_layers(facts, dtype, {*events, *pointwise})
    fans |= {name: to_blocks(fans[name], blocked.size).reshape(-1) for name in blocked.terms}
    counters = {name: Counter(fan, lanes, block, dtype) for name, fan in fans.items()}
    maker = _Maker(
        facts,
        lanes=lanes,
        block=block,
        dtype=dtype,
        sessions=sessions,
        counters=counters,
        clocks=clocks,
        blocked=blocked,
        events=events,
        pointwise=pointwise,
        compiled=compiled,
    )
    steady = {c.sink: shapes[c.sink] for c in chains if c.constant}
    currents = Filler(facts, steady, lanes=lanes, dtype=dtype)
    made = [maker.segment(c) for c in chains if not c.constant and c.sink in maker.runs]
    segments = those_read(made)
    return Plan(
        graph=facts.graph,
        lanes=lanes,
        block=block,
        dtype=dtype,
        segments=segments,
        signals=signal_buffers(facts.graph, segments, block, maker.orders),
        constants=currents.into,
        currents=currents,
        counters=counters,
        clocks=clocks,
        onset=facts.onsets,
        remake=lambda lanes: make_plan(
            facts,
            cost,
            lanes=lanes,
            block=block,
            dtype=dtype,
            sessions=sessions,
            clocks=clocks,
            events=events,
            compiled=compiled,
        ),
    )


class _Maker:
    """Makes the parts of a plan; scratch for currents is shared by all segments."""

    def __init__(
        self,
        facts: GraphFacts,
        *,
        lanes: int,
        block: int,
        dtype: np.dtype,
        sessions: ChainSessions,
        counters: dict[str, Counter],
        clocks: dict[str, Clock],
        blocked: BlockedLayers,
        events: Mapping[str, EventLayer],
        pointwise: Mapping[str, PointwiseLayer],
        compiled: bool,
    ) -> None:
        self.blocked, self.events, self.compiled = blocked, events, compiled
        self.pointwise = pointwise
        self.shared = Shared(sessions=sessions, arena=Arena())
        self.shapes, self.onset, self.nodes = facts.shapes, facts.onsets, facts.by_name
        self.facts, self.lanes, self.block, self.dtype = facts, lanes, block, dtype
        self.sessions, self.counters, self.clocks = sessions, counters, clocks
        self.arena = zeros(0, np.uint8)
        sources = {t.source for terms in blocked.terms.values() for t in terms}
        most = max((prod(self.shapes[name]) for name in sources), default=0)
        self.held = zeros(most * lanes, np.float32)
        self.largest = largest_integers(facts)
        byte = np.dtype(np.int8)
        self.dtypes = {name: dtype if m is None else byte for name, m in self.largest.items()}
        last = {name for name, layer in events.items() if layer.is_channels_last}
        last |= set(pointwise)
        shared = [name for name, layer in events.items() if layer.readers]
        self.dtypes |= dict.fromkeys(shared, dtype)
        self.orders = Orders(lanes, self.shapes, blocked, last, self.dtypes)
        self.runs = {node.name for node in facts.graph.nodes if not isinstance(node, Input)}

    def segment(self, chain: Chain) -> Segment:
        node = self.nodes[chain.sink]
        clock = self.clocks[chain.sink]
        if node.name in self.pointwise:
            return self._pointwise_segment(chain, self.pointwise[node.name], clock)
        if node.name in self.orders.channels_last:
            return self._event_segment(chain, self.events[node.name], clock)
        if isinstance(node, Population) and node.name in self.blocked.terms:
            return self._blocked_segment(chain, node, clock)
        chunk = self._chunk(chain)
        if node.name in self.events:
            inner = self._event_current(chain, self.events[node.name], chunk, clock)
            chain = replace(chain, sources=self.events[node.name].reads)
            return self._segment(chain, node, inner, chunk, clock)
        inner = self.orders.moved(chain.sources, chunk, clock)
        inner += self._products(chain, node, chunk, clock)
        return self._segment(chain, node, inner, chunk, clock)

    def _segment(
        self, chain: Chain, node: Node, inner: list[Step], chunk: int, clock: Clock
    ) -> Segment:
        return Segment(
            node=node,
            sources=chain.sources,
            reads=node.inputs,
            inner=inner,
            cell=entry(CELLS, node, "runtime.engine.fast.planning.planner.CELLS")(
                self, node, chunk, clock
            ),
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
        counter, lanes = self.counters[node.name], self.lanes
        kind = {"constant": not terms, "compiled": self.compiled}
        cell = BlockedCell(node, lanes, size, counter, clock, **kind)
        cell.terms = [
            BlockedTerm(
                term,
                self.blocked.sessions,
                size,
                shape=self.shapes[term.source],
                blocked=term.source in self.blocked.terms,
                v=cell.v,
                bias=cell.bias_now,
                scratch=self.held,
            )
            for term in terms
        ]
        return Segment(
            node=node,
            sources=chain.sources,
            reads=tuple(t.source for t in terms) or node.inputs,
            inner=self.orders.moved(moved, self.block, clock),
            cell=cell,
            chunk=self.block,
            clock=clock,
            **self._window(chain, node),
            synapses=chain.nodes,
        )

    def _event_segment(self, chain: Chain, layer: EventLayer, clock: Clock) -> Segment:
        inner, reads = self.orders.for_events(layer, self.block, clock)
        node = layer.node
        cell: EventCell | SharedCurrent
        if layer.neurons is None:
            cell = SharedCurrent(layer, clock)
        else:
            cell = EventCell(layer, self.lanes, self.block, self.counters[node.name], clock)
        return Segment(
            node=node,
            sources=layer.reads,
            reads=reads or node.inputs,
            inner=inner,
            cell=cell,
            chunk=self.block,
            clock=clock,
            **self._window(chain, node),
            synapses=chain.nodes,
        )

    def _pointwise_segment(self, chain: Chain, layer: PointwiseLayer, clock: Clock) -> Segment:
        node, cell, inner = layer.node, None, list[Step]()
        chunk = self._chunk(chain) if layer.neurons is None else self.block
        if layer.neurons is None:
            product = PointwiseProduct(layer, self.lanes, chunk, clock=clock, **self.shared)
            buffer = self._scratch(node, chunk, at=0, inner=self.orders.memory_shape(node))
            inner = [(product, layer.sources, node.name, buffer)]
        else:
            counter = self.counters[node.name]
            cell = PointwiseCell(
                layer, self.lanes, chunk, counter=counter, clock=clock, **self.shared
            )
        return Segment(
            node=node,
            sources=chain.sources,
            reads=layer.sources,
            inner=inner,
            cell=cell,
            chunk=chunk,
            clock=clock,
            **self._window(chain, node),
            synapses=chain.nodes,
        )

    def _event_current(
        self, chain: Chain, layer: EventLayer, chunk: int, clock: Clock
    ) -> list[Step]:
        inner, reads = self.orders.for_events(layer, chunk, clock)
        last = self.nodes[layer.node.inputs[0]]
        kernel = EventCurrent(layer, self.lanes, chunk)
        return [
            *inner,
            (kernel, reads, last.name, self._scratch(last, chunk, at=0, kind=self.dtype)),
        ]

    def _products(self, chain: Chain, node: Node, chunk: int, clock: Clock) -> list[Step]:
        """What computes a chain's synapses: bytes by NumPy, what has weights by ONNX Runtime in one
        session, anything else (and double precision) by its record."""
        steps: list[Step] = []
        at = 0

        def add(last: Node, kernel: Kernel, names: tuple[str, ...]) -> None:
            nonlocal at
            buffer = self._scratch(last, chunk, at=at)
            at += -(-buffer.nbytes // LINE) * LINE
            steps.append((kernel, names, last.name, buffer))

        rest = [n for n in chain.nodes if self.largest[n.name] is None]
        weighted = any(isinstance(n.op, WeightedOp) for n in rest)
        single = self.dtype == np.float32 and not self._has_large_weight(chain)
        session = weighted and single and ends_once(chain, node) and chain.nodes[-1] in rest
        for n in chain.nodes:
            if n not in rest or not session:
                add(n, self._kernel(n, chunk, clock), n.inputs)
        if session:
            inside = {n.name for n in rest}
            read = dict.fromkeys(i for n in rest for i in n.inputs if i not in inside)
            names = tuple(read)
            opened = self.sessions.session(rest, names)
            shapes = [self.shapes[name] for name in names]
            kernel = session_kernel(opened, shapes, self.lanes, chunk=chunk, clock=clock)
            add(rest[-1], kernel, names)
        return steps

    def _kernel(self, node: Synapse, chunk: int, clock: Clock) -> Kernel:
        """One synapse in NumPy."""
        shape, kind = self.shapes[node.inputs[0]], self.dtypes[node.name]
        if isinstance(node.op, SumPool) and self.largest[node.name] is not None:
            return byte_pool_kernel(node.op, shape, self.lanes, chunk=chunk)
        if isinstance(node.op, Conv) and has_large_weight(node.op, shape):
            return large_kernel(
                node.op, shape, lanes=self.lanes, dtype=self.dtype, chunk=chunk, clock=clock
            )
        return record_kernel(node.op, kind)

    def _has_large_weight(self, chain: Chain) -> bool:
        return any(has_large_weight(n.op, self.shapes[n.inputs[0]]) for n in chain.nodes)

    def _chunk(self, chain: Chain) -> int:
        if self._has_large_weight(chain):
            return self.block
        return min(self.block, chunk_steps(chain, self.shapes, self.lanes * self.dtype.itemsize))

    def _scratch(
        self,
        node: Node,
        chunk: int,
        *,
        at: int,
        kind: np.dtype | None = None,
        inner: Shape | None = None,
    ) -> Array:
        """A buffer for the chunk's currents at byte ``at`` of the memory all segments share; of the
        type that the signal is kept in, or of ``kind``."""
        shape = (chunk, *(inner or (self.lanes, *node.shape)))
        dtype = kind or self.dtypes[node.name]
        size = prod(shape) * dtype.itemsize
        if self.arena.size < at + size:
            # Views of a smaller arena stay valid; they only stop sharing their memory.
            self.arena = zeros(max(at + size, 2 * self.arena.size), np.uint8)
        return self.arena[at : at + size].view(dtype).reshape(shape)

    def population(self, node: Population, chunk: int, clock: Clock) -> Cell:
        counter = self.counters[node.name]
        if self.compiled and has_compiled_step(node.neuron):
            kind = CompiledPlainCell if is_plain(node.neuron) else CompiledCell
            return kind(node, self.lanes, chunk, counter, clock)
        return population_cell(
            node, self.lanes, dtype=self.dtype, chunk=chunk, counter=counter, clock=clock
        )

    def expectation(self, node: MaxPool | Analog, chunk: int, clock: Clock) -> Cell:
        return ExpectationCell(
            node,
            [self.shapes[name] for name in node.inputs],
            lanes=self.lanes,
            dtype=self.dtype,
            chunk=chunk,
            counter=self.counters.get(node.name),
            clock=clock,
        )

    def delay(self, node: Delay, chunk: int, clock: Clock) -> Cell:
        return DelayCell(node.steps, node.shape, self.dtypes[node.name], self.lanes, clock)

    def readout(self, node: Readout, chunk: int, clock: Clock) -> ReadoutCell:
        return ReadoutCell(node, self.lanes, self.dtype, chunk, clock)


# What a segment ends with, by the kind of its node; a synapse that several read ends in nothing.
CELLS: Mapping[type[Node], Callable[..., Cell | ReadoutCell | None]] = {
    Population: _Maker.population,
    **dict.fromkeys((MaxPool, Analog, Product), _Maker.expectation),
    Delay: _Maker.delay,
    Readout: _Maker.readout,
    **dict.fromkeys((Synapse, PlasticSynapse), lambda maker, node, chunk, clock: None),
}
