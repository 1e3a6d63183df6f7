"""Analog mode: the spiking graph with every population replaced by its activation function.

It computes what the ANN computes, so comparing it with ONNX Runtime checks frontend, passes,
lowering and threshold folding without a single spike. A population gives clip(z, 0, ceiling) in
units of its threshold, as its spikes do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..graph import Analog, Delay, Input, MaxPool, Node, Population, Readout, SpikingGraph, Synapse
from ..ops import Array
from ..parallel.threads import available_threads, one_blas_thread, run_tasks
from . import islands as analog
from .samples import as_inputs
from .spiking import last_uses

TILE = 32  # samples evaluated together where nobody observes the layers
Observer = Callable[[Node, Array, Array], None]
Apply = Callable[..., Array]  # a linear operation and its inputs (batch, *shape)


def run_analog(
    graph: SpikingGraph,
    inputs: Array | Mapping[str, Array],
    *,
    observe: Observer | None = None,
    dtype: np.dtype | type = np.float32,
    apply: Apply = lambda op, *xs: op.apply(*xs),
) -> dict[str, Array]:
    """Readouts of the graph in analog mode, (samples, *shape) each.

    ``observe(node, pre, out)`` sees every node's output, decoded (spikes times threshold), and for
    populations the pre-activation ``pre`` (the mean input, bias included). ``apply`` computes the
    linear operations.
    """
    arrays = as_inputs(graph, inputs, dtype)
    count = len(next(iter(arrays.values())))
    out: dict[str, Array] = {}

    def one(_: int, start: int) -> tuple[int, dict[str, Array]]:
        part = {name: x[start : start + TILE] for name, x in arrays.items()}
        return start, _run(graph, part, None, apply)

    def collect(done: tuple[int, dict[str, Array]]) -> None:
        start, results = done
        for name, result in results.items():
            if name not in out:
                out[name] = np.empty((count, *result.shape[1:]), result.dtype)
            out[name][start : start + len(result)] = result

    with one_blas_thread():
        if observe is not None:
            return _run(graph, arrays, observe, apply)
        run_tasks(range(available_threads()), range(0, count, TILE), one, collect)
    return out


def _run(
    graph: SpikingGraph, arrays: Mapping[str, Array], observe: Observer | None, apply: Apply
) -> dict[str, Array]:
    """Readouts of one tile of samples."""
    last_use = last_uses(graph)
    values: dict[str, Array] = {}
    results: dict[str, Array] = {}
    for i, node in enumerate(graph.nodes):
        xs = [values[name] for name in node.inputs]
        pre, out = _evaluate(node, xs, arrays, apply)
        values[node.name] = out
        if isinstance(node, Readout):
            results[node.name] = out
        if observe is not None:
            decoded = out
            if isinstance(node, Population):
                decoded = out * node.neuron.v_threshold.astype(out.dtype)
            observe(node, pre, decoded)
        for name in last_use.get(i, ()):
            values.pop(name, None)
    return results


def _evaluate(
    node: Node, xs: list[Array], arrays: Mapping[str, Array], apply: Apply
) -> tuple[Array, Array]:
    """Pre-activation and output (in spike units for a population) of one node."""
    match node:
        case Input():
            return arrays[node.name], arrays[node.name]
        case Delay():
            return xs[0], xs[0]
        case Synapse():
            out = apply(node.ann_op or node.op, *xs).astype(xs[0].dtype, copy=False)
            return out, out
        case Population():
            pre = xs[0] + _bias(node).astype(xs[0].dtype)
            out = np.clip(pre, 0, node.ceiling)
            return pre, out / node.neuron.v_threshold.astype(out.dtype)
        case MaxPool():
            pre = xs[0] + _bias(node).astype(xs[0].dtype)
            return pre, node.op.apply(pre)
        case Analog():
            biased = [x + b for x, b in zip(xs, node.biases, strict=True)] if node.biases else xs
            return xs[0], analog.evaluate(node.model, node.output, biased).astype(xs[0].dtype)
        case Readout():
            pre = xs[0] + _bias(node).astype(xs[0].dtype)
            return pre, pre


def _bias(node: Population | MaxPool | Readout) -> Array:
    """The ANN's bias, not the one that calibration in the spiking loop put there."""
    return node.bias if node.ann_bias is None else node.ann_bias
