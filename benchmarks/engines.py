"""The engines that are measured. Nothing else is imported here: it would count as their memory."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

from onnx2snn.runtime.engine import make_engine
from onnx2snn.runtime.engine.fast.simulator import Simulator
from onnx2snn.runtime.graph import SpikingGraph

# The definition; the fast one without and with numba; PyTorch's, where that is installed.
ENGINES = ("numpy", "fast", "fast+numba", *(("torch",) if find_spec("torch") else ()))


def simulator(graph: SpikingGraph, engine: str, **options) -> Any:
    """One of ``ENGINES`` with a method ``run(inputs, steps, ...)``."""
    name, _, numba = engine.partition("+")
    if name == "fast":
        return Simulator(graph, events="auto" if numba else "never", **options)
    return SimpleNamespace(run=partial(make_engine(name, **options).run, graph), _layers={})
