"""What an engine counts and keeps of a tile whose samples all run to the end.

Early exit is judged and counted as defined, but what has stopped is still computed.
"""

from __future__ import annotations

import numpy as np

from ..cost import StaticCost
from ..facts import GraphFacts
from ..graph import Population, Readout
from ..ops import Array
from .early_exit import Watch, judged_readout
from .interface import Request, TileResult

EXACT = 2.0**24  # integers up to here are exact in float32


class Tally:
    """Samples from ``start`` of a run. Steps are absolute, those before an answer's included.

    Attributes:
        columns: of every node that sends spikes, (neurons, 2): what each of its spikes counts, one
            spike and its synaptic operations, in a precision in which sums over neurons are exact.
    """

    def __init__(
        self, asked: Request, facts: GraphFacts, cost: StaticCost, *, start: int, samples: int
    ) -> None:
        self.asked, self.onset, self.latency = asked, facts.onsets, facts.latency
        self.start, self.samples = start, samples
        self.total = asked.steps + self.latency
        fans = {**cost.fan_out, **cost.passed_on}
        self.columns = {name: _columns(fan.reshape(-1)) for name, fan in fans.items()}
        self.counts = {name: np.zeros((self.total, samples, 2)) for name in fans}
        self.answers = {
            r.name: np.zeros((asked.steps, samples, *r.shape), asked.dtype)
            for r in asked.graph.of(Readout)
        }

    def count(self, name: str, first: int, counted: Array) -> None:
        """Adds steps from ``first``: (steps, samples, 2), of ``columns``."""
        self.counts[name][first : first + len(counted)] = counted

    def answer(self, name: str, first: int, answers: Array) -> None:
        """Keeps of the answers (steps, samples, *shape) after steps from ``first`` those that lie
        in the readout's window."""
        at = first - self.onset[name]
        low, high = max(at, 0), min(at + len(answers), self.asked.steps)
        if low < high:
            self.answers[name][low:high] = answers[low - at : high - at]

    def result(self) -> TileResult:
        used, last = self._stops()
        runs = np.arange(self.total)[:, np.newaxis] < last
        answered = np.minimum(self.asked.kept[:, np.newaxis], used) - 1  # (kept, samples)
        each = np.arange(self.samples)
        operations = {name: x[..., 1] * runs for name, x in self.counts.items()}
        return TileResult(
            start=self.start,
            samples=self.samples,
            readouts={name: x[answered, each] for name, x in self.answers.items()},
            spikes={
                p.name: self._by_answer(self.counts[p.name][..., 0] * runs)
                for p in self.asked.graph.of(Population)
            },
            synops=self._by_answer(sum(operations.values(), start=np.zeros_like(runs, float))),
            synops_of={name: float(x.sum()) for name, x in operations.items()},
            steps_used=used,
        )

    def _stops(self) -> tuple[Array, Array]:
        """(samples,) each: the step whose answer stands, and the one after which it stopped."""
        rule, steps = self.asked.early_exit, self.asked.steps
        used, last = np.full(self.samples, steps), np.full(self.samples, self.total)
        if rule is None:
            return used, last
        judge, watch = judged_readout(self.asked.graph), Watch(rule, self.samples)
        for t, answers in enumerate(self.answers[judge]):
            watch.see(t + 1, answers, np.arange(self.samples))
        done = watch.done_at
        return np.where(done > 0, done, used), np.where(done > 0, done + self.onset[judge], last)

    def _by_answer(self, counts: Array) -> Array:
        """(steps,): all samples' counts, those before the first answer's step in that."""
        summed = counts.sum(axis=1)
        summed[self.latency] += summed[: self.latency].sum()
        return np.asarray(summed[self.latency :])


def _columns(fan: Array) -> Array:
    return np.stack([fan**0, fan], 1).astype(np.float32 if fan.sum() < EXACT else np.float64)
