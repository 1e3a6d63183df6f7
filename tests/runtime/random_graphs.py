"""Hypothesis strategies: small spiking graphs with dyadic weights and every kind of neuron."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from onnx2snn.converter.lowering.align import aligned
from onnx2snn.runtime import graph as g
from onnx2snn.runtime import ops
from onnx2snn.runtime.neurons import NeuronParams, PacedParams

PLAIN = {
    "reset": "subtract",
    "v_reset": 0.0,
    "leak": 0.0,
    "refractory": 0,
    "lag": 0,
    "levels": 1,
    "signed": False,
    "v_min": None,
}


def array(rng, shape, low=-8, high=8, unit=0.125):
    return (rng.integers(low, high + 1, shape) * unit).astype(np.float32)


@st.composite
def neurons(draw, shape, lags=True):
    """Any NeuronParams whose arithmetic is exact in float32 for a few steps."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    per_channel = (shape[0], *(1,) * (len(shape) - 1))
    where = draw(st.sampled_from([(), per_channel, shape]))
    options, kind = dict(PLAIN), NeuronParams
    if lags and draw(st.integers(0, 3)) == 0:
        kind, options["lag"] = PacedParams, draw(st.integers(0, 3))
    elif draw(st.booleans()):
        options = {
            "reset": draw(st.sampled_from(["subtract", "zero"])),
            "v_reset": draw(st.sampled_from([0.0, 0.25])),
            "leak": draw(st.sampled_from([0.0, 0.5])),
            "refractory": draw(st.integers(0, 2)),
            "lag": draw(st.integers(0, 2)) if lags else 0,
            "levels": draw(st.sampled_from([1, 2, 5, 200])),
            "signed": draw(st.booleans()),
            "v_min": draw(st.sampled_from([None, -0.5])),
        }
    return kind(v_threshold=array(rng, where, 2, 12), v_init=array(rng, where, 0, 6), **options)


class _Builder:
    def __init__(self, draw, lags):
        self.draw, self.lags = draw, lags
        self.rng = np.random.default_rng(draw(st.integers(0, 2**31)))
        self.nodes = []

    def add(self, kind, shape, inputs, **fields):
        name = f"{kind.__name__.lower()}{len(self.nodes)}"
        self.nodes.append(kind(name=name, shape=tuple(shape), inputs=tuple(inputs), **fields))
        return self.nodes[-1]

    def synapse(self, op, *before):
        shape = op.output_shape(*(b.shape for b in before))
        return self.add(g.Synapse, shape, [b.name for b in before], op=op)

    def bias(self, shape):
        per_channel = (shape[0], *(1,) * (len(shape) - 1))
        return array(self.rng, self.draw(st.sampled_from([(), per_channel, shape])), -2, 2)

    def population(self, before):
        neuron = self.draw(neurons(before.shape, self.lags))
        return self.add(
            g.Population, before.shape, [before.name], neuron=neuron, bias=self.bias(before.shape)
        )

    def delayed(self, x):
        steps = self.draw(st.integers(0, 3))
        return self.add(g.Delay, x.shape, [x.name], steps=steps) if steps else x

    def conv(self, x, groups=1, stride=1, pad=1, out=None):
        channels = x.shape[0]
        groups = channels if groups == "depthwise" else groups
        out = out or channels
        kernel = (min(3, x.shape[1] + 2 * pad), min(3, x.shape[2] + 2 * pad))
        weight = array(self.rng, (out, channels // groups, *kernel))
        op = ops.Conv(
            weight=weight,
            strides=(stride, stride),
            dilations=(1, 1),
            pads=(pad,) * 4,
            groups=groups,
        )
        return self.synapse(op, x)

    def stage(self, x):
        """One more layer on feature maps, ending in a population."""
        kind = self.draw(
            st.sampled_from(
                ["conv", "strided", "depthwise", "skip", "concat", "max", "average", "max_current"]
            )
        )
        if kind == "conv":
            pad = self.draw(st.integers(0 if min(x.shape[1:]) > 2 else 1, 2))
            return self.population(self.conv(x, pad=pad, out=self.draw(st.integers(1, 3))))
        if kind == "strided":
            return self.population(self.conv(x, stride=2))
        if kind == "depthwise":
            return self.population(self.conv(x, groups="depthwise"))
        if kind == "skip":
            unit = array(self.rng, (x.shape[0], 1, 1), 1, 8)
            late = self.delayed(x) if self.lags else x
            skip = self.synapse(ops.Scale(scale=unit), late)
            return self.population(self.synapse(ops.Add(), self.conv(x), skip))
        if kind == "concat":
            both = self.synapse(ops.Concat(axis=0), self.population(self.conv(x, out=2)), x)
            return self.population(self.conv(both, out=2))
        if kind == "average":
            pooled = self.synapse(ops.SumPool(**_window(x)), x)
            return self.population(self.synapse(ops.Scale(scale=np.float32(0.25)), pooled))
        op = ops.MaxPool(**_window(x))
        source = self.conv(x) if kind == "max_current" else x
        bias = self.bias(source.shape) if kind == "max_current" else np.zeros((), np.float32)
        pooled = self.add(g.MaxPool, op.output_shape(source.shape), [source.name], op=op, bias=bias)
        return self.population(self.conv(pooled))


def _window(x):
    kernel = tuple(min(2, n) for n in x.shape[1:])
    return {"kernel": kernel, "strides": kernel, "dilations": (1, 1), "pads": (0, 0, 0, 0)}


@st.composite
def graphs(draw, lags=True, max_stages=3):
    """A network on small feature maps (or vectors), a readout on every population."""
    b = _Builder(draw, lags)
    if draw(st.booleans()):
        shape = (draw(st.integers(1, 2)), draw(st.integers(2, 5)), draw(st.integers(2, 5)))
    else:
        shape = (draw(st.integers(1, 6)),)
    x = b.add(g.Input, shape, [])
    if len(shape) == 3:
        for _ in range(draw(st.integers(1, max_stages))):
            x = b.stage(x)
        x = b.synapse(ops.Reshape(shape=(int(np.prod(x.shape)),)), x)
    for _ in range(draw(st.integers(1, 2))):
        weight = array(b.rng, (draw(st.integers(1, 4)), x.shape[0]))
        x = b.population(b.synapse(ops.Linear(weight=weight), x))
    for p in [n for n in b.nodes if isinstance(n, g.Population)]:
        b.add(g.Readout, p.shape, [p.name])
    last = b.synapse(ops.Linear(weight=array(b.rng, (3, x.shape[0]))), x)
    b.add(g.Readout, last.shape, [last.name], bias=b.bias(last.shape))
    if lags:
        b.add(g.Readout, last.shape, [last.name], bias=b.bias(last.shape), coding="paced")
    b.add(g.Readout, last.shape, [last.name], mode="count", neuron=draw(neurons((3,), lags=False)))
    return g.SpikingGraph(nodes=tuple(b.nodes))


def windowed(graph, model, steps):
    """``graph``, without lags, with neurons that send a number per window of ``steps``."""

    def number(p):
        v = p.neuron
        return replace(p, neuron=model(v_threshold=v.v_threshold, v_init=v.v_init, lag=steps))

    nodes = [n for n in graph.nodes if not (isinstance(n, g.Readout) and n.mode == "count")]
    nodes = [number(n) if isinstance(n, g.Population) else n for n in nodes]
    coding = next(n.neuron.coding for n in nodes if isinstance(n, g.Population))
    reading = (g.MaxPool, g.Readout)
    nodes = [replace(n, coding=coding) if isinstance(n, reading) else n for n in nodes]
    return aligned(g.SpikingGraph(nodes=tuple(nodes)))


@st.composite
def samples(draw, shape, most=3):
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    return array(rng, (draw(st.integers(1, most)), *shape), -4, 8)
