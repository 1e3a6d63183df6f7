"""The conversion as one function: ANN graph and calibration data in, spiking graph out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..errors import UsageError
from ..runtime import graph as snn
from ..runtime.neurons import Neuron, NeuronParams
from ..runtime.ops import Array
from ..runtime.parallel.threads import one_blas_thread
from ..spelling import spelled
from .ann.graph import AnnGraph, Relu
from .ann.passes import default_passes, run_passes
from .lowering.coders import NONE, ever_negative, with_coders
from .lowering.copies import spread
from .lowering.fold_thresholds import set_thresholds
from .lowering.grid import on_grid, round_thresholds
from .lowering.lower import lower
from .recipes import Recipe, recipe_named, together
from .recipes.neurons import copies_of, neurons_of, thresholds_of
from .recipes.notes import (
    coder_notes,
    conversion_notes,
    copy_notes,
    output_notes,
    tuning_notes,
)
from .recipes.options import Options
from .statistics.datafree import assumed_statistics, assumption, trained_moments
from .statistics.measure import LayerStats, Progress, calibrate
from .tune import MEMORY, Tuned, Tuning, most_samples, tune
from .tune.memory import give_back

# Over a sample: of the statistics, and of a time step in the loop (measured: 1.6 to 3.6).
PASSES, PASSES_PER_STEP = 2, 3


@dataclass(frozen=True, eq=False, kw_only=True)
class Conversion:
    """A converted network and what it was made from.

    Attributes:
        graph: the spiking network.
        lowered: the same with unit thresholds; in analog mode its nodes hold the ANN's values.
        stats: activation statistics per population.
        tuned_on: how many samples were used in the spiking loop; None: it was not run.
        beside: the populations that may be silent for good (``ann.graph.Relu``).
    """

    graph: snn.SpikingGraph
    lowered: snn.SpikingGraph
    stats: Mapping[str, LayerStats]
    tuned_on: int | None = None
    beside: frozenset[str] = frozenset()


def convert(
    ann: AnnGraph,
    calibration: Array | Mapping[str, Array] | None,
    options: Options | None = None,
    *,
    mem_limit: int = MEMORY,
    progress: Progress = lambda done, total: None,
) -> Conversion:
    """Convert ``ann``: passes, lowering, statistics, thresholds, calibration in the spiking loop.

    Parameters:
        calibration: preprocessed samples, (samples, *shape) per input. None
            converts without data (``statistics.datafree``): thresholds only, and the notes say what
            was assumed.
        mem_limit: bytes for what the conversion adds to the process, beside the samples; its
            least is what work on one layer takes (``tune.memory``).

    Raises ModelError, GraphError, DataError or UsageError, each saying where and why.
    """
    options = options or Options()
    recipe = recipe_named(options.recipe)
    _check(options, data=calibration is not None)
    if mem_limit < 1:
        raise UsageError(f"{spelled('mem_limit')} must be at least 1, got {mem_limit}")
    rewritten = run_passes(
        ann,
        default_passes(
            maxpool=options.maxpool,
            islands=options.islands,
            differential=recipe.model == "differential",
        ),
    )
    lowered, coders = _with_encoding(lower(rewritten), options), NONE
    if options.enters.coded is not None:
        lowered, coders = with_coders(lowered, ever_negative(lowered, calibration))
    if options.lag:
        _check_lag(lowered)
    with one_blas_thread():
        if calibration is None:
            stats = assumed_statistics(lowered, trained_moments(rewritten))
        else:
            measuring, tuning = _stages(progress, calibration, options)
            stats = calibrate(lowered, calibration, progress=measuring)
            give_back()
    assumed = (assumption(rewritten),) if calibration is None else ()
    notes = [*assumed, *conversion_notes(lowered, recipe, options), *output_notes(lowered)]
    if coders:
        copies = dict.fromkeys(coders, options.enters.neurons)
        notes += coder_notes(lowered, coders, options)
    else:
        copies = copies_of(lowered, options)
        notes += copy_notes(lowered, copies, options)
    graph, neurons = neurons_of(
        lowered,
        stats=stats,
        theta=thresholds_of(stats, copies, recipe, options, coders),
        copies=copies,
        recipe=recipe,
        options=options,
        coders=coders,
    )
    # Nothing asks for them from here on, and of many channels they are larger than the weights.
    stats = {
        name: replace(stat, histogram=stat.histogram[:, :0].copy()) for name, stat in stats.items()
    }
    tuned_on = None
    if options.tune and calibration is not None:
        fixed = frozenset(coders)
        tuned = _tuned(
            graph,
            calibration,
            neurons,
            options,
            fixed=fixed,
            mem_limit=mem_limit,
            progress=tuning,
        )
        graph, neurons, tuned_on = tuned.graph, dict(tuned.neurons), tuned.samples
        notes += tuning_notes(
            recipe,
            options,
            samples=tuned.samples,
            fitting=tuned.fitting,
            affordable=tuned.affordable,
            untouched=tuned.untouched,
        )
        del tuned
    # Each of these graphs has corrected weights of its own: the one before goes.
    graph, neurons = spread(graph, round_thresholds(neurons), copies)
    graph = set_thresholds(graph, neurons)
    graph = on_grid(_with_counting(graph, stats, options))
    meta = {
        **graph.meta,
        **_meta(recipe, options, 1 if coders else max(copies.values(), default=1)),
        "assumed": calibration is None,
        "calibrated": tuned_on is not None,
        "notes": notes,
    }
    silent = (n.name for n in rewritten.nodes if isinstance(n.layer, Relu) and n.layer.beside)
    return Conversion(
        graph=replace(graph, meta=meta),
        lowered=lowered,
        stats=stats,
        tuned_on=tuned_on,
        beside=frozenset(silent),
    )


def _check(options: Options, *, data: bool) -> None:
    """Raise UsageError E114 for options that mean nothing here. ``data``: there is some to
    calibrate on."""
    if options.spike_cost and not data:
        raise UsageError(
            "a cost of spikes is weighed on calibration samples",
            remedy=f"Give calibration data, or leave {spelled('spike_cost')} out.",
            code="E114",
        )
    together.check(options)


def _tuned(
    graph: snn.SpikingGraph,
    calibration: Array | Mapping[str, Array],
    neurons: Mapping[str, Neuron],
    options: Options,
    *,
    fixed: frozenset[str],
    mem_limit: int,
    progress: Progress,
) -> Tuned:
    """Calibrated in the spiking loop; the thresholds of ``fixed`` populations stay."""
    tuning = Tuning(
        search=options.reset == "subtract",
        seed=options.seed,
        fixed=fixed,
        spike_cost=options.spike_cost,
        memory=mem_limit,
    )
    return tune(graph, calibration, neurons, options.steps, tuning, progress=progress)


def _check_lag(lowered: snn.SpikingGraph) -> None:
    """Raise UsageError E115 where the file could not be written."""
    islands = [node.name for node in lowered.of(snn.Analog)]
    if islands:
        raise UsageError(
            f"a start lag before an analog island has no ONNX form: {', '.join(islands)}",
            remedy=f"Leave {spelled('lag')} out; `onnx2snn check` says how to do without islands.",
            code="E115",
        )


def _stages(
    progress: Progress, calibration: Array | Mapping[str, Array], options: Options
) -> tuple[Progress, Progress]:
    """Of the statistics and of the loop, as the share of the whole work that each is; in passes of
    the ANN over one sample."""
    given = (
        len(next(iter(calibration.values())))
        if isinstance(calibration, Mapping)
        else len(calibration)
    )
    steps = 1 if recipe_named(options.recipe).window else options.steps
    used = most_samples(given, steps=steps, tuning=Tuning()) if options.tune else 0
    first, second = PASSES * given, PASSES_PER_STEP * used * steps
    whole = first + second

    def measuring(done: int, total: int) -> None:
        progress(first * done // total, whole)

    def tuning(done: int, total: int) -> None:
        progress(first + second * done // total, whole)

    return measuring, tuning


def _meta(recipe: Recipe, options: Options, copies: int) -> dict[str, Any]:
    """Keys of ``onnx2snn.provenance.Provenance``, as JSON values."""
    lag = options.steps if recipe.waits else options.lag
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


def _with_encoding(graph: snn.SpikingGraph, options: Options) -> snn.SpikingGraph:
    drawn = options.enters.drawn
    return graph.with_nodes(replace(i, encoding=drawn) for i in graph.of(snn.Input))


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
