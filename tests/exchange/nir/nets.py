"""Networks that NIR can say with our conventions, built by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from graphs import dyadic, neuron

from onnx2snn.runtime import graph as snn
from onnx2snn.runtime import ops
from onnx2snn.runtime.neurons import NeuronParams


def residual(rng: np.random.Generator, **params: object) -> snn.SpikingGraph:
    """A convolution read by two populations, a residual block whose skip is strided and padded in
    channels, a concatenation, a depthwise convolution with uneven pads, pools, linear."""

    def conv(weight: np.ndarray, stride: int = 1, pads: tuple[int, ...] = (1, 1, 1, 1)) -> ops.Conv:
        groups = 6 if len(weight) == 6 else 1
        one = {"strides": (stride, stride), "dilations": (1, 1), "pads": pads}
        return ops.Conv(weight=weight, groups=groups, **one)  # type: ignore[arg-type]

    def population(name: str, source: str, shape: tuple[int, ...]) -> snn.Population:
        cells = neuron(shape[0], len(shape), **params)
        bias = dyadic(rng, (shape[0], *(1,) * (len(shape) - 1)))
        return snn.Population(name=name, inputs=(source,), shape=shape, bias=bias, neuron=cells)

    s = snn.Synapse
    pool = ops.SumPool(kernel=(2, 2), strides=(2, 2), dilations=(1, 1), pads=(0, 0, 0, 0))
    cut = ops.Slice(starts=(0, 0, 0), stops=(2, 6, 6), steps=(1, 2, 2))
    nodes: list[snn.Node] = [
        snn.Input(name="x", shape=(1, 6, 6), encoding="rate"),
        s(name="conv/1", inputs=("x",), shape=(2, 6, 6), op=conv(dyadic(rng, (2, 1, 3, 3)))),
        population("a", "conv/1", (2, 6, 6)),
        population("b", "conv/1", (2, 6, 6)),
        s(name="ab", inputs=("a", "b"), shape=(2, 6, 6), op=ops.Add()),
        s(name="conv2", inputs=("ab",), shape=(4, 3, 3), op=conv(dyadic(rng, (4, 2, 3, 3)), 2)),
        s(name="cut", inputs=("ab",), shape=(2, 3, 3), op=cut),
        s(name="skip", inputs=("cut",), shape=(4, 3, 3), op=ops.Pad(pads=(1, 0, 0, 1, 0, 0))),
        s(name="worth", inputs=("skip",), shape=(4, 3, 3), op=ops.Scale(scale=np.float32(0.5))),
        s(name="sum", inputs=("conv2", "worth"), shape=(4, 3, 3), op=ops.Add()),
        population("c", "sum", (4, 3, 3)),
        s(name="cat", inputs=("c", "cut"), shape=(6, 3, 3), op=ops.Concat(axis=0)),
        s(
            name="depthwise",
            inputs=("cat",),
            shape=(6, 4, 4),
            op=conv(dyadic(rng, (6, 1, 2, 3)), 1, (0, 1, 2, 2)),
        ),
        population("d", "depthwise", (6, 4, 4)),
        s(name="avg", inputs=("d",), shape=(6, 2, 2), op=pool),
        s(name="quarter", inputs=("avg",), shape=(6, 2, 2), op=ops.Scale(scale=np.float32(0.25))),
        population("e", "quarter", (6, 2, 2)),
        s(name="flat", inputs=("e",), shape=(24,), op=ops.Reshape(shape=(24,))),
        s(name="fc", inputs=("flat",), shape=(3,), op=ops.Linear(weight=dyadic(rng, (3, 24)))),
        snn.Readout(name="out", inputs=("fc",), shape=(3,), bias=dyadic(rng, (3,))),
    ]
    return snn.SpikingGraph(nodes=tuple(nodes), meta={"T": 6})


def hard(graph: snn.SpikingGraph) -> snn.SpikingGraph:
    """The same with what NIR itself says: hard reset, from zero; and neurons that read the input,
    so that there is no current that is rounded."""
    zero, one = np.zeros((), np.float32), np.ones((), np.float32)
    cell = NeuronParams(v_threshold=one, v_init=zero, reset="zero")
    coder = snn.Population(name="coder", inputs=("x",), shape=graph["x"].shape, neuron=cell)
    nodes: list[snn.Node] = []
    for n in graph.nodes:
        if isinstance(n, snn.Population):
            n = replace(n, neuron=n.neuron.having(reset="zero", v_init=zero))
        if "x" in n.inputs:
            n = replace(n, inputs=("coder",))
        if isinstance(n, snn.Input):
            nodes += [replace(n, encoding="constant"), coder]
        else:
            nodes.append(n)
    return replace(graph, nodes=tuple(nodes))
