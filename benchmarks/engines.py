"""The engines that are measured. Nothing else is imported here: it would count as their memory."""

from __future__ import annotations

from onnx2snn.runtime.engine.fast.simulator import Simulator
from onnx2snn.runtime.graph import SpikingGraph

ENGINES = ("numpy", "onnxruntime", "numpy+fast", "onnxruntime+fast")


def simulator(graph: SpikingGraph, engine: str, **options) -> Simulator:
    """One of ``ENGINES``."""
    name, _, fast = engine.partition("+")
    kernels = None
    if name == "onnxruntime":
        from onnx2snn.runtime.engine.fast.products.models import synapse_models

        kernels = synapse_models(graph)
    return Simulator(graph, kernels=kernels, events="auto" if fast else "never", **options)
