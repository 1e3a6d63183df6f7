"""Comparing an imported network with ONNX Runtime, and small models to do it on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnx2snn.converter.ann.evaluate import ann_outputs
from onnx2snn.converter.ann.graph import AnnGraph, Input
from onnx2snn.converter.frontend import LoadedModel, Reference, import_onnx, load_onnx
from onnx2snn.runtime.ops import Array

FLOAT = TensorProto.FLOAT


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Sequence[str] = ("y",),
    constants: Mapping[str, Any] | None = None,
    *,
    opset: int = 17,
    ir_version: int = 8,
) -> onnx.ModelProto:
    """A model of ``nodes``; ``constants`` become initializers."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(n, FLOAT, list(s)) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, FLOAT, None) for n in outputs],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in (constants or {}).items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version
    )


def saved(proto: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def samples(loaded: LoadedModel, count: int = 3, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        info.name: rng.normal(size=(count, *info.shape)).astype(np.float32)
        for info in loaded.inputs
    }


def worst_difference(graph: AnnGraph, loaded: LoadedModel, data: Mapping[str, Array]) -> float:
    """The largest |AnnGraph - ONNX Runtime| over every tensor both have and every output that is
    not cut short, relative to the tensor's range."""
    pairs = {n.name: n.tensor for n in graph.nodes if n.tensor and not isinstance(n.layer, Input)}
    pairs |= {o.node: o.tensor for o in graph.outputs}
    assert pairs
    expected = Reference(loaded).run(data, tuple(pairs.values()))
    found = ann_outputs(graph, {node.name: data[node.tensor] for node in graph.inputs})
    return max(relative(found[node], expected[tensor]) for node, tensor in pairs.items())


def relative(found: Array, expected: Array) -> float:
    assert found.size == expected.size
    assert len(found) == len(expected)
    difference = np.abs(found.reshape(-1) - expected.reshape(-1)).max()
    return float(difference / max(np.ptp(expected), 1e-3))


def imported(source: Path | LoadedModel) -> tuple[AnnGraph, LoadedModel]:
    loaded = source if isinstance(source, LoadedModel) else load_onnx(source)
    return import_onnx(loaded), loaded
