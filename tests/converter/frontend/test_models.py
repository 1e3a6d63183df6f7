"""Whole networks, as exporters write them: every tensor equals ONNX Runtime's."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from places import ROOT

from converter.frontend.tools import imported, samples, worst_difference
from onnx2snn.converter.ann.graph import AnnGraph, Opaque, Relu
from onnx2snn.converter.ann.passes import run_passes
from onnx2snn.converter.frontend import LoadedModel, Reference, load_onnx
from onnx2snn.errors import UnsupportedOps

FIXTURES = ROOT / "tests" / "fixtures"
QUANTIZED = {"qdq_s8_per_tensor", "qdq_u8_keep_relu", "qdq_u8_per_channel", "qoperator_u8"}
EXACT = sorted(
    p
    for p in (*FIXTURES.glob("*.onnx"), *(ROOT / "models").glob("*.onnx"))
    if p.stem not in QUANTIZED
)
WITH_ISLANDS = {
    "vit_block_ts",
    "vit_block_dynamo",
    "mobilev3_sigmoid_ts",
    "mobilev3_sigmoid_dynamo",
    "mobilev3_hardsigmoid_ts",
    "mobilev3_hardsigmoid_dynamo",
}


@cache
def network(path: Path) -> tuple[AnnGraph, LoadedModel]:
    return imported(path)


@pytest.mark.parametrize("path", EXACT, ids=lambda p: p.stem)
def test_every_tensor_equals_onnx_runtime_before_and_after_the_passes(path: Path) -> None:
    graph, loaded = network(path)
    data = samples(loaded)
    assert worst_difference(graph, loaded, data) < 1e-5
    assert worst_difference(run_passes(graph), loaded, data) < 1e-5


@pytest.mark.parametrize("path", EXACT, ids=lambda p: p.stem)
def test_only_networks_that_need_islands_have_some(path: Path) -> None:
    graph, _ = network(path)
    islands = [node for node in graph.nodes if isinstance(node.layer, Opaque)]
    assert bool(islands) == (path.stem in WITH_ISLANDS)


def test_the_same_network_in_every_opset_gives_the_same_numbers() -> None:
    outputs = []
    for path in sorted(FIXTURES.glob("opset*.onnx")):
        loaded = load_onnx(path)
        outputs.append(Reference(loaded).run(samples(loaded))[loaded.outputs[0].name])
    assert len(outputs) >= 9
    for other in outputs[1:]:
        np.testing.assert_allclose(other, outputs[0], rtol=1e-5, atol=1e-6)


def test_a_quarter_of_the_nodes_at_least_can_be_compared_with_the_original() -> None:
    for path in EXACT:
        graph, _ = network(path)
        named = [node for node in graph.nodes if node.tensor]
        assert len(named) >= len(graph.nodes) / 4, path.stem


def test_an_output_softmax_is_dropped_and_named() -> None:
    graph, _ = network(FIXTURES / "tf_cnn_optimized.onnx")
    (output,) = graph.outputs
    assert output.name == "dense"
    assert output.dropped and output.dropped[0].endswith("Softmax_15")
    assert output.tensor != "dense"


@pytest.mark.parametrize("name", sorted(QUANTIZED - {"qoperator_u8"}))
def test_a_quantized_model_is_its_float_model_but_for_the_rounding(name: str) -> None:
    """The dropped Relus are back (the range of QuantizeLinear), and no population is added."""
    graph, loaded = network(FIXTURES / f"{name}.onnx")
    rng = np.random.default_rng(0)
    data = {loaded.inputs[0].name: rng.uniform(size=(8, 3, 8, 8)).astype(np.float32)}
    assert 1e-4 < worst_difference(graph, loaded, data) < 0.02
    floating, _ = network(FIXTURES / "plain_cnn_ts.onnx")
    assert count(graph, Relu) == count(floating, Relu)
    assert loaded.approximated


def count(graph: AnnGraph, kind: type) -> int:
    return sum(isinstance(node.layer, kind) for node in graph.nodes)


def test_integer_operations_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedOps, match="float model") as caught:
        imported(FIXTURES / "qoperator_u8.onnx")
    assert {"QLinearConv", "QGemm"} <= {op for _, op, _ in caught.value.findings}
