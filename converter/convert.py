"""The conversion as one function: ANN graph and calibration data in, spiking graph out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import Any, Literal

import numpy as np

from ..errors import UsageError
from ..runtime import graph as snn
from ..runtime.neuron import Neuron, NeuronParams, PacedParams
from ..runtime.ops import Array
from ..runtime.threads import one_blas_thread
from .align import aligned
from .calibrate import LayerStats, Progress, calibrate
from .copies import FEW_STEPS, front, spread, worth_copying
from .datafree import assumed_statistics, assumption, trained_moments
from .differential import differential
from .graph import AnnGraph
from .grid import on_grid, round_thresholds
from .lower import UNIT, lower
from .normalize import Method, set_thresholds, thresholds
from .passes import default_passes, run_passes
from .recipes import Recipe, recipe_named
from .tune import Tuning, tune

PACED = (
    "paced neurons: spikes are 0/1, sent evenly over the window and weighted by when they come (a "
    "synaptic current that does not decay, integrated again); deciding needs one factor per step "
    "that all neurons of a layer share, and a count of the spikes sent: programmable neurons "
    "(Loihi 2) or simulation; --no-pace gives plain integrate-and-fire behind the lag"
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Options:
    """How to convert.

    Attributes:
        recipe: a name in ``recipes.RECIPES``, or "auto" (see ``auto``).
        steps: number of time steps T that everything is calibrated for.
        max_drop: recipe "auto" only: points of accuracy (without labels: of agreement with the
            ANN) that may be lost.
        prefer: recipe "auto" only: which candidate within ``max_drop`` is taken, a key of
            ``auto.PREFERENCES``.
        method, percentile, per_channel: how thresholds are chosen from the data
            (``normalize.thresholds``), before the search in the spiking loop.
        tune: calibrate weights, thresholds, initial potentials and biases in the spiking loop.
        v_init: initial membrane potential as a fraction of the threshold, before the search.
        lag: steps every layer integrates before its first spike; each layer has a window of T
            steps that begins so much later than its input's.
        pace: behind a lag, binary spikes are sent evenly and read by when they come
            (``runtime.neuron_paced``); False: plain neurons, whose spikes leave in a burst.
        copies: neurons for each value of the layers that read the input only (``copies``), of the
            recipes with one level per spike and no start lag; None: 2 up to T = 32 where that is at
            most a quarter more neurons (``copies.worth_copying``), else 1.
        levels: largest number of spikes per step; None is the recipe's.
        reset, leak, refractory: see ``runtime.neuron.NeuronParams``.
        encoding: how inputs enter (``runtime.encoding``).
        readout: "membrane" integrates without firing; "count" counts the outputs' spikes.
        seed: of the samples drawn in calibration.
    """

    recipe: str = "binary"
    steps: int = 32
    max_drop: float = 1.0
    prefer: Literal["chips", "steps", "latency", "spikes", "synops"] = "chips"
    method: Method = "mmse"
    percentile: float = 99.9
    per_channel: bool = True
    tune: bool = True
    v_init: float = 0.5
    lag: int = 0
    pace: bool = True
    copies: int | None = None
    levels: int | None = None
    reset: Literal["subtract", "zero"] = "subtract"
    leak: float = 0.0
    refractory: int = 0
    encoding: Literal["constant", "poisson", "rate"] = "constant"
    readout: Literal["membrane", "count"] = "membrane"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UsageError(f"T must be at least 1, got {self.steps}", code="E110")
        if self.recipe != "auto":
            recipe = recipe_named(self.recipe)
            if self.levels not in (None, recipe.levels) and recipe.levels == 1:
                raise UsageError(
                    f"recipe '{self.recipe}' has spikes of one level, not {self.levels}",
                    remedy="Use --recipe graded.",
                    code="E112",
                )
            if self.copies is not None and self.copies > 1 and not can_copy(self):
                raise UsageError(
                    "copies of the first layer's neurons are for the recipes binary and signed, "
                    "with a constant input current, soft reset, no leak, refractory steps or lag",
                    remedy="Leave --copies out, or the options that do not go with it.",
                    code="E114",
                )


@dataclass(frozen=True, eq=False, kw_only=True)
class Conversion:
    """A converted network and what it was made from.

    Attributes:
        graph: the spiking network.
        lowered: the same with unit thresholds; in analog mode its nodes hold the ANN's values.
        stats: activation statistics per population.
    """

    graph: snn.SpikingGraph
    lowered: snn.SpikingGraph
    stats: Mapping[str, LayerStats]


def convert(
    ann: AnnGraph,
    calibration: Array | Mapping[str, Array] | None,
    options: Options | None = None,
    *,
    labels: Array | None = None,
    progress: Progress = lambda done, total: None,
) -> Conversion:
    """Convert ``ann``: passes, lowering, statistics, thresholds, calibration in the spiking loop.

    Parameters:
        calibration: preprocessed samples, (samples, *shape) per input. None
            converts without data (``datafree``): thresholds only, and the notes say what was
            assumed.
        labels: (samples,) class numbers of the calibration samples, with which recipe "auto"
            judges its candidates; nothing else uses them.

    Raises ModelError, GraphError, DataError or UsageError, each saying where and why.
    """
    options = options or Options()
    if options.recipe == "auto":
        from .auto import choose

        return choose(ann, calibration, options, labels=labels, progress=progress).conversion
    recipe = recipe_named(options.recipe)
    rewritten = run_passes(ann, default_passes())
    lowered = _with_encoding(lower(rewritten), options)
    if options.lag:
        _check_lag(lowered, recipe)
    with one_blas_thread():
        if calibration is None:
            stats = assumed_statistics(lowered, trained_moments(rewritten))
        else:
            stats = calibrate(lowered, calibration, progress=_stage(progress, 0))
    assumed = (assumption(rewritten),) if calibration is None else ()
    notes = [*assumed, *_notes(lowered, recipe, options)]
    copies = dict.fromkeys(front(lowered), _copies(lowered, options))
    notes += _copied(lowered, copies, options)
    theta = _thresholds(stats, copies, recipe, options)
    graph, neurons = _neurons(lowered, stats, theta, copies, recipe, options)
    if options.tune and calibration is not None:
        tuning = Tuning(search=options.reset == "subtract", seed=options.seed)
        tuned = tune(
            graph, calibration, neurons, options.steps, tuning, progress=_stage(progress, 1)
        )
        graph, neurons = tuned.graph, dict(tuned.neurons)
        notes.append(
            f"calibrated in the spiking loop for T={options.steps} on {tuned.samples} samples: "
            f"{_calibrated(recipe)}, all constant in time"
        )
    graph, neurons = spread(graph, round_thresholds(neurons), copies)
    graph = on_grid(_with_counting(set_thresholds(graph, neurons), stats, options))
    meta = {**graph.meta, **_meta(recipe, options, max(copies.values(), default=1)), "notes": notes}
    return Conversion(graph=replace(graph, meta=meta), lowered=lowered, stats=stats)


def _check_lag(lowered: snn.SpikingGraph, recipe: Recipe) -> None:
    """Raise UsageError E114 where a start lag means nothing, or E115 where the file could not be
    written."""
    if recipe.synchronous:
        raise UsageError(
            "recipe 'synchronous' waits T steps in every layer, it takes no lag",
            remedy="Leave --lag out, or use --recipe binary.",
            code="E114",
        )
    islands = [node.name for node in lowered.of(snn.Analog)]
    if islands:
        raise UsageError(
            f"a start lag before an analog island has no ONNX form: {', '.join(islands)}",
            remedy="Leave --lag out; `onnx2snn check` says how to do without islands.",
            code="E115",
        )


def _stage(progress: Progress, number: int) -> Progress:
    """Statistics are the first half of the work, the loop the second."""
    return lambda done, total: progress(number * total + done, 2 * total)


def _meta(recipe: Recipe, options: Options, copies: int) -> dict[str, Any]:
    lag = options.steps if recipe.synchronous else options.lag
    return {
        "recipe": recipe.name,
        "T": options.steps,
        "lag": lag,
        "levels": options.levels or recipe.levels,
        "copies": copies,
        "bits_per_spike": recipe.bits,
        "simulation_only": recipe.simulation_only,
        "options": asdict(options),
    }


def _notes(lowered: snn.SpikingGraph, recipe: Recipe, options: Options) -> Iterator[str]:
    """What a report must say about this conversion."""
    yield from recipe.notes
    if options.lag and not recipe.synchronous:
        lag = options.lag
        yield (
            f"start lag {lag}: every layer integrates {lag} steps before its first spike and fires "
            f"for T={options.steps} steps; successive inputs every T steps need a second membrane "
            f"potential per neuron while windows overlap, else T + {lag} steps"
        )
        if _is_paced(recipe, options):
            yield PACED
        elif recipe.name == "binary":
            lacking = (
                ": paced ones have soft reset, no leak or refractory steps, and outputs that are "
                "not counted"
            )
            burst = "plain neurons behind the lag, whose spikes leave in a burst"
            yield burst + (lacking if options.pace else "")
    islands = [node.name for node in lowered.of(snn.Analog)]
    if islands:
        yield f"computed in floating point on running means, not in spikes: {', '.join(islands)}"
    if not lowered.of(snn.Population):
        yield "the network has no ReLU: nothing in it spikes, every value is a current"
    if options.reset == "zero":
        yield "reset to zero loses what exceeds the threshold: rates are lower than the ANN's"


def _copied(
    lowered: snn.SpikingGraph, copies: Mapping[str, int], options: Options
) -> Iterator[str]:
    """What a report must say about copies."""
    count = max(copies.values(), default=1)
    if not copies and (options.copies or 1) > 1:
        yield "no copies of neurons: no layer reads the input only, through weights alone"
    if count > 1:
        more = sum((count - 1) * prod(lowered[name].shape) for name in copies)
        yield (
            f"{count} neurons for each value of {', '.join(sorted(copies))}, which read the input "
            f"only and so decide how finely the network sees it: {more:,} neurons and their spikes "
            "on top, counted everywhere (--copies 1 leaves them out)"
        )


def _thresholds(
    stats: Mapping[str, LayerStats],
    copies: Mapping[str, int],
    recipe: Recipe,
    options: Options,
) -> dict[str, Array]:
    """Per population, with as many levels per step as its ``copies`` have together."""
    method = options.method
    levels = options.levels or recipe.levels
    if recipe.model == "differential":
        method, levels = ("percentile" if method == "mmse" else method), 1
    out: dict[str, Array] = {}
    for count in {1, *copies.values()}:
        out |= thresholds(
            {name: stat for name, stat in stats.items() if copies.get(name, 1) == count},
            method=method,
            percentile=options.percentile,
            steps=options.steps,
            levels=levels * count,
            per_channel=options.per_channel,
        )
    return out


def _copies(lowered: snn.SpikingGraph, options: Options) -> int:
    """Neurons for each value of the layers that read the input only."""
    if options.copies is not None or not can_copy(options):
        return options.copies or 1
    return 2 if options.steps <= FEW_STEPS and worth_copying(lowered) else 1


def can_copy(options: Options) -> bool:
    """Whether copies of a neuron do what a neuron with more levels does (``copies``)."""
    recipe = recipe_named(options.recipe)
    one = recipe.model == "if" and recipe.levels == 1 and not recipe.synchronous
    plain = options.reset == "subtract" and not options.leak and not options.refractory
    return one and plain and not options.lag and options.encoding == "constant"


def _calibrated(recipe: Recipe) -> str:
    if recipe.model == "differential":  # which begin at no potential
        return "weights, thresholds and biases"
    return "weights, thresholds, initial potentials and biases"


def _neurons(
    lowered: snn.SpikingGraph,
    stats: Mapping[str, LayerStats],
    theta: Mapping[str, Array],
    copies: Mapping[str, int],
    recipe: Recipe,
    options: Options,
) -> tuple[snn.SpikingGraph, dict[str, Neuron]]:
    """The neuron parameters of every population, and the graph as these neurons need it."""
    if recipe.model == "differential":
        return _differential(lowered, stats, theta, options.levels or recipe.levels, options)
    out: dict[str, Neuron] = {}
    levels = options.levels or recipe.levels
    kind = PacedParams if _is_paced(recipe, options) else NeuronParams
    for population in lowered.of(snn.Population):
        threshold = theta[population.name]
        own = levels * copies.get(population.name, 1)
        if population.ceiling is not None:
            # The activation's own bound is then exact: no neuron passes it.
            threshold = np.minimum(threshold, np.float32(population.ceiling / own))
        stat = stats[population.name]
        v_threshold = stat.broadcast(threshold.astype(np.float32), len(population.shape))
        out[population.name] = kind(
            v_threshold=v_threshold,
            v_init=v_threshold * np.float32(options.v_init),
            reset=options.reset,
            leak=options.leak,
            refractory=options.refractory,
            levels=own,
            signed=recipe.signed,
            lag=options.steps if recipe.synchronous else options.lag,
        )
    if not options.lag or recipe.synchronous:
        return lowered, out
    late = aligned(
        lowered.with_nodes(replace(p, neuron=out[p.name]) for p in lowered.of(snn.Population))
    )
    late = late.with_nodes(replace(p, neuron=UNIT) for p in late.of(snn.Population))
    if kind is PacedParams:
        late = late.with_nodes(replace(r, coding="paced") for r in late.of(snn.Readout))
    return late, out


def _is_paced(recipe: Recipe, options: Options) -> bool:
    """Whether binary neurons behind a lag send evenly. What they do not have: see the note."""
    asked = options.pace and options.lag > 0 and recipe.name == "binary"
    plain = options.reset == "subtract" and not options.leak and not options.refractory
    return asked and plain and options.readout == "membrane"


def _differential(
    lowered: snn.SpikingGraph,
    stats: Mapping[str, LayerStats],
    theta: Mapping[str, Array],
    powers: int,
    options: Options,
) -> tuple[snn.SpikingGraph, dict[str, Neuron]]:
    if options.lag or options.readout == "count" or options.reset == "zero" or options.leak:
        raise UsageError(
            "recipe 'differential' has no start lag, leak, reset to zero or output spike counts",
            remedy="Leave these options out, or use --recipe graded.",
            code="E114",
        )
    largest = {
        p.name: stats[p.name].broadcast(theta[p.name].astype(np.float32), len(p.shape))
        for p in lowered.of(snn.Population)
    }
    graph, neurons = differential(lowered, largest, powers)
    return graph, dict(neurons)


def _with_encoding(graph: snn.SpikingGraph, options: Options) -> snn.SpikingGraph:
    return graph.with_nodes(replace(i, encoding=options.encoding) for i in graph.of(snn.Input))


def _with_counting(
    graph: snn.SpikingGraph, stats: Mapping[str, LayerStats], options: Options
) -> snn.SpikingGraph:
    """The graph with its outputs counted in spikes where that was asked for."""
    if options.readout != "count":
        return graph
    return graph.with_nodes(
        replace(r, mode="count", neuron=_counting(stats[r.name])) for r in graph.of(snn.Readout)
    )


def _counting(stat: LayerStats) -> NeuronParams:
    """Output neurons that count spikes: one threshold for all, so that counts compare as logits
    do; a negative logit counts nothing."""
    top = np.float32(stat.maximum.max(initial=0) or 1.0)
    return NeuronParams(v_threshold=np.asarray(top), v_init=np.asarray(top / 2))
