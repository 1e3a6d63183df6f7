"""NeuroBench's results: counted by hand on a small network, and by its own harness."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from graphs import dyadic, neuron
from places import ROOT

import onnx2snn
from exchange.nets import STEPS, converted, digits
from onnx2snn.errors import UsageError
from onnx2snn.exchange import neurobench
from onnx2snn.exchange.counts import count
from onnx2snn.results.marks import Kind, made_by_us
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime import ops


def network() -> snn.SpikingGraph:
    """Input, convolution with uneven pads, neurons, sum pool, linear with a zero weight."""
    rng = np.random.default_rng(2)
    conv = ops.Conv(
        weight=dyadic(rng, (2, 1, 2, 2)), strides=(1, 1), dilations=(1, 1), pads=(0, 0, 1, 1)
    )
    pool = ops.SumPool(kernel=(2, 2), strides=(2, 2), dilations=(1, 1), pads=(0, 0, 0, 0))
    weight = dyadic(rng, (3, 8)) + np.float32(1 / 64)
    weight[0, 0] = 0
    s = snn.Synapse
    nodes: list[snn.Node] = [
        snn.Input(name="x", shape=(1, 4, 4)),
        s(name="conv", inputs=("x",), shape=(2, 4, 4), op=conv),
        snn.Population(name="a", inputs=("conv",), shape=(2, 4, 4), neuron=neuron(2)),
        s(name="pool", inputs=("a",), shape=(2, 2, 2), op=pool),
        s(name="flat", inputs=("pool",), shape=(8,), op=ops.Reshape(shape=(8,))),
        s(name="fc", inputs=("flat",), shape=(3,), op=ops.Linear(weight=weight)),
        snn.Readout(name="out", inputs=("fc",), shape=(3,)),
    ]
    return snn.SpikingGraph(nodes=tuple(nodes), meta={"T": 5})


def test_the_results_are_those_counted_by_hand(tmp_path: Path) -> None:
    net = network()
    x = np.random.default_rng(0).integers(0, 3, (3, 1, 4, 4)).astype(np.float32)
    labels = count(net, {"x": x}, 5).answers["out"].argmax(-1)
    labels[0] = (labels[0] + 1) % 3
    path = tmp_path / "neurobench.json"
    onnx2snn.export(net, path, to="neurobench", sample={"x": x}, labels=labels)
    found = json.loads(path.read_text())
    assert made_by_us(path, Kind.NEUROBENCH)
    # The input's layer once: a number is read by as many windows of 2 x 2 as it lies in.
    windows = np.minimum(np.arange(4) + 1, 2)
    macs = 2 * ((x != 0)[:, 0] * np.outer(windows, windows)).sum()
    sent = 0
    weight = net["fc"].op.factors  # type: ignore[union-attr]
    accumulated = 0.0
    for t in range(1, 6):
        now = count(net, {"x": x}, t).spikes["a"]
        step = now - (count(net, {"x": x}, t - 1).spikes["a"] if t > 1 else 0)
        sent += int(np.count_nonzero(step))
        pooled = step.reshape(3, 2, 2, 2, 2, 2).sum(axis=(3, 5)).reshape(3, 8)
        used = int(((pooled != 0).astype(int) @ (weight != 0).T).sum())
        if pooled.max() > 1:
            macs += used
        else:
            accumulated += used
    assert found == {
        "generator": "onnx2snn",
        "Footprint": 4 * (8 + 24) + 4 * (1 + 2 + 2 + 1) + 8 * 2,  # biases of one number
        "ConnectionSparsity": round(1 / 32, 4),
        "ActivationSparsity": 1 - sent / (3 * 32 * 5),
        "ActivationSparsityByLayer": {"a": 1 - sent / (3 * 32 * 5)},
        "SynapticOperations": {
            "Effective_MACs": pytest.approx(float(macs) / 3),
            "Effective_ACs": accumulated / 3,
            "Dense": 2 * 16 * 4 + 5 * 24,  # the padding's zeros are inputs
        },
        "MembraneUpdates": 32 * 5,
        "ClassificationAccuracy": 2 / 3,
    }
    assert sent > 0 and macs > 0


def test_samples_are_counted_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = network(), np.eye(4, dtype=np.float32).reshape(1, 1, 4, 4).repeat(5, 0)
    labels = np.zeros(5, np.int64)
    whole = neurobench.results(net, {"x": x}, labels)
    monkeypatch.setattr(neurobench, "BATCH", 2)
    assert neurobench.results(net, {"x": x}, labels) == whole


def test_without_samples_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="sample"):
        onnx2snn.export(network(), tmp_path / "n.json", to="neurobench")


HARNESS = os.environ.get("ONNX2SNN_NEUROBENCH", "")  # a Python with neurobench and PyTorch


@pytest.mark.skipif(not HARNESS, reason="needs ONNX2SNN_NEUROBENCH, a Python with neurobench")
@pytest.mark.parametrize("recipe", ["binary", "graded", "ttfs"])
def test_neurobenchs_harness_counts_the_same(recipe: str, tmp_path: Path) -> None:
    net, x = converted(recipe), digits().section(0, 4).whole()
    (values,) = x.values()
    onnx2snn.export(net, tmp_path / "net.py", to="torch", approximate=recipe == "differential")
    onnx2snn.export(net, tmp_path / "ours.json", to="neurobench", sample=x)
    ours = json.loads((tmp_path / "ours.json").read_text())
    np.savez(tmp_path / "given.npz", x=values)
    script = ROOT / "benchmarks" / "readers" / "read_neurobench.py"
    command = [HARNESS, str(script), str(tmp_path / "net.py"), str(tmp_path / "given.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    theirs = json.loads(done.stdout.splitlines()[-1])
    assert STEPS and theirs.pop("ClassificationAccuracy") is not None
    for key, value in theirs.items():
        assert ours[key] == pytest.approx(value, rel=1e-9), key
