"""CumSum, the worked example of an added operation, from the ONNX file to the chip.

It is three entries: a record with its facts (``runtime.ops.linear``), an emitter
(``runtime.file.operations``) and a handler (``converter.frontend.ops.pool``).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnx.helper import make_node

import onnx2snn
from converter.frontend.tools import model, saved
from onnx2snn.hwtargets import PlaceData, place
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.graph import Analog, SpikingGraph
from onnx2snn.runtime.ops.linear import CumSum

X = np.random.default_rng(8).uniform(0, 1, (64, 6)).astype(np.float32)
STEPS = 64


@pytest.fixture(params=[(0, 0), (0, 1), (1, 0), (1, 1)], ids=lambda p: f"{p[0]}{p[1]}")
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """x (6) -> 3 x 4 -> Relu -> running sums along the 4 -> 5 -> Relu -> 3."""
    exclusive, reverse = request.param
    rng = np.random.default_rng(9)

    def weights(*shape: int) -> np.ndarray:
        return rng.normal(0, 1 / np.sqrt(shape[0]), shape).astype(np.float32)

    nodes = [
        make_node("MatMul", ["x", "w1"], ["a"]),
        make_node("Relu", ["a"], ["b"]),
        make_node("Reshape", ["b", "shape"], ["c"]),
        make_node(
            "CumSum", ["c", "axis"], ["d"], exclusive=exclusive, reverse=reverse, name="sums"
        ),
        make_node("Flatten", ["d"], ["e"]),
        make_node("MatMul", ["e", "w2"], ["f"]),
        make_node("Relu", ["f"], ["g"]),
        make_node("MatMul", ["g", "w3"], ["y"]),
    ]
    constants = {
        "w1": weights(6, 12), "w2": weights(12, 5), "w3": weights(5, 3),
        "shape": np.array([-1, 3, 4]), "axis": np.asarray(2, np.int64),
    }  # fmt: skip
    return saved(model(nodes, {"x": ("N", 6)}, constants=constants), tmp_path)


@pytest.fixture
def network(path: Path) -> SpikingGraph:
    graph = onnx2snn.convert(path, X, steps=STEPS, recipe="binary")
    assert [type(n.op) for n in graph.nodes if n.name == "sums"] == [CumSum]
    assert not graph.of(Analog)
    return graph


def test_it_is_understood(path: Path) -> None:
    assert onnx2snn.verify(path).relative_diff < 1e-5


def test_it_runs_on_both_engines_from_the_file_and_in_stock_onnxruntime(
    path: Path, network: SpikingGraph, tmp_path: Path
) -> None:
    onnx2snn.save(network, tmp_path / "net.snn.onnx")
    again = onnx2snn.load(tmp_path / "net.snn.onnx")
    ours = simulate(again, X, STEPS, engine="numpy").readouts["y"]
    fast = simulate(again, X, STEPS, engine="fast").readouts["y"]
    session = ort.InferenceSession(str(tmp_path / "net.snn.onnx"))
    (stock,) = session.run(None, {"x": X, "steps": np.array([STEPS])})
    (ann,) = ort.InferenceSession(str(path)).run(None, {"x": X})
    for found in (ours, fast, stock):
        assert np.abs(found[-1] - ann).max() < 0.1 * np.ptp(ann)
    np.testing.assert_allclose(fast, ours, atol=1e-4)
    np.testing.assert_allclose(stock, ours, atol=1e-4)


@pytest.mark.parametrize("chip", ["loihi2", "truenorth", "xylo-audio2"])
def test_it_maps_to_chips_and_runs_in_their_integers(network: SpikingGraph, chip: str) -> None:
    labels = simulate(network, X, STEPS).readouts["y"][-1].argmax(axis=-1)
    report = place(network, chip, data=PlaceData(x=X, y=labels), steps=STEPS, seconds=0.1)
    assert report.fits and not report.violations
    assert len(set(labels.tolist())) > 1
    assert report.accuracy["agreement"] >= 0.9
