"""NeuroBench's metrics against loops over single neurons (its own harness, which needs torch, is
run by ``benchmarks/neurobench_harness.py``)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from graphs import dyadic
from places import ROOT

import onnx2snn
from onnx2snn.cli import main
from onnx2snn.exchange.neurobench import Metrics
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime import ops
from onnx2snn.runtime.neurons import NeuronParams

STEPS, INS, HIDDEN, OUTS = 5, 6, 7, 3


def perceptron(rng: np.random.Generator, levels: int) -> snn.SpikingGraph:
    w1, w2 = dyadic(rng, (HIDDEN, INS)), dyadic(rng, (OUTS, HIDDEN))
    w2[0, :3] = 0
    one = np.ones(HIDDEN, np.float32)
    nodes: list[snn.Node] = [
        snn.Input(name="x", shape=(INS,)),
        snn.Synapse(name="a", inputs=("x",), shape=(HIDDEN,), op=ops.Linear(weight=w1)),
        snn.Population(
            name="p",
            inputs=("a",),
            shape=(HIDDEN,),
            bias=np.zeros(HIDDEN, np.float32),
            neuron=NeuronParams(v_threshold=one, v_init=one / 2, levels=levels),
        ),
        snn.Synapse(name="b", inputs=("p",), shape=(OUTS,), op=ops.Linear(weight=w2)),
        snn.Readout(name="y", inputs=("b",), shape=(OUTS,), bias=np.zeros(OUTS, np.float32)),
    ]
    return snn.SpikingGraph(nodes=tuple(nodes))


@pytest.mark.parametrize("levels", [1, 3])
def test_metrics_are_those_of_loops_over_neurons_and_steps(levels: int) -> None:
    rng = np.random.default_rng(3)
    network = perceptron(rng, levels)
    first, second = (network[name].op.weight for name in ("a", "b"))  # type: ignore[union-attr]
    x = dyadic(rng, (8, INS)) * (rng.random((8, INS)) < 0.6).astype(np.float32)
    macs = sum(1 for s in x for i in range(INS) for o in range(HIDDEN) if s[i] and first[o, i])
    read, acs, spikes, updates = macs, 0, 0, 0
    v, total = np.full((8, HIDDEN), 0.5), np.zeros((8, OUTS))
    for t in range(STEPS):
        before, sent = v.copy(), np.zeros((8, HIDDEN), int)
        for s, n in np.ndindex(8, HIDDEN):
            v[s, n] += sum(first[n, i] * x[s, i] for i in range(INS))
            sent[s, n] = min(max(int(np.floor(v[s, n])), 0), levels)
            v[s, n] -= sent[s, n]
            updates += int(t == 0 or v[s, n] != before[s, n])
            total[s] += second[:, n] * sent[s, n]
        done = sum(1 for s, n in np.argwhere(sent) for o in range(OUTS) if second[o, n])
        spikes += int((sent != 0).sum())
        acs, macs = (acs + done, macs) if sent.max() < 2 else (acs, macs + done)
    assert acs and (macs > read) == (levels > 1)  # a step has all samples, some with a spike of 2
    labels = total.argmax(axis=1)
    labels[6] = (labels[6] + 1) % OUTS
    metrics = Metrics(network, STEPS)
    metrics.add({"x": x}, labels)
    found = metrics.document()
    could = 8 * STEPS * HIDDEN
    assert found == {
        "Footprint": found["Footprint"],
        "ConnectionSparsity": round(float(((first == 0).sum() + (second == 0).sum()) / 63), 4),
        "ClassificationAccuracy": 7 / 8,
        "ActivationSparsity": (could - spikes) / could,
        "ActivationSparsityByLayer": {"p": (could - spikes) / could},
        "SynapticOperations": {
            "Effective_MACs": macs / 8,
            "Effective_ACs": acs / 8,
            "Dense": float(INS * HIDDEN + STEPS * HIDDEN * OUTS),
        },
        "MembraneUpdates": updates / 8,
    }
    numbers = 63 + HIDDEN * 3 + OUTS  # weights; bias, threshold, start; the readout's bias
    assert found["Footprint"] == 4 * numbers + 8 * HIDDEN  # and the grid of a current
    metrics.add({"x": x[:3]}, None)  # values have no accuracy
    more = metrics.document()
    assert more["ClassificationAccuracy"] is None
    assert more["SynapticOperations"]["Dense"] == found["SynapticOperations"]["Dense"]


def test_run_writes_the_file_and_says_what_it_takes(tmp_path: Path) -> None:
    scaled = onnx2snn.Preprocessing(scale=16, layout="NHWC")
    model = onnx2snn.load_onnx(str(ROOT / "models" / "digits_mlp.onnx"))
    data = f"{ROOT}/models/digits.npz"
    calibration = onnx2snn.load_samples(f"{data}:x_calib", model, scaled, limit=40)
    path = tmp_path / "net.snn.onnx"
    onnx2snn.save(onnx2snn.convert(model, calibration, steps=4), path)
    arguments = ["run", str(path), "--data", f"{data}:x_test,y_test", "--samples", "20"]
    out = tmp_path / "out"
    for _ in range(2):  # ours is replaced
        done = CliRunner().invoke(main, [*arguments, "--neurobench", "-o", str(out), "--json"])
        assert done.exit_code == 0, done.output
    found = json.loads((out / "neurobench.json").read_text())
    told = json.loads(done.stdout)
    assert found["ClassificationAccuracy"] == told["accuracy"]
    assert found["SynapticOperations"]["Effective_ACs"] == pytest.approx(told["synops_per_sample"])
    refused = CliRunner().invoke(main, [*arguments, "--neurobench"])
    assert refused.exit_code == 2 and "neurobench.json to -o" in refused.stderr
    (out / "neurobench.json").write_text(json.dumps(found, indent=4))  # as NeuroBench writes it
    kept = CliRunner().invoke(main, [*arguments, "--neurobench", "-o", str(out)])
    assert kept.exit_code == 2 and "E223" in kept.stderr
