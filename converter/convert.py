"""The conversion as one function: ANN graph and calibration data in, spiking graph out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np

from ..errors import UsageError
from ..runtime import graph as snn
from ..runtime.neuron import NeuronParams
from ..runtime.ops import Array
from .calibrate import LayerStats, Progress, calibrate
from .graph import AnnGraph
from .lower import lower
from .normalize import Method, set_thresholds, thresholds
from .passes import default_passes, run_passes


@dataclass(frozen=True, eq=False, kw_only=True)
class Options:
    """How to convert. The defaults are the ``binary`` recipe without calibration in the loop.

    Attributes:
        steps: number of time steps T the thresholds are chosen for (method "mmse").
        method, percentile, per_channel: how thresholds are chosen (``normalize.thresholds``).
        v_init: initial membrane potential as a fraction of the threshold.
        reset, leak, refractory, levels, signed, lag: see ``runtime.neuron.NeuronParams``.
        encoding: how inputs enter (``runtime.encoding``).
        readout: "membrane" integrates without firing; "count" counts the outputs' spikes.
    """

    steps: int = 32
    method: Method = "mmse"
    percentile: float = 99.9
    per_channel: bool = True
    v_init: float = 0.5
    reset: Literal["subtract", "zero"] = "subtract"
    leak: float = 0.0
    refractory: int = 0
    levels: int = 1
    signed: bool = False
    lag: int = 0
    encoding: Literal["constant", "poisson", "rate"] = "constant"
    readout: Literal["membrane", "count"] = "membrane"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UsageError(f"T must be at least 1, got {self.steps}", code="E110")


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
    calibration: Array | Mapping[str, Array],
    options: Options | None = None,
    *,
    progress: Progress = lambda done, total: None,
) -> Conversion:
    """Convert ``ann``: passes, lowering, calibration, normalization.

    Parameters:
        calibration: preprocessed samples, (samples, *shape) per input; no labels are used.

    Raises ModelError, GraphError, DataError or UsageError, each saying where and why.
    """
    options = options or Options()
    lowered = lower(run_passes(ann, default_passes()))
    stats = calibrate(lowered, calibration, progress=progress)
    theta = thresholds(
        stats,
        method=options.method,
        percentile=options.percentile,
        steps=options.steps,
        levels=options.levels,
        per_channel=options.per_channel,
    )
    graph = set_thresholds(lowered, _neurons(lowered, stats, theta, options))
    graph = _with_interfaces(graph, stats, options)
    meta = {**graph.meta, "options": asdict(options)}
    return Conversion(graph=replace(graph, meta=meta), lowered=lowered, stats=stats)


def _neurons(
    lowered: snn.SpikingGraph,
    stats: Mapping[str, LayerStats],
    theta: Mapping[str, Array],
    options: Options,
) -> dict[str, NeuronParams]:
    """The neuron parameters of every population."""
    out: dict[str, NeuronParams] = {}
    for population in lowered.of(snn.Population):
        threshold = theta[population.name]
        if population.ceiling is not None:
            # The activation's own bound is then exact: no neuron passes it.
            threshold = np.minimum(threshold, np.float32(population.ceiling / options.levels))
        stat = stats[population.name]
        v_threshold = stat.broadcast(threshold.astype(np.float32), len(population.shape))
        out[population.name] = NeuronParams(
            v_threshold=v_threshold,
            v_init=v_threshold * np.float32(options.v_init),
            reset=options.reset,
            leak=options.leak,
            refractory=options.refractory,
            levels=options.levels,
            signed=options.signed,
            lag=options.lag,
        )
    return out


def _with_interfaces(
    graph: snn.SpikingGraph, stats: Mapping[str, LayerStats], options: Options
) -> snn.SpikingGraph:
    """The graph with the chosen input encoding and output decoding."""
    changed: list[snn.Node] = [replace(i, encoding=options.encoding) for i in graph.of(snn.Input)]
    if options.readout == "count":
        changed += [
            replace(r, mode="count", neuron=_counting(stats[r.name])) for r in graph.of(snn.Readout)
        ]
    return graph.with_nodes(changed)


def _counting(stat: LayerStats) -> NeuronParams:
    """Output neurons that count spikes: one threshold for all, so that counts compare as logits
    do; a negative logit counts nothing."""
    top = np.float32(stat.maximum.max(initial=0) or 1.0)
    return NeuronParams(v_threshold=np.asarray(top), v_init=np.asarray(top / 2))
