"""Where a converted network loses accuracy, and to what.

For every population, over T steps, with

    a      the ANN's activation,
    r      the decoded rate, theta * sum_t k(t) / T,
    zbar   the mean input current in the spiking network, bias included,
    act    the activation function, clip(., 0, ceiling),
    top    the largest rate the neuron can have, theta * levels (less with a refractory time),
    r_c    the rate of the same neuron fed zbar in every one of T steps,

the error is split into four parts that add up to it exactly:

    r - a =   act(zbar) - a                        inherited    (from the layers before)
            + clip(act(zbar), 0, top) - act(zbar)  clipping     (activations above the threshold)
            + r_c - clip(act(zbar), 0, top)        quantization (T steps have few levels; leak)
            + r - r_c                              unevenness   (spikes do not arrive evenly)

after Bu et al. 2022 (clipping, quantization, unevenness error), here per neuron and measured, not
bounded. Each is reported as rms over neurons and samples relative to rms(a). What a layer adds by
itself is its own error r - act(zbar), and what it computes differently from the ANN at all
(``diagnose_structure``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import prod, sqrt

import numpy as np

from ..errors import DataError, UsageError
from ..runtime import graph as snn
from ..runtime.neuron import NeuronParams
from ..runtime.ops import Array
from ..runtime.reference import run_analog
from .diagnose_run import SpikingRun, Sums, as_population, constant_response, most_spikes
from .diagnose_structure import Finding, StructureCheck, Values, find, partners, units

POINTS = 3000  # (a, r) pairs kept per layer for the picture
RULE = (
    "the first layer, in execution order, that adds at least half as much error as the layer that "
    "adds most, and that stands out: it is not the ANN's, or the largest part of its own error is "
    "at least 1.8 times the median of that part over all populations; where none stands "
    "out, the first that adds half as much as the most"
)
PARTS = ("inherited", "clipping", "quantization", "unevenness")


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerError:
    """One layer's errors: rms over neurons and samples, relative to ``activation`` = rms(a).

    Attributes:
        kind: "population", "max pool", "island", "readout", or "input" (a spiking encoding).
        error: r - a.
        inherited, clipping, quantization, unevenness: its parts; None where the split does not
            apply, for the reason in ``reason``.
        own: r - act(zbar), what the layer's spikes cost.
        structure: difference from the ANN's layer when given the ANN's own input; None where the
            ANN has no such node.
        adds: the larger of ``own`` and ``structure`` (a deliberate bias shift does not count).
        threshold: median over neurons; ``spread`` its smallest and largest.
        saturated: share of neurons (over samples) that fired as often as they can.
        silent: share that never fired while a > theta / 2T, half a quantization step.
        above: share of the positive activations a above ``top``.
        spikes_per_neuron: steps with a spike, per neuron and sample.
        points: (n, 2), some pairs (a, r).
    """

    name: str
    kind: str
    neurons: int
    activation: float
    error: float
    inherited: float | None = None
    clipping: float | None = None
    quantization: float | None = None
    unevenness: float | None = None
    own: float = 0.0
    structure: float | None = None
    adds: float = 0.0
    threshold: float | None = None
    spread: tuple[float, float] | None = None
    saturated: float | None = None
    silent: float | None = None
    above: float | None = None
    spikes_per_neuron: float | None = None
    reason: str = ""
    points: Array = field(default_factory=lambda: np.zeros((0, 2), np.float32))


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
    lowered: snn.SpikingGraph,
    net: snn.SpikingGraph,
    batches: Iterable[Mapping[str, Array]],
    steps: int,
    *,
    total: int,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Measured:
    """Compare ``net`` over ``steps`` steps with the ANN (``lowered``, in analog mode).

    Parameters:
        batches: preprocessed samples (batch, *shape) by input name; any number, one at a time in
            memory.
        total: how many samples they are in all.

    Raises UsageError for T < 1 and DataError where the two graphs are not of one network.
    """
    if steps < 1:
        raise UsageError(f"T must be at least 1, got {steps}", code="E110")
    pairs = partners(net, lowered)
    _same_network(lowered, net, pairs)
    check = StructureCheck(net, lowered, pairs)
    accumulated = [
        _Layer(node, pairs[node.name], steps, total) for node in _rows(net) if node.name in pairs
    ]
    scale = units(net)
    wanted = set(pairs.values())
    done = 0
    for arrays in batches:
        ann = _ann_values(lowered, arrays, wanted)
        check.add(arrays, ann)
        sums = SpikingRun(net, arrays, steps, seed=seed, offset=done).run()
        for layer in accumulated:
            layer.add(ann, sums, scale[layer.node.name])
        done += len(next(iter(arrays.values())))
        progress(done, total)
    shifts = {layer.node.name: layer.deliberate(check) for layer in accumulated}
    findings = find(check, lowered, shifts)
    onset = snn.onsets(net)
    return Measured(
        steps=steps,
        latency=max(onset[r.name] for r in net.of(snn.Readout)) + steps,
        samples=done,
        layers=tuple(layer.result(check, findings) for layer in accumulated),
        findings=findings,
        unmatched=tuple(p.name for p in net.of(snn.Population) if p.name not in pairs),
    )


def batch_size(net: snn.SpikingGraph, limit: int = 256 * 2**20) -> int:
    """Samples per batch such that what diagnosis keeps of a batch stays near ``limit`` bytes."""
    per_sample = 48 * sum(prod(n.shape) for n in net.nodes if not isinstance(n, snn.Synapse))
    per_sample += 24 * sum(prod(n.shape) for n in net.nodes if isinstance(n, snn.Synapse))
    return int(max(1, min(32, limit // per_sample)))


def _same_network(
    lowered: snn.SpikingGraph, net: snn.SpikingGraph, pairs: Mapping[str, str]
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


KINDS = {
    snn.Input: "input",
    snn.Population: "population",
    snn.MaxPool: "max pool",
    snn.Analog: "island",
    snn.Readout: "readout",
}


class _Layer:
    """Sums over batches for one row."""

    def __init__(self, node: snn.Node, partner: str, steps: int, total: int) -> None:
        self.node, self.partner, self.steps = node, partner, steps
        self.squares = dict.fromkeys(("activation", "error", "own", *PARTS), 0.0)
        self.counts = dict.fromkeys(("saturated", "silent", "above", "positive", "events"), 0.0)
        self.samples, self.total = 0, total
        self.mean_error: Array = np.zeros(node.shape)
        self.active: Array = np.zeros(node.shape)
        self.points: list[Array] = []
        self.neurons: snn.Population | None = None
        if isinstance(node, snn.Population | snn.Readout):
            self.neurons = as_population(node)

    @property
    def applies(self) -> bool:
        """Whether the neuron's output is its rate, so that the split means something."""
        return self.neurons is not None and isinstance(self.neurons.neuron, NeuronParams)

    def add(self, ann: Values, sums: Sums, unit: Array) -> None:
        name = self.node.name
        a = ann[self.partner][1].astype(np.float64)
        if self.neurons is not None:
            theta = self.neurons.neuron.v_threshold.astype(np.float64)
            zbar = sums.current[name] / self.steps
            spikes = sums.emitted[name]
            rate = theta * spikes / self.steps
            self._spiking(self.neurons, a, zbar, spikes, rate)
            self.counts["events"] += sums.events[name]
        elif isinstance(self.node, snn.Readout):
            rate = sums.current[name] / self.steps
        else:
            rate = sums.emitted[name] * unit / self.steps
            if isinstance(self.node, snn.Input):
                self.squares["own"] += _square(rate - a)
        self.squares["activation"] += _square(a)
        self.squares["error"] += _square(rate - a)
        self.mean_error += (rate - a).sum(axis=0)
        self.active += (a > 0).sum(axis=0) if isinstance(self.node, snn.Population) else len(a)
        self.samples += len(a)
        self._keep(a, rate)

    def _spiking(
        self, node: snn.Population, a: Array, zbar: Array, spikes: Array, rate: Array
    ) -> None:
        act = zbar
        if isinstance(self.node, snn.Population):
            act = np.clip(zbar, 0, self.node.ceiling)
        self.squares["own"] += _square(rate - act)
        if not self.applies:
            return
        theta, most = (
            node.neuron.v_threshold.astype(np.float64),
            most_spikes(node.neuron, self.steps),
        )
        top = theta * most / self.steps
        clipped = np.clip(act, 0, top)
        constant = theta * constant_response(node, zbar, self.steps) / self.steps
        parts = (act - a, clipped - act, constant - clipped, rate - constant)
        for part, value in zip(PARTS, parts, strict=True):
            self.squares[part] += _square(value)
        self.counts["saturated"] += int((spikes >= most).sum())
        self.counts["silent"] += int(((spikes == 0) & (a > theta / (2 * self.steps))).sum())
        self.counts["above"] += int((a > top * (1 + 1e-6)).sum())
        self.counts["positive"] += int((a > 0).sum())

    def _keep(self, a: Array, rate: Array) -> None:
        """A random part of the pairs (a, r), the same share of every batch."""
        quota = max(1, int(np.ceil(POINTS * len(a) / max(self.total, 1))))
        rng = np.random.default_rng(self.samples)
        index = rng.integers(0, a.size, min(quota, a.size))
        pairs = np.stack([a.ravel()[index], rate.ravel()[index]], axis=1)
        self.points.append(pairs.astype(np.float32))

    def deliberate(self, check: StructureCheck) -> str:
        """Why a moved bias is no fault, or "": calibration in the loop moves biases by what makes
        the layer's mean error smaller, or by little against what its spikes cost."""
        result = check.results.get(self.node.name)
        if result is None or not self.samples:
            return ""
        shift = result.shift
        error = self.mean_error / self.samples
        without = error - shift * (self.active / self.samples)
        if _square(error) < _square(without):
            return "the layer's mean error is smaller with it, as calibration in the loop intends"
        own = self.squares["own"] / (self.samples * prod(self.node.shape))
        if _square(shift) / prod(self.node.shape) < 0.0625 * own:
            return (
                "small against what the layer's spikes cost, as calibration in the loop leaves it"
            )
        return ""

    def result(self, check: StructureCheck, findings: tuple[Finding, ...]) -> LayerError:
        neurons = prod(self.node.shape)
        count = max(self.samples * neurons, 1)
        rms = {k: sqrt(v / count) for k, v in self.squares.items()}
        base = rms["activation"] or rms["error"] or 1.0
        compared = check.results.get(self.node.name)
        structure = None if compared is None else compared.relative_effect
        on_purpose = {f.seen_at for f in findings if f.kind == "calibrated"}
        fault = 0.0 if structure is None or self.node.name in on_purpose else structure
        row = LayerError(
            name=self.node.name,
            kind=KINDS[type(self.node)],
            neurons=neurons,
            activation=rms["activation"],
            error=rms["error"] / base,
            own=rms["own"] / base,
            structure=structure,
            adds=max(rms["own"] / base, fault),
            points=np.concatenate(self.points)[:POINTS] if self.points else np.zeros((0, 2)),
        )
        return self._with_neurons(row, {k: v / base for k, v in rms.items()}, count)

    def _with_neurons(self, row: LayerError, rms: Mapping[str, float], count: int) -> LayerError:
        """The row with what only spiking neurons have."""
        if self.neurons is None:
            return row
        neuron = self.neurons.neuron
        theta = neuron.v_threshold
        row = replace(
            row,
            threshold=float(np.median(theta)),
            spread=(float(theta.min()), float(theta.max())),
            spikes_per_neuron=self.counts["events"] / count,
        )
        if not self.applies:
            reason = f"the output of a {type(neuron).__name__} neuron is not its rate"
            return replace(row, reason=reason)
        return replace(
            row,
            inherited=rms["inherited"],
            clipping=rms["clipping"],
            quantization=rms["quantization"],
            unevenness=rms["unevenness"],
            saturated=self.counts["saturated"] / count,
            silent=self.counts["silent"] / count,
            above=self.counts["above"] / max(self.counts["positive"], 1),
        )


def _square(x: Array) -> float:
    return float(np.vdot(x, x))


def measure_values(
    lowered: snn.SpikingGraph, net: snn.SpikingGraph, arrays: Mapping[str, Array], name: str
) -> Array:
    """The ANN's activation of the layer that ``name`` of ``net`` stands for, (batch, *shape)."""
    partner = partners(net, lowered)[name]
    return _ann_values(lowered, arrays, {partner})[partner][1]
