"""Networks for SANA-FE: executed by a loop with the semantics of its Loihi model, and refusals."""

from __future__ import annotations

import os
import re
import subprocess
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from graphs import dyadic, residual_cnn
from places import ROOT

import onnx2snn
from onnx2snn.errors import GraphError, UsageError
from onnx2snn.exchange.counts import count
from onnx2snn.results.marks import Kind, made_by_us
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime import ops
from onnx2snn.runtime.neurons import NeuronParams

STEPS = 8


def network(seed: int = 0) -> snn.SpikingGraph:
    """Two layers and an output; biases far below 0, small, and above the threshold."""
    rng = np.random.default_rng(seed)

    def population(name: str, source: str, size: int) -> snn.Population:
        bias = np.resize(np.array([-0.75, 0.25, 1.75, 0.0], np.float32), size)
        theta = np.resize(np.array([1, 1.5], np.float32), size)
        cells = NeuronParams(v_threshold=theta, v_init=theta / 2)
        return snn.Population(name=name, inputs=(source,), shape=(size,), bias=bias, neuron=cells)

    def linear(name: str, source: str, ins: int, outs: int) -> snn.Synapse:
        op = ops.Linear(weight=dyadic(rng, (outs, ins)))
        return snn.Synapse(name=name, inputs=(source,), shape=(outs,), op=op)

    nodes: list[snn.Node] = [
        snn.Input(name="x", shape=(3,)),
        linear("fc/1", "x", 3, 8),
        population("a", "fc/1", 8),
        linear("fc/2", "a", 8, 8),
        population("b", "fc/2", 8),
        linear("fc/3", "b", 8, 2),
        snn.Readout(name="out", inputs=("fc/3",), shape=(2,), bias=np.ones(2, np.float32)),
    ]
    return snn.SpikingGraph(nodes=tuple(nodes), meta={"T": STEPS})


def numbers(text: str) -> dict[str, float]:
    return {k: float(v) for k, v in re.findall(r"(threshold|bias|weight): ([-\d.e+]+)", text)}


def run(text: str, steps: int) -> dict[str, list[int]]:
    """The steps in which every neuron fires: a spike sent in a step arrives in the next; a
    potential is cut to 1/64, then charged, and fires above its threshold, which is taken off."""
    trains = {}
    cells: dict[str, dict[str, float]] = {}
    edges = defaultdict(list)
    group = ""
    for line in text.splitlines():
        if named := re.match(r"    - name: (\w+)", line):
            group = named[1]
        elif edge := re.match(r"    - (\S+) -> (\S+): (.*)", line):
            edges[edge[1]].append((edge[2], numbers(edge[3])["weight"]))
        elif spikes := re.match(r"        - (\d+): \[spikes: \[(.*)\]\]", line):
            trains[f"{group}.{spikes[1]}"] = [int(s) for s in spikes[2].split(", ")]
        elif cell := re.match(r"        - (\d+): (\[threshold.*)", line):
            cells[f"{group}.{cell[1]}"] = numbers(cell[2])
    v = dict.fromkeys(cells, 0.0)
    arriving: dict[str, float] = defaultdict(float)
    fired = defaultdict(list)
    for t in range(1, steps + 1):
        sent = [name for name, train in trains.items() if t <= len(train) and train[t - 1]]
        for name, cell in cells.items():
            v[name] = int(v[name] * 64) / 64 + cell["bias"] + arriving[name]
            if v[name] > cell["threshold"]:
                v[name] -= cell["threshold"]
                fired[name].append(t)
                sent.append(name)
        arriving = defaultdict(float)
        for name in sent:
            for target, weight in edges[name]:
                arriving[target] += weight
    return fired


@pytest.mark.parametrize("seed", range(4))
def test_the_file_sends_the_networks_spikes(seed: int, tmp_path: Path) -> None:
    net = network(seed)
    x = np.random.default_rng(seed).random((1, 3), np.float32)
    done = onnx2snn.export(net, tmp_path / "n.yaml", to="sanafe", sample={"x": x})
    assert done.notes == (
        "simulate 11 steps, and count a in steps 2 to 9; b in steps 3 to 10; out in steps 4 to 11",
    )
    text = (tmp_path / "n.yaml").read_text()
    fired = run(text, STEPS + 3)
    wanted = count(net, {"x": x}, STEPS).spikes
    for depth, name in enumerate(("a", "b")):
        window = range(depth + 2, depth + 2 + STEPS)
        found = [len([t for t in fired[f"{name}.{i}"] if t in window]) for i in range(8)]
        np.testing.assert_array_equal(found, wanted[name][0], err_msg=name)
    assert 0 < wanted["b"].sum() < 8 * STEPS
    assert "drive.0 -> a." in text and "start.1 -> b." in text  # both kinds of biases
    assert "  - a.0..7: [core: 0.1]" in text and made_by_us(tmp_path / "n.yaml", Kind.SANAFE)


def test_what_it_cannot_say_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    net, path = network(), tmp_path / "n.yaml"
    x = {"x": np.ones((1, 3), np.float32)}
    with pytest.raises(UsageError, match="sample"):
        onnx2snn.export(net, path, to="sanafe")
    cnn = residual_cnn(np.random.default_rng(0), signed=True)
    with pytest.raises(
        GraphError, match=r"'relu1': neurons with signed.*'max': a max pool"
    ) as error:
        onnx2snn.export(cnn, path, to="sanafe", sample={"x": np.ones((1, 2, 8, 8), np.float32)})
    assert error.value.code == "E430"
    skip = snn.Synapse(name="sum", inputs=("fc/2", "a"), shape=(8,), op=ops.Add())
    both = [n if n.name != "b" else replace(n, inputs=("sum",)) for n in net.nodes]
    both.insert(4, skip)
    late = snn.Synapse(name="late", inputs=("b", "a"), shape=(8,), op=ops.Add())
    both.insert(6, late)
    both[7] = replace(both[7], inputs=("late",))
    with pytest.raises(GraphError, match="'out': it reads layers of several depths"):
        onnx2snn.export(
            snn.SpikingGraph(nodes=tuple(both)), path, to="sanafe", sample=x, approximate=True
        )
    assert not path.exists()


SANAFE = os.environ.get("ONNX2SNN_SANAFE", "")  # a Python with sanafe


@pytest.mark.skipif(not SANAFE, reason="needs ONNX2SNN_SANAFE, a Python with sanafe")
def test_sanafe_sends_the_networks_spikes(tmp_path: Path) -> None:
    net = network()
    x = np.random.default_rng(0).random((1, 3), np.float32)
    onnx2snn.export(net, tmp_path / "n.yaml", to="sanafe", sample={"x": x})
    spikes = {f"spikes/{k}": v for k, v in count(net, {"x": x}, STEPS).spikes.items()}
    np.savez(tmp_path / "given.npz", steps=STEPS, **spikes)
    script = ROOT / "benchmarks" / "readers" / "read_sanafe.py"
    command = [SANAFE, str(script), str(tmp_path / "n.yaml"), str(tmp_path / "given.npz")]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert '"differ": 0,' in found.stdout.splitlines()[-1], found.stdout
