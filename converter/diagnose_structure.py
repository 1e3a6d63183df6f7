"""Is the converted network still the ANN? Every node in analog mode, with the ANN's own values as
its input, against the ANN's value.

Because each layer is given what the ANN's layer got, a difference belongs to the layer that shows
it and is not carried on: a missing bias, a replaced max pool or foreign weights are found where
they are, and any number of them at once. Spikes play no part here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..runtime import analog, ops
from ..runtime import graph as snn
from ..runtime.ops import Array
from ..runtime.steps import last_uses
from .calibrate import by_channel, channel_axis
from .normalize import carry_scale

WEIGHTED = ops.Linear | ops.Conv | ops.ConvTranspose
TOLERANCE = 1e-3  # of the rms value; folding thresholds into weights costs about 1e-6
Kind = Literal["bias", "threshold", "operation"]
AGAIN = ": convert again from this model"
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


def units(net: snn.SpikingGraph) -> dict[str, Array]:
    """For every node, what its output must be multiplied with to be the ANN's value: spikes and
    what is pooled, reshaped or joined from them count in thresholds (see ``normalize``)."""
    out: dict[str, Array] = {}
    shapes = {node.name: node.shape for node in net.nodes}
    one = np.ones((), np.float32)
    for node in net.nodes:
        before: list[Array | None] = [None if out[n] is one else out[n] for n in node.inputs]
        unit: Array | None = None
        if isinstance(node, snn.Population):
            unit = node.neuron.v_threshold
        elif isinstance(node, snn.MaxPool):
            unit = before[0]
        elif isinstance(node, snn.Synapse) and not isinstance(node.op, WEIGHTED | ops.Scale):
            known = any(scale is not None for scale in before)
            unit = carry_scale(node.op, before, [shapes[n] for n in node.inputs]) if known else None
        out[node.name] = one if unit is None else unit
    return out


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
    """Accumulates comparisons over batches. ``pairs`` is ``partners(net, lowered)``."""

    def __init__(
        self, net: snn.SpikingGraph, lowered: snn.SpikingGraph, pairs: Mapping[str, str]
    ) -> None:
        self.net, self.pairs, self.unit = net, pairs, units(net)
        self.ann = lowered.by_name()
        self.results = {
            node.name: Comparison()
            for node in net.nodes
            if node.name in pairs and not isinstance(node, snn.Input)
        }

    def add(self, arrays: Mapping[str, Array], ann: Values) -> None:
        """One batch; ``ann``: pre-activation and output of every node of the ANN."""
        values: dict[str, Array] = {}
        last = last_uses(self.net)
        for i, node in enumerate(self.net.nodes):
            xs = [values[name] for name in node.inputs]
            want = ann[self.pairs[node.name]] if node.name in self.pairs else None
            values[node.name] = self._visit(node, xs, arrays, want)
            for name in last.get(i, ()):
                values.pop(name, None)

    def _visit(
        self,
        node: snn.Node,
        xs: list[Array],
        arrays: Mapping[str, Array],
        want: tuple[Array, Array] | None,
    ) -> Array:
        """What the node passes on: the ANN's value where it has state, else its own."""
        unit = self.unit[node.name]
        match node:
            case snn.Input():
                return arrays[node.name]
            case snn.Synapse():
                out = node.op.apply(*xs).astype(xs[0].dtype, copy=False)
                if want is not None:
                    self._compare(node, out, want[1])
                return out
            case snn.Population():
                pre = xs[0] + node.bias
                out = np.clip(pre, 0, node.ceiling)
                if want is not None:
                    self._compare(node, pre, want[0], (out, want[1]))
            case snn.MaxPool():
                out = node.op.apply(xs[0] + node.bias) * unit
                if want is not None:
                    self._compare(node, out, want[1], (out, want[1]))
            case snn.Analog():
                biased = [x + b for x, b in zip(xs, node.biases, strict=True)]
                out = analog.evaluate(node.model, node.output, biased if node.biases else xs)
                if want is not None:
                    self._compare(node, out, want[1], (out, want[1]))
            case snn.Readout():
                out = xs[0] + node.bias
                if want is not None:
                    self._compare(node, out, want[1], (out, want[1]))
        return np.asarray((out if want is None else want[1]) / unit, np.float32)

    def _compare(
        self,
        node: snn.Node,
        got: Array,
        want: Array,
        effect: tuple[Array, Array] | None = None,
    ) -> None:
        result = self.results[node.name]
        result.add(got, want, (_bias(node), _bias(self.ann[self.pairs[node.name]])))
        if effect is not None:
            result.effect += _square(effect[0] - effect[1])
            result.active += _square(effect[1])


def _bias(node: snn.Node) -> Array:
    if isinstance(node, snn.Population | snn.Readout):
        return node.bias
    return np.zeros((), np.float32)


@dataclass(frozen=True, eq=False, kw_only=True)
class Finding:
    """One place where the network is not the ANN.

    Attributes:
        node: the node at fault.
        seen_at: the layer (population, max pool, island or readout) that first shows it.
        kind: "bias", "threshold" (one that the reading weights do not expect), "operation", or
            "calibrated": a bias moved on purpose.
        relative: rms difference at ``seen_at``, relative to the ANN's rms value there.
        channels: for a bias, the channels where it differs most, at most five.
        largest: for a bias, the largest difference of a channel's mean.
        text: all that in words.
    """

    node: str
    seen_at: str
    kind: Literal["bias", "threshold", "operation", "calibrated"]
    relative: float
    channels: tuple[int, ...] = ()
    largest: float = 0.0
    text: str


def find(
    check: StructureCheck, lowered: snn.SpikingGraph, calibrated: Mapping[str, str]
) -> tuple[Finding, ...]:
    """Findings in execution order, each fault once. ``calibrated``: per layer, why a moved
    bias is no fault ("" if it is one)."""
    bad = {n: c for n, c in check.results.items() if not c.relative <= TOLERANCE}
    out: dict[tuple[str, str], Finding] = {}
    for node in check.net.nodes:
        if node.name not in bad or isinstance(node, snn.Synapse):
            continue
        finding = _finding(check, lowered, node, bad, calibrated.get(node.name, ""))
        out.setdefault((finding.node, finding.kind), finding)
    return tuple(out.values())


def _finding(
    check: StructureCheck,
    lowered: snn.SpikingGraph,
    node: snn.Node,
    bad: Mapping[str, Comparison],
    calibrated: str,
) -> Finding:
    result, kind = bad[node.name], bad[node.name].kind()
    name = node.name
    base: dict[str, Any] = {"seen_at": name, "relative": result.relative}
    if kind == "bias":
        channels, largest, total = _channels(lowered, check.pairs[name], result.shift)
        listed = ", ".join(map(str, channels)) + (", ..." if total > len(channels) else "")
        text = (
            f"bias of '{name}' differs from the ANN's by up to {largest:.3g} in {total} "
            f"channel{'s' if total != 1 else ''} ({listed})"
        )
        text += f": {calibrated}" if calibrated else AGAIN
        tag: Literal["bias", "calibrated"] = "calibrated" if calibrated else "bias"
        return Finding(node=name, kind=tag, channels=channels, largest=largest, text=text, **base)
    changed = _changed(check, lowered, name)
    if changed is not None:
        return Finding(node=changed[0], kind="operation", text=changed[1], **base)
    culprit = next(
        (n.name for n in check.net.nodes if n.name in bad and n.name in _segment(check.net, name)),
        name,
    )
    if bad[culprit].kind() == "threshold":
        return _threshold(check.net, culprit, bad[culprit].factor, base)
    text = (
        f"'{culprit}' computes something else than the ANN: given the ANN's own input, '{name}' "
        f"differs by {100 * result.relative:.3g} % (other weights or another operation){AGAIN}"
    )
    return Finding(node=culprit, kind="operation", text=text, **base)


def _threshold(
    net: snn.SpikingGraph, reader: str, factor: float, base: Mapping[str, Any]
) -> Finding:
    """The spikes that ``reader`` gets count ``factor`` times what they should."""
    before = [n for n in _segment(net, reader).values() if isinstance(n, snn.Population)]
    if len(before) != 1:
        text = f"the input of '{reader}' is {factor:.3g} times the ANN's{AGAIN}"
        return Finding(node=reader, kind="threshold", text=text, **base)
    text = (
        f"the threshold of '{before[0].name}' is too {'low' if factor > 1 else 'high'}: "
        f"{1 / factor:.3g} times what the weights of '{reader}' expect{AGAIN}"
    )
    return Finding(node=before[0].name, kind="threshold", text=text, **base)


def _channels(
    lowered: snn.SpikingGraph, name: str, shift: Array
) -> tuple[tuple[int, ...], float, int]:
    """The channels with the largest mean shift, that shift, and how many channels have one."""
    axis = channel_axis(lowered, name)
    means = by_channel(shift[np.newaxis], axis).mean(axis=1)
    size = np.abs(means)
    order = np.argsort(-size, kind="stable")
    total = int((size > 0.01 * size.max(initial=0)).sum())
    return tuple(int(c) for c in order[: min(total, 5)]), float(size.max(initial=0)), total


def _segment(graph: snn.SpikingGraph, name: str) -> dict[str, snn.Node]:
    """The nodes from which ``name`` is computed, back to the nodes with state, those included."""
    return {node.name: node for node in snn.iter_upstream(graph, name)}


def _changed(check: StructureCheck, lowered: snn.SpikingGraph, name: str) -> tuple[str, str] | None:
    """The first node on the way to ``name`` that is another operation in the two graphs.

    Scales are left out: conversion folds them into weights and adds its own.
    """
    there = _segment(lowered, check.pairs[name])
    here = _segment(check.net, name)
    if isinstance(check.net[name], snn.MaxPool):
        there[check.pairs[name]], here[name] = lowered[check.pairs[name]], check.net[name]
    known = {check.pairs.get(n, n) for n in here}
    for node in lowered.nodes:
        if node.name not in there or _describe(node) == "Scale":
            continue
        now = next((n for k, n in here.items() if check.pairs.get(k, k) == node.name), None)
        if now is not None and _describe(now) == _describe(node):
            continue
        extra = [
            n
            for k, n in here.items()
            if check.pairs.get(k, k) not in there and isinstance(n, snn.Synapse)
        ]
        kinds = [_describe(n) for n in ([now] if now is not None else []) + extra]
        instead = " + ".join(sorted(set(kinds))) or "nothing"
        return node.name, (
            f"'{node.name}' is {_describe(node)} in the ANN, {instead} in the converted "
            f"network{AGAIN}"
        )
    added = [n for k, n in here.items() if check.pairs.get(k, k) not in there]
    strange = next((n for n in added if _describe(n) != "Scale" and n.name in known), None)
    if strange is None:
        return None
    return strange.name, f"'{strange.name}' ({_describe(strange)}) is not in the ANN{AGAIN}"


def _describe(node: snn.Node) -> str:
    """The operation and its geometry, without weights."""
    if not isinstance(node, snn.Synapse | snn.MaxPool):
        return type(node).__name__
    op = node.op
    shown = [f"{k} {_times(getattr(op, k))}" for k in ("kernel", "strides") if hasattr(op, k)]
    geometry = f" ({', '.join(shown)})" if isinstance(op, ops.MaxPool | ops.SumPool) else ""
    return type(op).__name__ + geometry


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
