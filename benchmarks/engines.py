"""The engines that are measured. Nothing else is imported here: it would count as their memory."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

from onnx2snn.runtime.engine import make_engine
from onnx2snn.runtime.engine.fast.simulator import Simulator
from onnx2snn.runtime.graph import SpikingGraph

ENGINES = ("numpy", "fast", "fast+numba")  # the definition; the fast one without and with numba


def simulator(graph: SpikingGraph, engine: str, **options) -> Any:
    """One of ``ENGINES`` with a method ``run(inputs, steps, ...)``."""
    name, _, numba = engine.partition("+")
    if name == "fast":
        return Simulator(graph, events="auto" if numba else "never", **options)
    return SimpleNamespace(run=partial(make_engine(name, **options).run, graph), _layers={})
