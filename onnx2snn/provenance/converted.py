"""Conversion of a model to a network that remembers how it was made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from ..converter.ann.graph import AnnGraph
from ..converter.ann.passes import default_passes, run_passes
from ..converter.auto import choose
from ..converter.convert import Conversion
from ..converter.convert import convert as convert_ann
from ..converter.frontend import LoadedModel, import_onnx, load_onnx
from ..converter.lowering.copies import gathered
from ..converter.lowering.lower import lower
from ..converter.recipes.options import Options
from ..converter.statistics.measure import Progress
from ..converter.tune import MEMORY
from ..data import Preprocessing, Samples
from ..questions.inputs import digests, packed, ranges
from ..runtime.graph import Population, SpikingGraph
from ..runtime.ops import Array
from ..runtime.semantics.labels import read
from . import CalibrationData, GivenThreshold, Provenance, Source

LIBRARIES = ("onnx2snn", "numpy", "onnx", "onnxruntime", "onnx-ir", "onnxscript")


def convert(
    model: LoadedModel | str | Path,
    calibration: Samples | Array | Mapping[str, Array] | None,
    *,
    preprocessing: Preprocessing | None = None,
    regression: bool = False,
    mem_limit: int = MEMORY,
    progress: Progress = lambda done, total: None,
    **options: Any,
) -> SpikingGraph:
    """The spiking network of ``model``.

    Parameters:
        calibration: samples as they come from ``load_samples``, or preprocessed arrays (samples,
            *shape). Class labels in Samples only judge the candidates of recipe "auto".
        preprocessing: what the network remembers; None: that of ``calibration``.
        regression: the outputs are values, not class scores, which only recipe "auto" needs to
            know.
        mem_limit: bytes for what the conversion adds to the process, beside the samples.
        options: fields of ``converter.recipes.options.Options``: steps, recipe, lag, ...

    Raises ModelError, UnsupportedOps, DataError or UsageError.
    """
    loaded = model if isinstance(model, LoadedModel) else load_onnx(model)
    inputs: Any = calibration.whole() if isinstance(calibration, Samples) else calibration
    ann, chosen = import_onnx(loaded), Options(**options)
    if chosen.recipe == "auto":
        labels = _judging(ann, calibration, regression)
        found = choose(ann, inputs, chosen, labels=labels, mem_limit=mem_limit, progress=progress)
        result = found.conversion
    else:
        result = convert_ann(ann, inputs, chosen, mem_limit=mem_limit, progress=progress)
    made = Provenance.of(result.graph)
    made = replace(
        made,
        source=Source(
            path=_file_name(loaded.path),
            sha256=loaded.sha256,
            weights_sha256=loaded.weights_sha256,
        ),
        preprocessing=preprocessing,
        versions=_versions(),
        notes=(*made.notes, *_training_notes(loaded)),
    )
    if inputs is not None and made.steps is not None:
        arrays = inputs if isinstance(inputs, Mapping) else {ann.inputs[0].name: inputs}
        made = replace(made, thresholds=_reached(result, made.steps), inputs=ranges(arrays))
    if isinstance(calibration, Samples):
        made = replace(
            made,
            preprocessing=preprocessing or calibration.preprocessing,
            calibration=CalibrationData(
                source=_file_name(calibration.source),  # no folder of this machine
                samples=len(calibration),
                used=result.tuned_on,
                digests=packed(digests(inputs)),
            ),
        )
    return replace(result.graph, meta=made.to_json())


@cache
def _versions() -> Mapping[str, str]:
    """Of what is installed: a source tree that never was has no version."""
    out = {}
    for package in LIBRARIES:
        try:
            out[package] = version(package)
        except PackageNotFoundError:
            continue
    return out


def _training_notes(loaded: LoadedModel) -> list[str]:
    """One note for each thing that nodes exported in training mode are read as."""
    nodes: dict[str, list[str]] = {}
    for name, op, reason in loaded.training:
        nodes.setdefault(f"{op} {reason}", []).append(name)
    return [f"{reason}: {', '.join(names)}" for reason, names in nodes.items()]


def _judging(
    ann: AnnGraph, calibration: Samples | Array | Mapping[str, Array] | None, regression: bool
) -> Array | None:
    """What recipe "auto" judges by: class numbers, anything else for a regression, or nothing."""
    if regression:
        return np.zeros(0)
    if not isinstance(calibration, Samples) or calibration.labels is None:
        return None
    lowered = lower(run_passes(ann, default_passes()))
    known = read(lowered, calibration.labels, where=calibration.source)
    return known.numbers if known.classes else np.zeros(0)


def _reached(made: Conversion, steps: int) -> dict[str, GivenThreshold]:
    """What `diagnose` tells causes by."""
    out = {}
    for node in gathered(made.graph)[0].of(Population):
        theta, stat = node.neuron.v_threshold, made.stats[node.name]
        most = theta * np.float32(node.neuron.reach(steps) / steps)
        reach = stat.broadcast(stat.maximum, len(node.shape)) / most
        seen = reach[reach > 0]
        out[node.name] = GivenThreshold(
            median=float(np.median(theta)),
            reach=float(np.median(seen)) if seen.size else 0.0,
            beside=node.name in made.beside,
        )
    return out


def _file_name(path: str) -> str:
    """The last part, as UTF-8, which is all that an ONNX file can hold: Python reads bytes that are
    no characters in the user's locale as lone surrogates."""
    return os.fsencode(Path(path).name).decode(errors="replace")
