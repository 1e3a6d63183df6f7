"""The onnx package's node tests: each is equal to the published output, or refused by our error.

Every case runs in up to four forms. The inputs after the first are computed, or are constants of
the model ("fixed"), as weights are; and the first axis is the batch axis, or lies inside the sample
("whole": one more axis in front, squeezed away). Where the first axis is a batch of several, the
samples run one by one, so the published output does not apply and only importing is tested.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper
from places import DOCS

from converter.frontend.tools import imported, saved
from onnx2snn.converter.ann.evaluate import ann_outputs
from onnx2snn.converter.ann.graph import AnnGraph, Opaque
from onnx2snn.converter.frontend import OPERATIONS
from onnx2snn.errors import ModelError
from onnx2snn.runtime.ops import Array

DOC = DOCS / "operations.md"
Form = tuple[str, onnx.ModelProto, dict[str, Array]]


def forms(case: Any) -> Iterator[Form]:
    inputs = [np.asarray(a) for a in case.data_sets[0][0]]
    for fixed in (False, True) if len(inputs) > 1 else (False,):
        for whole in (False, True):
            model = onnx.ModelProto()
            model.CopyFrom(case.model)
            yield _form(model, inputs, fixed, whole)


def _form(model: onnx.ModelProto, inputs: Sequence[Array], fixed: bool, whole: bool) -> Form:
    graph, feeds = model.graph, {}
    names = [v.name for v in graph.input]
    del graph.input[:]
    for index, (name, array) in enumerate(zip(names, inputs, strict=False)):
        if fixed and index:
            graph.initializer.append(numpy_helper.from_array(array, name))
            continue
        entry = f"{name}_whole" if whole else name
        feeds[entry] = array[None] if whole else array
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        graph.input.append(helper.make_tensor_value_info(entry, kind, feeds[entry].shape))
        if whole:
            graph.node.insert(0, _squeeze(model, entry, name))
    return f"{'fixed ' * fixed}{'whole' * whole}", model, feeds


def _squeeze(model: onnx.ModelProto, source: str, target: str) -> onnx.NodeProto:
    opset = max(o.version for o in model.opset_import if not o.domain)
    if opset < 13:
        return helper.make_node("Squeeze", [source], [target], axes=[0])
    axes = numpy_helper.from_array(np.asarray([0], np.int64), f"{target}_axes")
    model.graph.initializer.append(axes)
    return helper.make_node("Squeeze", [source, axes.name], [target])


def outcome(model: onnx.ModelProto, feeds: Mapping[str, Array], case: Any, folder: Path) -> str:
    """How one form ends: spiking or analog (equal), imported, refused, or what is wrong."""
    try:
        graph, _ = imported(saved(model, folder))
    except ModelError as error:
        assert error.remedy
        return "refused"
    if any(a.ndim > 1 and a.shape[0] != 1 for a in feeds.values()):
        return "imported"
    try:
        found = _evaluated(graph, feeds)
    except Exception:
        return "refused" if _runtime(model, feeds) is None else "wrong: cannot be evaluated"
    islands = any(isinstance(n.layer, Opaque) for n in graph.nodes)
    published = dict(zip((o.name for o in model.graph.output), case.data_sets[0][1], strict=False))
    for output in graph.outputs:
        expected = np.asarray(published[output.name])
        if not output.dropped and not _close(found[output.node], expected):
            return _against_runtime(model, feeds, output.name, found[output.node])
    return "analog" if islands else "spiking"


def _evaluated(graph: AnnGraph, feeds: Mapping[str, Array]) -> dict[str, Array]:
    data = {}
    for node in graph.inputs:
        array = feeds[node.tensor].astype(np.float32)
        batched = array.ndim > 1 and array.shape[1:] == node.shape
        data[node.name] = array if batched else array[None]
    return ann_outputs(graph, data)


def _close(found: Array, expected: Array) -> bool:
    if found.size != expected.size:
        return False
    expected = expected.astype(np.float32).reshape(-1)
    finite = np.abs(expected[np.isfinite(expected)])
    tolerance = 1e-4 * max(1.0, float(finite.max(initial=0)))
    return np.allclose(found.reshape(-1), expected, rtol=1e-3, atol=tolerance, equal_nan=True)


def _runtime(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array] | None:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        runner = ort.InferenceSession(model.SerializeToString(), options)
        names = [o.name for o in runner.get_outputs()]
        return dict(zip(names, runner.run(names, dict(feeds)), strict=True))
    except Exception:
        return None


def _against_runtime(
    model: onnx.ModelProto, feeds: Mapping[str, Array], output: str, found: Array
) -> str:
    """ONNX Runtime is the reference; in a few cases it differs from what ONNX publishes."""
    own = _runtime(model, feeds)
    return "as ONNX Runtime" if own and _close(found, own[output]) else "wrong"


def is_float_case(case: Any) -> bool:
    inputs, outputs = case.data_sets[0]
    arrays = (*inputs, *outputs)
    tensors = all(isinstance(a, np.ndarray | np.generic) for a in arrays)
    standard = all(o.domain == "" for o in case.model.opset_import)
    return bool(inputs) and tensors and standard and np.asarray(inputs[0]).dtype == np.float32


def summary(results: Mapping[str, Sequence[str]]) -> Counter[str]:
    """The best that any form of a case reached."""
    order = ("spiking", "analog", "as ONNX Runtime", "imported", "refused")
    return Counter(min(ends, key=order.index) for ends in results.values())


@pytest.mark.slow
def test_the_node_tests_of_onnx_are_equal_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from onnx.backend.test.case.node import collect_testcases

    results: dict[str, list[str]] = {}
    registered = set()
    for case in collect_testcases(None):
        if not is_float_case(case):
            continue
        ends = [outcome(model, feeds, case, tmp_path) for _, model, feeds in forms(case)]
        assert not any(end.startswith("wrong") for end in ends), (case.name, ends)
        results[case.name] = ends
        if [n.op_type in OPERATIONS for n in case.model.graph.node] == [True]:
            registered.add(case.name)
    every, own = summary(results), summary({n: results[n] for n in registered})
    with capsys.disabled():
        print(f"\nnode tests: {len(results)}: {dict(every)}; of registered operations: {dict(own)}")
    text = DOC.read_text()
    published = {
        name: (int(one), int(two))
        for name, one, two in re.findall(r"^\| ([a-zA-Z ]+) \| (\d+) \| (\d+) \|$", text, re.M)
    }
    counted = {end: (every[end], own[end]) for end in every}
    assert published == {**counted, "all": (len(results), len(registered))}
