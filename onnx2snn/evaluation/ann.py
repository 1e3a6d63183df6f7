"""The ANN beside the spiking network: as ONNX Runtime runs it, or in the graph's analog mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from ..converter.frontend import LoadedModel, Reference
from ..errors import ModelError
from ..runtime.graph import PlasticSynapse, Readout, SpikingGraph
from ..runtime.ops import Array
from ..runtime.semantics.analog import run_analog

# Preprocessed inputs -> the ANN's outputs by readout name.
Ann = Callable[[dict[str, Array]], Mapping[str, Array]]


def analog_ann(network: SpikingGraph) -> Ann:
    """The ANN inside a converted network: its analog mode."""
    return lambda x: run_analog(network, x)


def onnx_ann(model: LoadedModel, network: SpikingGraph, *, threads: int = 2) -> Ann:
    """The ANN by ONNX Runtime on the original model, by readout name of ``network``. The model is
    made ready when it is first run: where all answers are stored it never is.

    Raises ModelError (E329) where these are no outputs of the model.
    """
    refuse_learned(network)
    readouts = network.of(Readout)
    tensors = [r.tensor for r in readouts]
    reference = cache(lambda: Reference(model, threads=threads))

    def run(x: dict[str, Array]) -> dict[str, Array]:
        out = reference().run(x, tensors)
        return {r.name: out[r.tensor].reshape(-1, *r.shape) for r in readouts}

    return run


def refuse_learned(network: SpikingGraph) -> None:
    """Raise ModelError (E329) where a layer that has learned stands for the model's outputs."""
    for synapse in network.of(PlasticSynapse):
        raise ModelError(
            f"the outputs are those of a layer that has learned (rule '{synapse.rule.name}'), "
            "which the model does not have",
            remedy="Compare the converted network that it began with; `onnx2snn run` judges this "
            "one.",
            code="E329",
        )
