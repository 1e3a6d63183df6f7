"""Other simulators on the same network: SpikingJelly and sinabs, in an environment of their own.

``Peer`` writes the spiking network to a file, starts ``peer_runner.py`` there and asks it for runs
one by one, so that they can be interleaved with ours. Thresholds are folded into the weights that
feed each population (every neuron fires at 1), which is the fastest form for the peers.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import fields, replace
from math import prod
from pathlib import Path

import numpy as np

from onnx2snn.runtime import graph as g
from onnx2snn.runtime import ops

PACKAGES = [
    "torch==2.13.0",
    "numpy",
    "spikingjelly==2.0.0",
    "sinabs==3.1.3",
]  # versions are recorded


def environment(folder: Path) -> Path:
    """The Python of an environment with the peers, made on first use."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PACKAGES], check=True)
    return python


class Peer:
    """A running peer. ``mode``: spikingjelly, spikingjelly-multi, spikingjelly-compiled, sinabs."""

    def __init__(self, python: Path, mode: str, graph: g.SpikingGraph, x, threads: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "network"
        write(unit_thresholds(graph), path)
        np.save(f"{path}.x.npy", x)
        runner = Path(__file__).with_name("peer_runner.py")
        self.process = subprocess.Popen(
            [str(python), str(runner), mode, str(path), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.versions = self._answer()

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the peer ended")
        return json.loads(line)

    def run(self, steps: int) -> dict:
        """{seconds, spikes, guesses (samples,), peak_bytes} of one simulation."""
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:  # torch's compile workers, on a busy machine
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()


def unit_thresholds(graph: g.SpikingGraph) -> g.SpikingGraph:
    """The same network with all thresholds 1: each population's input is divided by its own."""
    nodes: dict[str, g.Node] = {n.name: n for n in graph.nodes}
    order = [n.name for n in graph.nodes]
    for p in graph.of(g.Population):
        gain = (1 / p.neuron.v_threshold).astype(np.float32)
        source = _divide(p.inputs[0], gain, nodes, order)
        neuron = replace(
            p.neuron,
            v_threshold=np.ones((), np.float32),
            v_init=np.asarray(p.neuron.v_init * gain, np.float32),
        )
        nodes[p.name] = replace(p, inputs=(source,), bias=p.bias * gain, neuron=neuron)
    return g.SpikingGraph(nodes=tuple(nodes[name] for name in order))


def _divide(name: str, gain, nodes: dict, order: list) -> str:
    """The node that gives ``name`` times ``gain`` (broadcasting to its shape)."""
    node = nodes[name]
    op = node.op if isinstance(node, g.Synapse) else None
    if isinstance(op, ops.Conv | ops.Linear) and gain.size in (1, len(op.weight)):
        column = np.broadcast_to(gain.reshape(-1), len(op.weight))
        weight = op.weight * column.reshape(-1, *(1,) * (op.weight.ndim - 1))
        nodes[name] = replace(node, op=replace(op, weight=weight))
        return name
    if isinstance(op, ops.Add):
        inputs = tuple(_divide(i, gain, nodes, order) for i in node.inputs)
        nodes[name] = replace(node, inputs=inputs)
        return name
    if isinstance(op, ops.Scale):
        nodes[name] = replace(node, op=ops.Scale(scale=op.scale * gain))
        return name
    scaled = f"{name}/scaled{len(order)}"
    nodes[scaled] = g.Synapse(
        name=scaled, shape=node.shape, inputs=(name,), op=ops.Scale(scale=gain)
    )
    order.insert(order.index(name) + 1, scaled)
    return scaled


def write(graph: g.SpikingGraph, path: Path) -> None:
    """``path``.json and ``path``.npz: nodes and arrays, for a reader without onnx2snn."""
    arrays, nodes = {}, []
    for node in graph.nodes:
        row = {
            "name": node.name,
            "kind": type(node).__name__,
            "inputs": node.inputs,
            "shape": node.shape,
        }
        if isinstance(node, g.Population | g.Readout | g.MaxPool) and np.any(node.bias):
            arrays[f"{node.name}:bias"] = node.bias
        if isinstance(node, g.Population):
            arrays[f"{node.name}:v_init"] = node.neuron.v_init
        if isinstance(node, g.Synapse | g.MaxPool):
            row["op"] = type(node.op).__name__
            for field in fields(node.op):
                value = getattr(node.op, field.name)
                if isinstance(value, np.ndarray):
                    arrays[f"{node.name}:{field.name}"] = value
                else:
                    row[field.name] = value
        nodes.append(row)
    neurons = sum(prod(p.shape) for p in graph.of(g.Population))
    Path(f"{path}.json").write_text(json.dumps({"nodes": nodes, "neurons": neurons}))
    np.savez(f"{path}.npz", **arrays)
