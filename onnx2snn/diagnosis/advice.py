"""What to try: the layer where the error jumps, what causes it there, and remedies tried out.

A sentence that recommends something says what it does to that layer: the layer's neurons are run
again with the remedy on the very currents they get in the network, and the error of their own
(r - act(zbar), see ``diagnose``) is measured. A remedy that does not help is not recommended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .findings import Finding
from .layers import LayerError
from .measure import Measured
from .trials import Trial

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


@dataclass(frozen=True, eq=False, kw_only=True)
class Made:
    """How the network was made, as its file says.

    ``options``: of the conversion; ``assumed``: without data; ``thresholds``: per population the
    ``median`` it was given, and the ``reach`` of the calibration samples: their largest activation
    relative to the most the neurons can send, median of the channels.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    assumed: bool = False
    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @staticmethod
    def of(meta: Mapping[str, Any]) -> Made:
        notes = [str(note) for note in meta.get("notes", ())]
        return Made(
            options=meta.get("options", {}),
            assumed=any(note.startswith("converted without data") for note in notes),
            thresholds=meta.get("thresholds", {}),
        )

    def reach(self, name: str) -> float | None:
        """See ``thresholds``; None where the file does not say."""
        return None if self.assumed else self.thresholds.get(name, {}).get("reach")

    def changed(self, layer: LayerError) -> float | None:
        """How many times the threshold it was given a layer has, where that is another one."""
        before = self.thresholds.get(layer.name, {}).get("median")
        if not before or layer.threshold is None:
            return None
        factor = layer.threshold / before
        return factor if abs(factor - 1) > 0.01 else None


def jump(measured: Measured) -> LayerError | None:
    """The layer that ``diagnose.RULE`` names, or None where no layer adds anything.

    What a fault does to the layers behind it (a missing bias shifts them into clipping) must not
    hide it, so a layer that is not the ANN's is named before any other.
    """
    faulty = [layer for layer in measured.layers if fault_at(layer, measured) is not None]
    if faulty:
        most = max(layer.structure or 0.0 for layer in faulty)
        return next(layer for layer in faulty if (layer.structure or 0.0) >= most / 2)
    most = max((layer.adds for layer in measured.layers), default=0.0)
    if most <= 0:
        return None
    candidates = [layer for layer in measured.layers if layer.adds >= most / 2]
    return next((c for c in candidates if stands_out(c, measured)), candidates[0])


def fault_at(layer: LayerError, measured: Measured) -> Finding | None:
    """The place where the network is not the ANN that this layer shows."""
    found = (f for f in measured.findings if f.seen_at == layer.name and f.kind != "calibrated")
    return next(found, None)


def stands_out(layer: LayerError, measured: Measured) -> bool:
    """Coarse spikes of one layer are unevenness in the next, so parts are compared by kind. Half of
    the activation lost is much, whatever the others lose."""
    if layer.kind != "population" or layer.adds > layer.own:
        return True
    if fault_at(layer, measured) is not None:
        return True
    part, value = _largest_part(layer)
    values = [getattr(other, part) or 0.0 for other in measured.layers if part]
    usual = sorted(v for v in values if v > 1e-6)
    return bool(usual) and (value >= 1.8 * usual[(len(usual) - 1) // 2] or value >= 0.5)


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
    """What is wrong at a layer: a fault of structure, or the largest part of its own error."""
    fault = fault_at(layer, measured) or _shared_fault(layer, measured)
    if fault is not None:
        return ("operation" if fault.kind == "calibrated" else fault.kind), fault
    if layer.kind == "input":
        return "encoding", None
    part, _ = _largest_part(layer)
    return part or ("neuron" if layer.own > 0 else ""), None


def _shared_fault(layer: LayerError, measured: Measured) -> Finding | None:
    """A node at fault may feed several layers; it is listed once, with the first."""
    if (layer.structure or 0.0) <= layer.own or layer.adds <= layer.own:
        return None
    found = [f for f in measured.findings if f.kind != "calibrated"]
    return found[0] if found else None


FAMILIES: dict[str, tuple[str, ...]] = {
    "clipping": ("raise", "max", "graded"),
    "quantization": ("lower", "copies", "graded"),
    "unevenness": ("lag", "signed", "graded"),
}


def advise(
    layer: LayerError,
    cause: Cause,
    fault: Finding | None,
    trials: tuple[Trial, ...],
    measured: Measured,
    made: Made,
) -> Advice:
    """The sentence for one layer."""
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
    problem, remedies = says[cause](layer, measured.steps, made, best)
    remedies = list(dict.fromkeys([*_first_of_all(measured.steps, made), *remedies]))
    text = f"layer '{layer.name}': {problem}: {', or '.join(remedies)}"
    return Advice(**common, text=text + _measured_text(best), trials=trials)


def _first_of_all(steps: int, made: Made) -> list[str]:
    """Thresholds chosen without data, or for another T, are the first thing to change."""
    if made.assumed:
        return ["give calibration data (--calib DATA): its thresholds were assumed without"]
    made_for = made.options.get("steps")
    if made_for in (None, steps):
        return []
    return [f"convert for this T (-T {steps}; the network was converted for T={made_for})"]


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


def _not_the_given(layer: LayerError, made: Made, *, too_high: bool) -> list[str]:
    """The remedy where somebody changed the threshold after the conversion."""
    factor = made.changed(layer)
    if factor is None or (factor > 1) != too_high:
        return []
    return [f"convert again: this threshold is {factor:.3g} times the one it was converted with"]


def _clipping(
    layer: LayerError, steps: int, made: Made, best: Mapping[str, Trial]
) -> tuple[str, list[str]]:
    problem = (
        f"{_percent(layer.above)} of its positive activations are above the most its neurons can "
        f"send (thresholds: median {layer.threshold:.3g}), and {_percent(layer.saturated)} of "
        "the neurons fire as often as they can"
    )
    remedies = _not_the_given(layer, made, too_high=False)
    reach = made.reach(layer.name)
    beyond = "calibrate on more samples: activations here are larger than those it was"
    if remedies or made.assumed:
        pass
    elif "raise" not in best:
        # Fewer clipped activations would cost as much in coarser steps.
        remedies.append(f"more steps, with thresholds chosen for them (-T {2 * steps})")
    elif made.options.get("method") == "max" or (reach is not None and reach <= 1.05):
        remedies.append(f"{beyond} calibrated on, so no other --method raises it")
    elif "max" in best or reach is None:
        remedies.append("raise it (--method max, or --method percentile --percentile 99.99)")
    else:
        # The largest activation would raise it too far.
        remedies.append("raise it a little (--method percentile --percentile 99.9 or lower)")
    if "graded" in best:
        remedies.append("--recipe graded")
    return problem, remedies


def _quantization(
    layer: LayerError, steps: int, made: Made, best: Mapping[str, Trial]
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
    remedies = _not_the_given(layer, made, too_high=True)
    if "lower" in best and not remedies and not made.assumed:
        same = made.options.get("steps") == steps and made.options.get("method") == "mmse"
        known = same and layer.name in made.thresholds
        if made.options.get("recipe") == "differential":  # which --method mmse does not change
            remedies.append("lower it (--method percentile, and less than --percentile 99.9)")
        elif known:
            remedies.append("lower it: calibrate on samples with activations like these")
        else:
            remedies.append(f"lower it (--method mmse -T {steps})")
    remedies.append("more steps")
    if "copies" in best:
        remedies.append(best["copies"].remedy)
    if "graded" in best:
        remedies.append("--recipe graded")
    return problem, remedies


def _unevenness(
    layer: LayerError, steps: int, made: Made, best: Mapping[str, Trial]
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
