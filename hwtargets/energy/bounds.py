"""What a time step takes at the least: the largest of several bounds, and which one that is.

    step >= max(updates t_update, synops t_synop, reads t_read       of the busiest core,
                bits t_link   of the busiest link,
                t_barrier)

(Timcheck, Pierro, Shrestha, arXiv 2601.10035: a max-affine lower bound for Loihi 2.) Times are
ranges, so the largest is known from one end to the other, and may be another at each. Work is that
of an average step; a step with more takes longer, so the sum over steps is bounded likewise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...runtime.ops import Array
from ..target import HardwareTarget, Known, Range

TIMES: Mapping[str, Known] = {
    "update": Known(help="a neuron of a core updated", unit="s per neuron"),
    "synop": Known(help="a synaptic operation in a core", unit="s per synaptic operation"),
    "read": Known(help="a word of synapse memory read", unit="s per word"),
    "link": Known(help="a bit over a link", unit="s per bit"),
    "barrier": Known(help="the end of a step, on one chip", unit="s per step"),
    "board_barrier": Known(help="the end of a step, on several chips", unit="s per step"),
}
# By term: what is counted, in words, and whether it lasts for the start lags too.
SAID: Mapping[str, str] = {
    "update": "neuron updates of the busiest core",
    "synop": "synaptic operations of the busiest core",
    "read": "memory reads of the busiest core",
    "link": "bits on the busiest link",
    "barrier": "the barrier",
    "board_barrier": "the barrier between chips",
}
LASTING = ("update", "barrier", "board_barrier")


@dataclass(frozen=True, eq=False, kw_only=True)
class Work:
    """What each core has to do in a time step, on average; arrays have one entry per core.

    Attributes:
        updates: neurons that are updated, as the chip counts neurons.
        synops: synaptic operations: spikes that arrive times synapses that they meet here.
        reads: words of synapse memory that are read for them.
    """

    updates: Array
    synops: Array
    reads: Array


@dataclass(frozen=True, kw_only=True)
class Term:
    """One bound of a step: ``count`` events per step, which take ``low`` to ``high`` s together.
    ``of``: the range that one takes."""

    count: float
    of: Range

    @property
    def name(self) -> str:
        return self.of.name

    @property
    def low(self) -> float:
        return self.count * self.of.low

    @property
    def high(self) -> float:
        return self.count * self.of.high


@dataclass(frozen=True, kw_only=True)
class StepBound:
    """The terms of a step, ``steps`` steps in which spikes flow and ``lag`` others."""

    terms: tuple[Term, ...]
    steps: int
    lag: int

    @property
    def low(self) -> float:
        """Seconds per step, with all times at their low ends."""
        return max(term.low for term in self.terms)

    @property
    def high(self) -> float:
        return max(term.high for term in self.terms)

    @property
    def binds(self) -> tuple[str, str]:
        """The term that is largest, with all times at their low and at their high ends."""
        low = max(self.terms, key=lambda term: term.low)
        return low.name, max(self.terms, key=lambda term: term.high).name

    @property
    def inference(self) -> tuple[float, float]:
        """Seconds per inference, low and high. Each step takes what its largest term does, and all
        of them together no less than any one term in all."""
        times = [self.steps + (self.lag if t.name in LASTING else 0) for t in self.terms]
        terms = list(zip(self.terms, times, strict=True))
        return max(t.low * n for t, n in terms), max(t.high * n for t, n in terms)

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        low, high = self.inference
        return {
            "step": {"low": self.low, "high": self.high},
            "inference": {"low": low, "high": high},
            "unit": "s",
            "binds": dict(zip(("low", "high"), self.binds, strict=True)),
            "terms": {
                t.name: {
                    "count": t.count, "low": t.low, "high": t.high, "verified": t.of.verified,
                    "unit": t.of.unit, "source": t.of.source, "basis": t.of.basis,
                }
                for t in self.terms
            },
        }  # fmt: skip


def step_bound(
    target: HardwareTarget, work: Work, *, link_bits: float, chips: int, steps: int, lag: int
) -> StepBound | None:
    """The bound, of the terms that the target states times of; None where it states none.
    ``link_bits``: per step on the busiest link."""
    barrier = "board_barrier" if chips > 1 and "board_barrier" in target.times else "barrier"
    counts = {
        "update": _most(work.updates),
        "synop": _most(work.synops),
        "read": _most(work.reads),
        "link": link_bits,
        barrier: 1.0,
    }
    terms = tuple(
        Term(count=count, of=target.times[name])
        for name, count in counts.items()
        if name in target.times
    )
    return StepBound(terms=terms, steps=steps, lag=lag) if terms else None


def _most(values: Array) -> float:
    return float(np.max(values, initial=0.0))
