"""Spiking graphs for tests, built by hand from runtime records."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onnx2snn.runtime import graph as snn
from onnx2snn.runtime import ops
from onnx2snn.runtime.neurons import NeuronParams


def dyadic(rng: np.random.Generator, shape: tuple[int, ...], bits: int = 4) -> np.ndarray:
    """Random multiples of 2^-bits in [-1, 1): sums of them are exact in float32."""
    return (rng.integers(-(2**bits), 2**bits, shape) / 2**bits).astype(np.float32)


def neuron(channels: int, rank: int = 3, **params: object) -> NeuronParams:
    theta = (1 + np.arange(channels) % 3 * 0.5).astype(np.float32).reshape(-1, *(1,) * (rank - 1))
    defaults = {"v_threshold": theta, "v_init": theta / 2}
    return NeuronParams(**{**defaults, **params})  # type: ignore[arg-type]


def residual_cnn(rng: np.random.Generator, **params: object) -> snn.SpikingGraph:
    """Conv, max pool, a residual block with a Scale skip, concat, pools, linear; 2x8x8 -> 3."""

    def conv(out: int, inputs: int) -> ops.Conv:
        return ops.Conv(
            weight=dyadic(rng, (out, inputs, 3, 3)),
            strides=(1, 1),
            dilations=(1, 1),
            pads=(1, 1, 1, 1),
        )

    pool = {"kernel": (2, 2), "strides": (2, 2), "dilations": (1, 1), "pads": (0, 0, 0, 0)}
    s = snn.Synapse
    nodes: list[snn.Node] = [
        snn.Input(name="x", shape=(2, 8, 8)),
        s(name="conv1", inputs=("x",), shape=(4, 8, 8), op=conv(4, 2)),
        snn.Population(
            name="relu1",
            inputs=("conv1",),
            shape=(4, 8, 8),
            bias=dyadic(rng, (4, 1, 1)),
            neuron=neuron(4, **params),
        ),
        snn.MaxPool(name="max", inputs=("relu1",), shape=(4, 4, 4), op=ops.MaxPool(**pool)),
        s(name="conv2", inputs=("max",), shape=(4, 4, 4), op=conv(4, 4)),
        s(
            name="skip",
            inputs=("max",),
            shape=(4, 4, 4),
            op=ops.Scale(scale=dyadic(rng, (4, 1, 1))),
        ),
        s(name="sum", inputs=("conv2", "skip"), shape=(4, 4, 4), op=ops.Add()),
        snn.Population(
            name="relu2",
            inputs=("sum",),
            shape=(4, 4, 4),
            bias=dyadic(rng, (4, 1, 1)),
            neuron=neuron(4, **params),
        ),
        s(name="cat", inputs=("max", "relu2"), shape=(8, 4, 4), op=ops.Concat(axis=0)),
        s(name="avg", inputs=("cat",), shape=(8, 2, 2), op=ops.SumPool(**pool)),
        s(name="flat", inputs=("avg",), shape=(32,), op=ops.Reshape(shape=(32,))),
        s(name="fc", inputs=("flat",), shape=(3,), op=ops.Linear(weight=dyadic(rng, (3, 32)))),
        snn.Readout(name="out", inputs=("fc",), shape=(3,), bias=dyadic(rng, (3,))),
    ]
    return snn.SpikingGraph(nodes=tuple(nodes), meta={"recipe": "test", "list": [1, 2]})


def with_input(graph: snn.SpikingGraph, encoding: str) -> snn.SpikingGraph:
    return graph.with_nodes(
        [replace(i, encoding=encoding) for i in graph.of(snn.Input)]  # type: ignore[arg-type]
    )
