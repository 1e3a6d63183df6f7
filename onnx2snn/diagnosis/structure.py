"""Is the converted network still the ANN? Every node in analog mode, with the ANN's own values as
its input, against the ANN's value.

Because each layer is given what the ANN's layer got, a difference belongs to the layer that shows
it and is not carried on: a missing bias, a replaced max pool or foreign weights are found where
they are, and any number of them at once. Spikes play no part here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..converter.lowering.fold_thresholds import carry_scale
from ..runtime import graph as snn
from ..runtime import ops
from ..runtime.ops import Array
from ..runtime.semantics import islands
from ..runtime.semantics.walk import annotate, walk
from .run import initial_charge, whole_bias

WEIGHTED = ops.Linear | ops.Conv | ops.ConvTranspose
TOLERANCE = 1e-3  # of the rms value; folding thresholds into weights costs about 1e-6
Kind = Literal["bias", "threshold", "operation"]
Values = Mapping[str, tuple[Array, Array]]


def partners(net: snn.SpikingGraph, lowered: snn.SpikingGraph) -> dict[str, str]:
    """Net node -> the ANN's node of the same sort that it stands for: by name, else by tensor."""
    names = lowered.by_name()
    tensors = {(n.tensor, _sort(n)): n.name for n in lowered.nodes if n.tensor}
    out: dict[str, str] = {}
    for node in net.nodes:
        same = names.get(node.name)
        if same is None or _sort(same) != _sort(node):
            same = names.get(tensors.get((node.tensor, _sort(node)), ""))
        if same is not None and same.shape == node.shape and _sort(node) != "other":
            out[node.name] = same.name
    return out


def _sort(node: snn.Node) -> str:
    if isinstance(node, snn.Synapse) and not isinstance(node.op, WEIGHTED):
        return "other"
    return type(node).__name__


def units(net: snn.SpikingGraph, lowered: snn.SpikingGraph) -> dict[str, Array]:
    """For every node, what its output must be multiplied with to be the ANN's value: spikes and
    what is pooled, reshaped or joined from them count in thresholds (see ``fold_thresholds``)."""
    one = np.ones((), np.float32)
    found = annotate(net, _Units(net, lowered))
    return {name: one if unit is None else unit for name, unit in found.items()}


class _Units(snn.Rules[Array | None]):
    """As ``units`` says; None: one."""

    def __init__(self, net: snn.SpikingGraph, lowered: snn.SpikingGraph) -> None:
        self.shapes = {node.name: node.shape for node in net.nodes}
        self.ann = lowered.by_name()

    def input(self, node: snn.Node, xs: Sequence[Array | None]) -> Array | None:
        return None

    analog = readout = input

    def population(self, node: snn.Population, xs: Sequence[Array | None]) -> Array | None:
        return node.neuron.v_threshold

    def max_pool(self, node: snn.MaxPool | snn.Delay, xs: Sequence[Array | None]) -> Array | None:
        return xs[0]

    delay = max_pool

    def synapse(self, node: snn.Synapse, xs: Sequence[Array | None]) -> Array | None:
        if isinstance(node.op, ops.Scale):
            return _scaled(node.op, xs[0], self.ann.get(node.name))
        if isinstance(node.op, WEIGHTED) or all(scale is None for scale in xs):
            return None
        return carry_scale(node.op, list(xs), [self.shapes[n] for n in node.inputs])


def initial_charges(
    net: snn.SpikingGraph, lowered: snn.SpikingGraph, pairs: Mapping[str, str], steps: int
) -> dict[str, Array]:
    """Per population of ``net``, what of its initial potential counts as input."""
    out: dict[str, Array] = {}
    for node in net.of(snn.Population):
        own = lowered[pairs[node.name]] if node.name in pairs else node
        moved = node.bias - whole_bias(own)
        out[node.name] = initial_charge(node.neuron, steps, moved)
    return out


def _scaled(op: ops.Scale, unit: Array | None, ann: snn.Node | None) -> Array | None:
    """The unit after a Scale: most multiply by the threshold (and by the ANN's own factor), which
    leaves the ANN's value."""
    if unit is None or not np.all(op.scale):
        return None
    same = isinstance(ann, snn.Synapse) and isinstance(ann.op, ops.Scale)
    factor = ann.op.scale if same else np.ones((), np.float32)  # type: ignore[union-attr]
    left = np.asarray(unit * factor / op.scale)
    return None if np.allclose(left, 1, rtol=1e-5) else left


@dataclass
class Comparison:
    """Sums over samples for one node: d = net - ANN, before the activation.

    ``total`` (*shape) is the sum of d; ``squared`` of d^2; ``size`` of the ANN's value squared;
    ``gg, gt, tt`` of products of net (g) and ANN (t) without their biases; ``effect`` of the
    squared difference after the activation, ``active`` of the ANN's activation squared.
    """

    count: int = 0
    total: Array = field(default_factory=lambda: np.zeros(()))
    squared: float = 0.0
    size: float = 0.0
    gg: float = 0.0
    gt: float = 0.0
    tt: float = 0.0
    effect: float = 0.0
    active: float = 0.0

    def add(self, got: Array, want: Array, biases: tuple[Array, Array]) -> None:
        d = (got - want).astype(np.float64)
        self.count += len(d)
        self.total = self.total + d.sum(axis=0)
        self.squared += _square(d)
        self.size += _square(want)
        g, t = got - biases[0], want - biases[1]
        self.gg += _square(g)
        self.tt += _square(t)
        self.gt += float(np.vdot(g, t))

    @property
    def relative(self) -> float:
        """rms of d relative to rms of the ANN's value."""
        return float(np.sqrt(self.squared / (self.size or self.squared or 1.0)))

    @property
    def relative_effect(self) -> float:
        return float(np.sqrt(self.effect / (self.active or self.effect or 1.0)))

    @property
    def shift(self) -> Array:
        """(*shape): mean of d over the samples."""
        return self.total / max(self.count, 1)

    def kind(self) -> Kind:
        """A difference that is the same for every sample is a bias; one that a single factor
        removes is a threshold that weights do not know; anything else is another operation or
        other weights."""
        constant = self.count * _square(self.shift)
        if self.count > 1 and constant >= 0.99 * self.squared:
            return "bias"
        if self.gg and self.tt and 1 - self.gt**2 / (self.gg * self.tt) < 1e-4:
            return "threshold"
        return "operation"

    @property
    def factor(self) -> float:
        """net / ANN, for the kind "threshold"."""
        return self.gg / self.gt if self.gt else 0.0


def _square(x: Array) -> float:
    return float(np.vdot(x, x))


class StructureCheck:
    """Accumulates comparisons over batches. ``pairs`` is ``partners(net, lowered)``; initial
    potentials count as part of the bias (``initial_charge``)."""

    def __init__(
        self,
        net: snn.SpikingGraph,
        lowered: snn.SpikingGraph,
        pairs: Mapping[str, str],
        steps: int,
    ) -> None:
        self.net, self.pairs, self.steps, self.unit = net, pairs, steps, units(net, lowered)
        self.charges = initial_charges(net, lowered, pairs, steps)
        self.ann = lowered.by_name()
        self.results = {
            node.name: Comparison()
            for node in net.nodes
            if node.name in pairs and not isinstance(node, snn.Input)
        }

    def add(self, arrays: Mapping[str, Array], ann: Values) -> None:
        """One batch; ``ann``: pre-activation and output of every node of the ANN."""
        walk(self.net, _Compared(self, ann), arrays)

    @property
    def differs(self) -> bool:
        """Whether some node is not the ANN's, on the samples so far."""
        return any(not c.relative <= TOLERANCE for c in self.results.values())

    def compare(
        self,
        node: snn.Node,
        got: Array,
        want: Array,
        effect: tuple[Array, Array] | None = None,
    ) -> None:
        """Add what a node gives and what the ANN gives, and their activations."""
        result = self.results[node.name]
        result.add(got, want, (whole_bias(node), whole_bias(self.ann[self.pairs[node.name]])))
        if effect is not None:
            result.effect += _square(effect[0] - effect[1])
            result.active += _square(effect[1])


class _Compared(snn.Rules[Array]):
    """What a node passes on: the ANN's value where it has state, else its own."""

    def __init__(self, check: StructureCheck, ann: Values) -> None:
        self.check, self.ann = check, ann

    def _want(self, node: snn.Node) -> tuple[Array, Array] | None:
        pairs = self.check.pairs
        return self.ann[pairs[node.name]] if node.name in pairs else None

    def input(self, node: snn.Input | snn.Delay, xs: Sequence[Array]) -> Array:
        return xs[0]

    delay = input

    def synapse(self, node: snn.Synapse, xs: Sequence[Array]) -> Array:
        out = node.op.apply(*xs).astype(xs[0].dtype, copy=False)
        want = self._want(node)
        if want is not None:
            self.check.compare(node, out, want[1])
        return out

    def population(self, node: snn.Population, xs: Sequence[Array]) -> Array:
        pre = xs[0] + whole_bias(node) + self.check.charges[node.name]
        out, want = np.clip(pre, 0, node.ceiling), self._want(node)
        if want is not None:
            self.check.compare(node, pre, want[0], (out, want[1]))
        return self._passed_on(node, out, want)

    def max_pool(self, node: snn.MaxPool, xs: Sequence[Array]) -> Array:
        return self._stateful(node, node.op.apply(xs[0] + node.bias) * self.check.unit[node.name])

    def analog(self, node: snn.Analog, xs: Sequence[Array]) -> Array:
        return self._stateful(node, islands.apply(node, xs))

    def readout(self, node: snn.Readout, xs: Sequence[Array]) -> Array:
        return self._stateful(node, np.asarray(xs[0] + node.bias))

    def _stateful(self, node: snn.Node, out: Array) -> Array:
        want = self._want(node)
        if want is not None:
            self.check.compare(node, out, want[1], (out, want[1]))
        return self._passed_on(node, out, want)

    def _passed_on(self, node: snn.Node, out: Array, want: tuple[Array, Array] | None) -> Array:
        unit = self.check.unit[node.name]
        return np.asarray((out if want is None else want[1]) / unit, np.float32)
