"""Conversion without data: Gaussian moments, and what BatchNorm says about the training data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from converter.digits_nets import ann, answers, logit_error, lowered, samples
from onnx2snn.converter.ann.graph import AnnGraph
from onnx2snn.converter.ann.passes import default_passes, run_passes
from onnx2snn.converter.convert import convert
from onnx2snn.converter.frontend import Reference, import_onnx, load_onnx
from onnx2snn.converter.lowering.lower import lower
from onnx2snn.converter.recipes.options import Options
from onnx2snn.converter.statistics.datafree import (
    LOGISTIC,
    NORMAL,
    _squared,
    assumed_statistics,
    assumption,
    rectified,
    trained_moments,
)
from onnx2snn.converter.statistics.measure import LayerStats, calibrate
from onnx2snn.converter.statistics.thresholds import thresholds
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime import ops
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.neurons import NeuronParams
from onnx2snn.runtime.semantics.analog import run_analog

EPSILON = 1e-5
NORMALIZED = ("first", "second", "before")


@settings(max_examples=20, deadline=None)
@given(mean=st.floats(-3, 3), deviation=st.floats(0.1, 3))
def test_moments_of_a_rectified_gaussian_are_those_of_draws(mean: float, deviation: float) -> None:
    draws = np.maximum(np.random.default_rng(0).normal(mean, deviation, 200_000), 0)
    first, second = rectified(np.array([mean]), variance=np.array([deviation**2]))
    assert first[0] == pytest.approx(draws.mean(), abs=0.02 * deviation)
    assert second[0] == pytest.approx(draws.var(), abs=0.05 * deviation**2)


def test_assumed_statistics_are_those_of_normal_inputs_in_the_first_layer() -> None:
    graph = lowered("digits_mlp")
    stats = assumed_statistics(graph)
    first = graph.of(snn.Population)[0]
    x = np.random.default_rng(0).standard_normal((4000, *samples().shape[1:])).astype(np.float32)
    linear = next(n for n in graph.of(snn.Synapse) if hasattr(n.op, "weight"))
    z = x.reshape(4000, -1) @ linear.op.weight.T + first.bias  # type: ignore[union-attr]
    np.testing.assert_allclose(
        stats[first.name].mean, np.maximum(z, 0).mean(axis=0), atol=0.05 * z.std()
    )


def test_conversion_without_data_works_at_many_steps_and_says_what_it_assumed() -> None:
    network = convert(ann(), None, Options(steps=48)).graph
    note = assumption(ann())
    assert note in network.meta["notes"]
    assert "no BatchNormalization" in note
    assert "standard normal inputs" in note
    result = simulate(network, samples("x_test"), 48, at=[48])
    got = next(iter(result.readouts.values()))[-1].argmax(axis=-1)
    assert (got == answers("digits_cnn").argmax(axis=-1)).mean() > 0.9
    assert logit_error(steps=48, tune=False) < logit_error_of(result)


def logit_error_of(result: object) -> float:
    got = next(iter(result.readouts.values()))[-1]  # type: ignore[attr-defined]
    wanted = answers("digits_cnn")
    return float(((got - wanted) ** 2).mean() / wanted.var())


def inputs() -> np.ndarray:
    """Data that is nothing like standard normal: positive, small spread, alike over space."""
    rng = np.random.default_rng(3)
    base = rng.normal(4, 0.3, (256, 3, 1, 1)) + rng.normal(0, 0.1, (256, 3, 8, 8))
    return base.astype(np.float32)


def batchnorm_model(path: Path, *, training: bool = False) -> Path:
    """Two convolutions with BatchNorm and a skip connection, and a BatchNorm before a convolution.

    The running statistics are those of ``inputs()``, as training would have left them.
    """
    rng = np.random.default_rng(5)
    held: dict[str, np.ndarray] = {
        "w1": rng.normal(0, 0.3, (6, 3, 3, 3)),
        "b1": rng.normal(0, 1, 6),
        "w2": rng.normal(0, 0.2, (6, 6, 3, 3)),
        "w3": rng.normal(0, 0.2, (4, 6, 3, 3)),
        "wf": rng.normal(0, 0.3, (5, 4)),
    }
    for name in NORMALIZED:
        held[f"{name}_gamma"] = rng.uniform(-2, 2, 6)
        held[f"{name}_beta"] = rng.normal(0, 1, 6)
        held[f"{name}_mean"], held[f"{name}_var"] = np.zeros(6), np.ones(6)
    sources = {"first": "c1", "second": "c2", "before": "r2"}
    for name in NORMALIZED:  # earlier ones must be in place before the next is measured
        _write(path, held, training=False, extra=sources[name])
        values = Reference(load_onnx(path)).run({"x": inputs()}, [sources[name]])[sources[name]]
        held[f"{name}_mean"] = values.mean(axis=(0, 2, 3))
        held[f"{name}_var"] = values.var(axis=(0, 2, 3)) - EPSILON
    _write(path, held, training=training)
    return path


def _write(path: Path, held: dict[str, np.ndarray], *, training: bool, extra: str = "") -> None:
    conv = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], **conv),
        _norm("first", "c1", "n1", training=training),
        helper.make_node("Relu", ["n1"], ["r1"], name="relu1"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], **conv),
        _norm("second", "c2", "n2", training=training),
        helper.make_node("Add", ["n2", "r1"], ["s"]),
        helper.make_node("Relu", ["s"], ["r2"], name="relu2"),
        _norm("before", "r2", "n3", training=training),
        helper.make_node("Relu", ["n3"], ["r3"], name="relu3"),
        helper.make_node("Conv", ["r3", "w3"], ["c3"], **conv),
        helper.make_node("GlobalAveragePool", ["c3"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "wf"], ["out"], transB=1),
    ]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 5])]
    if extra:
        outputs.append(helper.make_tensor_value_info(extra, TensorProto.FLOAT, None))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        outputs,
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in held.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


def _norm(name: str, source: str, output: str, *, training: bool) -> onnx.NodeProto:
    held = [f"{name}_{part}" for part in ("gamma", "beta", "mean", "var")]
    more = [f"{name}_m", f"{name}_v"] if training else []
    return helper.make_node(
        "BatchNormalization",
        [source, *held],
        [output, *more],
        epsilon=EPSILON,
        training_mode=int(training),
    )


@pytest.fixture(scope="module")
def normalized(tmp_path_factory: pytest.TempPathFactory) -> AnnGraph:
    path = batchnorm_model(tmp_path_factory.mktemp("bn") / "net.onnx")
    return run_passes(import_onnx(path), default_passes())


def test_every_batchnorm_leaves_its_moments_beside_what_it_was_folded_into(
    normalized: AnnGraph,
) -> None:
    known = [n for n in normalized.nodes if n.moments is not None]
    assert [n.tensor for n in known] == ["n1", "n2", "n3"]
    x = {"x": inputs()}
    model = load_onnx(normalized.meta["source"])
    values = Reference(model).run(x, [n.tensor for n in known])
    for node in known:
        z = values[node.tensor]
        assert node.moments is not None
        np.testing.assert_allclose(node.moments.mean, z.mean(axis=(0, 2, 3)), atol=1e-3)
        np.testing.assert_allclose(node.moments.deviation, z.std(axis=(0, 2, 3)), atol=1e-3)


def test_known_moments_are_those_of_the_lowered_nodes_without_their_biases(
    normalized: AnnGraph,
) -> None:
    graph, known = lower(normalized), trained_moments(normalized)
    assert len(known) == 3
    stats = assumed_statistics(graph, known)
    for population, tensor in (("relu1", "n1"), ("relu3", "n3")):
        node = next(n for n in normalized.nodes if n.tensor == tensor)
        assert node.moments is not None
        mean, _ = rectified(node.moments.mean, variance=node.moments.deviation**2)
        np.testing.assert_allclose(stats[population].mean, mean, rtol=1e-3, atol=1e-3)


def test_what_batchnorm_tells_is_taken_to_be_logistic_and_the_rest_normal(
    normalized: AnnGraph,
) -> None:
    graph, rng = lower(normalized), np.random.default_rng(0)
    known = assumed_statistics(graph, trained_moments(normalized))["relu1"]
    node = next(n for n in normalized.nodes if n.tensor == "n1")
    assert node.moments is not None
    unit = rng.logistic(size=(200_000, 1)) * np.sqrt(3) / np.pi
    assert_tail(known, node.moments.mean + node.moments.deviation * unit)
    one = replace_moments(normalized)
    plain = lower(one)
    x = rng.standard_normal((3000, *plain.of(snn.Input)[0].shape)).astype(np.float32)
    seen: list[np.ndarray] = []
    run_analog(
        plain, x, observe=lambda n, pre, out: seen.append(pre) if n.name == "relu1" else None
    )
    # Away from the border, where every position has the same variance.
    inner = np.moveaxis(seen[0][:, :, 1:-1, 1:-1], 1, 0).reshape(6, -1).T
    assert_tail(assumed_statistics(plain)["relu1"], inner, rel=0.08)


@pytest.mark.parametrize(
    ("op", "shape", "stays"),
    [
        (ops.Reshape(shape=(12,)), (12,), True),
        (ops.Scale(scale=np.float32(2)), (3, 4), True),
        (ops.Linear(weight=np.eye(4, dtype=np.float32)), (3, 4), False),
    ],
)
def test_what_takes_single_elements_leaves_values_spread_as_batchnorm_tells(
    op: ops.LinearOp, shape: tuple[int, ...], stays: bool
) -> None:
    theta = np.ones((), np.float32)
    neuron = NeuronParams(v_threshold=theta, v_init=theta / 2)
    bias = np.zeros((), np.float32)
    nodes = (
        snn.Input(name="x", inputs=(), shape=(3, 4)),
        snn.Synapse(name="y", inputs=("x",), shape=shape, op=op),
        snn.Population(name="p", inputs=("y",), shape=shape, bias=bias, neuron=neuron),
        snn.Readout(name="out", inputs=("p",), shape=shape, bias=bias, mode="membrane"),
    )
    mean, variance = np.zeros((3, 4), np.float32), np.ones((3, 4), np.float32)
    graph = snn.SpikingGraph(nodes=nodes)
    reach = assumed_statistics(graph, {"x": (mean, variance)})["p"].maximum.max()
    scale = np.sqrt(_squared(op).apply(variance[np.newaxis]).max())
    assert reach == pytest.approx(scale * (LOGISTIC if stays else NORMAL).reach, rel=1e-5)


def replace_moments(graph: AnnGraph) -> AnnGraph:
    return replace(graph, nodes=tuple(replace(n, moments=None) for n in graph.nodes))


def assert_tail(stats: LayerStats, draws: np.ndarray, rel: float = 0.04) -> None:
    """The 99.5 % point of the positive part, channel by channel, against drawn values."""
    got = thresholds({"x": stats}, method="percentile", percentile=99.5)["x"]
    for value, column in zip(got, draws.T, strict=True):
        positive = column[column > 0]
        if len(positive) > len(column) / 10:
            assert value == pytest.approx(np.quantile(positive, 0.995), rel=rel)


def test_with_batchnorm_the_assumed_statistics_are_near_those_of_data(
    normalized: AnnGraph,
) -> None:
    graph = lower(normalized)
    measured = calibrate(graph, inputs())
    with_it = assumed_statistics(graph, trained_moments(normalized))
    without = assumed_statistics(graph)

    def off(stats: dict[str, object], name: str) -> float:
        wanted = measured[name].mean
        return float(np.abs(stats[name].mean - wanted).mean() / wanted.mean())  # type: ignore[attr-defined]

    for name in ("relu1", "relu2", "relu3"):
        assert off(with_it, name) < 0.3  # type: ignore[arg-type]
        assert off(without, name) > 2 * off(with_it, name)  # type: ignore[arg-type]


def test_the_note_says_how_many_values_batchnorm_told(normalized: AnnGraph) -> None:
    network = convert(normalized, None, Options(steps=8)).graph
    assert any("3 values that a BatchNormalization gives" in n for n in network.meta["notes"])


def test_a_batchnorm_in_training_mode_tells_nothing(tmp_path: Path) -> None:
    from onnx2snn.converter.frontend.ops.batchnorm import batch_moments

    batchnorm_model(tmp_path / "net.onnx", training=True)
    assert batch_moments(onnx.load(tmp_path / "net.onnx"), {}) == {}
