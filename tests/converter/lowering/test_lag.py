"""Start lags: paced neurons in every kind of network, and what is said where they cannot be."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from converter.digits_nets import converted, samples
from onnx2snn.converter.auto import choose
from onnx2snn.converter.convert import Conversion, convert
from onnx2snn.converter.frontend import import_onnx, load_onnx
from onnx2snn.converter.recipes.options import Options
from onnx2snn.errors import UsageError
from onnx2snn.runtime import file as onnxfile
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.neurons import NeuronParams, PacedParams

T = 8


def network(kind: str) -> bytes:
    """conv, then "pool": max pool before ReLU; "relu, pool": behind it; "skip": ReLU and a skip
    over the next convolution; "concat": the same, joined; "island": x sigmoid(x); a convolution and
    a dense layer follow."""
    rng = np.random.default_rng(0)
    weights: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def add(op: str, *inputs: str, **attributes: object) -> str:
        nodes.append(helper.make_node(op, list(inputs), [f"v{len(nodes)}"], **attributes))
        return f"v{len(nodes) - 1}"

    def weight(*shape: int) -> str:
        scale = np.sqrt(2 / np.prod(shape[1:] or (50,)))
        value = (scale * rng.normal(size=shape)).astype(np.float32)
        weights.append(numpy_helper.from_array(value, f"w{len(weights)}"))
        return weights[-1].name

    def conv(x: str, out: int, inside: int) -> str:
        return add("Conv", x, weight(out, inside, 3, 3), weight(out), pads=[1] * 4)

    x, channels = conv("x", 6, 2), 6
    if kind == "pool":
        x = add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    if kind == "island":
        x = add("Mul", x, add("Sigmoid", x))
    x = add("Relu", x)
    if kind == "relu, pool":
        x = add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    if kind in ("skip", "concat"):
        inner = conv(add("Relu", conv(x, 6, 6)), 6, 6)
        join = {"skip": ("Add", {}), "concat": ("Concat", {"axis": 1})}[kind]
        x = add("Relu", add(join[0], inner, x, **join[1]))
        channels = 12 if kind == "concat" else 6
    x = add("Relu", conv(x, 4, channels))
    x = add("Flatten", add("GlobalAveragePool", x))
    nodes.append(helper.make_node("Gemm", [x, weight(4, 5), weight(5)], ["y"]))
    graph = helper.make_graph(
        nodes,
        kind,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def inputs(count: int = 64) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, 2, 8, 8)).astype(np.float32)


def made(kind: str, **options: object) -> Conversion:
    given = Options(**{"steps": T, **options})  # type: ignore[arg-type]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        path.write_bytes(network(kind))
        ann = import_onnx(load_onnx(path))
    if given.recipe == "auto":
        return choose(ann, inputs(), given).conversion
    return convert(ann, inputs(), given)


def off(graph: snn.SpikingGraph, kind: str, steps: int = T) -> float:
    """Relative error of the outputs on other inputs."""
    x = inputs(96)[64:]
    (ann,) = ort.InferenceSession(network(kind)).run(None, {"x": x})
    (snn_out,) = simulate(graph, x, steps, at=[steps]).readouts.values()
    return float(np.linalg.norm(snn_out[0] - ann) / np.linalg.norm(ann - ann.mean(0)))


@pytest.mark.parametrize("kind", ["skip", "concat", "pool"])
def test_paced_neurons_lose_less_than_plain_ones_behind_the_same_lag(kind: str) -> None:
    graph = made(kind, lag=4).graph
    assert all(isinstance(p.neuron, PacedParams) for p in graph.of(snn.Population))
    assert off(graph, kind) < 0.8 * off(made(kind, lag=4, pace=False).graph, kind)
    assert off(graph, kind) < 0.7 * off(made(kind).graph, kind)


@pytest.mark.parametrize("kind", ["skip", "concat", "pool"])
@pytest.mark.parametrize("pace", [True, False])
def test_the_file_in_onnx_runtime_gives_the_same_answers(kind: str, pace: bool) -> None:
    """Also of a max pool with a bias, which arrives in its window only. (Constant currents are in
    single precision there, so a spike may move.)"""
    graph = made(kind, lag=3, pace=pace).graph
    session = ort.InferenceSession(onnxfile.to_model(graph).SerializeToString())
    x = inputs(8)
    (got,) = session.run(None, {"x": x, "steps": np.array([T])})
    (own,) = simulate(graph, x, T).readouts.values()
    assert np.abs(got - own).mean() < 1e-3 * np.abs(own).max()


@pytest.mark.parametrize(
    "given", [{"reset": "zero"}, {"leak": 0.1}, {"refractory": 1}, {"readout": "count"}]
)
def test_what_paced_neurons_do_not_have_is_said(given: dict[str, object]) -> None:
    graph = converted(steps=T, lag=2, tune=False, **given).graph
    assert all(type(p.neuron) is NeuronParams for p in graph.of(snn.Population))
    assert any("plain neurons behind the lag" in note for note in graph.meta["notes"])


def test_a_lag_with_an_island_is_refused_before_anything_is_calibrated() -> None:
    with pytest.raises(UsageError) as refused:
        made("island", lag=2)
    assert refused.value.code == "E115"
    auto = made("island", recipe="auto", steps=2, max_drop=-1.0).graph
    told = auto.meta["auto"]["left_out"]
    assert any("binary with lag" in reason and "island" in reason for reason in told)


def test_both_engines_run_islands() -> None:
    graph = made("island", steps=4).graph
    x = inputs(5)
    expected = simulate(graph, x, 4, engine="numpy").readouts["y"]
    got = simulate(graph, x, 4).readouts["y"]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_synchronous_takes_no_lag() -> None:
    with pytest.raises(UsageError) as refused:
        converted(steps=T, recipe="synchronous", lag=3)
    assert refused.value.code == "E114"


def test_an_answer_costs_all_spikes_sent_before_it() -> None:
    """With lags the first layers are done when the first answer comes."""
    graph = converted(steps=T, lag=4).graph
    x = samples("x_test")[:20]
    result = simulate(graph, x, T)
    whole = simulate(graph, x, T, at=[T])
    np.testing.assert_allclose(result.spikes_per_neuron, whole.spikes_per_neuron)
    assert result.spikes_per_neuron[0] > 0.5 * result.spikes_per_neuron[-1]


def test_a_channel_with_one_value_is_read_exactly_behind_a_lag() -> None:
    """A constant of 1.0 was given a threshold of 2.0; paced spikes in every second step of T are
    read as (T + 2) / (T + 1). Pacing must not lose against plain neurons."""
    rng = np.random.default_rng(9)
    weight = (rng.normal(size=(8, 3, 3, 3)) * np.sqrt(2 / 27)).astype(np.float32)
    bias = (rng.normal(size=8) * 0.1).astype(np.float32)
    weight[2], bias[2] = 0, 1
    weight[5], bias[5] = 0, 3
    held = {"w": weight, "b": bias, "one": np.ones((8, 1, 1, 1), np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "one"], ["d"], group=8),
        helper.make_node("Relu", ["d"], ["s"]),
        helper.make_node("GlobalAveragePool", ["s"], ["y"]),
    ]
    made = helper.make_model(
        helper.make_graph(
            nodes,
            "constant",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(a, n) for n, a in held.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    x = rng.normal(size=(96, 3, 8, 8)).astype(np.float32)
    want = ort.InferenceSession(made.SerializeToString()).run(None, {"x": x[64:]})[0]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "constant.onnx"
        onnx.save(made, path)
        for steps, lag, tune in ((16, 8, True), (16, 8, False), (8, 4, False)):
            errors = []
            for pace in (True, False):
                options = Options(steps=steps, lag=lag, pace=pace, tune=tune)
                network = convert(import_onnx(path), x[:64], options).graph
                got = next(iter(simulate(network, x[64:], steps).readouts.values()))[-1]
                if pace:
                    np.testing.assert_allclose(got[:, 2], 1, rtol=1e-3)
                    np.testing.assert_allclose(got[:, 5], 3, rtol=1e-3)
                errors.append(np.linalg.norm(got.reshape(want.shape) - want))
            if tune:
                assert errors[0] < errors[1]
