"""``--recipe auto``: the recipe and the smallest T whose drop stays under a limit.

Part of the calibration samples is held back; every candidate is converted on the rest and judged by
its agreement with the ANN on the held-back part (labels are never seen). Recipes are tried in the
order of what their spikes cost a chip, T upwards, so that the first candidate within the limit is
the cheapest kind of spike that reaches it; all candidates are listed with what they cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..errors import UsageError
from ..runtime.engine import simulate
from ..runtime.graph import Readout, SpikingGraph
from ..runtime.ops import Array
from ..runtime.reference import run_analog
from .calibrate import Progress
from .convert import Conversion, Options, convert
from .graph import AnnGraph

RECIPE_ORDER = ("binary", "signed", "graded")
LADDER = (4, 8, 16, 32, 64)
HELD_BACK = 256


@dataclass(frozen=True, eq=False, kw_only=True)
class Candidate:
    """One recipe at one T on the held-back samples. ``drop``: points of agreement lost, or, for a
    network that does not classify, 100 times the relative error of its outputs."""

    recipe: str
    T: int
    lag: int
    latency: int
    drop: float
    spikes_per_neuron: float
    synops_per_sample: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Selection:
    """``conversion`` is the chosen one, converted on all calibration samples; its meta lists all
    ``candidates``. ``within``: whether it stays under the limit (else the best there was)."""

    conversion: Conversion
    chosen: Candidate
    candidates: tuple[Candidate, ...]
    within: bool


def choose(
    ann: AnnGraph,
    calibration: Array | Mapping[str, Array] | None,
    options: Options,
    *,
    recipes: tuple[str, ...] = RECIPE_ORDER,
    ladder: tuple[int, ...] = LADDER,
    progress: Progress = lambda done, total: None,
) -> Selection:
    """The cheapest candidate whose drop is at most ``options.max_drop`` points.

    T goes up to ``options.steps``. Raises UsageError without calibration data, or with fewer than
    8 samples: there would be nothing to hold back.
    """
    fit, held = _split(ann, calibration)
    tried: list[Candidate] = []
    best: Candidate | None = None
    steps = sorted({t for t in ladder if t < options.steps} | {options.steps})
    todo = [(recipe, t) for recipe in recipes for t in steps]
    for number, (recipe, t) in enumerate(todo):
        progress(number, len(todo))
        given = replace(options, recipe=recipe, steps=t, levels=None)
        conversion = convert(ann, fit, given)
        candidate = _weigh(conversion, held, given)
        tried.append(candidate)
        if best is None or candidate.drop < best.drop:
            best = candidate
        if candidate.drop <= options.max_drop:
            best = candidate
            break
    assert best is not None
    progress(len(todo), len(todo))
    final = convert(ann, calibration, replace(options, recipe=best.recipe, steps=best.T))
    within = best.drop <= options.max_drop
    meta = {**final.graph.meta, **_record(best, tried, options, within, len(_first(held)))}
    final = replace(final, graph=replace(final.graph, meta=meta))
    return Selection(conversion=final, chosen=best, candidates=tuple(tried), within=within)


def _split(
    ann: AnnGraph, calibration: Array | Mapping[str, Array] | None
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Samples to convert on and samples to judge on: every third, at most ``HELD_BACK``."""
    if calibration is None:
        raise UsageError(
            "recipe 'auto' needs calibration data to judge candidates on",
            remedy="Give --calib DATA, or choose a recipe.",
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
    held = np.zeros(count, bool)
    held[np.arange(2, count, 3)[:HELD_BACK]] = True
    fit = {name: x[~held] for name, x in arrays.items()}
    return fit, {name: x[held] for name, x in arrays.items()}


def _first(arrays: Mapping[str, Array]) -> Array:
    return next(iter(arrays.values()))


def _weigh(conversion: Conversion, held: Mapping[str, Array], options: Options) -> Candidate:
    result = simulate(conversion.graph, held, options.steps, at=[options.steps])
    answers = {name: out[-1] for name, out in result.readouts.items()}
    return Candidate(
        recipe=options.recipe,
        T=options.steps,
        lag=int(conversion.graph.meta["lag"]),
        latency=options.steps + result.latency,
        drop=_drop(conversion.lowered, held, answers),
        spikes_per_neuron=float(result.spikes_per_neuron[-1]),
        synops_per_sample=float(result.synops_per_sample[-1]),
    )


def _drop(lowered: SpikingGraph, held: Mapping[str, Array], answers: Mapping[str, Array]) -> float:
    """The worst readout's disagreement, in points."""
    wanted = _analog(lowered, held)
    drops = []
    for readout in lowered.of(Readout):
        got, expected = answers[readout.name], wanted[readout.name]
        if expected.ndim == 2 and expected.shape[1] > 1:
            drops.append(100 * float((got.argmax(-1) != expected.argmax(-1)).mean()))
        else:
            power = float((expected.astype(np.float64) ** 2).mean()) or 1.0
            drops.append(100 * float(np.sqrt(((got - expected) ** 2).mean() / power)))
    return max(drops)


def _analog(lowered: SpikingGraph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    parts = [
        run_analog(lowered, {k: x[at : at + 32] for k, x in inputs.items()})
        for at in range(0, len(_first(inputs)), 32)
    ]
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def _record(
    best: Candidate, tried: list[Candidate], options: Options, within: bool, held: int
) -> dict[str, Any]:
    return {
        "auto": {
            "max_drop": options.max_drop,
            "within": within,
            "held_back": held,
            "chosen": asdict(best),
            "candidates": [asdict(c) for c in tried],
        }
    }
