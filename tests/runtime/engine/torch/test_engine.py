"""The engine "torch": what the definition gives, to the last bit, on networks on a grid."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from onnx2snn.errors import DataError, UsageError
from onnx2snn.runtime import graph as g
from onnx2snn.runtime.engine import EarlyExit, make_engine, simulate
from onnx2snn.runtime.engine.torch.arithmetic import as_products, exactly
from onnx2snn.runtime.neurons import FewSpikeParams, TtfsParams
from runtime.engine.test_against_naive import float_network, images
from runtime.random_graphs import graphs, samples


def assert_same(graph: g.SpikingGraph, x: np.ndarray, steps: int, **options: Any) -> None:
    """All of a result is the definition's."""
    ours = simulate(graph, x, steps, engine="torch", **options)
    defined = simulate(graph, x, steps, engine="numpy", **options)
    _assert_equal(vars(ours), vars(defined))


def _assert_equal(ours: Any, defined: Any) -> None:
    assert type(ours) is type(defined)
    if isinstance(defined, dict):
        assert ours.keys() == defined.keys()
        for key, value in defined.items():
            _assert_equal(ours[key], value)
    elif isinstance(defined, np.ndarray):
        assert ours.dtype == defined.dtype
        np.testing.assert_array_equal(ours, defined)
    else:
        assert ours == defined


@given(st.data())
@settings(max_examples=8, deadline=None, derandomize=True)
def test_a_random_networks_result_is_the_definitions(data: st.DataObject) -> None:
    pytest.importorskip("torch")
    graph = data.draw(graphs(max_stages=2))
    x = data.draw(samples(graph.nodes[0].shape))
    encoding = data.draw(st.sampled_from(["constant", "rate", "poisson"]))
    graph = graph.with_nodes([replace(graph.nodes[0], encoding=encoding)])
    steps = data.draw(st.integers(1, 4))
    options = {
        "seed": data.draw(st.integers(0, 3)),
        "tile": data.draw(st.sampled_from([None, 1, 2])),
        "at": data.draw(st.sampled_from([None, [steps], [1, steps]])),
    }
    assert_same(graph, x / 8 if encoding != "constant" else x, steps, **options)


@pytest.mark.parametrize("options", [{"early_exit": EarlyExit(margin=0.1, patience=2)},
                                     {"dtype": np.float64, "threads": 2}])  # fmt: skip
def test_it_stops_early_and_counts_in_double_precision_as_the_definition_does(
    options: dict[str, Any],
) -> None:
    pytest.importorskip("torch")
    assert_same(float_network(dyadic=True), images(9), 8, tile=4, **options)


def test_runs_of_one_engine_are_new_ones_and_parts_of_a_run_have_its_random_numbers() -> None:
    pytest.importorskip("torch")
    graph, x, engine = float_network("poisson", dyadic=True), images(6), make_engine("torch")
    whole = engine.run(graph, x, 5, seed=4).readouts["out"]
    parts = [engine.run(graph, x[i : i + 3], 5, seed=4, offset=i) for i in (0, 3)]
    np.testing.assert_array_equal(
        np.concatenate([part.readouts["out"] for part in parts], axis=1), whole
    )
    with pytest.raises(DataError, match=r"outside \[-1, 1\]") as error:
        engine.run(graph, 2 + x, 5)
    assert error.value.code == "E210"


def logarithm() -> bytes:
    """log(a) + b, which has no finite value where nothing has come of a yet."""
    nodes = [helper.make_node("Log", ["a"], ["l"]), helper.make_node("Add", ["l", "b"], ["y"])]
    a, b, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 3]) for n in "aby")
    graph = helper.make_graph(nodes, "island", [a, b], [y])
    opsets = [helper.make_opsetid("", 19)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


CODES = ("rate", "differential", "few-spike", "paced")


@pytest.mark.parametrize("coding", CODES)
def test_islands_compute_what_the_definition_says(coding: Any) -> None:
    """On running means, on differential ones, and once per window; of two inputs, with biases."""
    pytest.importorskip("torch")
    steps = 4
    lag = steps if coding in ("few-spike", "paced") else 0
    quarter, zero = np.float32(0.25), np.float32(0)
    neuron = {
        "few-spike": FewSpikeParams(v_threshold=quarter, v_init=zero, lag=steps),
        "paced": TtfsParams(v_threshold=quarter, v_init=zero, lag=steps),
    }.get(coding)
    before: tuple[g.Node, ...] = (g.Input(name="x", shape=(3,)),)
    source = "x"
    if neuron is not None:
        before += (g.Population(name="p", shape=(3,), inputs=("x",), neuron=neuron),)
        source = "p"
    graph = g.SpikingGraph(
        nodes=(
            *before,
            g.Analog(
                name="i",
                shape=(3,),
                inputs=(source, source),
                model=logarithm(),
                output="y",
                biases=(quarter, np.float32([0, 1, 2])),
                coding=coding,
                lag=lag,
            ),
            g.Readout(name="out", shape=(3,), inputs=("i",), coding=coding),
        )
    )
    x = np.random.default_rng(0).integers(0, 64, (5, 3)).astype(np.float32) / 16
    assert_same(graph, x, steps, tile=3)


def test_a_convolution_for_a_gpu_is_pytorchs_own() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    options = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, (3, 2), bias=False, **options),
        torch.nn.Conv2d(4, 4, 1, groups=2, bias=False),
    )
    for layer in layers:
        layer.weight.data = torch.tensor(rng.integers(-8, 8, layer.weight.shape) / 8.0)
    x = torch.tensor(rng.integers(-8, 8, (2, 3, 7, 6)) / 4.0)
    with torch.no_grad():
        expected = layers(x)
        as_products(layers)
        assert "forward" in vars(layers[0]) and "forward" not in vars(layers[1])
        np.testing.assert_array_equal(layers(x).numpy(), expected.numpy())
    graph, images_, engine = float_network(dyadic=True), images(4), make_engine("torch")
    whole = engine.run(graph, images_, 3)
    as_products(engine._network.module)
    _assert_equal(vars(engine.run(graph, images_, 3)), vars(whole))


def test_what_pytorch_was_told_before_holds_again_after_a_run() -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with pytest.raises(ZeroDivisionError), exactly(torch, "cuda", 3):
            found = torch.get_num_threads(), torch.get_float32_matmul_precision()
            assert found == (3, "highest") and not torch.backends.cudnn.enabled
            raise ZeroDivisionError
        assert torch.get_float32_matmul_precision() == "medium" and torch.backends.cudnn.enabled
        assert torch.get_num_threads() == before[0]
    finally:
        torch.set_float32_matmul_precision(before[1])


@pytest.mark.parametrize(
    ("engine", "options", "said"),
    [
        ("fast", {"device": "cpu"}, "'fast' has no choice of devices"),
        ("numpy", {"device": "cuda"}, "'numpy' has no choice of devices"),
        ("torch", {"device": "tpu"}, "must be one of cpu, cuda, got 'tpu'"),
        ("torch", {"profile": True}, "'torch' keeps no profile"),
        ("torch", {"mem_limit": 1000}, "too small"),
    ],
)
def test_options_that_an_engine_does_not_have_are_refused(
    engine: str, options: dict[str, Any], said: str
) -> None:
    if engine == "torch":
        pytest.importorskip("torch")
    with pytest.raises(UsageError, match=said):
        simulate(float_network(), images(2), 2, engine=engine, **options)


def test_without_a_gpu_or_without_pytorch_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False))
    monkeypatch.setitem(sys.modules, "torch", nothing)
    with pytest.raises(UsageError, match="finds no GPU"):
        make_engine("torch", device="cuda")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UsageError, match="PyTorch is not installed") as error:
        make_engine("torch")
    assert error.value.remedy == "Install it: pip install 'onnx2snn[torch]'."
