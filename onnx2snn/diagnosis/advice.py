"""What to try: the layer where the error jumps, what causes it there, and remedies tried out.

Advice that recommends something says what it does to that layer: the layer's neurons are run
again with the remedy on the very currents they get in the network, and the error of their own
(r - act(zbar), see ``diagnose``) is measured. A remedy that does not help is not recommended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..provenance import Provenance
from ..runtime.neurons import Neuron, windowed
from .findings import Finding
from .layers import LayerError
from .measure import Measured
from .remedies import Remedy
from .trials import Family, Trial

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
    """A layer, what costs most there, and what to try.

    Attributes:
        node: the node at fault: the layer itself, or what feeds it.
        adds: the error the layer adds, relative to rms(a).
        problem: what is wrong, for people.
        remedies: what to try, first things first; none where ``problem`` says it.
        trials: what was tried, best first; ``helped``: the best of each family of changes that
            helps.
    """

    layer: str
    node: str
    cause: Cause
    adds: float
    problem: str
    remedies: tuple[Remedy, ...] = ()
    trials: tuple[Trial, ...] = ()
    helped: tuple[Trial, ...] = ()


ALONE = 1.5  # times what any other layer adds


def adds_most(measured: Measured) -> LayerError | None:
    """The layer that adds clearly more than any other; None where none does."""
    first = heaviest(measured)
    others = [layer.adds for layer in measured.layers if layer is not first]
    if first is None or any(first.adds < ALONE * adds for adds in others):
        return None
    return first


def jump(measured: Measured) -> LayerError | None:
    """The layer that ``measure.RULE`` names, or None where no layer adds anything.

    What a fault does to the layers behind it (a missing bias shifts them into clipping) must not
    hide it, so a layer that is not the ANN's is named before any other.
    """
    faulty = [layer for layer in measured.layers if fault_at(layer, measured) is not None]
    if faulty:
        largest = max(layer.structure or 0.0 for layer in faulty)
        return next(layer for layer in faulty if (layer.structure or 0.0) >= largest / 2)
    most, alone = heaviest(measured), adds_most(measured)
    if most is None:
        return None
    candidates = [layer for layer in measured.layers if layer.adds >= most.adds / 2]
    first = next((c for c in candidates if stands_out(c, measured)), candidates[0])
    if alone is None or (
        _is_coarse(first) and not _is_coarse(alone) and _feeds(first, to=alone, measured=measured)
    ):
        return first
    return alone


def _is_coarse(layer: LayerError) -> bool:
    """Whether its error is of its own making. Unevenness may be what coarse spikes of the layer
    before do to this one."""
    return _largest_part(layer)[0] != "unevenness"


def _feeds(first: LayerError, *, to: LayerError, measured: Measured) -> bool:
    """Whether ``first`` is the last with spikes of its own before ``to``, in execution order."""
    before = measured.layers[: measured.layers.index(to)]
    spiking = [other for other in before if other.kind in ("population", "input")]
    return bool(spiking) and spiking[-1] is first


def of_no_loss(measured: Measured) -> LayerError | None:
    """What is marked where nothing is lost: a layer that is not the ANN's, else the one that adds
    most."""
    found = jump(measured)
    fault = found is not None and fault_at(found, measured) is not None
    return found if fault else heaviest(measured)


def fault_at(layer: LayerError, measured: Measured) -> Finding | None:
    """The place where the network is not the ANN that this layer shows."""
    found = (f for f in measured.findings if f.seen_at == layer.name and f.kind != "calibrated")
    return next(found, None)


def stands_out(layer: LayerError, measured: Measured) -> bool:
    """Whether it adds clearly most, or much of one kind: coarse spikes of one layer are unevenness
    in the next, so parts are compared by kind. Half of the activation lost is much, whatever the
    others lose."""
    if layer is adds_most(measured):
        return True
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


FAMILIES: Mapping[Cause, tuple[Family, ...]] = {
    "clipping": ("raise", "max", "graded"),
    "quantization": ("lower", "copies", "graded"),
    "unevenness": ("lag", "signed", "graded"),
}


def advise(
    layer: LayerError,
    cause: Cause,
    fault: Finding | None,
    *,
    trials: tuple[Trial, ...],
    measured: Measured,
    made: Provenance,
) -> Advice:
    """What to try at one layer."""
    node = layer.name if fault is None else fault.node
    common: dict[str, Any] = {"layer": layer.name, "node": node, "cause": cause, "adds": layer.adds}
    if fault is not None:
        return Advice(**common, problem=fault.text)
    if cause == "encoding":
        problem = (
            f"input '{layer.name}': the spikes that carry it differ from its values by "
            f"{_percent(layer.error)}"
        )
        remedies = [Remedy("more steps"), Remedy("constant input")]
        return Advice(**common, problem=problem, remedies=tuple(remedies))
    if cause not in FAMILIES:
        problem = f"layer '{layer.name}' adds {_percent(layer.adds)}"
        return Advice(**common, problem=problem, remedies=(Remedy("more steps"),))
    says = {"clipping": _clipping, "quantization": _quantization, "unevenness": _unevenness}
    best = _best(trials, FAMILIES[cause])
    problem, remedies = says[cause](layer, measured.steps, made, best)
    remedies = list(dict.fromkeys([*_first_of_all(measured.steps, made), *remedies]))
    return Advice(
        **common,
        problem=f"layer '{layer.name}': {problem}",
        remedies=tuple(remedies),
        trials=trials,
        helped=tuple(best.values()),
    )


def advise_coder(layer: LayerError, cause: Cause, neuron: Neuron) -> Advice:
    """What to try at neurons that an input enters by (``converter.lowering.coders``)."""
    more = [] if windowed(neuron) else [Remedy("input neurons", 2 * neuron.levels)]
    said = {
        "clipping": "some of its values are beyond those of calibration",
        "quantization": "it says values in coarse steps",
    }
    problem = f"input neurons '{layer.name}': {said.get(cause, 'they change its values')}, by "
    return Advice(
        layer=layer.name,
        node=layer.name,
        cause=cause,
        adds=layer.adds,
        problem=problem + _percent(layer.adds),
        remedies=(*more, Remedy("more steps"), Remedy("constant input")),
    )


def _first_of_all(steps: int, made: Provenance) -> list[Remedy]:
    """Thresholds chosen without data, or for another T, are the first thing to change."""
    if made.assumed:
        return [Remedy("calibration data")]
    if made.steps in (None, steps):
        return []
    return [Remedy("this T", steps, other=made.steps)]


def _best(trials: tuple[Trial, ...], families: tuple[Family, ...]) -> dict[Family, Trial]:
    """The best remedy of each family that helps. A lag costs latency in every layer: the shortest
    that gains half of what the best one gains."""
    out: dict[Family, Trial] = {}
    for trial in trials:
        if trial.family not in families or trial.after > HELPS * trial.before:
            continue
        best = out.setdefault(trial.family, trial)
        shorter = trial.family == "lag" and trial.value < out["lag"].value
        top = next(t for t in trials if t.family == trial.family)
        if shorter and trial.before - trial.after >= (best.before - top.after) / 2:
            out["lag"] = trial
    return out


def _changed(layer: LayerError, made: Provenance) -> float | None:
    """How many times the threshold it was given a layer has, where that is another one."""
    given = (made.thresholds or {}).get(layer.name)
    if given is None or not given.median or layer.threshold is None:
        return None
    factor = layer.threshold / given.median
    return factor if abs(factor - 1) > 0.01 else None


def _not_the_given(layer: LayerError, made: Provenance, *, too_high: bool) -> list[Remedy]:
    """The remedy where somebody changed the threshold after the conversion."""
    factor = _changed(layer, made)
    if factor is None or (factor > 1) != too_high:
        return []
    return [Remedy("convert again", factor)]


def _clipping(
    layer: LayerError, steps: int, made: Provenance, best: Mapping[Family, Trial]
) -> tuple[str, list[Remedy]]:
    problem = (
        f"{_percent(layer.above)} of its positive activations are above the most its neurons can "
        f"send (thresholds: median {layer.threshold:.3g}), and {_percent(layer.saturated)} of "
        "the neurons fire as often as they can"
    )
    remedies = _not_the_given(layer, made, too_high=False)
    reach = made.reach(layer.name)
    if remedies or made.assumed:
        pass
    elif "raise" not in best:
        # Fewer clipped activations would cost as much in coarser steps.
        remedies.append(Remedy("thresholds for more steps", 2 * steps))
    elif made.method == "max" or (reach is not None and reach <= 1.05):
        remedies.append(Remedy("larger samples"))
    elif "max" in best or reach is None:
        remedies.append(Remedy("raise"))
    else:
        # The largest activation would raise it too far.
        remedies.append(Remedy("raise a little"))
    if "graded" in best:
        remedies.append(Remedy("graded"))
    return problem, remedies


def _quantization(
    layer: LayerError, steps: int, made: Provenance, best: Mapping[Family, Trial]
) -> tuple[str, list[Remedy]]:
    share = (layer.resolution or 0.0) / layer.activation if layer.activation else 0.0
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
        same = made.steps == steps and made.method == "mmse"
        known = same and layer.name in (made.thresholds or {})
        if made.recipe == "differential":  # which method mmse does not change
            remedies.append(Remedy("lower percentile"))
        elif known:
            remedies.append(Remedy("like samples"))
        else:
            remedies.append(Remedy("lower", steps))
    remedies.append(Remedy("more steps"))
    if "copies" in best:
        remedies.append(Remedy("copies", best["copies"].value))
    if "graded" in best:
        remedies.append(Remedy("graded"))
    return problem, remedies


def _unevenness(
    layer: LayerError, steps: int, made: Provenance, best: Mapping[Family, Trial]
) -> tuple[str, list[Remedy]]:
    problem = f"its input spikes arrive unevenly, which costs {_percent(layer.unevenness)}"
    remedies = [Remedy("lag", best["lag"].value)] if "lag" in best else []
    if "signed" in best:
        remedies.append(Remedy("signed"))
    if "graded" in best:
        remedies.append(Remedy("graded"))
    return problem, [*remedies, Remedy("more steps")]


def _percent(value: float | None) -> str:
    return f"{100 * (value or 0.0):.1f} %"
