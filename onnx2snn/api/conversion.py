"""convert from Python: every option of a conversion by its name.

The record ``converter.recipes.options.Options`` is where options, their types and their defaults
are kept; the signature repeats them for help() and editors, and a test holds it to the record.
"""

from __future__ import annotations

from dataclasses import fields
from os import PathLike
from typing import Literal

from ..arguments import checked
from ..converter.recipes.options import Options
from ..converter.statistics.measure import Progress
from ..converter.statistics.thresholds import Method
from ..data import Preprocessing
from ..provenance import converted
from ..runtime.graph import SpikingGraph
from . import AnyModel, Data, load_samples, read_model


@checked
def convert(
    model: AnyModel,
    calibration: Data | None,
    *,
    recipe: str = "binary",
    steps: int = 32,
    max_drop: float = 1.0,
    prefer: Literal["chips", "steps", "latency", "spikes", "synops", "energy"] = "chips",
    method: Method = "mmse",
    percentile: float = 99.9,
    per_channel: bool = True,
    reset: Literal["subtract", "zero"] = "subtract",
    leak: float = 0.0,
    refractory: int = 0,
    levels: int | None = None,
    tune: bool = True,
    spike_cost: float = 0.0,
    v_init: float = 0.5,
    lag: int = 0,
    pace: bool = True,
    copies: int | None = None,
    maxpool: Literal["exact", "tree"] = "exact",
    islands: Literal["currents", "spikes"] = "currents",
    encoding: str = "constant",
    readout: Literal["membrane", "count"] = "membrane",
    seed: int = 0,
    preprocessing: Preprocessing | None = None,
    limit: int | None = None,
    regression: bool = False,
    mem_limit: int = 1 << 30,
    progress: Progress = lambda done, total: None,
) -> SpikingGraph:
    """The spiking network of ``model``.

    Parameters:
        model: a path, bytes, a ModelProto, or what ``load_onnx`` gives.
        calibration: what ``load_samples`` takes: DATA, (x, y) arrays, an iterable of batches, or
            samples; None: no data, on assumed statistics. Labels only judge the candidates of
            recipe "auto".
        recipe: binary, signed, graded, differential, synchronous, few-spike, ttfs; or "auto", the
            one to begin with: it tries the others up to T = ``steps``.
        steps: number of time steps T that everything is calibrated for.
        max_drop: recipe "auto" only: points of accuracy (without labels: of agreement with the
            ANN) that may be lost.
        prefer: recipe "auto" only: what decides between candidates within ``max_drop``.
        method, percentile, per_channel: how thresholds are chosen from the data.
        reset, leak, refractory, levels: of the neurons; levels: the largest spike, None is the
            recipe's.
        tune: calibrate weights, thresholds and biases in the spiking loop.
        spike_cost: the price of a spike in that calibration.
        v_init: initial membrane potential as a fraction of the threshold.
        lag: steps every layer integrates before its first spike; ``pace``: behind it, even spikes.
        copies: neurons for each value of the first layer (and, recipe "binary", of the last ones
            of deep networks where T is no more than layers in a row); None is the recipe's.
        maxpool: "exact" for simulation, "tree" of neurons for chips.
        islands: what analog parts and products of two signals send on: "currents", or "spikes".
        encoding: how samples enter: constant, rate, poisson, population:N, few-spike:K, ttfs:K.
        readout: "membrane", or "count" of the outputs' spikes.
        seed: of the samples drawn in calibration.
        preprocessing: of DATA in files, which the network remembers; arrays are taken as the
            network takes them, and for them it is only remembered.
        limit: so many of the calibration samples, spread over all.
        regression: the outputs are values, which only recipe "auto" needs to know.
        mem_limit: bytes for what the conversion adds to the process, beside the samples; with less
            it takes longer, and only where that is not enough it sees fewer samples, and says so.
        progress: is told how many of how many parts are done.

    Raises ModelError, UnsupportedOps, DataError or UsageError.
    """
    given = locals()
    chosen = {field.name: given[field.name] for field in fields(Options)}
    loaded, samples = read_model(model), None
    if calibration is not None:
        in_files = isinstance(calibration, str | PathLike)
        samples = load_samples(
            calibration, loaded, preprocessing if in_files else None, limit=limit, spread=True
        )
    return converted.convert(
        loaded,
        samples,
        preprocessing=preprocessing,
        regression=regression,
        mem_limit=mem_limit,
        progress=progress,
        **chosen,
    )
