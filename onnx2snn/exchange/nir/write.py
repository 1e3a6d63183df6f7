"""A spiking network as a graph of NIR, with what NIR has no word for declared in its metadata.

NIR's neurons forget their potential at a spike and fire above a threshold; it says nothing of the
potential they begin with, of time steps, or of how a sample becomes a current. The graph's metadata
say so (``conventions``). One time step is one unit of time (dt = 1): a step adds r times the
current to a potential, with r of 1, and a delay is a number of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from ...runtime import graph as snn
from ...runtime import ops
from ...runtime.facts import GraphFacts, Identifiers
from ...runtime.neurons import Neuron, NeuronParams
from ...runtime.ops import Array, Shape
from ...runtime.semantics.constants import constant_currents
from ...runtime.semantics.walk import annotate
from ..counts import window
from .conventions import VERSION, Told, to_metadata
from .operations import identity, written

Sources: TypeAlias = tuple[str, ...]  # nodes of NIR whose sum a signal is
# What is told of a neuron, where it is not what NIR says: by trait.
CONVENTIONS = {
    "subtract": "soft reset: a spike takes the threshold off",
    "levels": "spikes of several thresholds",
    "signed": "spikes that take back",
    "refractory": "refractory steps",
    "floor": "a lowest potential",
    "leak": "a leak per time step, which NIR has per time",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class NirGraph:
    """``graph``: a nir.NIRGraph; ``names``: of every population and readout, by node; ``never`` and
    ``declared``: nodes and what of them NIR cannot say, or only with our convention."""

    graph: Any
    names: dict[str, str]
    never: tuple[tuple[str, str], ...]
    declared: tuple[tuple[str, str], ...]


def nir_graph(network: snn.SpikingGraph) -> NirGraph:
    """``network`` in NIR, where there is nothing that can ``never`` be said."""
    import nir

    writer = _Writer(network)
    annotate(network, writer)
    if writer.never:
        return NirGraph(graph=None, names={}, never=tuple(writer.never), declared=())
    writer.place_biases()
    if writer.never:
        return NirGraph(graph=None, names={}, never=tuple(writer.never), declared=())
    graph = nir.NIRGraph(
        nodes=writer.nodes,
        edges=writer.edges,
        metadata=to_metadata(_about(network, writer), writer.told),
        type_check=False,  # which takes kernels for square, and no groups
    )
    return NirGraph(graph=graph, names=writer.names, never=(), declared=tuple(writer.declared))


def _about(network: snn.SpikingGraph, writer: _Writer) -> dict[str, Any]:
    meta = network.meta
    kept = {k: meta[k] for k in ("recipe", "preprocessing", "source", "sha256") if k in meta}
    return {
        "version": VERSION,
        "T": window(network),
        "dt": 1.0,
        "reset": sorted({p.neuron.reset for p in writer.neurons}),
        "fires": "where v >= v_threshold",
        "encoding": {writer.names[n.name]: n.encoding for n in network.of(snn.Input)},
        "readout": {
            writer.names[n.name]: "sum of this output over the T steps, divided by T"
            for n in network.of(snn.Readout)
        },
        "names": {new: old for old, new in writer.names.items()},
        **kept,
    }


def _compares(neuron: NeuronParams) -> bool:
    """Whether a neuron does nothing but compare its current with a threshold."""
    return neuron.traits <= {"if", "stateless", "subtract", "zero", "v_init"} and neuron.leak == 1


class _Writer(snn.Rules[Sources]):
    """Nodes and edges as they are collected."""

    def __init__(self, network: snn.SpikingGraph) -> None:
        self.network, self.facts = network, GraphFacts(network)
        self.identifiers = Identifiers(network, ("metadata", "input_type", "output_type"))
        self.names = self.identifiers.of
        self.grids = constant_currents(self.facts).grids
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self.wanted: list[tuple[snn.Population | snn.Readout, str]] = []  # biases
        self.neurons: list[Any] = []
        self.told: Told = {}
        self.never: list[tuple[str, str]] = []
        self.declared: list[tuple[str, str]] = []

    def _put(self, name: str, node: Any, sources: Sources) -> Sources:
        self.nodes[name] = node
        self.edges += [(source, name) for source in sources]
        return (name,)

    def input(self, node: snn.Input, xs: Sequence[Sources]) -> Sources:
        import nir

        made = nir.Input(input_type={"input": np.array(node.shape)})
        return self._put(self.names[node.name], made, ())

    def synapse(self, node: snn.Synapse, xs: Sequence[Sources]) -> Sources:
        shapes = [self.facts.shapes[name] for name in node.inputs]
        if isinstance(node.op, ops.Add):
            if len(set(shapes)) > 1:
                self.never.append((node.name, "a sum of signals of several shapes"))
            total = tuple(source for sources in xs for source in sources)
            if len(set(total)) < len(total):
                self.never.append((node.name, "a sum that reads one signal twice"))
            return total
        if len(xs) == 1:
            return self._one(node, node.op, shape=shapes[0], sources=xs[0])
        parts: Sources = ()
        for at, sources in enumerate(xs):
            alone = node.op.of_input(at, shapes)
            if alone is None:
                parts += sources
                continue
            parts += self._one(node, alone, shape=shapes[at], sources=sources)
        return parts

    def _one(
        self, node: snn.Synapse, op: ops.LinearOp, *, shape: Shape, sources: Sources
    ) -> Sources:
        made = written(op, shape)
        if isinstance(made, str):
            self.never.append((node.name, made))
            return sources
        if made is None:
            return sources
        name = self.names[node.name]
        name = self.identifiers.new(name) if name in self.nodes else name
        grid = self.grids.get(node.name)
        if grid is not None:
            self.told[name] = {"grid": np.array(grid, np.float64)}
            why = "a constant current that is rounded to 2^-16 of the threshold"
            self.declared.append((node.name, why))
        return self._put(name, made, sources)

    def population(self, node: snn.Population, xs: Sequence[Sources]) -> Sources:
        return self._neurons(node, node.neuron, name=self.names[node.name], sources=xs[0])

    def _neurons(
        self, node: snn.Population | snn.Readout, neuron: Neuron, *, name: str, sources: Sources
    ) -> Sources:
        import nir

        if type(neuron) is not NeuronParams or neuron.lag:
            why = "a start lag" if neuron.lag else f"neurons of the model '{neuron.name}'"
            self.never.append((node.name, why))
            return sources
        self.neurons.append(replace(node, neuron=neuron))
        said = [text for trait, text in CONVENTIONS.items() if trait in neuron.traits]
        if _compares(neuron):
            said = []
        elif np.any(neuron.v_init != neuron.v_reset):
            said.append("a potential to begin with")
        self.declared += [(node.name, "; ".join(said))] if said else []

        def whole(value: Any) -> Array:
            return np.array(np.broadcast_to(np.asarray(value, np.float32), node.shape))

        given = {"v_threshold": whole(neuron.v_threshold), "v_reset": whole(neuron.v_reset)}
        self.told[name] = {
            **{"v_init": np.asarray(neuron.v_init), "reset": neuron.reset, "levels": neuron.levels},
            **{"signed": neuron.signed, "refractory": neuron.refractory, "leak": neuron.leak},
            **({} if neuron.v_min is None else {"v_min": neuron.v_min}),
        }
        if _compares(neuron):
            del self.told[name]
            made = nir.Threshold(threshold=given["v_threshold"])
        elif neuron.leak:
            rest = {"tau": whole(1 / neuron.leak), "v_leak": whole(0)}
            made = nir.LIF(r=whole(1 / neuron.leak), **rest, **given)
        else:
            made = nir.IF(r=whole(1), **given)
        out = self._put(name, made, sources)
        self._want(node, name)
        return out

    def _want(self, node: snn.Population | snn.Readout, name: str) -> None:
        if np.any(node.bias):
            self.wanted.append((node, name))

    def max_pool(self, node: snn.MaxPool, xs: Sequence[Sources]) -> Sources:
        self.never.append(
            (node.name, "a max pool (convert with average pools, or trees of neurons)")
        )
        return xs[0]

    def analog(self, node: snn.Analog, xs: Sequence[Sources]) -> Sources:
        self.never.append((node.name, f"an analog island ({'+'.join(node.ops)})"))
        return xs[0]

    def delay(self, node: snn.Delay, xs: Sequence[Sources]) -> Sources:
        import nir

        made = nir.Delay(delay=np.full(node.shape, float(node.steps)))
        return self._put(self.names[node.name], made, xs[0])

    def readout(self, node: snn.Readout, xs: Sequence[Sources]) -> Sources:
        import nir

        name = self.names[node.name]
        if node.coding != "rate":
            self.never.append((node.name, f"an output that is read by the code '{node.coding}'"))
            return xs[0]
        sources = xs[0]
        if node.mode == "count" and node.neuron is not None:
            neurons = self.identifiers.new(f"{name}_neurons")
            sources = self._neurons(node, node.neuron, name=neurons, sources=sources)
        made = nir.Output(output_type={"output": np.array(node.shape)})
        out = self._put(name, made, sources)
        if node.mode == "membrane":
            self._want(node, name)
        return out

    def place_biases(self) -> None:
        """Every bias goes into the weighted node before it. One that others read too, who want
        another bias, is written once more."""
        for node, name in self.wanted:
            bias = self._by_channel(node)
            sources = [a for a, b in self.edges if b == name]
            if bias is None:
                self.never.append((node.name, "a bias that differs within a channel"))
                continue
            weighted = next((s for s in sources if hasattr(self.nodes[s], "bias")), None)
            if weighted is None:
                self._before(node, name, bias)
                continue
            readers = {b for a, b in self.edges if a == weighted}
            if len(readers) > 1:
                weighted = self._twin(weighted, reader=name)
            self.nodes[weighted].bias = bias

    def _by_channel(self, node: snn.Population | snn.Readout) -> Array | None:
        shape = self.facts.shapes[node.inputs[0]]
        flat = np.broadcast_to(node.bias, shape).reshape(shape[0], -1)
        same = np.array_equal(flat, np.broadcast_to(flat[:, :1], flat.shape))
        return np.array(flat[:, 0], np.float32) if same else None

    def _twin(self, weighted: str, *, reader: str) -> str:
        """The node ``weighted`` once more, for ``reader`` alone."""
        twin = self.identifiers.new(weighted)
        kept = self.nodes[weighted]
        self.nodes[twin] = type(kept)(
            **{k: v for k, v in vars(kept).items() if k not in ("input_type", "output_type")}
        )
        self.told |= {twin: self.told[weighted]} if weighted in self.told else {}
        self.edges += [(a, twin) for a, b in self.edges if b == weighted]
        self.edges[self.edges.index((weighted, reader))] = (twin, reader)
        return twin

    def _before(self, node: snn.Population | snn.Readout, name: str, bias: Array) -> None:
        made = identity(self.facts.shapes[node.inputs[0]])
        if isinstance(made, str):
            self.never.append((node.name, made))
            return
        made.bias = bias
        between = self.identifiers.new(f"{name}_bias")
        self.nodes[between] = made
        self.edges = [(a, between if b == name else b) for a, b in self.edges]
        self.edges.append((between, name))
