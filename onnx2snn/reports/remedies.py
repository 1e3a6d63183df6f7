"""Advice in words: remedies and trials as what one types on the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..diagnosis.advice import Advice
from ..diagnosis.remedies import Kind, Remedy
from ..diagnosis.trials import Family, Trial

REMEDIES: Mapping[Kind, Callable[[Remedy], str]] = {
    "more steps": lambda r: "more steps",
    "this T": lambda r: (
        f"convert for this T (-T {r.value}; the network was converted for T={r.other})"
    ),
    "thresholds for more steps": lambda r: (
        f"more steps, with thresholds chosen for them (-T {r.value})"
    ),
    "calibration data": lambda r: (
        "give calibration data (--calib DATA): its thresholds were assumed without"
    ),
    "larger samples": lambda r: (
        "calibrate on more samples: activations here are larger than those it was calibrated on, "
        "so no other --method raises it"
    ),
    "like samples": lambda r: "lower it: calibrate on samples with activations like these",
    "convert again": lambda r: (
        f"convert again: this threshold is {r.value:.3g} times the one it was converted with"
    ),
    "raise": lambda r: "raise it (--method max, or --method percentile --percentile 99.99)",
    "raise a little": lambda r: (
        "raise it a little (--method percentile --percentile 99.9 or lower)"
    ),
    "lower": lambda r: f"lower it (--method mmse -T {r.value})",
    "lower percentile": lambda r: "lower it (--method percentile, and less than --percentile 99.9)",
    "lag": lambda r: f"--lag {r.value}",
    "copies": lambda r: f"--copies {r.value}",
    "signed": lambda r: "--recipe signed",
    "graded": lambda r: "--recipe graded",
    "constant input": lambda r: "--encoding constant",
    "input neurons": lambda r: f"--encoding population:{r.value:g}",
}
TRIALS: Mapping[Family, Callable[[Trial], str]] = {
    "lower": lambda t: f"thresholds times {t.value:g}",
    "raise": lambda t: f"thresholds times {t.value:g}",
    "max": lambda t: f"--method max (thresholds times {t.value:.2g})",
    "lag": lambda t: f"--lag {t.value}",
    "copies": lambda t: f"--copies {t.value}",
    "signed": lambda t: "negative spikes",
    "graded": lambda t: f"up to {t.value} signed levels per spike",
}


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
        f" (tried on this layer alone, {first.samples} samples: its own error goes from "
        f"{_percent(first.before)} to {tried})"
    )


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
