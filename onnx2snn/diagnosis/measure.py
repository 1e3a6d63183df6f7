"""Where a converted network loses accuracy, and to what.

For every population, over T steps, with

    a      the ANN's activation,
    r      the decoded rate, theta * sum_t k(t) / T,
    zbar   the mean input current in the spiking network, bias included, and what of the
           initial potential a moved bias makes up for (nothing for v_init = theta / 2),
    act    the activation function, clip(., 0, ceiling),
    top    the largest rate the neuron can have, theta * levels (less with a refractory time),
    r_c    the rate of the same neuron fed its mean input in every one of T steps,

the error is split into four parts that add up to it exactly:

    r - a =   act(zbar) - a                        inherited    (from the layers before)
            + clip(act(zbar), 0, top) - act(zbar)  clipping     (activations above the threshold)
            + r_c - clip(act(zbar), 0, top)        quantization (T steps have few levels; leak)
            + r - r_c                              unevenness   (spikes do not arrive evenly)

after Bu et al. 2022 (clipping, quantization, unevenness error), here per neuron and measured, not
bounded. Each is reported as rms over neurons and samples relative to rms(a). What a layer adds by
itself is its own error r - act(zbar), and what it computes differently from the ANN at all
(``structure``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from ..converter.lowering.copies import gathered
from ..errors import DataError, UsageError
from ..provenance import Provenance
from ..runtime import graph as snn
from ..runtime.ops import Array
from ..runtime.semantics.analog import run_analog
from ..runtime.semantics.upstream import onsets
from .findings import Finding, find
from .layers import Layer, LayerError
from .run import SpikingRun
from .structure import StructureCheck, Values, partners, units
from .twins import with_twins

RULE = (
    "a layer that is not the ANN's comes before any other (the first whose difference is at least "
    "half of the largest); else the layer that adds at least 1.5 times as much error as any other, "
    "unless it reads spikes unevenly and the one before it stands out and is coarse itself; else "
    "the first, in execution order, that adds at least half as much error as the layer that adds "
    "most, and that stands out: the largest part of its own "
    "error is at least 1.8 times the median of that part over all populations, or half of the rms "
    "activation; where none stands out, the first that adds half as much as the most"
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Measured:
    """Layers in execution order, places where the network is not the ANN, and what was left out."""

    steps: int
    latency: int
    samples: int
    layers: tuple[LayerError, ...]
    findings: tuple[Finding, ...]
    unmatched: tuple[str, ...]


def measure(
    *,
    lowered: snn.SpikingGraph,
    net: snn.SpikingGraph,
    batches: Iterable[Mapping[str, Array]],
    steps: int,
    total: int,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Measured:
    """Compare ``net`` over ``steps`` steps with the ANN (``lowered``, in analog mode). Copies of
    neurons (``copies``) are one layer.

    Parameters:
        batches: preprocessed samples (batch, *shape) by input name; any number, one at a time in
            memory.
        total: how many samples they are in all.

    Raises UsageError for T < 1 and DataError where the two graphs are not of one network.
    """
    if steps < 1:
        raise UsageError(f"T must be at least 1, got {steps}", code="E110")
    net, copies = gathered(net)
    pairs = partners(net, lowered=lowered)
    _same_network(lowered, net=net, pairs=pairs)
    check = StructureCheck(net, lowered=lowered, pairs=pairs, steps=steps)
    accumulated = [_layer(node, check, copies, total) for node in _rows(net) if node.name in pairs]
    scale = units(net, lowered=lowered)
    wanted = set(pairs.values())
    done = 0
    for arrays in batches:
        ann = _ann_values(lowered, arrays, wanted)
        check.add(arrays, ann)
        graph = with_twins(net, lowered=lowered, pairs=pairs, units=scale) if check.differs else net
        sums = SpikingRun(graph, arrays, steps, seed=seed, offset=done).measure()
        for layer in accumulated:
            layer.add(ann, sums, scale[layer.node.name])
            layer.add_plain(ann, sums)
        done += len(next(iter(arrays.values())))
        progress(done, total)
    tuned = Provenance.of(net).calibrated
    reasons = {layer.node.name: layer.deliberate(check, tuned) for layer in accumulated}
    small = {layer.node.name: layer.changes_little(check, tuned) for layer in accumulated}
    findings = find(check, lowered, reasons, small, behind_a_fault=bool(tuned))
    onset = onsets(net)
    return Measured(
        steps=steps,
        latency=max(onset[r.name] for r in net.of(snn.Readout)) + steps,
        samples=done,
        layers=tuple(layer.result(check, findings) for layer in accumulated),
        findings=findings,
        unmatched=tuple(p.name for p in net.of(snn.Population) if p.name not in pairs),
    )


def _layer(node: snn.Node, check: StructureCheck, copies: Mapping[str, int], total: int) -> Layer:
    """The sums of one row, of ``total`` samples."""
    charge = check.charges.get(node.name, np.zeros((), np.float32))
    count = copies.get(node.name, 1)
    return Layer(node, check.pairs[node.name], charge, steps=check.steps, total=total, copies=count)


def batch_size(net: snn.SpikingGraph, limit: int = 256 * 2**20) -> int:
    """Samples per batch such that what diagnosis keeps of a batch stays near ``limit`` bytes."""
    per_sample = 48 * sum(prod(n.shape) for n in net.nodes if not isinstance(n, snn.Synapse))
    per_sample += 24 * sum(prod(n.shape) for n in net.nodes if isinstance(n, snn.Synapse))
    return int(max(1, min(32, limit // per_sample)))


def _same_network(
    lowered: snn.SpikingGraph, *, net: snn.SpikingGraph, pairs: Mapping[str, str]
) -> None:
    inputs = [n.name for n in net.of(snn.Input) if n.name not in pairs]
    populations = net.of(snn.Population)
    found = [p for p in populations if p.name in pairs]
    if (
        inputs
        or (populations and not found)
        or not any(r.name in pairs for r in net.of(snn.Readout))
    ):
        ours = ", ".join(n.name for n in (*net.of(snn.Input), *populations)[:4])
        theirs = ", ".join(
            n.name for n in (*lowered.of(snn.Input), *lowered.of(snn.Population))[:4]
        )
        raise DataError(
            f"the converted network ({ours}, ...) is not one of the model ({theirs}, ...)",
            remedy="Give the .onnx file that was converted.",
            code="E230",
        )


def _rows(net: snn.SpikingGraph) -> list[snn.Node]:
    """Nodes that get a row: all with state, and inputs that turn values into spikes."""
    return [
        n
        for n in net.nodes
        if isinstance(n, snn.STATEFUL) or (isinstance(n, snn.Input) and n.encoding != "constant")
    ]


def _ann_values(lowered: snn.SpikingGraph, arrays: Mapping[str, Array], wanted: set[str]) -> Values:
    values: dict[str, tuple[Array, Array]] = {}

    def observe(node: snn.Node, pre: Array, out: Array) -> None:
        if node.name in wanted:
            values[node.name] = (pre, out)

    run_analog(lowered, dict(arrays), observe=observe)
    return values


def ann_activation(
    *, lowered: snn.SpikingGraph, net: snn.SpikingGraph, arrays: Mapping[str, Array], name: str
) -> Array:
    """The ANN's activation of the layer that ``name`` of ``net`` stands for, (batch, *shape)."""
    partner = partners(net, lowered=lowered)[name]
    return _ann_values(lowered, arrays, {partner})[partner][1]
