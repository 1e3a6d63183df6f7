"""Networks of thousands of branches: every pass over them is linear, and one layer that reads them
costs as many geometries as are different."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from hostile.test_hostile import node, saved
from onnx2snn.api import chips_for, lowered
from onnx2snn.converter.frontend import check, load_onnx
from onnx2snn.converter.statistics import thresholds
from onnx2snn.converter.statistics.measure import BINS, LayerStats
from onnx2snn.hwtargets.view import network as view
from onnx2snn.runtime.file.opsets import raised

WIDE = 120


def wide(folder: Path, op: str = "Relu", *, layers: int = 1) -> Path:
    """Each layer sums ``WIDE / layers`` branches, each a product and ``op``."""
    weights, nodes, read = {}, [], "x"
    for layer in range(layers):
        names = []
        for i in range(WIDE // layers):
            name = f"{layer}_{i}"
            weights[f"w{name}"] = np.eye(4, dtype=np.float32)
            nodes += [node("MatMul", f"{read} w{name}", f"h{name}"), node(op, f"h{name}", name)]
            names.append(name)
        made = "y" if layer == layers - 1 else f"s{layer}"
        nodes.append(helper.make_node("Sum", names, [made]))
        read = made
    return saved(folder, nodes, **weights)


def test_a_sum_of_many_branches_has_one_form(tmp_path: Path) -> None:
    (last,) = [
        layer
        for layer in view.chip_view(lowered(load_onnx(wide(tmp_path)))).layers
        if len(layer.projections) > 1
    ]
    assert [count for _, count in last.forms] == [WIDE]
    assert last.fan_in == sum(p.fan_in for p in last.projections) == WIDE


def test_layers_that_read_too_many_paths_in_all_are_tangled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = wide(tmp_path, layers=3)  # 40 branches read 40, twice
    assert not any(layer.tangled for layer in view.chip_view(lowered(load_onnx(model))).layers)
    monkeypatch.setattr(view, "MOST_IN_ALL", 4_000)
    tangled = [la.tangled for la in view.chip_view(lowered(load_onnx(model))).layers]
    assert tangled.count(False) > 60 and tangled[-1]
    report = check(model)
    assert report.graph is not None
    assert {v.rule for chip in chips_for(report.graph).values() for v in chip.kinds} == {
        "paths of synapses"
    }


def test_check_of_many_branches_grows_with_them(tmp_path: Path) -> None:
    started = time.process_time()
    report = check(wide(tmp_path))
    assert report.graph is not None
    chips_for(report.graph)
    assert time.process_time() - started < 5  # quadratic: 20 and more
    assert sum(n.macs for n in report.nodes) == 16 * WIDE


def test_thresholds_of_narrow_layers_are_found_together() -> None:
    rng = np.random.default_rng(0)
    stats = {
        f"layer{i}": LayerStats(
            axis=0,
            maximum=rng.random(n, np.float32),
            mean=np.zeros(n),
            histogram=rng.integers(0, 9, (n, BINS)).astype(float),
            count=1000,
        )
        for i, n in enumerate([3, 1, 600, 200, 400])
    }
    together = thresholds.thresholds(stats, steps=8)
    for name, stat in stats.items():
        alone = thresholds.thresholds({name: stat}, steps=8)[name]
        np.testing.assert_allclose(together[name], alone, rtol=1e-6)


def test_operations_with_only_more_types_need_no_converter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    model = onnx.load(saved(tmp_path, [node("Cast", "x", "c", to=1), node("Tanh", "c", "y")]))
    monkeypatch.setattr("onnx.version_converter.convert_version", None)
    out = raised(model, 21)
    assert list(out.graph.node) == list(model.graph.node) and out.opset_import[0].version == 21


def test_a_maximum_over_whole_maps_is_screened(tmp_path: Path) -> None:
    """Its maps are larger than its neurons are many: the tile of one has no place for them."""
    nodes = [
        node("Reshape", "x to", "m"),
        node("Relu", "m", "r"),
        node("GlobalMaxPool", "r", "p"),
        node("Flatten", "p", "f"),
        node("Relu", "f", "y"),
    ]
    graph = check(saved(tmp_path, nodes, to=np.array([1, 1, 2, 2]))).graph
    assert graph is not None
    assert chips_for(graph)["loihi2"].kinds
