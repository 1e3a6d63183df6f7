"""``--recipe auto``: the recipe and the smallest T whose drop stays under a limit.

Part of the calibration samples is held back; candidates are converted on some of the rest (on more
where that leaves it open whether they stay within the limit) and judged on the held-back part: by
the accuracy they lose against the ANN where there are labels, by disagreement with the ANN where
there are none, by the error of the outputs where the network does not classify. Every kind of
network in ``KINDS`` is searched for its smallest T: doubling until the drop is within the limit,
then halving the gap. ``KINDS`` is in the order of what a chip must be able to do; a kind is only
searched below the smallest T found before it, for at more steps it would lose to one that needs
less of a chip; those that send one number per window, with fewer spikes, are searched up to the
given T. All candidates are listed with what they cost; of the one that is taken also what a price
for spikes would save (``front``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from ...errors import UsageError
from ...runtime.engine import simulate
from ...runtime.graph import SpikingGraph
from ...runtime.ops import Array
from ...runtime.semantics.analog import run_analog
from ...runtime.semantics.samples import spread_over
from ...spelling import spelled
from ..ann.graph import AnnGraph, Opaque
from ..ann.passes import default_passes, run_passes
from ..convert import convert
from ..recipes import recipe_named
from ..recipes import windowed as windows
from ..recipes.encodings import why_not
from ..recipes.options import Options
from ..statistics.measure import Progress
from ..tune import MEMORY
from .candidates import (
    KINDS,
    PREFERENCES,
    RANKING,
    Candidate,
    Kind,
    Selection,
    arithmetic_energy,
    as_candidate,
)
from .claim import Key, claims
from .effort import PARTS, Effort
from .front import can_be_walked, preferred, walked
from .judge import Seen, drop_of, measured_by, seen_of, shrunk

HELD_BACK = 512  # at most, and at most a third
TRIAL, FULL = 128, 512  # samples for a first look at a candidate, and where that does not decide
NEAR = 1.5  # an error this many times the limit may be within it with more samples
FINE, COARSE = 8, 4  # T is found to within T/8; T/4 for what is not going to be taken


def _key(candidate: Candidate) -> Key:
    return candidate.recipe, candidate.T, candidate.lag


@dataclass
class _Search:
    """What is weighed on what, and what was found."""

    ann: AnnGraph
    fit: Mapping[str, Array]
    held: Mapping[str, Array]
    labels: Array | None
    options: Options
    effort: Effort
    mem_limit: int
    tried: dict[Key, Candidate] = field(default_factory=dict)
    best: dict[str, Candidate] = field(default_factory=dict)  # by preference
    left_out: list[str] = field(default_factory=list)
    answers: dict[str, Array] = field(default_factory=dict)
    seen: dict[Key, Seen] = field(default_factory=dict)

    def claim(self, best: Candidate) -> Candidate:
        """``best`` with its confidence, which all candidates get, now that all have been seen."""
        limit, agreement = self.options.max_drop, self.labels is None
        found = claims(self.seen, limit=limit, agreement=agreement)
        for key, sure in found.items():
            self.tried[key] = replace(self.tried[key], confidence=sure)
        self.best = {name: self.tried[_key(c)] for name, c in self.best.items()}
        return self.tried[_key(best)]

    @property
    def has_islands(self) -> bool:
        rewritten = run_passes(
            self.ann, default_passes(maxpool=self.options.maxpool, islands=self.options.islands)
        )
        return any(isinstance(node.layer, Opaque) for node in rewritten.nodes)

    def weigh(self, kind: Kind, *, steps: int, lag: int) -> bool:
        """Whether this candidate is within the limit."""
        key = (kind.recipe, steps, lag)
        if key not in self.tried:
            found = self._candidate(kind, steps=steps, lag=lag, most=TRIAL)
            if not found.within and len(_first(self.fit)) > TRIAL and self._open(found):
                found = self._candidate(kind, steps=steps, lag=lag, most=FULL)
            self.tried[key] = found
        return self.tried[key].within

    def _open(self, found: Candidate) -> bool:
        """Whether a candidate that is over the limit may be within it if it is converted on more
        samples: by half of its interval, for that is another network, of another drop."""
        limit = self.options.max_drop
        if found.low is None or found.high is None:
            return found.drop <= NEAR * limit
        return found.drop - (found.high - found.low) / 2 <= limit

    def walk(self, best: Candidate) -> tuple[Candidate, ...]:
        """The front of ``best``; see ``front``."""
        if not can_be_walked(self.options):
            return ()
        limit, agreement = self.options.max_drop, self.labels is None
        kind = Kind(recipe=best.recipe)

        def at(cost: float) -> Candidate:
            before = dict(self.seen)
            found = self._candidate(
                kind, steps=best.T, lag=best.lag, most=best.samples, spike_cost=cost
            )
            claimed = claims(self.seen, limit=limit, agreement=agreement) if self.seen else {}
            self.seen = before
            return replace(found, confidence=claimed.get(_key(best)))

        return tuple(walked(best, at))

    def _candidate(
        self, kind: Kind, *, steps: int, lag: int, most: int, spike_cost: float | None = None
    ) -> Candidate:
        """``spike_cost``: the given one where it is None."""
        chosen = _spread(np.ones(len(_first(self.fit)), bool), most)
        fit = {name: x[chosen] for name, x in self.fit.items()}
        cost = self.options.spike_cost if spike_cost is None else spike_cost
        made = convert(
            self.ann,
            fit,
            as_candidate(self.options, kind.recipe, steps=steps, lag=lag, spike_cost=cost),
            mem_limit=self.mem_limit,
        )
        if not self.answers:
            self.answers = _analog(made.lowered, self.held)
        result = simulate(made.graph, self.held, steps, at=[steps])
        self.effort.weighed(kind, steps=steps)
        got = {name: out[-1] for name, out in result.readouts.items()}
        drop, low, high = drop_of(wanted=self.answers, got=got, labels=self.labels)
        seen = seen_of(wanted=self.answers, got=got, labels=self.labels)
        expected, limit = drop, self.options.max_drop
        if seen is not None:
            self.seen[kind.recipe, steps, lag] = seen
        if seen is not None and self.labels is not None:
            expected = shrunk(drop, disagreement=100 * seen.apart / seen.count, count=seen.count)
        synops = float(result.synops_per_sample[-1])
        macs = float(result.macs_once + result.macs_per_step * steps)
        return Candidate(
            recipe=kind.recipe,
            T=steps,
            lag=lag,
            latency=steps + result.latency,
            drop=drop,
            expected=expected,
            low=low,
            high=high,
            within=max(drop, expected) <= limit,
            samples=len(_first(fit)),
            spikes_per_neuron=float(result.spikes_per_neuron[-1]),
            synops_per_sample=synops,
            macs_per_sample=macs,
            energy_pj=arithmetic_energy(made.graph, synops=synops, macs=macs),
            spike_cost=cost,
        )


def choose(
    ann: AnnGraph,
    calibration: Array | Mapping[str, Array] | None,
    options: Options,
    *,
    labels: Array | None = None,
    kinds: tuple[Kind, ...] = KINDS,
    mem_limit: int = MEMORY,
    progress: Progress = lambda done, total: None,
) -> Selection:
    """The best candidate (by ``options.prefer``) whose drop is at most ``options.max_drop`` points.

    T goes up to ``options.steps``; a given ``options.lag`` is the largest that is tried (without
    one, T/2). Raises UsageError without calibration data, or with fewer than 8 samples: there
    would be nothing to hold back.

    Parameters:
        labels: (samples,) class numbers of the calibration samples; they only judge. Anything else
            says that the network does not classify.
        mem_limit: of every conversion.
    """
    arrays = _arrays(ann, calibration)
    held = _held_back(len(_first(arrays)))
    search = _Search(
        ann=ann,
        mem_limit=mem_limit,
        fit={name: x[_spread(~held, FULL)] for name, x in arrays.items()},
        held={name: x[held] for name, x in arrays.items()},
        labels=None if labels is None else _labels_of(np.asarray(labels), held=held),
        options=options,
        effort=Effort(progress=progress),
    )
    best = search.claim(_search_all(search, kinds))
    front = search.walk(best)
    best = preferred(best, front, options)
    taken = as_candidate(
        options, best.recipe, steps=best.T, lag=best.lag, spike_cost=best.spike_cost
    )
    final = convert(ann, arrays, taken, mem_limit=mem_limit)
    meta = {**final.graph.meta, "auto": _record(search, best, front)}
    final = replace(final, graph=replace(final.graph, meta=meta))
    progress(PARTS, PARTS)
    return Selection(
        conversion=final,
        chosen=best,
        candidates=tuple(search.tried.values()),
        within=best.within,
        front=front,
    )


def _search_all(search: _Search, kinds: tuple[Kind, ...]) -> Candidate:
    """Every kind's smallest T; the best of all, or the smallest drop where none is within."""
    options = search.options
    found: dict[Kind, Candidate] = {}
    most, has_islands = options.steps, search.has_islands
    for number, kind in enumerate(kinds):
        limit = _most(kind, options, most)
        search.effort.expect({k: _most(k, options, most) for k in kinds[number:]})
        reason = _left_out(kind, options, limit, found, has_islands)
        if reason:
            search.left_out.append(f"{kind.title}: {reason}")
            continue
        hit = _smallest(search, kind, most=limit, part=COARSE if found else FINE)
        if hit is not None:
            found[kind] = hit
            most = most if kind.window else min(most, hit.T - 1)
    if not found:
        return min(search.tried.values(), key=lambda c: max(c.drop, c.expected))
    best = min(found, key=lambda kind: RANKING[options.prefer](found[kind]))
    search.effort.expect({best: found[best].T})
    finer = _smallest(
        search, best, most=found[best].T, part=FINE
    )  # what was weighed is not weighed again
    found[best] = finer or found[best]
    search.best = {name: min(found.values(), key=key) for name, key in RANKING.items()}
    return found[best]


def _most(kind: Kind, options: Options, most: int) -> int:
    """The largest T that a kind is searched up to; ``most``: below what was found before it."""
    return most if kind.window is None else kind.window.most_steps(options.steps)


def _left_out(
    kind: Kind, options: Options, most: int, found: Mapping[Kind, Candidate], has_islands: bool
) -> str:
    """Why a kind is not weighed, "" where it is."""
    if kind.lagged and has_islands:
        return "the network has analog islands"
    if most < (2 if kind.lagged else 1):
        if found:
            last = list(found.values())[-1]
            return f"{last.recipe} is within the limit at T={last.T}"
        return "a lag is at most T/2"
    recipe, encoding = recipe_named(kind.recipe), options.enters
    reason = why_not(encoding, recipe, most)
    if reason:
        return reason
    if recipe.window is not None:
        try:
            windows.check(recipe, as_candidate(options, kind.recipe, steps=1, lag=0))
        except UsageError as error:
            return error.what
    plain = options.readout == "membrane" and options.reset == "subtract" and not options.leak
    if kind.recipe == "differential" and not plain:
        return "has no leak, reset to zero or output spike counts"
    return ""


def _smallest(search: _Search, kind: Kind, *, most: int, part: int) -> Candidate | None:
    """The candidate of the smallest T <= ``most`` within the limit, to within T / ``part``; None
    where there is none. With a lag, then of the smallest of T/2, T/4, ..."""
    largest = search.options.lag

    def lag(steps: int) -> int:
        half = max(1, steps // 2)
        return (min(half, largest) if largest else half) if kind.lagged else 0

    steps = max(min(kind.start, most), 1)
    missed = max(
        (t for (recipe, t, n), c in search.tried.items()
         if recipe == kind.recipe and n == lag(t) and t < most and not c.within),
        default=1 if kind.lagged else 0,
    )  # fmt: skip
    while not search.weigh(kind, steps=steps, lag=lag(steps)):
        if steps == most:
            return None
        missed, steps = max(missed, steps), min(2 * steps, most)
    steps = _bisect(
        missed=missed,
        hit=steps,
        within=lambda t: search.weigh(kind, steps=t, lag=lag(t)),
        part=part,
    )
    short = lag(steps)
    while short > 1 and search.weigh(kind, steps=steps, lag=short // 2):
        short //= 2
    return search.tried[kind.recipe, steps, short]


def _bisect(*, missed: int, hit: int, within: Callable[[int], bool], part: int) -> int:
    """The smallest value within the limit between ``missed`` and ``hit``, to within 1 / ``part``
    of itself."""
    while hit - missed > max(hit // part, 1):
        middle = (missed + hit) // 2
        if within(middle):
            hit = middle
        else:
            missed = middle
    return hit


def _arrays(ann: AnnGraph, calibration: Array | Mapping[str, Array] | None) -> dict[str, Array]:
    if calibration is None:
        raise UsageError(
            "recipe 'auto' needs calibration data to judge candidates on",
            remedy=f"Give {spelled('calibration', 'DATA')}, or choose a recipe.",
            code="E113",
        )
    if isinstance(calibration, Mapping):
        arrays = {name: np.asarray(x) for name, x in calibration.items()}
    else:
        arrays = {ann.inputs[0].name: np.asarray(calibration)}
    count = len(_first(arrays))
    if count < 8:
        raise UsageError(
            f"recipe 'auto' needs at least 8 calibration samples, got {count}", code="E113"
        )
    return arrays


def _labels_of(labels: Array, *, held: Array) -> Array:
    """Those of the held-back samples; what is not class numbers only says so."""
    return labels[held] if len(labels) == len(held) else labels


def _held_back(count: int) -> Array:
    """Which samples judge: every third, at most ``HELD_BACK``, spread over all."""
    return _spread(np.arange(count) % 3 == 2, HELD_BACK)


def _spread(among: Array, most: int) -> Array:
    """At most ``most`` of the samples marked in ``among``, spread over all, as marks."""
    chosen = np.flatnonzero(among)
    marks = np.zeros(len(among), bool)
    marks[chosen[spread_over(len(chosen), most=most)]] = True
    return marks


def _first(arrays: Mapping[str, Array]) -> Array:
    return next(iter(arrays.values()))


def _analog(lowered: SpikingGraph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    parts = [
        run_analog(lowered, {k: x[at : at + 32] for k, x in inputs.items()})
        for at in range(0, len(_first(inputs)), 32)
    ]
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def _record(search: _Search, best: Candidate, front: tuple[Candidate, ...]) -> dict[str, Any]:
    """``auto`` in the meta of the chosen network: plain JSON values."""
    return {
        "max_drop": search.options.max_drop,
        "measure": measured_by(search.answers, search.labels),
        "prefer": search.options.prefer,
        "order": PREFERENCES[search.options.prefer],
        "within": best.within,
        "confidence": best.confidence,
        "held_back": len(_first(search.held)),
        "chosen": asdict(best),
        "candidates": [asdict(c) for c in search.tried.values()],
        "front": [asdict(c) for c in front],
        "best": {name: asdict(c) for name, c in search.best.items()},
        "left_out": list(search.left_out),
    }
