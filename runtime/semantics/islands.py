"""Analog islands: stateless ONNX subgraphs evaluated by ONNX Runtime inside the spiking network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..graph import Analog
from ..onnx_runtime import onnx_runtime
from ..ops import Array


@lru_cache(maxsize=64)
def _session(model: bytes) -> Any:
    ort = onnx_runtime()  # only networks with islands need it

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run_model(model: bytes, output: str, inputs: Sequence[Array]) -> Array:
    """f(inputs) for arrays (batch, *shape) in the order of the model's inputs; float32 inside."""
    session = _session(model)
    names = [i.name for i in session.get_inputs()]
    feed = {
        n: np.ascontiguousarray(x, dtype=np.float32) for n, x in zip(names, inputs, strict=True)
    }
    result: Array = session.run([output], feed)[0]
    return result


def settled(model: bytes, output: str, means: Sequence[Array]) -> Array:
    """``run_model`` on running means, which begin at 0 whatever the network's values are: where f
    has no finite value there (a logarithm or reciprocal of a neuron that has not fired yet), 0."""
    result = run_model(model, output, means)
    finite = np.isfinite(result)
    return result if finite.all() else np.where(finite, result, np.float32(0))


def apply(node: Analog, xs: Sequence[Array]) -> Array:
    """What an island computes of its inputs (batch, *shape), its biases added."""
    biased = [x + b for x, b in zip(xs, node.biases, strict=True)] if node.biases else xs
    return run_model(node.model, node.output, biased)
