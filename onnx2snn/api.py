"""The conversion as a library: what the command line does, without printing.

import onnx2snn
model = onnx2snn.load_onnx("net.onnx")
calib = onnx2snn.load_samples("data.npz:x_calib", model)
network = onnx2snn.convert(model, calib, steps=32)
test = onnx2snn.load_samples("data.npz:x_test,y_test", model)
print(onnx2snn.evaluate(network, test, 32).points[-1].accuracy)
onnx2snn.save(network, "net.snn.onnx")
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from . import data
from .converter import convert as _convert
from .converter import onnxfile
from .converter.copies import gathered
from .converter.diagnose_run import most_spikes
from .converter.evaluate import evaluate as evaluate_ann
from .converter.frontend import LoadedModel, Reference, import_onnx
from .converter.frontend import load_onnx as load_onnx  # part of this API
from .converter.graph import AnnGraph
from .converter.graph import Input as AnnInput
from .converter.lower import lower
from .converter.normalize import set_thresholds
from .converter.passes import default_passes, run_passes
from .data import Preprocessing, Samples
from .errors import DataError, UsageError
from .evaluate import Ann, Evaluation
from .evaluate import evaluate as _evaluate
from .hwtargets import Violation, missing_kinds, targets
from .provenance import Kind
from .results import claim_file
from .runtime.graph import Input, Population, Readout, SpikingGraph
from .runtime.neuron import NeuronParams
from .runtime.ops import Array, Shape
from .runtime.reference import run_analog

Progress = Callable[[int, int], None]
Model = LoadedModel | SpikingGraph | AnnGraph


def input_shapes(model: Model) -> dict[str, Shape]:
    """Sample shape of every input, without batch axis."""
    if isinstance(model, SpikingGraph):
        return {node.name: node.shape for node in model.of(Input)}
    return {info.name: info.shape for info in model.inputs}


def load_samples(
    spec: str,
    model: Model,
    preprocessing: Preprocessing | None = None,
    *,
    limit: int | None = None,
) -> Samples:
    """Samples from DATA (see ``data``) for this model. A converted network remembers the
    preprocessing it was calibrated with, which is used unless another one is given."""
    if preprocessing is None and isinstance(model, SpikingGraph):
        preprocessing = Preprocessing.from_json(model.meta.get("preprocessing", {}))
    return data.load_samples(
        spec, input_shapes(model), preprocessing or Preprocessing(), limit=limit
    )


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
        options: fields of ``converter.convert.Options``: steps, recipe, lag, ...

    Raises ModelError, UnsupportedOps, DataError or UsageError.
    """
    loaded = model if isinstance(model, LoadedModel) else load_onnx(model)
    inputs: Any = calibration.whole() if isinstance(calibration, Samples) else calibration
    result = _convert.convert(
        import_onnx(loaded),
        inputs,
        _convert.Options(**options),
        labels=_judging(calibration, regression),
        progress=progress,
    )
    meta: dict[str, Any] = {
        **result.graph.meta,
        "source": {"path": Path(loaded.path).name, "sha256": loaded.sha256},
    }
    if inputs is not None:
        meta["thresholds"] = _reached(result, int(meta["T"]))
    if preprocessing is not None:
        meta["preprocessing"] = preprocessing.to_json()
    if isinstance(calibration, Samples):
        meta["preprocessing"] = calibration.preprocessing.to_json()
        meta["calibration"] = {"source": calibration.source, "samples": len(calibration)}
    return replace(result.graph, meta=meta)


def _judging(
    calibration: Samples | Array | Mapping[str, Array] | None, regression: bool
) -> Array | None:
    """What recipe "auto" judges by: class numbers, anything else for a regression, or nothing."""
    if regression:
        return np.zeros(0)
    return calibration.labels if isinstance(calibration, Samples) else None


def _reached(made: _convert.Conversion, steps: int) -> dict[str, dict[str, float]]:
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


def save(network: SpikingGraph, path: str | Path, *, force: bool = False) -> None:
    """Write the converted network as one ONNX file (see ``converter.onnxfile``), in one step.

    A file that is no converted network is replaced only with ``force``, the model that the network
    was converted from never. Raises DataError (E220 to E223).
    """
    results = claim_file(Path(path), Kind.NETWORK, inputs=(), force=force)
    place = results.destination(Path(path).name)
    source = network.meta.get("source")
    if place.status is not None and isinstance(source, Mapping):
        held = hashlib.sha256(place.path.read_bytes()).hexdigest()
        if held == source.get("sha256"):
            raise DataError(
                "this is the model that the network was converted from",
                where=str(path),
                remedy="Choose another path.",
                code="E221",
            )
    results.write(Path(path).name, onnxfile.to_bytes(network))


def load(path: str | Path) -> SpikingGraph:
    """Read a converted network. Raises ModelError where it is not one."""
    return onnxfile.load(path)


def chip_kinds(model: LoadedModel) -> dict[str, tuple[Violation, ...]]:
    """Per bundled chip target, the kinds of operations in ``model`` that the chip has no means
    for (none: it may fit; `place` says whether its size does). Plain binary neurons are assumed."""
    lowered = lower(run_passes(import_onnx(model), default_passes()))
    return {name: missing_kinds(lowered, target) for name, target in targets().items()}


def analog_ann(network: SpikingGraph) -> Ann:
    """The ANN inside a converted network: its analog mode."""
    return lambda x: run_analog(network, x)


def onnx_ann(model: LoadedModel, network: SpikingGraph, *, threads: int = 2) -> Ann:
    """The ANN by ONNX Runtime on the original model, by readout name of ``network``."""
    reference = Reference(model, threads=threads)
    readouts = network.of(Readout)
    tensors = [r.tensor for r in readouts]

    def run(x: dict[str, Array]) -> dict[str, Array]:
        out = reference.run(x, tensors)
        return {r.name: out[r.tensor].reshape(-1, *r.shape) for r in readouts}

    return run


def evaluate(
    network: SpikingGraph,
    samples: Samples,
    steps: int,
    ann: Ann | None = None,
    *,
    engine: Literal["numpy", "onnxruntime"] = "numpy",
    **options: Any,
) -> Evaluation:
    """Accuracy, agreement with the ANN and cost after every step up to ``steps``.

    Parameters:
        ann: ``onnx_ann(model, network)``, or the network's own analog mode by default.
        engine: whose kernels compute the synapses.
        options: see ``evaluate.evaluate``.
    """
    if engine == "onnxruntime":
        options["kernels"] = onnxfile.synapse_models(network)
    return _evaluate(network, samples, steps, ann or analog_ann(network), **options)


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerCheck:
    """One tensor in analog mode against ONNX Runtime."""

    name: str
    tensor: str
    relative_diff: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Verification:
    """Analog mode against ONNX Runtime: largest difference, relative to the output's range."""

    max_abs_diff: float
    relative_diff: float
    samples: int
    layers: tuple[LayerCheck, ...]
    dropped: tuple[str, ...]


def verify(
    model: LoadedModel | str | Path,
    inputs: Mapping[str, Array] | None = None,
    *,
    samples: int = 4,
    seed: int = 0,
) -> Verification:
    """Compare the network as onnx2snn understood it with ONNX Runtime, layer by layer.

    The layers are those of the ANN graph after its passes; the outputs are those of the spiking
    graph in analog mode after thresholds were folded into the weights, so that lowering and folding
    are checked too. Without ``inputs``, standard normal ones.
    """
    loaded = model if isinstance(model, LoadedModel) else load_onnx(model)
    if inputs is None:
        rng = np.random.default_rng(seed)
        inputs = {
            i.name: rng.standard_normal((samples, *i.shape)).astype(np.float32)
            for i in loaded.inputs
        }
    ann = import_onnx(loaded)
    rewritten = run_passes(ann, default_passes())
    lowered = lower(rewritten)
    known = [n for n in rewritten.nodes if n.tensor and not isinstance(n.layer, AnnInput)]
    wanted = dict.fromkeys([*(n.tensor for n in known), *(o.tensor for o in ann.outputs)])
    expected = Reference(loaded).run(inputs, list(wanted))
    computed = evaluate_ann(rewritten, inputs)
    layers = tuple(
        LayerCheck(
            name=n.name,
            tensor=n.tensor,
            relative_diff=_relative(computed[n.name], expected[n.tensor])[1],
        )
        for n in known
    )
    folded = run_analog(_with_arbitrary_thresholds(lowered, seed), inputs)
    differences = [_relative(folded[r.name], expected[r.tensor]) for r in lowered.of(Readout)]
    return Verification(
        max_abs_diff=max(d[0] for d in differences),
        relative_diff=max(d[1] for d in differences),
        samples=len(next(iter(inputs.values()))),
        layers=layers,
        dropped=tuple(op for output in ann.outputs for op in output.dropped),
    )


def _relative(got: Array, expected: Array) -> tuple[float, float]:
    """Largest absolute difference, and that relative to the expected values' range."""
    difference = float(np.abs(got.reshape(expected.shape) - expected).max(initial=0))
    span = float(np.ptp(expected)) or float(np.abs(expected).max(initial=0)) or 1.0
    return difference, difference / span


def _with_arbitrary_thresholds(lowered: SpikingGraph, seed: int) -> SpikingGraph:
    """Per-channel thresholds that differ, so that a wrong fold shows."""
    from .converter.calibrate import channel_axis

    rng = np.random.default_rng(seed)
    neurons = {}
    for p in lowered.of(Population):
        axis = channel_axis(lowered, p.name)
        shape = tuple(n if i == axis else 1 for i, n in enumerate(p.shape))
        theta = rng.uniform(0.5, 2.0, shape).astype(np.float32)
        neurons[p.name] = NeuronParams(v_threshold=theta, v_init=theta / 2)
    return set_thresholds(lowered, neurons)


def parse_steps(text: str) -> tuple[int, int]:
    """``N`` or ``FIRST:LAST`` as (first, last). Raises UsageError for anything else."""
    first, colon, last = text.partition(":")
    try:
        begin, end = int(first), int(last if colon else first)
    except ValueError:
        raise UsageError(
            f"-T takes N or FIRST:LAST, got '{text}'", remedy="Example: -T 32 or -T 1:64."
        ) from None
    if begin < 1 or end < begin:
        raise UsageError(f"-T must be at least 1 and FIRST at most LAST, got '{text}'", code="E110")
    return (begin, end) if colon else (end, end)
