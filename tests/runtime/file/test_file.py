"""The converted file: read back without loss, run by stock ONNX Runtime, never half-written."""

import subprocess
import sys
from dataclasses import fields, is_dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from graphs import dyadic, residual_cnn, with_input

from onnx2snn.errors import DataError, ModelError
from onnx2snn.runtime import file as onnxfile
from onnx2snn.runtime import graph as g
from onnx2snn.runtime import ops
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.file.neurons.integrate_and_fire import neuron_name
from onnx2snn.runtime.graph import Population, Readout, SpikingGraph
from onnx2snn.runtime.neurons import NeuronParams

VARIANTS = {
    "IF": {},
    "LIF": {"leak": 0.25},
    "zero": {"reset": "zero", "v_reset": 0.25},
    "graded": {"levels": 4},
    "signed": {"signed": True},
    "signed burst": {"signed": True, "levels": 3},
    "refractory": {"refractory": 2},
    "floor": {"v_min": -0.5},
    "lag": {"lag": 2},
    "everything": {"leak": 0.5, "levels": 2, "signed": True, "refractory": 1, "v_min": -1.0},
}


def run_stock(graph: SpikingGraph, x: np.ndarray, steps: int, path: Path) -> np.ndarray:
    onnxfile.save(graph, path)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x, "steps": np.array([steps], np.int64)})[0]


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_stock_onnxruntime_gives_the_engines_readout(
    variant: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(1)
    graph = residual_cnn(rng, **VARIANTS[variant])
    x = dyadic(rng, (3, 2, 8, 8))
    ours = simulate(graph, x, 12).readouts["out"]
    theirs = run_stock(graph, x, 12, tmp_path / "n.onnx")
    # Dyadic weights: sums are exact, so every spike is the same and so is the readout.
    np.testing.assert_allclose(theirs, ours, rtol=1e-6, atol=1e-6)
    assert np.abs(ours).max() > 0
    assert capfd.readouterr() == ("", "")  # and warns of nothing


@pytest.mark.parametrize(
    ("field", "one", "other"),
    [("v_min", None, 0.0), ("v_min", -0.25, -0.2500001), ("leak", 0.1234564, 0.1234561)],
)
def test_neurons_that_differ_in_a_number_are_two_functions(
    field: str, one: float | None, other: float, tmp_path: Path
) -> None:
    graph = residual_cnn(np.random.default_rng(3))
    numbers = {p.name: (one, other)[i % 2] for i, p in enumerate(graph.of(Population))}
    graph = graph.with_nodes(
        replace(p, neuron=replace(p.neuron, **{field: numbers[p.name]}))
        for p in graph.of(Population)
    )
    first, second = (p.neuron for p in graph.of(Population)[:2])
    assert neuron_name(first) != neuron_name(second)
    x = 2 * dyadic(np.random.default_rng(1), (3, 2, 8, 8)) - 1
    theirs = run_stock(graph, x, 12, tmp_path / "n.onnx")
    np.testing.assert_allclose(theirs, simulate(graph, x, 12).readouts["out"], atol=1e-5)


@pytest.mark.parametrize("largest", [False, True], ids=["sum", "max"])
@pytest.mark.parametrize("pads", [(2, 2, 0, 0), (0, 1, 3, 2), (1, 1, 1, 1)])
def test_padding_as_wide_as_the_window_runs_in_stock_onnxruntime(
    pads: tuple[int, ...], largest: bool, tmp_path: Path
) -> None:
    """ONNX Runtime's pools refuse it."""
    kind = ops.MaxPool if largest else ops.SumPool
    op = kind(kernel=(2, 2), strides=(1, 2), dilations=(1, 1), pads=pads)
    shape, x = op.output_shape((2, 5, 5)), dyadic(np.random.default_rng(0), (3, 2, 5, 5)) - 0.5
    zero, one = np.zeros((), np.float32), np.ones((), np.float32)
    pooled = (
        g.MaxPool(name="s", inputs=("x",), shape=shape, op=op, bias=zero)
        if largest
        else g.Synapse(name="s", inputs=("x",), shape=shape, op=op)
    )
    neuron = NeuronParams(v_threshold=one, v_init=one / 2, signed=True)
    graph = SpikingGraph(
        nodes=(
            g.Input(name="x", shape=(2, 5, 5)),
            pooled,
            Population(name="p", inputs=("s",), shape=shape, bias=one / 4, neuron=neuron),
            Readout(name="out", inputs=("p",), shape=shape, bias=zero),
        ),
        meta={},
    )
    theirs = run_stock(graph, x, 6, tmp_path / "n.onnx")
    np.testing.assert_array_equal(theirs, simulate(graph, x, 6).readouts["out"])


def test_rate_encoding_and_counting_readout_run_in_stock_onnxruntime(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    graph = with_input(residual_cnn(rng), "rate")
    readout = graph.of(Readout)[0]
    counting = replace(readout, mode="count", neuron=graph.of(Population)[0].neuron)
    theta = np.full((), 0.5, np.float32)
    counting = replace(
        counting, neuron=replace(counting.neuron, v_threshold=theta, v_init=theta / 2)
    )
    graph = graph.with_nodes([counting])
    x = dyadic(rng, (3, 2, 8, 8))
    ours = simulate(graph, x, 10).readouts["out"]
    np.testing.assert_allclose(run_stock(graph, x, 10, tmp_path / "n.onnx"), ours, atol=1e-6)


def assert_equal(a: object, b: object) -> None:
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    elif is_dataclass(a):
        for field in fields(a):
            assert_equal(getattr(a, field.name), getattr(b, field.name))
    elif isinstance(a, tuple):
        assert len(a) == len(b)
        for left, right in zip(a, b, strict=True):
            assert_equal(left, right)
    else:
        assert a == b


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_a_saved_graph_is_read_back_without_loss(variant: str, tmp_path: Path) -> None:
    graph = residual_cnn(np.random.default_rng(3), **VARIANTS[variant])
    onnxfile.save(graph, tmp_path / "n.onnx")
    assert_equal(graph.nodes, onnxfile.load(tmp_path / "n.onnx").nodes)
    assert onnxfile.load(tmp_path / "n.onnx").meta == graph.meta


def test_the_file_is_valid_onnx_with_one_neuron_node_per_layer(tmp_path: Path) -> None:
    onnxfile.save(residual_cnn(np.random.default_rng(4)), tmp_path / "n.onnx")
    model = onnx.load(tmp_path / "n.onnx")
    onnx.checker.check_model(model)
    assert [n.name for n in model.graph.node if n.op_type == "IF"] == ["relu1", "relu2"]


def test_it_runs_where_onnx2snn_is_not_installed(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    graph, x = residual_cnn(rng), dyadic(rng, (2, 2, 8, 8))
    onnxfile.save(graph, tmp_path / "n.onnx")
    np.save(tmp_path / "x.npy", x)
    script = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "onnx2snn":
            raise ImportError("onnx2snn must not be needed")
sys.meta_path.insert(0, Refuse())
import numpy as np, onnxruntime as ort
session = ort.InferenceSession("n.onnx")
np.save("y.npy", session.run(None, {"x": np.load("x.npy"), "steps": np.array([6])})[0])
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    expected = simulate(graph, x, 6).readouts["out"]
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, atol=1e-6)


def test_files_that_are_not_ours_are_refused(tmp_path: Path) -> None:
    onnxfile.save(residual_cnn(np.random.default_rng(6)), tmp_path / "n.onnx")
    whole = (tmp_path / "n.onnx").read_bytes()
    (tmp_path / "short.onnx").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.onnx").write_bytes(b"hello")
    plain = onnx.load(tmp_path / "n.onnx")
    del plain.metadata_props[:]
    onnx.save(plain, tmp_path / "plain.onnx")
    codes = {"short.onnx": "E302", "text.onnx": "E302", "plain.onnx": "E320", "none": "E301"}
    for name, code in codes.items():
        with pytest.raises(ModelError) as error:
            onnxfile.load(tmp_path / name)
        assert error.value.code == code, name


def test_damaged_metadata_is_refused(tmp_path: Path) -> None:
    model = onnxfile.to_model(residual_cnn(np.random.default_rng(7)))
    entry = next(e for e in model.metadata_props if e.key == onnxfile.KEY)
    good = entry.value
    for bad in ("{", "{}", good.replace("op.Conv", "os.system"), good.replace('"nodes"', '"no"')):
        entry.value = bad
        onnx.save(model, tmp_path / "bad.onnx")
        with pytest.raises(ModelError):
            onnxfile.load(tmp_path / "bad.onnx")


def test_what_a_newer_version_may_have_written_is_named(tmp_path: Path) -> None:
    model = onnxfile.to_model(residual_cnn(np.random.default_rng(7)))
    entry = next(e for e in model.metadata_props if e.key == onnxfile.KEY)
    good = entry.value
    edits = {
        ('"op.Conv"', '"op.Conv4D"'): "'op.Conv4D' in the network",
        ('"neuron.NeuronParams"', '"neuron.Adaptive"'): "'neuron.Adaptive' in the network",
        ('"node.Readout"', '"node.Probe"'): "'node.Probe' in the network",
        ('"v_init"', '"v_start"'): "'v_start' in a neuron.NeuronParams",
        ('"strides"', '"stride"'): "'stride' in a op.Conv.*Did you mean 'strides'",
        ('"nodes"', '"extra": 1, "nodes"'): "'extra' in the document",
    }
    for (old, new), said in edits.items():
        assert old in good
        entry.value = good.replace(old, new)
        onnx.save(model, tmp_path / "new.onnx")
        with pytest.raises(ModelError, match=f"new.onnx.*{said}.*update onnx2snn") as error:
            onnxfile.load(tmp_path / "new.onnx")
        assert error.value.code == "E324"
    entry.value = "[1]"
    onnx.save(model, tmp_path / "list.onnx")
    with pytest.raises(ModelError, match="damaged"):
        onnxfile.load(tmp_path / "list.onnx")


def test_nothing_is_left_behind_where_a_file_cannot_be_written(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    with pytest.raises(DataError) as error:
        onnxfile.save(residual_cnn(np.random.default_rng(8)), target)
    assert error.value.code == "E220"
    assert list(tmp_path.iterdir()) == [target]


def test_the_file_says_what_it_is_and_holds_only_the_functions_it_calls(tmp_path: Path) -> None:
    graph = residual_cnn(np.random.default_rng(9))
    meta = {"recipe": "binary", "T": 7, "source": {"path": "net.onnx"}}
    model = onnxfile.to_model(replace(graph, meta=meta))
    called = {n.op_type for n in model.graph.node if n.domain == "onnx2snn"}
    assert {f.name for f in model.functions} == called
    assert {"IF", "Repeat", "Readout"} < called
    assert not called & {"Delay", "Window", "PoissonEncode", "RunningMean"}
    assert model.producer_version == version("onnx2snn")
    for part in ("net.onnx", "recipe binary", "T=7", "'steps'", "'out'"):
        assert part in model.doc_string
