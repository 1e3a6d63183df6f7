"""A conversion with what it was made from: the converted file's provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .api import Progress
from .converter.auto import choose
from .converter.convert import Conversion
from .converter.convert import convert as convert_ann
from .converter.frontend import LoadedModel, import_onnx, load_onnx
from .converter.lowering.copies import gathered
from .converter.recipes.options import Options
from .data import Preprocessing, Samples
from .runtime.graph import Population, SpikingGraph
from .runtime.neurons import most_spikes
from .runtime.ops import Array


def convert(
    model: LoadedModel | str | Path,
    calibration: Samples | Array | Mapping[str, Array] | None,
    *,
    preprocessing: Preprocessing | None = None,
    regression: bool = False,
    progress: Progress = lambda done, total: None,
    **options: Any,
) -> SpikingGraph:
    """The spiking network of ``model``.

    Parameters:
        calibration: samples as they come from ``load_samples``, or preprocessed arrays (samples,
            *shape). Class labels in Samples only judge the candidates of recipe "auto".
        preprocessing: what the network remembers where ``calibration`` does not say it.
        regression: the outputs are values, not class scores, which only recipe "auto" needs to
            know.
        options: fields of ``converter.recipes.options.Options``: steps, recipe, lag, ...

    Raises ModelError, UnsupportedOps, DataError or UsageError.
    """
    loaded = model if isinstance(model, LoadedModel) else load_onnx(model)
    inputs: Any = calibration.whole() if isinstance(calibration, Samples) else calibration
    ann, chosen = import_onnx(loaded), Options(**options)
    if chosen.recipe == "auto":
        labels = _judging(calibration, regression)
        result = choose(ann, inputs, chosen, labels=labels, progress=progress).conversion
    else:
        result = convert_ann(ann, inputs, chosen, progress=progress)
    meta: dict[str, Any] = {
        **result.graph.meta,
        "source": {"path": Path(loaded.path).name, "sha256": loaded.sha256},
        "notes": [*result.graph.meta["notes"], *_training_notes(loaded)],
    }
    if inputs is not None:
        meta["thresholds"] = _reached(result, int(meta["T"]))
    if preprocessing is not None:
        meta["preprocessing"] = preprocessing.to_json()
    if isinstance(calibration, Samples):
        meta["preprocessing"] = calibration.preprocessing.to_json()
        name = Path(calibration.source).name  # no folder of this machine
        meta["calibration"] = {"source": name, "samples": len(calibration)}
    return replace(result.graph, meta=meta)


def _training_notes(loaded: LoadedModel) -> list[str]:
    """One note for each thing that nodes exported in training mode are read as."""
    nodes: dict[str, list[str]] = {}
    for name, op, reason in loaded.training:
        nodes.setdefault(f"{op} {reason}", []).append(name)
    return [f"{reason}: {', '.join(names)}" for reason, names in nodes.items()]


def _judging(
    calibration: Samples | Array | Mapping[str, Array] | None, regression: bool
) -> Array | None:
    """What recipe "auto" judges by: class numbers, anything else for a regression, or nothing."""
    if regression:
        return np.zeros(0)
    return calibration.labels if isinstance(calibration, Samples) else None


def _reached(made: Conversion, steps: int) -> dict[str, dict[str, float]]:
    """Per population its median threshold, and the largest activation seen in calibration relative
    to the most its neurons can send (median of the channels): what `diagnose` tells causes by."""
    out = {}
    for node in gathered(made.graph)[0].of(Population):
        theta, stat = node.neuron.v_threshold, made.stats[node.name]
        most = theta * np.float32(most_spikes(node.neuron, steps) / steps)
        reach = stat.broadcast(stat.maximum, len(node.shape)) / most
        seen = reach[reach > 0]
        out[node.name] = {
            "median": float(np.median(theta)),
            "reach": float(np.median(seen)) if seen.size else 0.0,
        }
    return out
