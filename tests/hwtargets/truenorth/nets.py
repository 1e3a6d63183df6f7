"""Small spiking graphs for the TrueNorth tests, and targets with small cores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onnx2snn.hwtargets import load_target
from onnx2snn.runtime import graph as g
from onnx2snn.runtime import ops
from onnx2snn.runtime.neurons import NeuronParams

F32 = np.float32


def small_target(axons=24, neurons=24):
    """TrueNorth with smaller cores, so that small networks need splits and splitters."""
    target = load_target("truenorth")
    limits = dict(target.limits)
    limits["axons"] = replace(limits["axons"], value=axons)
    limits["neurons"] = replace(limits["neurons"], value=neurons)
    return replace(target, limits=limits)


class Graph:
    """Adds nodes; every method returns the new node's name."""

    def __init__(self, shape, seed=0):
        self.rng = np.random.default_rng(seed)
        self.nodes = [g.Input(name="x", shape=tuple(shape))]

    def shape(self, name):
        return next(n.shape for n in self.nodes if n.name == name)

    def synapse(self, op, *inputs):
        name = f"s{len(self.nodes)}"
        shape = op.output_shape(*(self.shape(i) for i in inputs))
        self.nodes.append(g.Synapse(name=name, inputs=inputs, shape=shape, op=op))
        return name

    def linear(self, at, outs):
        weight = self.rng.normal(0.1, 1, (outs, self.shape(at)[-1])) / np.sqrt(self.shape(at)[-1])
        return self.synapse(ops.Linear(weight=weight.astype(F32)), at)

    def conv(self, at, outs, kernel=3, stride=1, pad=1):
        shape = (outs, self.shape(at)[0], kernel, kernel)
        weight = self.rng.normal(0.1, 1, shape) / np.sqrt(np.prod(shape[1:]))
        op = ops.Conv(
            weight=weight.astype(F32),
            strides=(stride, stride),
            dilations=(1, 1),
            pads=(pad,) * 4,
        )
        return self.synapse(op, at)

    def relu(self, at, bias=True, **params):
        shape = self.shape(at)
        name = f"n{len(self.nodes)}"
        per_channel = (shape[0], *(1,) * (len(shape) - 1))
        threshold = self.rng.uniform(0.6, 1.2, per_channel).astype(F32)
        bias = self.rng.normal(0, 0.15 * bool(bias), per_channel).astype(F32)
        neuron = NeuronParams(v_threshold=threshold, v_init=threshold / 2, **params)
        self.nodes.append(
            g.Population(name=name, inputs=(at,), shape=shape, bias=bias, neuron=neuron)
        )
        return name

    def avg_pool(self, at, size=2):
        window = {"kernel": (size,) * 2, "strides": (size,) * 2, "dilations": (1, 1)}
        summed = self.synapse(ops.SumPool(**window, pads=(0,) * 4), at)
        return self.synapse(ops.Scale(scale=F32(1 / size**2)), summed)

    def max_pool(self, at, size=2):
        window = {"kernel": (size,) * 2, "strides": (size,) * 2, "dilations": (1, 1)}
        op = ops.MaxPool(**window, pads=(0,) * 4)
        name = f"m{len(self.nodes)}"
        shape = op.output_shape(self.shape(at))
        self.nodes.append(g.MaxPool(name=name, inputs=(at,), shape=shape, op=op))
        return name

    def flat(self, at):
        return self.synapse(ops.Reshape(shape=(int(np.prod(self.shape(at))),)), at)

    def out(self, at, **more):
        shape = self.shape(at)
        bias = self.rng.normal(0, 0.2, shape).astype(F32)
        self.nodes.append(g.Readout(name="out", inputs=(at,), shape=shape, bias=bias, **more))
        return g.SpikingGraph(nodes=tuple(self.nodes))


def dense_net(seed, inputs=10, hidden=(12, 9), classes=3):
    """A multilayer perceptron."""
    net = Graph((inputs,), seed)
    at = "x"
    for size in hidden:
        at = net.relu(net.linear(at, size))
    return net.out(net.linear(at, classes))


def conv_net(seed, pool="avg", channels=3):
    """Convolution, pool, convolution, dense."""
    net = Graph((2, 6, 6), seed)
    at = net.relu(net.conv("x", channels))
    at = net.avg_pool(at) if pool == "avg" else net.max_pool(at)
    at = net.relu(net.conv(at, channels))
    return net.out(net.linear(net.flat(at), 3))


def residual_net(seed, depth=2):
    """A skip connection over ``depth`` convolutions."""
    net = Graph((2, 4, 4), seed)
    skip = net.relu(net.conv("x", 3))
    at = skip
    for _ in range(depth - 1):
        at = net.relu(net.conv(at, 3))
    at = net.conv(at, 3)
    at = net.relu(net.synapse(ops.Add(), at, net.synapse(ops.Scale(scale=F32(0.8)), skip)))
    return net.out(net.linear(net.flat(at), 3))


def branch_net(seed):
    """Two branches joined by Concat; one is longer."""
    net = Graph((2, 4, 4), seed)
    first = net.relu(net.conv("x", 2))
    second = net.relu(net.conv(net.relu(net.conv(first, 2)), 2))
    at = net.synapse(ops.Concat(axis=0), first, second)
    at = net.relu(net.conv(at, 2, stride=2))
    return net.out(net.linear(net.flat(at), 3))


def samples(graph, count, seed=0):
    """Inputs in [0, 1]."""
    shape = graph["x"].shape
    return np.random.default_rng(seed).random((count, *shape), dtype=F32)


def skip_mlp(seed, weights=1.0, skip=0.8):
    """A dense layer with a skip connection; its weights and the wire's are scaled."""
    net = Graph((8,), seed)
    before = net.relu(net.linear("x", 12))
    at = net.synapse(ops.Scale(scale=F32(weights)), net.linear(before, 12))
    wire = net.synapse(ops.Scale(scale=F32(skip)), before)
    return net.out(net.linear(net.relu(net.synapse(ops.Add(), at, wire)), 3))
