"""What to try: the layer where the error jumps, what causes it there, and remedies tried out.

A sentence that recommends something says what it does to that layer: the layer's neurons are run
again with the remedy on the very currents they get in the network, and the error of their own
(r - act(zbar), see ``diagnose``) is measured. A remedy that does not help is not recommended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any, Literal

import numpy as np

from ..runtime import graph as snn
from ..runtime.neuron import NeuronParams, State
from ..runtime.ops import Array
from ..runtime.steps import run_population
from .diagnose import Measured, ann_activation
from .diagnose_findings import Finding
from .diagnose_layers import LayerError
from .diagnose_run import SpikingRun, as_population
from .diagnose_structure import initial_charges, partners

Cause = Literal[
    "clipping",
    "quantization",
    "unevenness",
    "bias",
    "threshold",
    "operation",
    "encoding",
    "neuron",
    "",
]
HELPS = 0.9  # a remedy must leave at most this share of the layer's own error
FACTORS = (0.25, 0.5, 0.7, 0.85, 1.15, 1.4, 2.0, 3.0, 4.0, 6.0)


@dataclass(frozen=True, eq=False, kw_only=True)
class Trial:
    """One remedy on one layer: the layer's own error, relative to rms(a), before and after, on
    so many samples."""

    remedy: str
    family: str
    before: float
    after: float
    samples: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Advice:
    """A layer, what costs most there, and a sentence on what to try.

    ``node`` is the node at fault: the layer itself, or what feeds it. ``adds`` is the error the
    layer adds, relative to rms(a). ``trials``: what was tried, best first.
    """

    layer: str
    node: str
    cause: Cause
    adds: float
    text: str
    trials: tuple[Trial, ...] = ()


def jump(measured: Measured) -> LayerError | None:
    """The layer that ``diagnose.RULE`` names, or None where no layer adds anything.

    A fault shows as a layer that stands out from the usual error of the others; what it does to
    the layers after it must not hide it.
    """
    most = max((layer.adds for layer in measured.layers), default=0.0)
    if most <= 0:
        return None
    candidates = [layer for layer in measured.layers if layer.adds >= most / 2]
    return next((c for c in candidates if stands_out(c, measured)), candidates[0])


def stands_out(layer: LayerError, measured: Measured) -> bool:
    """Coarse spikes of one layer are unevenness in the next, so parts are compared by kind."""
    if layer.kind != "population" or layer.adds > layer.own:
        return True
    part, value = _largest_part(layer)
    values = [getattr(other, part) or 0.0 for other in measured.layers if part]
    usual = sorted(v for v in values if v > 1e-6)
    return bool(usual) and value >= 1.8 * usual[(len(usual) - 1) // 2]


def _largest_part(layer: LayerError) -> tuple[Cause, float]:
    parts: dict[Cause, float] = {
        "clipping": layer.clipping or 0.0,
        "quantization": layer.quantization or 0.0,
        "unevenness": layer.unevenness or 0.0,
    }
    best = max(parts, key=lambda k: parts[k])
    return (best, parts[best]) if parts[best] > 0 else ("", 0.0)


def heaviest(measured: Measured) -> LayerError | None:
    """The layer that adds most."""
    found = max(measured.layers, key=lambda layer: layer.adds, default=None)
    return found if found is not None and found.adds > 0 else None


def cause_of(layer: LayerError, measured: Measured) -> tuple[Cause, Finding | None]:
    """The largest contribution at a layer: a fault of structure, or a part of its own error."""
    fault = next(
        (f for f in measured.findings if f.seen_at == layer.name and f.kind != "calibrated"),
        None,
    ) or _shared_fault(layer, measured)
    if fault is not None and (layer.structure or 0.0) >= layer.own:
        return ("operation" if fault.kind == "calibrated" else fault.kind), fault
    if layer.kind == "input":
        return "encoding", None
    part, _ = _largest_part(layer)
    return part or ("neuron" if layer.own > 0 else ""), None


def _shared_fault(layer: LayerError, measured: Measured) -> Finding | None:
    """A node at fault may feed several layers; it is listed once, with the first."""
    if (layer.structure or 0.0) <= layer.own:
        return None
    found = [f for f in measured.findings if f.kind != "calibrated"]
    return found[0] if found else None


def try_remedies(
    lowered: snn.SpikingGraph,
    net: snn.SpikingGraph,
    batches: Iterable[Mapping[str, Array]],
    steps: int,
    name: str,
    *,
    seed: int = 0,
) -> tuple[Trial, ...]:
    """Run the neurons of layer ``name`` again with other parameters on the same input currents.

    Thresholds change with the weights that read the spikes, so that rates stay in the ANN's unit.
    Trials are ordered by the error they leave; empty where the neuron model has no such remedies.
    """
    node = net[name]
    population = as_population(node) if isinstance(node, snn.Population | snn.Readout) else None
    if population is None or not isinstance(population.neuron, NeuronParams):
        return ()
    ceiling = (0.0, population.ceiling) if isinstance(node, snn.Population) else (-np.inf, np.inf)
    variants = {"": ("", population.neuron), **_variants(population.neuron, steps)}
    charge = initial_charges(net, lowered, partners(net, lowered), steps).get(name, 0.0)
    squares, active = dict.fromkeys(variants, 0.0), 0.0
    done = 0
    for arrays in batches:
        a = ann_activation(lowered, net, arrays, name)
        trial = _Trials(population, variants, net, steps)
        run = SpikingRun(
            net, arrays, steps, seed=seed, offset=done, extra=trial.extra, observe=trial.observe
        )
        zbar = run.run().current[name] / steps + charge
        act = np.clip(zbar, *ceiling)
        for label, rate in trial.rates().items():
            squares[label] += float(((rate - act) ** 2).sum())
        active += float((a.astype(np.float64) ** 2).sum())
        done += len(a)
    base = active or 1.0
    before = sqrt(squares[""] / base)
    trials = [
        Trial(remedy=k, family=v[0], before=before, after=sqrt(squares[k] / base), samples=done)
        for k, v in variants.items()
        if k
    ]
    return tuple(sorted(trials, key=lambda t: t.after))


def _variants(neuron: NeuronParams, steps: int) -> dict[str, tuple[str, NeuronParams]]:
    """Remedies by what they are called: (family, the neuron with it)."""
    out: dict[str, tuple[str, NeuronParams]] = {}
    for factor in FACTORS:
        family = "lower" if factor < 1 else "raise"
        out[f"thresholds times {factor:g}"] = (family, _scaled(neuron, factor))
    for lag in (1, 2, 4, 8):
        if neuron.lag < lag <= max(1, steps // 2):
            out[f"--lag {lag}"] = ("lag", replace(neuron, lag=lag))
    if not neuron.signed:
        out["negative spikes"] = ("signed", replace(neuron, signed=True))
    if neuron.levels < 15:
        graded = replace(_scaled(neuron, neuron.levels / 15), levels=15, signed=True)
        out["up to 15 signed levels per spike"] = ("graded", graded)
    return out


def _scaled(neuron: NeuronParams, factor: float) -> NeuronParams:
    """Another threshold. What v_init is beyond theta / 2 stays: calibration has made up for that
    charge in the bias."""
    f = np.float32(factor)
    moved = neuron.v_init + (f - 1) * neuron.v_threshold / 2
    return replace(neuron, v_threshold=neuron.v_threshold * f, v_init=moved)


class _Trials:
    """The variants of one population, run beside the network on its input current."""

    def __init__(
        self,
        node: snn.Population,
        variants: Mapping[str, tuple[str, NeuronParams]],
        net: snn.SpikingGraph,
        steps: int,
    ) -> None:
        self.node, self.steps = node, steps
        self.nodes = {k: replace(node, neuron=v[1]) for k, v in variants.items()}
        self.states: dict[str, State] = {k: {} for k in variants}
        self.spikes: dict[str, Array] = {}
        onset = snn.onsets(net)
        self.begin = onset[node.inputs[0]]
        self.extra = max(n.neuron.lag for n in self.nodes.values())

    def observe(self, node: snn.Population, current: Array, t0: int, count: int) -> None:
        if node.name != self.node.name:
            return
        for label, variant in self.nodes.items():
            first = self.begin + variant.neuron.lag
            fire = (first, first + self.steps)
            sent = run_population(variant, current, self.states[label], t0, count, fire)
            total = sent.sum(axis=0, dtype=np.float64)
            self.spikes[label] = self.spikes.get(label, 0.0) + total

    def rates(self) -> dict[str, Array]:
        return {
            label: self.nodes[label].neuron.v_threshold.astype(np.float64) * k / self.steps
            for label, k in self.spikes.items()
        }


FAMILIES: dict[str, tuple[str, ...]] = {
    "clipping": ("raise", "graded"),
    "quantization": ("lower", "graded"),
    "unevenness": ("lag", "signed", "graded"),
}


def advise(
    layer: LayerError,
    cause: Cause,
    fault: Finding | None,
    trials: tuple[Trial, ...],
    measured: Measured,
    options: Mapping[str, Any],
) -> Advice:
    """The sentence for one layer. ``options``: those the network was converted with."""
    node = layer.name if fault is None else fault.node
    common: dict[str, Any] = {"layer": layer.name, "node": node, "cause": cause, "adds": layer.adds}
    if fault is not None:
        return Advice(**common, text=fault.text)
    if cause == "encoding":
        text = (
            f"input '{layer.name}': the spikes that carry it differ from its values by "
            f"{_percent(layer.error)}: more steps, or --encoding constant"
        )
        return Advice(**common, text=text)
    if cause not in FAMILIES:
        why = f" ({layer.reason}, so its error is not split)" if layer.reason else ""
        text = f"layer '{layer.name}' adds {_percent(layer.adds)}{why}: more steps"
        return Advice(**common, text=text)
    says = {"clipping": _clipping, "quantization": _quantization, "unevenness": _unevenness}
    best = _best(trials, FAMILIES[cause])
    problem, remedies = says[cause](layer, measured.steps, options, best)
    text = f"layer '{layer.name}': {problem}: {', or '.join(remedies)}"
    return Advice(**common, text=text + _measured_text(best), trials=trials)


def _best(trials: tuple[Trial, ...], families: tuple[str, ...]) -> dict[str, Trial]:
    """The best remedy of each family that helps. A lag costs latency in every layer: the shortest
    that gains half of what the best one gains."""
    out: dict[str, Trial] = {}
    for trial in trials:
        if trial.family not in families or trial.after > HELPS * trial.before:
            continue
        best = out.setdefault(trial.family, trial)
        shorter = trial.family == "lag" and _lag(trial) < _lag(out["lag"])
        top = next(t for t in trials if t.family == trial.family)
        if shorter and trial.before - trial.after >= (best.before - top.after) / 2:
            out["lag"] = trial
    return out


def _lag(trial: Trial) -> int:
    return int(trial.remedy.removeprefix("--lag "))


def _measured_text(best: Mapping[str, Trial]) -> str:
    if not best:
        return ""
    first = next(iter(best.values()))
    tried = ", ".join(f"{_percent(t.after)} with {t.remedy}" for t in best.values())
    return (
        f" (tried on this layer alone, {first.samples} samples: its own error goes from "
        f"{_percent(first.before)} to {tried})"
    )


def _clipping(
    layer: LayerError, steps: int, options: Mapping[str, Any], best: Mapping[str, Trial]
) -> tuple[str, list[str]]:
    problem = (
        f"{_percent(layer.above)} of its positive activations are above the most its neurons can "
        f"send (thresholds: median {layer.threshold:.3g}), and {_percent(layer.saturated)} of "
        "the neurons fire as often as they can"
    )
    if "raise" not in best:
        # Fewer clipped activations would cost as much in coarser steps.
        remedies = [f"more steps, with thresholds chosen for them (-T {2 * steps})"]
    elif options.get("method") == "max":
        remedies = ["raise it: calibrate on more samples, these go higher"]
    else:
        remedies = ["raise it (--method max, or --method percentile --percentile 99.99)"]
    if "graded" in best:
        remedies.append("--recipe graded")
    return problem, [*_other_steps(steps, options), *remedies]


def _other_steps(steps: int, options: Mapping[str, Any]) -> list[str]:
    """Thresholds chosen for another T are the first thing to change."""
    made_for = options.get("steps")
    if made_for in (None, steps):
        return []
    return [f"convert for this T (-T {steps}; the network was converted for T={made_for})"]


def _quantization(
    layer: LayerError, steps: int, options: Mapping[str, Any], best: Mapping[str, Trial]
) -> tuple[str, list[str]]:
    step = (layer.threshold or 0.0) / steps
    share = step / layer.activation if layer.activation else 0.0
    large = "its threshold is large for" if "lower" in best else "its rates are coarse at"
    problem = (
        f"{large} T={steps}: one spike more or less moves a rate by {_percent(share)} of the rms "
        "activation"
    )
    if layer.silent and layer.silent > 0.02:
        problem += (
            f", and {_percent(layer.silent)} of its neurons stay silent though they should not"
        )
    remedies = []
    if "lower" in best:
        remedies.append(f"lower it (--method mmse -T {steps})")
    remedies.append("more steps")
    if "graded" in best:
        remedies.append("--recipe graded")
    return problem, [*_other_steps(steps, options), *remedies]


def _unevenness(
    layer: LayerError, steps: int, options: Mapping[str, Any], best: Mapping[str, Trial]
) -> tuple[str, list[str]]:
    problem = f"its input spikes arrive unevenly, which costs {_percent(layer.unevenness)}"
    remedies = [best["lag"].remedy] if "lag" in best else []
    if "signed" in best:
        remedies.append("--recipe signed")
    if "graded" in best:
        remedies.append("--recipe graded")
    return problem, [*remedies, "more steps"]


def _percent(value: float | None) -> str:
    return f"{100 * (value or 0.0):.1f} %"
