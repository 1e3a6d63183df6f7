"""Differential neurons with a ceiling: every engine, the saved file and a naive loop agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from onnx2snn.errors import GraphError
from onnx2snn.runtime import file as onnxfile
from onnx2snn.runtime import ops
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.file.codec import decode_graph, encode_graph
from onnx2snn.runtime.file.naming import FileNames
from onnx2snn.runtime.graph import Input, Population, Readout, SpikingGraph, Synapse
from onnx2snn.runtime.neurons.differential import DifferentialParams
from runtime import naive_oracle

CEILING, STEPS = 0.7, 24


def network(ceiling: float | None) -> SpikingGraph:
    """Two layers, the second reading differential spikes; weights are dyadic."""
    rng = np.random.default_rng(5)
    first, second = (
        (np.round(rng.normal(0, 0.6, shape) * 64) / 64).astype(np.float32)
        for shape in ((12, 6), (10, 12))
    )
    second /= 8  # a spike of 8 is worth about 1

    def neuron(source: str, size: int) -> DifferentialParams:
        bias = (np.round(rng.normal(0.1, 0.3, size) * 64) / 64).astype(np.float32)
        unit = np.float32((ceiling or 1.03) / 8)
        return DifferentialParams(v_threshold=unit, bias=bias, source=source, ceiling=ceiling)  # type: ignore[arg-type]

    return SpikingGraph(
        nodes=(
            Input(name="x", shape=(6,)),
            Synapse(name="w1", shape=(12,), inputs=("x",), op=ops.Linear(weight=first)),
            Population(name="p1", shape=(12,), inputs=("w1",), neuron=neuron("rate", 12)),
            Synapse(name="w2", shape=(10,), inputs=("p1",), op=ops.Linear(weight=second)),
            Population(name="p2", shape=(10,), inputs=("w2",), neuron=neuron("differential", 10)),
            Readout(name="out", shape=(10,), inputs=("p2",), coding="differential"),
        )
    )


def images() -> np.ndarray:
    return (np.random.default_rng(6).integers(-32, 64, (7, 6)) / 32).astype(np.float32)


@pytest.mark.parametrize("ceiling", [None, CEILING])
def test_engines_and_saved_file_equal_the_naive_loop(ceiling: float | None, tmp_path: Path) -> None:
    graph, x = network(ceiling), images()
    spikes, answers = naive_oracle.simulate(graph, x, STEPS)
    count = {name: (train != 0).sum(axis=(1, 2)) for name, train in spikes.items()}
    for options in ({}, {"engine": "numpy"}, {"tile": 2, "block": 5}, {"events": "never"}):
        result = simulate(graph, x, STEPS, **options)  # type: ignore[arg-type]
        np.testing.assert_allclose(result.readouts["out"], answers["out"], atol=2e-5)
        for name, fired in count.items():
            np.testing.assert_array_equal(result.spikes[name], fired)
    path = tmp_path / "n.onnx"
    onnxfile.save(graph, path)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    got = session.run(None, {"x": x, "steps": np.array([STEPS], np.int64)})[0]
    np.testing.assert_allclose(got, answers["out"], atol=2e-5)
    read = onnxfile.load(path)
    assert [p.neuron.ceiling for p in read.of(Population)] == [ceiling] * 2  # type: ignore[union-attr]
    if ceiling is not None:
        assert answers["out"].max() <= 8 * (1 + 1e-3)  # in units of the smallest spike
        assert (answers["out"][-1] > 7.9).mean() > 0.05  # it is reached


def test_a_file_from_before_there_were_ceilings_has_none() -> None:
    graph = network(None)
    document, arrays = encode_graph(graph, FileNames(graph))
    for node in document["nodes"]:
        if node.get("neuron"):
            del node["neuron"]["ceiling"]
    old = decode_graph(document, arrays)
    x = images()
    np.testing.assert_array_equal(
        simulate(old, x, STEPS).readouts["out"],
        simulate(network(None), x, STEPS).readouts["out"],
    )


def test_a_ceiling_below_every_value_is_refused() -> None:
    with pytest.raises(GraphError, match="ceiling"):
        DifferentialParams(v_threshold=np.float32(1), ceiling=0.0)
