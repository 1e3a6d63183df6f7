"""The ANN beside the spiking network: as ONNX Runtime runs it, or in the graph's analog mode."""

from __future__ import annotations

from typing import Any

from ..converter.frontend import LoadedModel, Reference
from ..data import Samples
from ..runtime.engine import DEFAULT
from ..runtime.graph import Readout, SpikingGraph
from ..runtime.ops import Array
from ..runtime.semantics.analog import run_analog
from .evaluate import Ann, Evaluation
from .evaluate import evaluate as _evaluate


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
    engine: str = DEFAULT,
    **options: Any,
) -> Evaluation:
    """Accuracy, agreement with the ANN and cost after every step up to ``steps``.

    Parameters:
        ann: ``onnx_ann(model, network)``, or the network's own analog mode by default.
        engine: "fast", or "numpy", the definition ("onnxruntime" is an old name of "fast").
        options: see ``evaluate.evaluate``.

    Raises UsageError for an unknown engine, DataError for samples that do not fit.
    """
    return _evaluate(network, samples, steps, ann or analog_ann(network), engine=engine, **options)
