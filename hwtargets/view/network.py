"""The chip's view of a spiking graph: layers of neurons, and projections between them.

Chains of synapses (pool, conv, flatten, linear) have no neurons in between, so a chip sees one
connection: a ``Projection`` from a source to a layer, with the chain's composed geometry. A layer
that reads a sum has one projection for each path that leads to it.

Sums of sums without neurons in between have exponentially many paths. They are counted before any
is followed, and none is where they have more than ``MOST_LINKS`` steps: the layer is ``tangled``.
So is every layer from which on all layers together have more than ``MOST_IN_ALL``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Literal, TypeAlias

import numpy as np

from ...runtime import graph as g
from ...runtime.facts import GraphFacts
from ...runtime.graph import visit
from ...runtime.neurons import Neuron
from ...runtime.ops import Array, LinearOp, Shape
from ...runtime.semantics.walk import annotate
from . import geometry, sparse
from .coders import coders_of
from .geometry import Geometry

Link: TypeAlias = tuple[LinearOp, int, tuple[Shape, ...]]  # op, which input, all input shapes
MOST_LINKS = 1 << 14  # of all paths into one layer; networks in use have a few per source
MOST_IN_ALL = 1 << 16  # of all paths into all layers; DenseNet-201 has some 10,000
Kind: TypeAlias = Literal["dense", "conv", "pool", "identity", "sparse"]
Stateful: TypeAlias = g.Population | g.MaxPool | g.Analog | g.Readout


@dataclass(frozen=True, eq=False)
class Projection:
    """All connections from ``source`` to ``target`` along one path of synapses.

    Attributes:
        source, target: node names; the source is an input, a population or another node with
            state.
        names: the synapse nodes on the way, in order.
        chain: their operations, each with which of its inputs the path enters by.
        source_shape, target_shape: per sample.
        delay: steps that spikes wait on the way (``graph.Delay``).
        geometry: which part of the source a part of the target reads, and how weights are shared;
            None where the path is irregular (kind "sparse").
    """

    source: str
    target: str
    names: tuple[str, ...]
    chain: tuple[Link, ...]
    source_shape: Shape
    target_shape: Shape
    geometry: Geometry | None
    delay: int = 0

    @property
    def kind(self) -> Kind:
        if self.geometry is None:
            return "sparse"
        return self.geometry.kind

    @cached_property
    def matrix(self) -> sparse.Coo:
        """Every synapse: (target size, source size). Computed once, on demand."""
        return sparse.of_chain(self.chain, prod(self.source_shape))

    @cached_property
    def synapses(self) -> int:
        """Connections, counted with padding excluded; zero weights count in regular kinds."""
        if self.geometry is None:
            return len(self.matrix.values)
        return self.geometry.synapses(self.source_shape, self.target_shape)

    @cached_property
    def weights(self) -> int:
        """Distinct stored weights: a convolution's kernel once."""
        if self.geometry is None:
            return len(self.matrix.values)
        return self.geometry.weights(self.source_shape, self.target_shape)

    @cached_property
    def fan_in(self) -> int:
        """The largest number of source neurons that one target neuron reads."""
        if self.geometry is None:
            return int(self.matrix.fan_in().max(initial=0))
        return self.geometry.fan_in(self.source_shape)

    @cached_property
    def fan_out(self) -> int:
        """The largest number of target neurons that one source neuron drives."""
        if self.geometry is None:
            return int(self.matrix.fan_out().max(initial=0))
        return self.geometry.fan_out(self.source_shape, self.target_shape)


@dataclass(frozen=True, eq=False)
class ChipLayer:
    """One node with state as a chip sees it. ``analog`` says why no neuron model can run it
    (a running maximum, an ONNX island), "" for neurons. ``tangled``: its paths are too many to
    follow, and ``projections`` is empty."""

    node: Stateful
    projections: tuple[Projection, ...]
    analog: str = ""
    tangled: bool = False

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def shape(self) -> Shape:
        """A number per sample, which has no axis, is one channel."""
        return self.node.shape or (1,)

    @property
    def neurons(self) -> int:
        return prod(self.node.shape)

    @property
    def neuron(self) -> Neuron | None:
        """Its neurons' parameters; None for what has none (a readout may)."""
        return self.node.neuron if isinstance(self.node, g.Population | g.Readout) else None

    @property
    def input_shape(self) -> Shape:
        """Shape of the summed current (differs from ``shape`` only for pools and islands)."""
        return self.projections[0].target_shape if self.projections else self.shape

    @property
    def bias(self) -> Array:
        """Constant current per step, broadcast to the input shape."""
        own = getattr(self.node, "bias", np.zeros((), np.float32))
        return np.broadcast_to(own, self.input_shape)

    @property
    def fan_in(self) -> int:
        return sum(p.fan_in * count for p, count in self.forms)

    @cached_property
    def forms(self) -> tuple[tuple[Projection, int], ...]:
        """One projection of each geometry and shapes, and how many there are: a sum of thousands
        of branches has few. Those without a geometry are one by one."""
        found: dict[object, list[Projection]] = {}
        for p in self.projections:
            form = p if p.geometry is None else (p.geometry, p.source_shape, p.target_shape)
            found.setdefault(form, []).append(p)
        return tuple((same[0], len(same)) for same in found.values())


@dataclass(frozen=True, eq=False)
class ChipNetwork:
    """Inputs, then layers in execution order. ``coders``: those layers that code inputs
    (``coders``); ``hosted``: those left out of ``layers``, as a host sends their spikes."""

    facts: GraphFacts
    inputs: tuple[g.Input, ...]
    layers: tuple[ChipLayer, ...]
    coders: frozenset[str] = frozenset()
    hosted: frozenset[str] = frozenset()
    _by_name: dict[str, ChipLayer] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._by_name.update({layer.name: layer for layer in self.layers})

    @property
    def graph(self) -> g.SpikingGraph:
        return self.facts.graph

    def with_host(self) -> ChipNetwork:
        """The same without its coders, whose spikes a host sends."""
        layers = tuple(layer for layer in self.layers if layer.name not in self.coders)
        return ChipNetwork(
            facts=self.facts,
            inputs=self.inputs,
            layers=layers,
            coders=self.coders,
            hosted=self.coders,
        )

    @property
    def begins(self) -> int:
        """The first step of the chip: a host that codes the inputs need not wait for what it
        knows."""
        return min((self.facts.onsets[name] for name in self.hosted), default=0)

    def __getitem__(self, name: str) -> ChipLayer:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def find(self, name: str) -> ChipLayer | None:
        """The layer of that name, None for an input."""
        return self._by_name.get(name)

    def readers(self, name: str) -> tuple[Projection, ...]:
        """The projections that leave a node."""
        return tuple(self._readers.get(name, ()))

    @cached_property
    def _readers(self) -> dict[str, list[Projection]]:
        found: dict[str, list[Projection]] = {}
        for p in self.projections:
            found.setdefault(p.source, []).append(p)
        return found

    @cached_property
    def answers(self) -> frozenset[str]:
        """Readouts, and populations that only these read, one by one (a ReLU behind the last
        weights): as many neurons as outputs, in a narrower network too."""
        readouts = {layer.name for layer in self.layers if isinstance(layer.node, g.Readout)}
        said = (
            name
            for name, read in self._readers.items()
            if all(p.target in readouts and p.kind == "identity" for p in read)
        )
        return frozenset(readouts.union(said))

    @cached_property
    def projections(self) -> tuple[Projection, ...]:
        return tuple(p for layer in self.layers for p in layer.projections)


def chip_view(graph: g.SpikingGraph) -> ChipNetwork:
    """The layers and projections of a spiking graph, in execution order."""
    facts = GraphFacts(graph)
    nodes, counts = facts.by_name, annotate(graph, _Counts())
    tangled = _tangled(graph, counts)
    paths = annotate(graph, _Paths(graph, tangled))
    layers = tuple(
        ChipLayer(
            node=node,
            projections=tuple(
                _projection(nodes[path.source], node, path, nodes[name].shape)
                for name in node.inputs
                for path in paths[name]
            ),
            analog=visit(_NO_NEURONS, node, ()),
            tangled=not tangled.isdisjoint(node.inputs),
        )
        for node in graph.nodes
        if isinstance(node, g.STATEFUL)
    )
    return ChipNetwork(
        facts=facts, inputs=graph.of(g.Input), layers=layers, coders=coders_of(facts)
    )


def _tangled(graph: g.SpikingGraph, counts: Mapping[str, tuple[int, int]]) -> set[str]:
    """Nodes whose paths are too many to follow: into them, or with those into the layers before."""
    found = {name for name, (_, links) in counts.items() if links > MOST_LINKS}
    followed = 0
    for node in graph.nodes:
        read = [name for name in node.inputs if name not in found]
        if isinstance(node, g.STATEFUL):
            followed += sum(max(counts[name]) for name in read)
            found.update(read if followed > MOST_IN_ALL else ())
    return found


class _Counts(g.Rules[tuple[int, int]]):
    """How many paths of synapses end at a node, and how many steps they have in all."""

    def input(self, node: g.Node, xs: Sequence[tuple[int, int]]) -> tuple[int, int]:
        return 1, 0

    population = max_pool = analog = readout = input

    def delay(self, node: g.Delay, xs: Sequence[tuple[int, int]]) -> tuple[int, int]:
        return xs[0]

    def synapse(self, node: g.Synapse, xs: Sequence[tuple[int, int]]) -> tuple[int, int]:
        paths = min(sum(count for count, _ in xs), MOST_LINKS + 1)  # no numbers of 1,000 digits
        return paths, min(sum(links for _, links in xs) + paths, MOST_LINKS + 1)


class _NoNeurons(g.Rules[str]):
    """Why no neuron model can run a layer, "" where one can."""

    input = synapse = delay = g.refused("it is no layer")

    def population(self, node: g.Population | g.Readout, xs: Sequence[str]) -> str:
        return ""

    readout = population

    def max_pool(self, node: g.MaxPool, xs: Sequence[str]) -> str:
        return "a running maximum of cumulated input"

    def analog(self, node: g.Analog, xs: Sequence[str]) -> str:
        return f"an analog island ({', '.join(node.ops) or 'ONNX operations'})"


_NO_NEURONS = _NoNeurons()


@dataclass(frozen=True, eq=False)
class _Path:
    """A way from ``source``: its last synapse and link (see ``Projection``), behind the way
    ``before`` it, which other paths may share; both None at the source. ``delay`` and ``state``
    (its geometry so far) of the whole."""

    source: str
    state: geometry.State | None
    before: _Path | None = None
    name: str = ""
    link: Link | None = None
    delay: int = 0

    def steps(self) -> list[tuple[str, Link]]:
        """Synapses and links from the source on."""
        out: list[tuple[str, Link]] = []
        path: _Path | None = self
        while path is not None and path.link is not None:
            out.append((path.name, path.link))
            path = path.before
        return out[::-1]


class _Paths(g.Rules[tuple[_Path, ...]]):
    """Every path of synapses that ends at a node; none behind those that are ``tangled``."""

    def __init__(self, graph: g.SpikingGraph, tangled: Collection[str]) -> None:
        self.shapes = {node.name: node.shape for node in graph.nodes}
        self.tangled = tangled

    def input(self, node: g.Node, xs: Sequence[tuple[_Path, ...]]) -> tuple[_Path, ...]:
        return (_Path(node.name, geometry.begun(node.shape)),)

    population = max_pool = analog = readout = input

    def delay(self, node: g.Delay, xs: Sequence[tuple[_Path, ...]]) -> tuple[_Path, ...]:
        return tuple(replace(path, delay=path.delay + node.steps) for path in xs[0])

    def synapse(self, node: g.Synapse, xs: Sequence[tuple[_Path, ...]]) -> tuple[_Path, ...]:
        if node.name in self.tangled:
            return ()
        shapes = tuple(self.shapes[name] for name in node.inputs)
        return tuple(
            _behind(path, node, (node.op, position, shapes))
            for position, paths in enumerate(xs)
            for path in paths
        )


def _behind(path: _Path, node: g.Synapse, link: Link) -> _Path:
    state = geometry.continued(path.state, node.op, node.shape)
    return _Path(path.source, state, path, node.name, link, path.delay)


def _projection(source: g.Node, target: Stateful, path: _Path, target_shape: Shape) -> Projection:
    steps = path.steps()
    chain = tuple(link for _, link in steps)
    return Projection(
        source=source.name,
        target=target.name,
        names=tuple(name for name, _ in steps),
        chain=chain,
        source_shape=source.shape or (1,),
        target_shape=target_shape or (1,),
        geometry=geometry.ended(path.state),
        delay=path.delay,
    )
