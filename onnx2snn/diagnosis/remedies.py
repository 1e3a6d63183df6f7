"""What can be done about an error, as records; ``reports.remedies`` has their words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal[
    "more steps",
    "this T",
    "thresholds for more steps",
    "calibration data",
    "larger samples",
    "like samples",
    "convert again",
    "raise",
    "raise a little",
    "lower",
    "lower percentile",
    "lag",
    "copies",
    "signed",
    "graded",
    "constant input",
    "input neurons",
]


@dataclass(frozen=True)
class Remedy:
    """One thing to try. Equal remedies are one.

    Attributes:
        kind: "more steps"; "this T": convert for T = ``value``, not ``other``; "thresholds for
            more steps": convert for T = ``value``; "calibration data": there was none; "larger
            samples": activations are above those calibrated on; "like samples": they are below;
            "convert again": the threshold was changed, by the factor ``value``; "raise", "raise a
            little", "lower" (for T = ``value``), "lower percentile": how thresholds are chosen;
            "lag", "copies": ``value`` of them; "signed", "graded": that recipe; "constant input":
            that encoding; "input neurons": ``value`` for each value of an input.
    """

    kind: Kind
    value: float | None = None
    other: float | None = field(default=None, kw_only=True)
