"""Stopping a sample when its answer is stable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import UsageError
from ..graph import Readout, SpikingGraph
from ..ops import Array
from ..semantics.decision import score_count


@dataclass(frozen=True, kw_only=True)
class EarlyExit:
    """A sample stops after the first step at which, for ``patience`` steps in a row, the same
    class has been on top of the running mean with a lead over the second of at least ``margin``
    times the spread (largest less smallest) of all classes.

    Attributes:
        margin: in [0, 1]; larger is later and safer.
        patience: steps; at least 1.
    """

    margin: float
    patience: int = 4

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= 1:
            raise UsageError(f"the early-exit margin must be in [0, 1], got {self.margin}")
        if self.patience < 1:
            raise UsageError(f"the early-exit patience must be at least 1, got {self.patience}")


def judged_readout(graph: SpikingGraph) -> str:
    """The readout that decides: the first. Raises UsageError unless it is one score per class."""
    readout = graph.of(Readout)[0]
    if (score_count(readout.shape) or 1) < 2:
        raise UsageError(
            f"early exit needs a score per class, readout '{readout.name}' has shape "
            f"{readout.shape}",
            remedy="Run without early exit.",
        )
    return readout.name


class Watch:
    """Follows the answers of a tile's samples."""

    def __init__(self, rule: EarlyExit, samples: int) -> None:
        self.rule = rule
        self.top = np.full(samples, -1)
        self.run = np.zeros(samples, np.int64)
        self.done_at = np.zeros(samples, np.int64)  # 0: not yet

    def see(self, step: int, answers: Array, who: Array) -> None:
        """``answers`` (samples, *shape), scores of classes, of samples ``who`` after step ``step``
        (from 1)."""
        answers = answers.reshape(len(answers), -1)
        ordered = np.sort(answers, axis=1)
        top = answers.argmax(axis=1)
        lead = ordered[:, -1] - ordered[:, -2]
        clear = lead >= self.rule.margin * (ordered[:, -1] - ordered[:, 0])
        clear &= lead > 0
        same = top == self.top[who]
        self.run[who] = np.where(clear, np.where(same, self.run[who] + 1, 1), 0)
        self.top[who] = top
        stops = who[(self.run[who] >= self.rule.patience) & (self.done_at[who] == 0)]
        self.done_at[stops] = step
