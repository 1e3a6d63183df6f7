"""Where the numbers of a PyTorch module stand in the network that it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from ...graph import SpikingGraph
from ...ops import Array


class Held(NamedTuple):
    """An array of a node, and the ``attribute`` that it is (see ``Place``)."""

    array: Array
    attribute: str


@dataclass(frozen=True)
class Place:
    """``attribute`` of the record of ``node``, or of its operation or its neurons: "bias",
    "op.weight", "op.scale", "neuron.v_threshold", "neuron.v_init", "neuron.bias"."""

    node: str
    attribute: str

    def value(self, network: SpikingGraph) -> Array:
        """The array that stands here."""
        return np.asarray(attrgetter(self.attribute)(network[self.node]))


def with_values(network: SpikingGraph, values: Mapping[Place, Array]) -> SpikingGraph:
    """``network`` with other numbers in some places, of the same shapes.

    What its analog mode computes with stays what it was (``ann_op``, ``ann_bias``): the ANN did
    not change.
    """
    by_node: dict[str, dict[str, Array]] = {}
    for place, value in values.items():
        by_node.setdefault(place.node, {})[place.attribute] = value
    return network.with_nodes(_changed(network[name], new) for name, new in by_node.items())


def _changed(node: Any, values: Mapping[str, Array]) -> Any:
    fields: dict[str, Any] = {}
    neuron = {}
    for attribute, value in values.items():
        part, _, name = attribute.partition(".")
        value = np.asarray(value, np.float32)
        if part == "op":
            fields["op"] = replace(node.op, **{name: value})
            fields["ann_op"] = node.op if node.ann_op is None else node.ann_op
            fields["change"] = None
        elif part == "neuron":
            neuron[name] = value
        else:
            fields["bias"] = value
            fields["ann_bias"] = node.bias if node.ann_bias is None else node.ann_bias
    if neuron:
        fields["neuron"] = node.neuron.having(**neuron)
    return replace(node, **fields)
