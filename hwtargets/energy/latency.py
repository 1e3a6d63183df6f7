"""Time per inference.

latency = (T + lag) t_step,   lag the sum of the start lags; more where what a step has to do
                              takes longer (``bounds``)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..target import HardwareTarget
from .bounds import StepBound
from .constants import Span, source_of, spread


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Per inference.

    Attributes:
        steps, lag_steps: T, and the start lags before it.
        seconds: None where no time per step was published; source: of that time.
        ticks: of the chip's clock, where it counts the steps in these.
        bound: what the steps take at the least; None where nothing is known of that.
    """

    steps: int
    lag_steps: int
    seconds: Span | None = None
    source: str = ""
    ticks: int | None = None
    bound: StepBound | None = None

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        out: dict[str, Any] = {"steps": self.steps, "lag_steps": self.lag_steps}
        if self.seconds is not None:
            out |= vars(self.seconds) | {"unit": "s", "source": self.source}
        if self.bound is not None:
            out["bound"] = self.bound.document()
        return out if self.ticks is None else out | {"ticks": self.ticks}


def latency_of(
    target: HardwareTarget, *, steps: int, lag: int, bound: StepBound | None = None
) -> Latency:
    """Seconds per inference; only the steps where the target has no time per step. ``bound``: what
    these take at the least."""
    seconds = seconds_of(target, steps=steps + lag, bound=bound)
    source = source_of(target.energy["step"]) if "step" in target.energy else ""
    return Latency(steps=steps, lag_steps=lag, seconds=seconds, source=source, bound=bound)


def seconds_of(target: HardwareTarget, *, steps: int, bound: StepBound | None) -> Span | None:
    """Of so many steps: as long as published, and no less than they take at the least, of which
    the middle of a range is its geometric one. None where no time per step was published."""
    if "step" not in target.energy:
        return None
    step = target.energy["step"]
    value, half = steps * step.value, spread(step)
    low, high = (0.0, 0.0) if bound is None else bound.inference
    return Span(
        value=max(value, (low * high) ** 0.5),
        low=max(value * (1 - half), low),
        high=max(value * (1 + half), high),
    )
