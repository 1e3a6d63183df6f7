"""Advice in words: remedies and trials as the options that one gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..diagnosis.advice import Advice
from ..diagnosis.remedies import Kind, Remedy
from ..diagnosis.trials import Family, Trial
from ..display import counted
from ..spelling import spelled

REMEDIES: Mapping[Kind, Callable[[Remedy], str]] = {
    "more steps": lambda r: "more steps",
    "this T": lambda r: (
        f"convert for this T ({spelled('steps', r.value)}; the network was converted for "
        f"T={r.other})"
    ),
    "thresholds for more steps": lambda r: (
        f"more steps, with thresholds chosen for them ({spelled('steps', r.value)})"
    ),
    "calibration data": lambda r: (
        f"give calibration data ({spelled('calibration', 'DATA')}): its thresholds were assumed "
        "without"
    ),
    "larger samples": lambda r: (
        "calibrate on more samples: activations here are larger than those it was calibrated on, "
        f"so no other {spelled('method')} raises it"
    ),
    "like samples": lambda r: "lower it: calibrate on samples with activations like these",
    "convert again": lambda r: (
        f"convert again: this threshold is {r.value:.3g} times the one it was converted with"
    ),
    "raise": lambda r: f"raise it ({spelled('method', 'max')}, or {_percentile(99.99)})",
    "raise a little": lambda r: f"raise it a little ({_percentile(99.9)} or lower)",
    "lower": lambda r: f"lower it ({spelled('method', 'mmse')} {spelled('steps', r.value)})",
    "lower percentile": lambda r: (
        f"lower it ({spelled('method', 'percentile')}, and less than {spelled('percentile', 99.9)})"
    ),
    "lag": lambda r: spelled("lag", r.value),
    "copies": lambda r: spelled("copies", r.value),
    "signed": lambda r: spelled("recipe", "signed"),
    "graded": lambda r: spelled("recipe", "graded"),
    "constant input": lambda r: spelled("encoding", "constant"),
    "input neurons": lambda r: spelled("encoding", f"population:{r.value:g}"),
}
TRIALS: Mapping[Family, Callable[[Trial], str]] = {
    "lower": lambda t: f"thresholds times {t.value:g}",
    "raise": lambda t: f"thresholds times {t.value:g}",
    "max": lambda t: f"{spelled('method', 'max')} (thresholds times {t.value:.2g})",
    "lag": lambda t: spelled("lag", t.value),
    "copies": lambda t: spelled("copies", t.value),
    "signed": lambda t: "negative spikes",
    "graded": lambda t: f"up to {t.value} signed levels per spike",
}


def _percentile(value: float) -> str:
    return f"{spelled('method', 'percentile')} {spelled('percentile', value)}"


def remedy_text(remedy: Remedy) -> str:
    """What to do, or what to type."""
    return REMEDIES[remedy.kind](remedy)


def trial_text(trial: Trial) -> str:
    """What was tried."""
    return TRIALS[trial.family](trial)


def advice_text(advice: Advice) -> str:
    """The sentence: what is wrong, what to try, and what that did to the layer."""
    if not advice.remedies:
        return advice.problem
    remedies = ", or ".join(map(remedy_text, advice.remedies))
    return f"{advice.problem}: {remedies}{_measured(advice.helped)}"


def _measured(helped: tuple[Trial, ...]) -> str:
    if not helped:
        return ""
    first = helped[0]
    tried = ", ".join(f"{_percent(t.after)} with {trial_text(t)}" for t in helped)
    return (
        f" (tried on this layer alone, {counted(first.samples, 'sample')}: its own error goes from "
        f"{_percent(first.before)} to {tried})"
    )


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
