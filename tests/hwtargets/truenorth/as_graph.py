"""The mapped network as a spiking graph of its own: integers only, any engine runs it.

Every chip neuron (partial sums, pools and maxima included, copies and relays not) is a neuron of a
population, every connection a gather and a dense layer with integer weights. The runtime knows
nothing of cores, so that its spikes are an independent answer to what the emitted crossbars must
do; float32 holds all numbers exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnx2snn.errors import TargetError
from onnx2snn.hwtargets.truenorth.compile.lower import Reading, Source
from onnx2snn.hwtargets.truenorth.compile.units import FLOOR, ChipUnit, Conn
from onnx2snn.runtime import graph as g
from onnx2snn.runtime import ops
from onnx2snn.runtime.neurons import NeuronParams
from onnx2snn.runtime.ops import Array, LinearOp


def integer_graph(
    units: Sequence[ChipUnit], sources: Sequence[Source], readings: Sequence[Reading]
) -> g.SpikingGraph:
    """The graph; it takes inputs in spikes per step (``run.unit_range``), flattened, and
    its readouts are those of the original network. Populations have their unit's name, "/neurons"
    added where that is the readout's.

    Raises TargetError where neurons of one unit reset to different potentials.
    """
    builder = _Builder({reading.name: f"{reading.name}/neurons" for reading in readings})
    for source in sources:
        builder.owners[source.first] = source.name
        builder.sizes[source.first] = source.size
        builder.add(g.Input(name=source.name, shape=(source.size,), encoding="rate"))
    for unit in units:
        builder.unit(unit)
    for reading in readings:
        builder.reading(reading)
    return g.SpikingGraph(nodes=tuple(builder.nodes))


class _Builder:
    def __init__(self, names: dict[str, str]) -> None:
        self.names = names  # of populations, where a readout has the name already
        self.nodes: list[g.Node] = []
        self.owners: dict[int, str] = {}
        self.sizes: dict[int, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}

    def add(self, node: g.Node) -> str:
        self.nodes.append(node)
        self.shapes[node.name] = node.shape
        return node.name

    def synapse(self, op: LinearOp, *inputs: str) -> str:
        shape = op.output_shape(*(self.shapes[name] for name in inputs))
        name = f"synapse{len(self.nodes)}"
        return self.add(g.Synapse(name=name, inputs=inputs, shape=shape, op=op))

    def unit(self, unit: ChipUnit) -> None:
        """A population that reads its connections."""
        currents = [self.placed(self.conn(conn), conn.outputs, unit.size) for conn in unit.conns]
        current = currents[0] if len(currents) == 1 else self.synapse(ops.Add(), *currents)
        reset = np.unique(unit.reset_potential)
        if not unit.reset and len(reset) > 1:
            raise TargetError("neurons that reset to different potentials", where=unit.name)
        params: dict[str, Any] = {"reset": "subtract"}
        if not unit.reset:
            params = {"reset": "zero", "v_reset": float(reset[0])}
        name = self.names.get(unit.name, unit.name)
        self.add(
            g.Population(
                name=name,
                inputs=(current,),
                shape=(unit.size,),
                bias=unit.leak.astype(np.float32),
                neuron=NeuronParams(
                    v_threshold=unit.threshold.astype(np.float32),
                    v_init=unit.start.astype(np.float32),
                    v_min=-float(FLOOR),
                    **params,
                ),
            )
        )
        self.owners[unit.first], self.sizes[unit.first] = name, unit.size

    def conn(self, conn: Conn) -> str:
        """Gather the fields, apply the weights; (P * O,)."""
        firsts = np.array(sorted(self.owners), np.int64)
        owner = np.searchsorted(firsts, conn.fields, side="right") - 1
        needed = np.unique(owner[conn.fields >= 0])
        column = np.zeros(conn.fields.shape, np.int64)  # column 0 is silence
        names, at = [], 1
        for i in needed:
            first = int(firsts[i])
            mine = (owner == i) & (conn.fields >= 0)
            column[mine] = conn.fields[mine] - first + at
            at += self.sizes[first]
            names.append(self.owners[first])
        lines = names[0] if len(names) == 1 else self.synapse(ops.Concat(axis=0), *names)
        padded = self.synapse(ops.Pad(pads=(1, 0)), lines)
        taken = self.synapse(ops.Take(axis=0, indices=column.reshape(-1)), padded)
        fields = self.synapse(ops.Reshape(shape=conn.fields.shape), taken)
        weighted = self.synapse(ops.Linear(weight=conn.weights.astype(np.float32)), fields)
        return self.synapse(ops.Reshape(shape=(conn.outputs.size,)), weighted)

    def placed(self, current: str, outputs: Array, size: int) -> str:
        """A connection's currents at their neurons, zero for the others."""
        at = np.zeros(size, np.int64)
        at[outputs.reshape(-1)] = np.arange(outputs.size) + 1
        padded = self.synapse(ops.Pad(pads=(1, 0)), current)
        return self.synapse(ops.Take(axis=0, indices=at), padded)

    def reading(self, reading: Reading) -> None:
        """Spikes times their value, copies added up, as a mean over time."""
        unit = self.names.get(reading.unit, reading.unit)
        copies = self.shapes[unit][0] // len(reading.value)
        split = self.synapse(ops.Reshape(shape=(copies, len(reading.value))), unit)
        total = self.synapse(ops.ReduceSum(axes=(0,), keepdims=False), split)
        worth = self.synapse(ops.Scale(scale=reading.value.astype(np.float32)), total)
        shaped = self.synapse(ops.Reshape(shape=reading.shape), worth)
        self.add(
            g.Readout(
                name=reading.name,
                inputs=(shaped,),
                shape=reading.shape,
                bias=-reading.offset.reshape(reading.shape).astype(np.float32),
            )
        )
