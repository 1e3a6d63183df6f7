"""The spiking graph: nodes in execution order, each with the names of its inputs.

    Input ──▶ Synapse ──▶ Population ──▶ Synapse ──▶ ... ──▶ Readout

* ``Synapse`` is linear, stateless and without bias; chains of synapses (conv, pool, linear) need no
  neuron in between, and a sum of several currents is a synapse with the op ``Add``.
* All state, and every bias, is in ``Population``, ``MaxPool``, ``Analog`` and ``Readout``; a
  ``Delay`` passes a signal on some steps later.
* Populations emit integers. What one spike is worth (the threshold) is folded into the weights
  that read it, so currents and membrane potentials have the unit of the ANN's activations.

Shapes are per sample. Records are frozen; change a graph with ``dataclasses.replace``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import numpy as np

from ..display import html_table, table
from ..errors import GraphError
from . import ops, summary
from .neurons import Neuron
from .ops import Array, LinearOp, Shape, frozen
from .ops.change import Change
from .plasticity.rule import LayerState, Rule
from .tables import wrong_choices

Coding: TypeAlias = Literal["rate", "paced", "few-spike", "differential"]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Node:
    """What every node has.

    Attributes:
        name: unique; the ONNX node's name where there is one.
        inputs: names of the nodes whose outputs it reads.
        shape: its output per sample.
        tensor: the ONNX tensor this node computes in analog mode (decoded: spikes times
            threshold), "" where it has no counterpart in the ONNX file.
    """

    name: str
    inputs: tuple[str, ...] = ()
    shape: Shape
    tensor: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Input(_Node):
    """Where samples enter. ``encoding``: "constant" injects the value as current in every step;
    "poisson" spikes with probability |x| (sign kept); "rate" spikes evenly, x per step."""

    encoding: Literal["constant", "poisson", "rate"] = "constant"


@dataclass(frozen=True, eq=False, kw_only=True)
class Synapse(_Node):
    """A linear, stateless operation on spikes or currents.

    ``ann_op``: the ANN's own operation where calibration changed the weights (``op``), for the
    analog mode; None where they are the same. ``change``: how the weights of ``op`` follow from
    those of ``ann_op``, where calibration knows; a file then holds the change instead of them.
    """

    op: LinearOp
    ann_op: LinearOp | None = None
    change: Change | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class PlasticSynapse(Synapse):
    """A synapse that ``rule`` changes while the network runs, of which ``state`` is kept.

    To all that does not learn it is the synapse ``op``: the weights of ``state``, rounded
    (``plasticity.frozen``). Its neurons are the population that reads it.
    """

    rule: Rule
    state: LayerState

    def __post_init__(self) -> None:
        inputs, neurons = np.shape(self.state.weight)
        rows = {np.shape(self.state.threshold), np.shape(self.state.labels)}
        weight = self.op.weight if isinstance(self.op, ops.Linear) else ()
        if rows != {(neurons,)} or np.shape(weight) != (neurons, inputs):
            raise GraphError(f"the state of '{self.name}' does not have the shape of its weights")
        if not np.isfinite(self.state.weight).all() or not (self.state.threshold > 0).all():
            raise GraphError(f"the state of '{self.name}' has no numbers, or thresholds of 0")


@dataclass(frozen=True, eq=False, kw_only=True)
class _Biased(_Node):
    """``bias``: a constant current per step that broadcasts to the node's input shape.
    ``ann_bias``: the ANN's own where calibration changed it, for the analog mode."""

    bias: Array = field(default_factory=lambda: np.zeros((), np.float32))
    ann_bias: Array | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "bias", frozen(self.bias))
        if self.ann_bias is not None:
            object.__setattr__(self, "ann_bias", frozen(self.ann_bias))


@dataclass(frozen=True, eq=False, kw_only=True)
class Population(_Biased):
    """Neurons. ``ceiling``: the upper bound of the ANN's activation (6 for ReLU6), or None."""

    neuron: Neuron
    ceiling: float | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class MaxPool(_Biased):
    """Max pooling of cumulated input: out(t) = max(S(t)) - max(S(t-1)), S(t) = sum of input + bias.

    Exact at every t: the running mean of the output is the max of the running means. The output
    may be graded or negative. ``coding`` "differential": input and output are differential (see
    ``neurons.differential``), R(t) = R(t-1) + x(t) / t from R(0) = bias, out = t (max R(t) - max
    R(t-1)). In networks whose neurons send one number per window (``neurons.windowed``) what is
    read of the output is the maximum of what is read of the inputs: "few-spike", S(t) = 2 S(t-1) +
    input + bias, out = max(S(t)) - 2 max(S(t-1)), which on spikes compares binary digits, the
    largest first; "paced", S summed up once more, out the second difference of its maximum: the
    first spike.
    """

    op: ops.MaxPool
    coding: Coding = "rate"


@dataclass(frozen=True, eq=False, kw_only=True)
class Analog(_Node):
    """A stateless ONNX subgraph f evaluated on running means (expectation compensation):

        out(t) = t f(S(t)/t) - (t-1) f(S(t-1)/(t-1)),   S(t) = sum of input

    exact in the mean at every t, also for several inputs. ``model`` is a serialized ONNX model
    whose inputs are in the order of ``inputs``, each with a leading batch axis; ``output`` is the
    name of the one of its outputs that this node is. ``ops``: what is in it, for reports.
    ``biases``: a constant current per step for each input, added to S. With a ``lag`` f is
    computed once, of what is read of the whole window, and sent as a constant current in a window
    that begins so much later (``neurons.windowed``).
    """

    model: bytes
    output: str
    ops: tuple[str, ...] = ()
    biases: tuple[Array, ...] = ()
    coding: Coding = "rate"
    lag: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Product(Analog):
    """The matrix product of two signals, A(t) B(t) / t of their running sums A and B.

    As an island it is exact in the mean; beside it a spike of A adds one row of B to one of the
    output, one of B a column of A to one: where both inputs are spikes nothing is multiplied but
    by what a spike carries, and it costs synaptic operations (Huang et al. 2025). ``model`` is one
    MatMul.
    """


@dataclass(frozen=True, eq=False, kw_only=True)
class Delay(_Node):
    """Passes its input on ``steps`` steps later (an axonal delay): with start lags a skip
    connection would else run ahead of the branch that it skips."""

    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise GraphError(f"a delay has at least 1 step, '{self.name}' has {self.steps}")


@dataclass(frozen=True, eq=False, kw_only=True)
class Readout(_Biased):
    """An output of the network. "membrane": neurons that integrate and never fire, read as the
    mean input so far; "count": each output neuron's spike count (threshold in ``neuron``) so far,
    times its threshold. ``coding`` "differential": the input's running mean is the answer; "paced"
    and "few-spike" (membrane only): early steps weigh more, see ``neurons.paced`` and
    ``neurons.windowed``."""

    mode: Literal["membrane", "count"] = "membrane"
    neuron: Neuron | None = None
    coding: Coding = "rate"


Node: TypeAlias = (
    Input | Synapse | PlasticSynapse | Population | MaxPool | Analog | Product | Delay | Readout
)
N = TypeVar(
    "N", Input, Synapse, PlasticSynapse, Population, MaxPool, Analog, Product, Delay, Readout
)
STATEFUL = (Population, MaxPool, Analog, Readout)  # what a network computes with, so no delays
KINDS: dict[type, str] = {  # and what the method for each is called in ``Rules``
    Input: "input",
    Synapse: "synapse",
    PlasticSynapse: "synapse",  # with learning switched off
    Population: "population",
    MaxPool: "max_pool",
    Analog: "analog",
    Product: "analog",
    Delay: "delay",
    Readout: "readout",
}
V = TypeVar("V")


class Rules(Generic[V]):
    """Something that is computed of every node, by its kind.

    A subclass has one method for each of ``KINDS``, (node, xs) -> V, where ``xs`` are the values of
    the nodes that it reads; ``semantics.walk`` has the ways through a graph. Kinds with one answer
    share a method (``readout = population``), one that cannot come up has ``refused(why)``.
    """


def refused(why: str) -> Callable[..., Any]:
    """The method for a kind of node that cannot come up. Calling it raises TypeError."""

    def refuse(rules: Rules[Any], node: Node, xs: Sequence[Any]) -> Any:
        raise TypeError(
            f"{type(rules).__name__} has no {type(node).__name__} ('{node.name}'): {why}"
        )

    return refuse


def visit(rules: Rules[V], node: Node, xs: Sequence[V]) -> V:
    """What ``rules`` say of one node. Raises TypeError where they have no method for its kind."""
    kind = KINDS.get(type(node))
    if kind is None:
        raise TypeError(f"{type(node).__name__} ('{node.name}') is not in graph.KINDS")
    method = getattr(rules, kind, None)
    if method is None:
        raise TypeError(
            f"{type(rules).__name__} has no method '{kind}' for {type(node).__name__} '{node.name}'"
        )
    value: V = method(node, xs)
    return value


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class SpikingGraph:
    """Nodes in execution order. ``meta`` is provenance (source hash, recipe, preprocessing, ...):
    plain JSON values only. Printed it is one line; ``summary()`` is the table of its nodes."""

    nodes: tuple[Node, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        validate(self)

    def __getitem__(self, name: str) -> Node:
        node = self._named.get(name)
        if node is None:
            raise GraphError(f"no node '{name}' in the spiking graph")
        return node

    @cached_property
    def _named(self) -> dict[str, Node]:
        return self.by_name()

    def of(self, kind: type[N]) -> tuple[N, ...]:
        """All nodes of one kind, in execution order."""
        return tuple(node for node in self.nodes if isinstance(node, kind))

    def by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    def consumers(self) -> dict[str, tuple[Node, ...]]:
        """For every node, those that read it, in execution order."""
        out: dict[str, list[Node]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                out[name].append(node)
        return {name: tuple(nodes) for name, nodes in out.items()}

    def with_nodes(self, changed: Iterable[Node]) -> SpikingGraph:
        """The same graph with some nodes replaced by others of the same name."""
        new = {node.name: node for node in changed}
        return replace(self, nodes=tuple(new.get(node.name, node) for node in self.nodes))

    def __repr__(self) -> str:
        ends = (self.of(Input), self.of(Readout))
        return summary.headline(self.meta, ends=ends, layers=self.of(Population))

    def summary(self) -> str:
        """Every node as a row: its kind, what it reads, shape, neurons and parameters."""
        rows = summary.rows(self.nodes, layers=self.of(Population))
        return f"{self!r}\n\n{table(summary.HEADER, rows)}"

    def _repr_html_(self) -> str:
        rows = summary.rows(self.nodes, layers=self.of(Population))
        return html_table(repr(self), header=summary.HEADER, rows=rows)


def validate(graph: SpikingGraph) -> None:
    """Raise GraphError unless names are unique, every input precedes its reader, every word is one
    that its field takes, and every shape is what its operation gives."""
    shapes: dict[str, Shape] = {}
    for node in graph.nodes:
        if node.name in shapes:
            raise GraphError(f"two nodes are named '{node.name}'")
        missing = [name for name in node.inputs if name not in shapes]
        if missing:
            raise GraphError(f"node '{node.name}' reads {missing}, not defined before it")
        for field_name, value, words in wrong_choices(node):
            raise GraphError(
                f"{field_name} of node '{node.name}' is {value!r}, not one of {', '.join(words)}"
            )
        expected = visit(_SHAPES, node, [shapes[name] for name in node.inputs])
        if tuple(expected) != tuple(node.shape):
            raise GraphError(f"node '{node.name}' has shape {node.shape}, its op gives {expected}")
        shapes[node.name] = node.shape


def islands(graph: SpikingGraph) -> tuple[Analog, ...]:
    """The analog nodes that are no matrix product of two signals."""
    return tuple(node for node in graph.of(Analog) if not isinstance(node, Product))


class Names:
    """Names taken so far, which come from files and may be any text; ``new`` gives a free one, and
    takes it."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._counts: dict[str, int] = {}  # the last number given out; smaller ones are taken

    def taken(self, name: str) -> bool:
        return name in self._taken

    def new(self, name: str) -> str:
        candidate, count = name, self._counts.get(name, 1)
        while candidate in self._taken:
            count += 1
            candidate = f"{name}_{count}"
        self._counts[name] = count
        self._taken.add(candidate)
        return candidate


class _Shapes(Rules[Shape]):
    """The shape that a node must have, given those it reads."""

    def input(self, node: Input, xs: Sequence[Shape]) -> Shape:
        if xs:
            raise GraphError(f"input '{node.name}' reads other nodes")
        return node.shape

    def synapse(self, node: Synapse | MaxPool, xs: Sequence[Shape]) -> Shape:
        return node.op.output_shape(*xs)

    max_pool = synapse

    def analog(self, node: Analog, xs: Sequence[Shape]) -> Shape:
        return node.shape

    def population(self, node: Population | Readout | Delay, xs: Sequence[Shape]) -> Shape:
        if len(xs) != 1:
            raise GraphError(f"'{node.name}' must read exactly one node, reads {len(xs)}")
        return xs[0]

    delay = readout = population


_SHAPES = _Shapes()
