"""`check`: a finding for every node, the same verdict as conversion, and a graph for a viewer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.helper import make_node
from places import ROOT

from converter.frontend.tools import model, saved
from onnx2snn.converter.ann.graph import Opaque, Product
from onnx2snn.converter.frontend import (
    check,
    import_onnx,
    load_onnx,
    operations,
    operations_markdown,
    save_tagged,
)
from onnx2snn.errors import ModelError, UnsupportedOps

FIXTURES = ROOT / "tests" / "fixtures"
DOC = ROOT / "docs" / "operations.md"
FILES = ["plain_cnn_ts", "vit_block_ts", "mobilev3_sigmoid_dynamo", "qdq_u8_keep_relu"]


@pytest.mark.parametrize("name", FILES)
def test_every_node_of_the_cleaned_up_graph_has_one_finding(name: str) -> None:
    loaded = load_onnx(FIXTURES / f"{name}.onnx")
    report = check(loaded)
    left = [n for n in loaded.cleaned.graph.node if n.op_type != "Constant"]
    assert len(report.nodes) == len(left) + len(loaded.approximated)
    assert report.convertible
    assert sum(t["nodes"] for t in report.totals.values()) == len(report.nodes)
    analog = {n.op for n in report.nodes if n.verdict == "analog"}
    graph = import_onnx(loaded)
    layers = [n.layer for n in graph.nodes if isinstance(n.layer, Opaque)]
    inside = {op for la in layers if not isinstance(la, Product) for op in la.ops}
    assert analog == inside


def test_folded_quantization_is_reported_as_an_approximation() -> None:
    report = check(FIXTURES / "qdq_u8_keep_relu.onnx")
    rows = [n for n in report.nodes if n.verdict == "approximate"]
    assert rows
    assert {n.op for n in rows} == {"QuantizeLinear"}
    assert all("rounding" in n.reason for n in rows)


def test_macs_are_those_of_the_ann(tmp_path: Path) -> None:
    nodes = [
        make_node("Conv", ["x", "k"], ["a"], kernel_shape=[3, 3], group=2),
        make_node("Flatten", ["a"], ["b"]),
        make_node("Gemm", ["b", "w"], ["y"]),
    ]
    constants = {"k": np.ones((8, 2, 3, 3), np.float32), "w": np.ones((8 * 16, 5), np.float32)}
    path = saved(model(nodes, {"x": ("N", 4, 6, 6)}, constants=constants), tmp_path)
    assert check(path).totals["spiking"]["macs"] == 8 * 4 * 4 * 2 * 9 + 8 * 16 * 5


def test_an_unsupported_model_is_not_convertible_and_says_the_same_as_conversion(
    tmp_path: Path,
) -> None:
    nodes = [
        make_node("RandomNormalLike", ["x"], ["a"], name="noise"),
        make_node("Add", ["a", "x"], ["y"], name="sum"),
    ]
    path = saved(model(nodes, {"x": ("N", 4)}), tmp_path)
    report = check(path)
    assert not report.convertible
    with pytest.raises(UnsupportedOps) as caught:
        import_onnx(path)
    bad = [n.name for n in report.nodes if n.verdict == "unsupported"]
    assert bad == [name for name, _, _ in caught.value.findings] == ["noise"]
    (row,) = [n for n in report.nodes if n.name == "noise"]
    assert row.reason and row.remedy


def test_a_model_with_custom_operations_is_checked_too(tmp_path: Path) -> None:
    node = make_node("Mystery", ["x"], ["y"], domain="acme", name="odd")
    proto = model([node], {"x": ("N", 4)})
    proto.opset_import.append(helper.make_opsetid("acme", 1))
    report = check(saved(proto, tmp_path))
    assert not report.convertible
    assert [(n.name, n.verdict) for n in report.nodes] == [("odd", "unsupported")]
    with pytest.raises(ModelError, match="tagged"):
        save_tagged(report, tmp_path / "t.onnx")


def test_the_record_is_plain_json() -> None:
    record = check(FIXTURES / "vit_block_ts.onnx").to_dict()
    assert json.loads(json.dumps(record)) == record
    assert record["convertible"] is True
    assert {"name", "op", "verdict", "reason"} <= set(record["nodes"][0])


def test_the_tagged_graph_is_valid_and_carries_the_verdicts(tmp_path: Path) -> None:
    report = check(FIXTURES / "vit_block_ts.onnx")
    path = tmp_path / "tagged.onnx"
    save_tagged(report, path)
    onnx.checker.check_model(path)
    tags = {
        node.name: {p.key: p.value for p in node.metadata_props}["onnx2snn.verdict"]
        for node in onnx.load(path).graph.node
    }
    assert tags == {n.name: n.verdict for n in report.nodes}
    with pytest.raises(ModelError, match="cannot write") as caught:
        save_tagged(report, tmp_path / "no" / "folder.onnx")
    assert caught.value.code == "E308"


def test_an_unreadable_model_is_an_error_not_a_finding(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        check(tmp_path / "none.onnx")


def test_the_table_in_the_manual_is_current() -> None:
    assert operations_markdown() in DOC.read_text()


def test_every_operation_stands_in_the_table_once() -> None:
    names = [row.op for row in operations()]
    assert len(names) == len(set(names))
