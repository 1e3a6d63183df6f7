"""Counts over samples: what a shard of an evaluation adds up to, and how shards become one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from time import perf_counter
from typing import Protocol

import numpy as np

from ..runtime.engine import EarlyExit, Engine, SimulationResult
from ..runtime.graph import Readout, SpikingGraph
from ..runtime.ops import Array
from ..runtime.parallel.stages import Progress
from ..runtime.semantics.decision import decisions
from ..runtime.semantics.labels import Reading
from ..runtime.semantics.values import misses, moments
from .ann import Ann
from .answers import narrow
from .outputs import COLUMNS, is_classifier, sums

ANSWERS = ("said", "ann_said")  # of every sample, (steps, samples) and (samples,)


class Tally:
    """Counts over samples, by name in ``state``."""

    def __init__(self, steps: int) -> None:
        zeros = np.zeros(steps)
        self.state: dict[str, Array] = {
            "correct": zeros.copy(),
            "agree": zeros.copy(),
            "lost": zeros.copy(),
            "won": zeros.copy(),
            "error": zeros.copy(),
            "spikes": zeros.copy(),
            "synops": zeros.copy(),
            "ann_correct": np.zeros(()),
            "ann_norm": np.zeros(()),
            "samples": np.zeros((), np.int64),
            "seconds": np.zeros(()),
            "stopped": np.zeros(steps + 1, np.int64),
        }

    @staticmethod
    def restored(counts: Mapping[str, Array], graph: SpikingGraph, steps: int) -> Tally:
        """That whose ``state`` was written as ``counts``, of ``steps`` of ``graph``.

        Raises KeyError or ValueError where ``counts`` are not such a state.
        """
        tally = Tally(steps)
        zeros = dict(tally.state)
        zeros |= {f"output/{r.name}": np.zeros((steps, COLUMNS)) for r in graph.of(Readout)}
        zeros |= {key: np.zeros(()) for key in counts if key.startswith(("layer/", "synops/"))}
        count = int(counts["samples"])
        shape = graph.of(Readout)[0].shape
        least = narrow(np.zeros((), np.int64), prod(shape)).dtype
        known = {
            "ann_said": np.zeros(count, least),
            "said": np.zeros((steps, count), least),
            "values": np.zeros((steps, 2)),
            "ann_values": np.zeros(2),
            "targets": np.zeros((3, prod(shape))),
        }
        zeros |= {key: known[key] for key in counts if key in known}
        if counts.keys() != zeros.keys():
            raise KeyError(*(counts.keys() ^ zeros.keys()))
        for key, wanted in zeros.items():
            got = counts[key]
            if (got.shape, got.dtype) != (wanted.shape, wanted.dtype):
                raise ValueError(f"{key}: {got.dtype} of shape {got.shape}")
        tally.state = dict(counts)
        return tally

    def merge(self, later: Tally) -> None:
        """Add the counts of the samples that follow. The same parts in the same order give the
        same sums, to the bit."""
        for key, counts in later.state.items():
            mine = self.state.get(key)
            if mine is None:
                self.state[key] = counts.copy()
            elif key in ANSWERS:
                self.state[key] = np.concatenate([mine, counts], axis=-1)
            else:
                self.state[key] = mine + counts

    def add(
        self,
        result: SimulationResult,
        ann: Mapping[str, Array],
        labels: Array | None,
        seconds: float,
        logits: frozenset[str] = frozenset(),
        *,
        targets: Array | None = None,
    ) -> None:
        """Add a chunk: simulated readouts, the ANN's outputs, class labels or None; ``logits`` are
        the outputs that are one number and say one of two classes; ``targets`` right values."""
        s = self.state
        for name, readout in result.readouts.items():
            target = ann[name].astype(np.float64)
            found = sums(readout, wanted=target, logit=name in logits)
            s["error"] += found[:, 6]
            s["ann_norm"] += found[0, 4]
            key = f"output/{name}"
            s[key] = s.get(key, 0.0) + found
        first = next(iter(result.readouts))
        shape = ann[first].shape[1:]
        if is_classifier(shape, logit=first in logits):
            guess, ann_guess = (
                decisions(result.readouts[first], shape),
                decisions(ann[first], shape),
            )
            s["agree"] += (guess == ann_guess).sum(axis=1)
            for key, named in (("said", guess), ("ann_said", ann_guess)):
                few = narrow(named, prod(shape))
                s[key] = np.concatenate([s[key], few], axis=-1) if key in s else few
            if labels is not None:
                right, ann_right = guess == labels, ann_guess == labels
                s["correct"] += right.sum(axis=1)
                s["lost"] += (ann_right & ~right).sum(axis=1)
                s["won"] += (right & ~ann_right).sum(axis=1)
                s["ann_correct"] += ann_right.sum()
        if targets is not None:
            s["values"] = s.get("values", 0) + misses(result.readouts[first], targets=targets)
            s["ann_values"] = s.get("ann_values", 0) + misses(ann[first], targets=targets)
            s["targets"] = s.get("targets", 0) + moments(targets)
        s["spikes"] += sum(result.spikes.values(), start=np.zeros_like(s["spikes"]))
        s["synops"] += result.synops
        s["samples"] += result.samples
        if result.steps_used is not None:
            s["stopped"] += np.bincount(result.steps_used, minlength=len(s["stopped"]))
        s["seconds"] += seconds
        for name, spikes in result.spikes.items():
            key = f"layer/{name}"
            s[key] = s.get(key, np.zeros(())) + spikes.sum()
        for name, operations in result.synops_of.items():
            key = f"synops/{name}"
            s[key] = s.get(key, np.zeros(())) + operations


class Shards(Protocol):
    """Where the shards of one evaluation are kept that were finished earlier, or are now."""

    def get(self, start: int, stop: int) -> Tally | None:
        """The counts of samples ``start`` .. ``stop - 1``; None where they are still to be made."""

    def put(self, start: int, stop: int, tally: Tally) -> None:
        """Keep them."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Part:
    """Samples of a shard: ``x`` preprocessed, by input name; ``known``: what is known of these;
    ``start``: the number of the first."""

    x: dict[str, Array]
    known: Reading
    start: int


def counted(
    network: SpikingGraph,
    part: Part,
    steps: int,
    simulator: Engine,
    *,
    ann: Ann,
    seed: int,
    early_exit: EarlyExit | None,
    progress: Progress = lambda done, total: None,
) -> Tally:
    """The counts of ``part`` after each of ``steps``; ``seconds`` are those of the simulation.
    ``progress`` is told of every tile of samples."""
    began = perf_counter()
    result = simulator.run(
        network,
        part.x,
        steps,
        seed=seed,
        offset=part.start,
        early_exit=early_exit,
        on_tile=progress,
    )
    seconds = perf_counter() - began
    known, tally = part.known, Tally(steps)
    labels, targets = (known.numbers, None) if known.classes else (None, known.numbers)
    tally.add(result, ann(part.x), labels, seconds, known.logits, targets=targets)
    return tally
