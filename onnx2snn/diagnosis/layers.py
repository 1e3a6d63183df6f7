"""One layer's errors: the record, and the sums over batches behind it (see ``diagnose``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod, sqrt

import numpy as np

from ..runtime import graph as snn
from ..runtime.ops import Array
from .findings import Finding
from .run import Sums, as_population, constant_response
from .structure import StructureCheck, Values
from .twins import PREFIX

POINTS = 3000  # (a, r) pairs kept per layer for the picture
PARTS = ("inherited", "clipping", "quantization", "unevenness")


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerError:
    """One layer's errors: rms over neurons and samples, relative to ``activation`` = rms(a).

    Attributes:
        kind: "population", "max pool", "island", "readout", or "input" (a spiking encoding).
        error: r - a.
        inherited, clipping, quantization, unevenness: its parts; None but for spiking neurons.
        own: r - act(zbar), what the layer's spikes cost.
        structure: difference from the ANN's layer when given the ANN's own input; None where the
            ANN has no such node.
        adds: the larger of ``own`` and ``structure`` (a deliberate bias shift does not count).
        resolution: what a spike more or less changes a decoded rate by, median over neurons.
        threshold: median over neurons; ``spread`` its smallest and largest.
        saturated: share of neurons (over samples) that fired as often as they can.
        silent: share that never fired while a > theta / 2T, half a quantization step.
        above: share of the positive activations a above ``top``.
        headroom: the largest ``top`` of the layer, relative to its largest activation.
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
    resolution: float | None = None
    spread: tuple[float, float] | None = None
    saturated: float | None = None
    silent: float | None = None
    above: float | None = None
    headroom: float | None = None
    spikes_per_neuron: float | None = None
    points: Array = field(default_factory=lambda: np.zeros((0, 2), np.float32))


KINDS = {
    snn.Input: "input",
    snn.Population: "population",
    snn.MaxPool: "max pool",
    snn.Analog: "island",
    snn.Product: "product",
    snn.Readout: "readout",
}


class Layer:
    """Sums over batches for one row."""

    def __init__(
        self,
        node: snn.Node,
        partner: str,
        charge: Array,
        *,
        steps: int,
        total: int,
        copies: int = 1,
    ) -> None:
        self.node, self.partner, self.charge, self.steps = node, partner, charge, steps
        self.copies = copies
        kept = ("activation", "error", "own", "plain", "plain inherited", *PARTS)
        self.squares = dict.fromkeys(kept, 0.0)
        self.counts = dict.fromkeys(("saturated", "silent", "above", "positive", "events"), 0.0)
        self.samples, self.total, self.largest, self.top = 0, total, 0.0, 0.0
        self.mean_error: Array = np.zeros(node.shape)
        self.mean_plain: Array = np.zeros(node.shape)
        self.points: list[Array] = []
        self.neurons: snn.Population | None = None
        if isinstance(node, snn.Population | snn.Readout):
            self.neurons = as_population(node)

    def add(self, ann: Values, sums: Sums, unit: Array) -> None:
        name = self.node.name
        a = ann[self.partner][1].astype(np.float64)
        if self.neurons is not None:
            theta = self.neurons.neuron.v_threshold.astype(np.float64)
            zbar = sums.current[name] / self.steps
            spikes = sums.emitted[name]
            rate = theta * spikes / self.steps
            self._spiking(self.neurons, a=a, zbar=zbar, spikes=spikes, rate=rate)
            # A spike of C thresholds is one of each of C copies.
            sent = sums.events[name] if self.copies == 1 else float(np.abs(spikes).sum())
            self.counts["events"] += sent
        elif isinstance(self.node, snn.Readout):
            rate = sums.current[name] / self.steps
        else:
            rate = sums.emitted[name] * unit / self.steps
            if isinstance(self.node, snn.Input):
                self.squares["own"] += _square(rate - a)
        self.squares["activation"] += _square(a)
        self.squares["error"] += _square(rate - a)
        self.mean_error += (rate - a).sum(axis=0)
        self.samples += len(a)
        self._keep(a, rate=rate)

    def add_plain(self, ann: Values, sums: Sums) -> None:
        """The error that the layer would have with the ANN's own weights and bias."""
        twin, a = PREFIX + self.node.name, ann[self.partner][1]
        if twin in sums.current and isinstance(self.node, snn.Population):
            act = np.clip(sums.current[twin] / self.steps, 0, self.node.ceiling)
            self.squares["plain inherited"] += _square(act - a)
        if twin in sums.emitted:
            rate = sums.emitted[twin] / self.steps
            if self.neurons is not None:
                rate = rate * self.neurons.neuron.v_threshold
        elif twin in sums.current:
            rate = sums.current[twin] / self.steps
        else:
            return
        self.squares["plain"] += _square(rate - a)
        self.mean_plain += (rate - a).sum(axis=0)

    def _spiking(
        self, node: snn.Population, *, a: Array, zbar: Array, spikes: Array, rate: Array
    ) -> None:
        act = zbar + self.charge
        if isinstance(self.node, snn.Population):
            act = np.clip(act, 0, self.node.ceiling)
        self.squares["own"] += _square(rate - act)
        theta, most = node.neuron.v_threshold.astype(np.float64), node.neuron.reach(self.steps)
        least = node.neuron.resolution(self.steps)
        top = theta * most / self.steps
        clipped = np.clip(act, 0, top)
        constant = theta * constant_response(node, zbar, self.steps) / self.steps
        parts = (act - a, clipped - act, constant - clipped, rate - constant)
        for part, value in zip(PARTS, parts, strict=True):
            self.squares[part] += _square(value)
        self.top, self.largest = float(top.max()), max(self.largest, float(a.max(initial=0)))
        self.counts["saturated"] += int((spikes >= most * (1 - 1e-6)).sum())
        self.counts["silent"] += int(((spikes == 0) & (a > theta * least / 2)).sum())
        self.counts["above"] += int((a > top * (1 + 1e-6)).sum())
        self.counts["positive"] += int((a > 0).sum())

    def _keep(self, a: Array, *, rate: Array) -> None:
        """A random part of the pairs (a, r), the same share of every batch."""
        quota = max(1, int(np.ceil(POINTS * len(a) / max(self.total, 1))))
        rng = np.random.default_rng(self.samples)
        index = rng.integers(0, a.size, min(quota, a.size))
        pairs = np.stack([a.ravel()[index], rate.ravel()[index]], axis=1)
        self.points.append(pairs.astype(np.float32))

    def deliberate(self, check: StructureCheck, calibrated: bool | None) -> str:
        """Why other weights or a moved bias are no fault, or "".

        Calibration in the loop changes them so that the layer's error, or its mean error, or that
        of its input is smaller (on other samples: 5 % are allowed where the file says that it was
        ``calibrated``), or changes little against what the layer's spikes cost. Where the file
        says that nothing was calibrated, nothing may differ.
        """
        result = check.results.get(self.node.name)
        if result is None or not self.samples or calibrated is False:
            return ""
        error, plain = (sqrt(self.squares[k]) for k in ("error", "plain"))
        base = sqrt(self.squares["activation"]) or 1.0
        if error < (1.05 if calibrated else 1.0) * plain:
            would, now = (f"{100 * value / base:.1f} %" for value in (plain, error))
            if error < plain and would != now:
                return (
                    f"on purpose: with the ANN's own the layer's error would be {would}, not {now}"
                )
            return f"on purpose: it costs little here (with the ANN's own {would}, now {now})"
        before, now_in = (sqrt(self.squares[k]) for k in ("plain inherited", "inherited"))
        if calibrated and now_in < before:
            return (
                f"on purpose: with the ANN's own its mean input would be {100 * before / base:.1f}"
                f" % off, not {100 * now_in / base:.1f} %"
            )
        if calibrated and result.effect < 0.25 * self.squares["plain"]:
            return "small against the layer's error, so whether it helps cannot be told here"
        if result.kind() != "bias":
            return ""
        if _square(self.mean_error) < _square(self.mean_plain):
            return "on purpose: the layer's mean error is smaller so"
        own = self.squares["own"] / (self.samples * prod(self.node.shape))
        if _square(result.shift) / prod(self.node.shape) < 0.0625 * own:
            return "small against what the layer's spikes cost"
        return ""

    def changes_little(self, check: StructureCheck, calibrated: bool | None) -> bool:
        """Whether what differs is small: half of the activation; for the bias of a network that
        does not say that it was ``calibrated``, 1.5 times what the layer's spikes cost (rms)."""
        result = check.results.get(self.node.name)
        if result is None:
            return False
        if result.kind() != "bias" or calibrated:
            return result.relative_effect < 0.5
        return result.effect <= 2.25 * self.squares["own"]

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
            neurons=neurons * self.copies,
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
        theta = self.neurons.neuron.v_threshold
        return replace(
            row,
            threshold=float(np.median(theta)),
            resolution=float(np.median(theta)) * self.neurons.neuron.resolution(self.steps),
            spread=(float(theta.min()), float(theta.max())),
            spikes_per_neuron=self.counts["events"] / (count * self.copies),
            inherited=rms["inherited"],
            clipping=rms["clipping"],
            quantization=rms["quantization"],
            unevenness=rms["unevenness"],
            saturated=self.counts["saturated"] / count,
            silent=self.counts["silent"] / count,
            above=self.counts["above"] / max(self.counts["positive"], 1),
            headroom=self.top / self.largest if self.largest > 0 else None,
        )


def _square(x: Array) -> float:
    return float(np.vdot(x, x))
