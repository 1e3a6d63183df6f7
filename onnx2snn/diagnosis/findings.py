"""Places where a converted network is not the ANN, in words (from ``structure``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..converter.statistics.measure import by_channel, channel_axis
from ..display import counted
from ..runtime import graph as snn
from ..runtime import ops
from ..runtime.facts import GraphFacts
from ..runtime.ops import Array
from ..runtime.semantics.upstream import iter_upstream
from .run import whole_bias
from .structure import TOLERANCE, Comparison, StructureCheck

AGAIN = ": convert again from this model"


@dataclass(frozen=True, eq=False, kw_only=True)
class Finding:
    """One place where the network is not the ANN.

    Attributes:
        node: the node at fault.
        seen_at: the layer (population, max pool, island or readout) that first shows it.
        kind: "bias", "threshold" (one that the reading weights do not expect), "operation", or
            "calibrated": biases or weights changed on purpose.
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
    check: StructureCheck,
    lowered: snn.SpikingGraph,
    calibrated: Mapping[str, str],
    small: Mapping[str, bool],
    *,
    behind_a_fault: bool = False,
) -> tuple[Finding, ...]:
    """Findings in execution order, each fault once.

    Parameters:
        calibrated: per layer, why a change there is no fault ("" if it is one).
        small: per layer, whether the change is small against what its spikes cost. After a fault
            only such a change counts as calibrated: with a wrong input, anything may help.
        behind_a_fault: the network was calibrated in the loop, so behind a fault any small change
            is taken for that, whether it helps there or not.
    """
    bad = {n: c for n, c in check.results.items() if not c.relative <= TOLERANCE}
    out: dict[tuple[str, str], Finding] = {}
    for node in check.net.nodes:
        if isinstance(node, snn.Synapse):
            continue
        missing = _missing_bias(check, lowered, node)
        if missing is not None:
            out.setdefault((missing.node, missing.kind), missing)
        elif node.name in bad:
            reason = calibrated.get(node.name, "")
            if any(f.kind != "calibrated" for f in out.values()):
                if not small.get(node.name):
                    reason = ""
                elif behind_a_fault:
                    reason = reason or "as calibration in the loop may (behind a fault: not judged)"
            finding = _finding(check, lowered, node, bad, reason)
            out.setdefault((finding.node, finding.kind), finding)
    return tuple(out.values())


def _missing_bias(
    check: StructureCheck, lowered: snn.SpikingGraph, node: snn.Node
) -> Finding | None:
    """A bias that is exactly zero in every channel where the ANN has one: calibration moves biases,
    but takes none away."""
    if node.name not in check.results or not isinstance(node, snn.Population | snn.Readout):
        return None
    own = whole_bias(lowered[check.pairs[node.name]])
    if np.any(whole_bias(node)) or not np.any(own):
        return None
    shift = -np.broadcast_to(own, node.shape)
    channels, largest, listed = _listed(lowered, check.pairs[node.name], shift)
    result = check.results[node.name]
    return Finding(
        node=node.name,
        seen_at=node.name,
        kind="bias",
        relative=result.relative,
        channels=channels,
        largest=largest,
        text=f"bias of '{node.name}' differs from the ANN's by up to {largest:.3g} in {listed}, "
        f"for it is missing{AGAIN}",
    )


def _finding(
    check: StructureCheck,
    lowered: snn.SpikingGraph,
    node: snn.Node,
    bad: Mapping[str, Comparison],
    calibrated: str,
) -> Finding:
    result, name = bad[node.name], node.name
    base: dict[str, Any] = {"seen_at": name, "relative": result.relative}
    if result.kind() == "bias":
        channels, largest, listed = _listed(lowered, check.pairs[name], result.shift)
        text = f"bias of '{name}' differs from the ANN's by up to {largest:.3g} in {listed}"
        kind: Literal["calibrated", "bias"] = "calibrated" if calibrated else "bias"
        text += f", {calibrated}" if calibrated else AGAIN
        return Finding(node=name, kind=kind, channels=channels, largest=largest, text=text, **base)
    changed = _changed(check, lowered, name)
    if changed is not None:
        return Finding(node=changed[0], kind="operation", text=changed[1], **base)
    if calibrated:
        text = (
            f"weights of '{name}' differ from the ANN's, by {100 * result.relative:.3g} % of its "
            f"input, {calibrated}"
        )
        return Finding(node=name, kind="calibrated", text=text, **base)
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


def _listed(
    lowered: snn.SpikingGraph, name: str, shift: Array
) -> tuple[tuple[int, ...], float, str]:
    """The channels with the largest mean shift, that shift, and the channels in words."""
    channels, largest, total = _channels(lowered, name, shift)
    shown = ", ".join(map(str, channels)) + (", ..." if total > len(channels) else "")
    return channels, largest, f"{counted(total, 'channel')} ({shown})"


def _channels(
    lowered: snn.SpikingGraph, name: str, shift: Array
) -> tuple[tuple[int, ...], float, int]:
    """The channels with the largest mean shift, that shift, and how many channels have one."""
    axis = channel_axis(GraphFacts(lowered), name)
    means = by_channel(shift[np.newaxis], axis).mean(axis=1)
    size = np.abs(means)
    order = np.argsort(-size, kind="stable")
    total = int((size > 0.01 * size.max(initial=0)).sum())
    return tuple(int(c) for c in order[: min(total, 5)]), float(size.max(initial=0)), total


def _segment(graph: snn.SpikingGraph, name: str) -> dict[str, snn.Node]:
    """The nodes from which ``name`` is computed, back to the nodes with state, those included."""
    return {node.name: node for node in iter_upstream(graph, name)}


def _changed(check: StructureCheck, lowered: snn.SpikingGraph, name: str) -> tuple[str, str] | None:
    """The first node on the way to ``name`` that is another operation in the two graphs.

    Scales are left out: conversion folds them into weights and adds its own; so are delays.
    """
    there = _segment(lowered, check.pairs[name])
    segment = _segment(check.net, name)
    here: dict[str, snn.Node] = {}
    here |= {k: n for k, n in segment.items() if not isinstance(n, snn.Delay)}
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
