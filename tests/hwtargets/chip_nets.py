"""Builds spiking graphs from short layer lists: for tests and for ``benchmarks/placement.py``.

A layer is ("fc", n), ("conv", channels, kernel, stride, pad), ("dw", kernel, stride, pad),
("pool", k) (average), ("gap",) (global average) or ("out", n) (a dense readout). Weights are
random; what matters is the structure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from onnx2snn.hwtargets import HardwareTarget, Mapped, chip_view, mapping_of
from onnx2snn.runtime import ops
from onnx2snn.runtime.graph import Input, Node, Population, Readout, SpikingGraph, Synapse
from onnx2snn.runtime.neurons import NeuronParams

F32 = np.float32


def neuron(theta: float = 1.0, **more: Any) -> NeuronParams:
    """A soft-reset IF neuron that starts at half its threshold."""
    return NeuronParams(v_threshold=F32(theta), v_init=F32(theta / 2), **more)


class Net:
    """Adds nodes one after the other; ``at`` is the name of the last one."""

    def __init__(self, shape: Sequence[int], seed: int = 0, cheap: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.cheap = cheap  # constant weights that take no memory: structure only
        self.nodes: list[Node] = [Input(name="in", shape=tuple(shape))]

    @property
    def at(self) -> str:
        return self.nodes[-1].name

    @property
    def shape(self) -> tuple[int, ...]:
        return self.nodes[-1].shape

    def weights(self, *shape: int) -> np.ndarray:
        if self.cheap:
            return np.broadcast_to(F32(0.01), shape)
        fan_in = prod(shape[1:])
        return self.rng.normal(0, 1.4 / np.sqrt(fan_in), shape).astype(F32)

    def synapse(self, op: Any, *inputs: str) -> str:
        by_name = {n.name: n for n in self.nodes}
        names = inputs or (self.at,)
        shape = op.output_shape(*(by_name[n].shape for n in names))
        name = f"s{len(self.nodes)}"
        self.nodes.append(Synapse(name=name, inputs=names, shape=shape, op=op))
        return name

    def population(self, name: str = "", params: NeuronParams | None = None) -> str:
        bias = self.rng.normal(0, 0.1, (self.shape[0], *(1,) * (len(self.shape) - 1)))
        name = name or f"p{len(self.nodes)}"
        self.nodes.append(
            Population(
                name=name,
                inputs=(self.at,),
                shape=self.shape,
                bias=bias.astype(F32),
                neuron=params or neuron(),
            )
        )
        return name

    def flatten(self) -> None:
        if len(self.shape) > 1:
            self.synapse(ops.Reshape(shape=(prod(self.shape),)))

    def dense(self, n: int) -> str:
        self.flatten()
        return self.synapse(ops.Linear(weight=self.weights(n, self.shape[0])))

    def conv(self, channels: int, k: int, stride: Any = 1, pad: Any = 0, groups: int = 1) -> str:
        """stride, pad: one number, or (height, width)."""
        strides = stride if isinstance(stride, tuple) else (stride, stride)
        pads = (pad if isinstance(pad, tuple) else (pad, pad)) * 2
        weight = self.weights(channels, self.shape[0] // groups, k, k)
        return self.synapse(
            ops.Conv(
                weight=weight, strides=strides, dilations=(1, 1), pads=pads, groups=groups,
            )
        )  # fmt: skip

    def pool(self, k: int) -> str:
        self.synapse(
            ops.SumPool(kernel=(k, k), strides=(k, k), dilations=(1, 1), pads=(0, 0, 0, 0))
        )
        return self.synapse(ops.Scale(scale=F32(1 / k**2)))

    def readout(self, n: int) -> str:
        self.dense(n)
        bias = self.rng.normal(0, 0.1, n).astype(F32)
        self.nodes.append(Readout(name="out", inputs=(self.at,), shape=(n,), bias=bias))
        return "out"

    def add(self, layers: Sequence[tuple[Any, ...]]) -> Net:
        for kind, *args in layers:
            match kind:
                case "fc":
                    self.dense(*args)
                    self.population()
                case "conv":
                    self.conv(*args)
                    self.population()
                case "dw":
                    self.conv(self.shape[0], *args, groups=self.shape[0])
                    self.population()
                case "pool":
                    self.pool(*args)
                case "gap":
                    self.synapse(ops.ReduceSum(axes=(1, 2), keepdims=False))
                    self.synapse(ops.Scale(scale=F32(0.02)))
                case "out":
                    self.readout(*args)
                case "block":
                    self.block(*args)
        return self

    def block(self, channels: int, stride: int = 1) -> None:
        """A ResNet basic block; the shortcut is identity, or a 1x1 convolution."""
        skip, same = self.at, self.shape[0] == channels and stride == 1
        self.conv(channels, 3, stride, 1)
        self.population()
        main = self.conv(channels, 3, 1, 1)
        if same:
            other = self.synapse(ops.Scale(scale=F32(0.5)), skip)
        else:
            shape = next(n.shape for n in self.nodes if n.name == skip)
            other = self.synapse(
                ops.Conv(
                    weight=self.weights(channels, shape[0], 1, 1), strides=(stride,) * 2,
                    dilations=(1, 1), pads=(0,) * 4,
                ),
                skip,
            )  # fmt: skip
        self.synapse(ops.Add(), main, other)
        self.population()

    @property
    def graph(self) -> SpikingGraph:
        return SpikingGraph(nodes=tuple(self.nodes))


def map_graph(
    graph: SpikingGraph,
    target: HardwareTarget,
    options: Mapping[str, Any] | None = None,
    **asked: Any,
) -> Mapped:
    """A graph through the mapping step of a target alone, without placement; ``asked``: of the
    request."""
    mapping = mapping_of(target)
    return mapping.step(chip_view(graph), target, mapping.request(target, options, **asked))


def build(shape: Sequence[int], layers: Sequence[tuple[Any, ...]], **more: Any) -> SpikingGraph:
    """A graph from a layer list."""
    return Net(shape, **more).add(layers).graph


MNIST = ((784,), [("fc", 128), ("fc", 64), ("fc", 10)])
OXFORD = ((200,), [("fc", 256), ("fc", 200)])
PILOTNET = (
    (3, 66, 200),
    [("conv", 24, 3, 2), ("conv", 36, 3, 2), ("conv", 48, 3, 2),
     ("conv", 64, 3, (2, 1), (1, 0)), ("conv", 64, 3),
     ("fc", 100), ("fc", 50), ("fc", 10), ("fc", 1)],
)  # fmt: skip
SMALL = ((2, 8, 8), [("conv", 4, 3, 1, 1), ("pool", 2), ("block", 6, 2), ("fc", 12), ("out", 5)])
RESNET20 = (
    (3, 32, 32),
    [("conv", 16, 3, 1, 1), *[("block", 16)] * 3, ("block", 32, 2), *[("block", 32)] * 2,
     ("block", 64, 2), *[("block", 64)] * 2, ("gap",), ("out", 10)],
)  # fmt: skip
