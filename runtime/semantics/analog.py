"""Analog mode: the spiking graph with every population replaced by its activation function.

It computes what the ANN computes, so comparing it with ONNX Runtime checks frontend, passes,
lowering and threshold folding without a single spike. A population gives clip(z, 0, ceiling) in
units of its threshold, as its spikes do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..graph import (
    Analog,
    Delay,
    Input,
    MaxPool,
    Node,
    Population,
    Readout,
    Rules,
    SpikingGraph,
    Synapse,
)
from ..ops import Array
from ..parallel.threads import available_threads, one_blas_thread, run_tasks
from . import islands
from .samples import as_inputs
from .walk import walk

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
        return start, walk(graph, AnalogRules(None, apply), part)

    def collect(done: tuple[int, dict[str, Array]]) -> None:
        start, results = done
        for name, result in results.items():
            if name not in out:
                out[name] = np.empty((count, *result.shape[1:]), result.dtype)
            out[name][start : start + len(result)] = result

    with one_blas_thread():
        if observe is not None:
            return walk(graph, AnalogRules(observe, apply), arrays)
        run_tasks(range(available_threads()), range(0, count, TILE), one, collect)
    return out


class AnalogRules(Rules[Array]):
    """A node's output in analog mode, (samples, *shape): of a population in units of its
    threshold. ``observe`` and ``apply`` as in ``run_analog``."""

    def __init__(self, observe: Observer | None, apply: Apply) -> None:
        self.observe, self.apply = observe, apply

    def _seen(self, node: Node, pre: Array, *, out: Array) -> Array:
        if self.observe is not None:
            self.observe(node, pre, out)
        return out

    def input(self, node: Input | Delay, xs: Sequence[Array]) -> Array:
        return self._seen(node, xs[0], out=xs[0])

    delay = input

    def synapse(self, node: Synapse, xs: Sequence[Array]) -> Array:
        out = self.apply(node.ann_op or node.op, *xs).astype(xs[0].dtype, copy=False)
        return self._seen(node, out, out=out)

    def population(self, node: Population, xs: Sequence[Array]) -> Array:
        pre = _biased(node, xs[0])
        theta = node.neuron.v_threshold.astype(pre.dtype)
        spikes = node.neuron.activation(pre, node.ceiling)
        if self.observe is not None:
            self.observe(node, pre, spikes * theta)
        return spikes

    def max_pool(self, node: MaxPool, xs: Sequence[Array]) -> Array:
        pre = _biased(node, xs[0])
        return self._seen(node, pre, out=node.op.apply(pre))

    def analog(self, node: Analog, xs: Sequence[Array]) -> Array:
        out = islands.apply(node, xs).astype(xs[0].dtype)
        return self._seen(node, xs[0], out=out)

    def readout(self, node: Readout, xs: Sequence[Array]) -> Array:
        pre = _biased(node, xs[0])
        return self._seen(node, pre, out=pre)


def _biased(node: Population | MaxPool | Readout, x: Array) -> Array:
    """With the ANN's bias, not the one that calibration in the spiking loop put there."""
    bias = node.bias if node.ann_bias is None else node.ann_bias
    return np.asarray(x + bias.astype(x.dtype))
