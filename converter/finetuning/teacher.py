"""The ANN inside a converted network, in PyTorch: what the spiking network is to answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch

from ...runtime import graph as snn
from .operations import Operation, pooled

Tensor: TypeAlias = torch.Tensor


class Teacher(snn.Rules[Tensor]):
    """The ANN inside the network (analog mode), decoded activations beside its outputs."""

    def __init__(self, network: snn.SpikingGraph) -> None:
        self.network = network
        shapes = {node.name: node.shape for node in network.nodes}
        self.operations = {
            node.name: Operation(node.ann_op or node.op, [shapes[name] for name in node.inputs])
            for node in network.of(snn.Synapse)
        }
        self.arrays: dict[str, Tensor] = {}
        for node in network.nodes:
            if isinstance(node, snn.Population | snn.Readout | snn.MaxPool):
                bias = node.bias if node.ann_bias is None else node.ann_bias
                self.arrays[f"bias/{node.name}"] = torch.as_tensor(bias.copy())
            if isinstance(node, snn.Population):
                theta = node.neuron.v_threshold
                self.arrays[f"threshold/{node.name}"] = torch.as_tensor(theta.copy())
        self.activations: dict[str, Tensor] = {}

    def input(self, node: snn.Node, xs: Sequence[Tensor]) -> Tensor:
        return xs[0]

    delay = input

    def synapse(self, node: snn.Synapse, xs: Sequence[Tensor]) -> Tensor:
        return self.operations[node.name](*xs)

    def population(self, node: snn.Population, xs: Sequence[Tensor]) -> Tensor:
        pre = xs[0] + self.arrays[f"bias/{node.name}"]
        self.activations[node.name] = pre.clamp(0, node.ceiling)
        return self.activations[node.name] / self.arrays[f"threshold/{node.name}"]

    def max_pool(self, node: snn.MaxPool, xs: Sequence[Tensor]) -> Tensor:
        return pooled(node, xs[0] + self.arrays[f"bias/{node.name}"])

    analog = snn.refused("it was refused before")

    def readout(self, node: snn.Readout, xs: Sequence[Tensor]) -> Tensor:
        return xs[0] + self.arrays[f"bias/{node.name}"]
