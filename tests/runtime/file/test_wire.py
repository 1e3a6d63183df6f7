"""Large arrays of a converted file: written and read beside the message, and the same file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from graphs import dyadic, residual_cnn

from onnx2snn.errors import ModelError
from onnx2snn.experiments.fingerprint import fingerprint
from onnx2snn.runtime import file as onnxfile
from onnx2snn.runtime.file import wire

LARGE = 256
GRAPH = residual_cnn(np.random.default_rng(1))


@pytest.fixture
def content(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Of the file of ``GRAPH``, whose larger weights count as large."""
    monkeypatch.setattr(wire, "LARGE", LARGE)
    return onnxfile.to_bytes(GRAPH)


def test_the_message_is_the_one_that_is_made_at_once(content: bytes) -> None:
    made, whole = onnx.load_model_from_string(content), onnxfile.to_model(GRAPH)
    sizes = [len(t.raw_data) for t in whole.graph.initializer]
    lean, large = onnxfile._emitted(GRAPH, LARGE)
    assert len(large) == sum(size >= LARGE for size in sizes) > 2
    assert lean.ByteSize() < whole.ByteSize() - sum(a.nbytes for a in large.values())
    for model in (made, whole):
        for tensor in model.graph.initializer:
            tensor.doc_string = ""
        held = sorted(model.graph.initializer, key=lambda tensor: tensor.name)
        held = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in held]
        del model.graph.initializer[:]
        model.graph.initializer.extend(held)
    assert made == whole


def test_it_is_read_back_without_loss_and_runs_in_stock_onnx_runtime(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnxfile.save(GRAPH, tmp_path / "net.snn.onnx")
    assert (tmp_path / "net.snn.onnx").read_bytes() == content
    wanted = fingerprint(GRAPH.nodes)
    assert fingerprint(onnxfile.load(tmp_path / "net.snn.onnx").nodes) == wanted
    feed = {"x": dyadic(np.random.default_rng(0), (2, 2, 8, 8)), "steps": np.array([4])}
    monkeypatch.setattr(wire, "LARGE", 2**30)
    before = onnxfile.to_bytes(GRAPH)  # as an earlier version writes it
    (tmp_path / "before.snn.onnx").write_bytes(before)
    assert fingerprint(onnxfile.load(tmp_path / "before.snn.onnx").nodes) == wanted
    monkeypatch.setattr(wire, "LARGE", LARGE)
    assert fingerprint(onnxfile.load(tmp_path / "before.snn.onnx").nodes) == wanted
    one, other = (
        ort.InferenceSession(bytes_).run(None, {i: feed[i] for i in ("x", "steps")})
        for bytes_ in (content, before)
    )
    for a, b in zip(one, other, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_file_that_was_cut_is_said_to_be(content: bytes, tmp_path: Path, kept: float) -> None:
    path = tmp_path / "cut.snn.onnx"
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ModelError) as refused:
        onnxfile.load(path)
    assert refused.value.code == "E302"
