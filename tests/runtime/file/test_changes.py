"""Weights that a file holds as a change of the ANN's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from graphs import dyadic, residual_cnn

import onnx2snn
from onnx2snn.runtime import file as onnxfile
from onnx2snn.runtime import graph as g
from onnx2snn.runtime.engine import make_engine
from onnx2snn.runtime.ops import MultiplyingOp, WeightedOp
from onnx2snn.runtime.ops.change import EACH, Change, lowest, packed


def changed(levels: int, *, grid: float | None = 2.0**-12) -> g.SpikingGraph:
    rng, graph = np.random.default_rng(0), residual_cnn(np.random.default_rng(1))
    out = []
    for node in graph.of(g.Synapse):
        if not isinstance(node.op, WeightedOp):
            continue
        weight = node.op.weight
        digits = rng.integers(levels, size=(len(weight), weight[0].size)) + lowest(levels)
        change = Change(
            codes=packed(digits, levels),
            levels=levels,
            step=np.full((len(weight), *(1,) * (weight.ndim - 1)), 2.0**-6, np.float32),
            scale=np.ones((), np.float32),
            grid=None if grid is None else np.full((1,) * weight.ndim, grid, np.float32),
        )
        op = node.op.with_factors(change.of(weight))
        out.append(replace(node, op=op, ann_op=node.op, change=change))
    return graph.with_nodes(out)


@pytest.mark.parametrize("grid", [None, 2.0**-12])
@pytest.mark.parametrize("levels", EACH)
def test_both_weights_are_read_back_and_run_in_stock_onnx_runtime(
    levels: int, grid: float | None
) -> None:
    graph = changed(levels, grid=grid)
    content = onnxfile.to_bytes(graph)
    for one, other in zip(graph.nodes, onnxfile.from_bytes(content, where="").nodes, strict=True):
        if isinstance(one, g.Synapse) and isinstance(one.op, MultiplyingOp):
            assert isinstance(other, g.Synapse) and isinstance(other.op, MultiplyingOp)
            assert one.op.factors.tobytes() == other.op.factors.tobytes()
            assert (one.change is None) == (other.change is None)
    plain = graph.with_nodes(replace(n, change=None) for n in graph.of(g.Synapse))
    feed = {"x": dyadic(np.random.default_rng(0), (2, 2, 8, 8)), "steps": np.array([4])}
    runs = [
        ort.InferenceSession(made).run(None, feed)[0]
        for made in (content, onnxfile.to_bytes(plain), onnxfile.to_flat_bytes(graph))
    ]
    assert np.array_equal(runs[0], runs[1]) and np.array_equal(runs[0], runs[2])


def test_a_change_of_other_weights_is_left_out() -> None:
    graph = changed(6)
    node = next(n for n in graph.of(g.Synapse) if n.change is not None)
    assert isinstance(node.op, WeightedOp)
    stale = replace(node, op=node.op.with_factors(node.op.weight + np.float32(1)))
    again = onnxfile.from_bytes(onnxfile.to_bytes(graph.with_nodes([stale])), where="")[node.name]
    assert isinstance(again, g.Synapse) and isinstance(again.op, WeightedOp)
    assert again.change is None and np.array_equal(again.op.weight, stale.op.factors)


@pytest.mark.parametrize("field", ["codes", "grid"])
def test_fields_that_were_edited_are_refused(field: str) -> None:
    model = onnx.load_model_from_string(onnxfile.to_bytes(changed(6)))
    tensor = next(t for t in model.graph.initializer if f"change.{field}" in t.name)
    tensor.raw_data = (b"\xff" * 4 if field == "grid" else b"\xff") * (
        len(tensor.raw_data) // (4 if field == "grid" else 1)
    )
    with pytest.raises(onnxfile.ModelError) as refused:
        onnxfile.from_bytes(model.SerializeToString(), where="")
    assert refused.value.code == "E322"


def test_a_corrected_network_takes_a_tenth_more_room_than_the_ann(tmp_path: Path) -> None:
    rng, size = np.random.default_rng(0), 520  # 270,400 weights: digits of six levels
    nodes, weights, x = [], [], "x"
    for i, shape in enumerate([(16, size), (size, size), (size, 4)]):
        w = rng.normal(size=shape).astype(np.float32) * np.float32((2 / shape[0]) ** 0.5)
        weights.append(onnx.numpy_helper.from_array(w, f"w{i}"))
        nodes.append(onnx.helper.make_node("MatMul", [x, f"w{i}"], [f"z{i}"]))
        x = f"z{i}" if i == 2 else f"h{i}"
        nodes += [] if i == 2 else [onnx.helper.make_node("Relu", [f"z{i}"], [x])]
    ends = [
        onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["n", s])
        for n, s in (("x", 16), (x, 4))
    ]
    made = onnx.helper.make_graph(nodes, "mlp", ends[:1], ends[1:], weights)
    ann = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 17)])
    ann.ir_version = 9
    samples = rng.random((48, 16), np.float32)
    network = onnx2snn.convert(ann, samples, steps=8)
    changes = [s.change.levels for s in network.of(g.Synapse) if s.change is not None]
    assert changes == [16, 6, 16]
    onnx2snn.save(network, tmp_path / "net.snn.onnx")
    content = (tmp_path / "net.snn.onnx").read_bytes()
    assert len(content) < 1.1 * ann.ByteSize() + 2**16
    again = onnxfile.from_bytes(content, where="")
    answers = [make_engine(name).run(again, samples, 8) for name in ("numpy", "fast")]
    there = ort.InferenceSession(content).run(None, {"x": samples, "steps": np.array([8])})[0]
    for result in answers:
        (found,) = result.readouts.values()
        assert np.allclose(found, there, atol=1e-5)
        assert result.spikes.keys() == answers[0].spikes.keys()
        assert all(np.array_equal(result.spikes[n], s) for n, s in answers[0].spikes.items())
