"""Neurons in front of every product: the same values, and spikes into all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx2snn.cli.options import refuse_islands
from onnx2snn.converter.ann.evaluate import ann_outputs
from onnx2snn.converter.ann.graph import AnnGraph, AnnNode, AnnOutput, Input, Opaque, Product, Relu
from onnx2snn.converter.ann.passes import spiking_products
from onnx2snn.converter.convert import convert
from onnx2snn.converter.frontend.importing import import_onnx
from onnx2snn.converter.frontend.ops.linear import product_model
from onnx2snn.converter.recipes.options import Options
from onnx2snn.errors import UnsupportedOps
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime.cost import layer_costs
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.facts import GraphFacts
from onnx2snn.runtime.neurons import NeuronParams
from onnx2snn.runtime.ops.linear import Linear

RNG = np.random.default_rng(8)
TOKENS, WIDTH, HEADS = 5, 8, 2


def drawn(*shape: int) -> np.ndarray:
    return (RNG.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32)


@pytest.fixture(scope="module")
def attention(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One attention layer with its residual sum, a norm behind it, and a linear output."""
    weights = {name: drawn(WIDTH, WIDTH) for name in ("wq", "wk", "wv", "wo", "wy")}
    split = np.asarray((0, TOKENS, HEADS, WIDTH // HEADS), np.int64)
    constants = weights | {
        "split": split,
        "joined": np.asarray((0, TOKENS, WIDTH), np.int64),
        "gain": np.ones(WIDTH, np.float32),
        "scale": np.asarray(0.5, np.float32),
    }
    nodes = []
    for name, perm in (("q", (0, 2, 1, 3)), ("k", (0, 2, 3, 1)), ("v", (0, 2, 1, 3))):
        nodes += [
            helper.make_node("MatMul", ["x", f"w{name}"], [f"{name}0"]),
            helper.make_node("Reshape", [f"{name}0", "split"], [f"{name}1"]),
            helper.make_node("Transpose", [f"{name}1"], [name], perm=perm),
        ]
    nodes += [
        helper.make_node("MatMul", ["q", "k"], ["scores"]),
        helper.make_node("Mul", ["scores", "scale"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "v"], ["heads"]),
        helper.make_node("Transpose", ["heads"], ["back"], perm=(0, 2, 1, 3)),
        helper.make_node("Reshape", ["back", "joined"], ["flat"]),
        helper.make_node("MatMul", ["flat", "wo"], ["o"]),
        helper.make_node("Add", ["x", "o"], ["r"]),
        helper.make_node("LayerNormalization", ["r", "gain"], ["n"], axis=-1),
        helper.make_node("MatMul", ["n", "wy"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "attention",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", TOKENS, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", TOKENS, WIDTH])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    path = tmp_path_factory.mktemp("attention") / "attention.onnx"
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def test_products_of_two_signals_stand_alone(attention: Path) -> None:
    layers = [node.layer for node in import_onnx(attention).nodes]
    assert sum(isinstance(layer, Product) for layer in layers) == 2
    inside = [layer.ops for layer in layers if isinstance(layer, Opaque)]
    assert ("MatMul",) in inside
    assert sum("MatMul" in ops for ops in inside) == 2  # and in no island


def test_the_values_stay_and_spikes_drive_every_product(attention: Path) -> None:
    ann = import_onnx(attention)
    paired = spiking_products(ann)
    x = RNG.normal(size=(3, TOKENS, WIDTH)).astype(np.float32)
    before, after = (ann_outputs(graph, {"x": x}) for graph in (ann, paired))
    (output,) = ann.outputs
    np.testing.assert_allclose(after[output.node], before[output.node], rtol=1e-5, atol=1e-6)
    pairs = [node.name for node in paired.nodes if isinstance(node.layer, Relu)]
    # q, k and v, what the second product gives, and the norm: of either sign; probabilities are not
    assert len(pairs) == 2 * 5 + 1
    halves = [name for name in pairs if name.startswith("p")]
    assert [name.rpartition("/")[2] for name in halves] == ["positive"]
    made = convert(
        ann,
        {"x": RNG.normal(size=(32, TOKENS, WIDTH)).astype(np.float32)},
        Options(recipe="graded", steps=8, islands="spikes"),
    ).graph
    costs = layer_costs(GraphFacts(made))
    drives = {name: cost.drive for name, cost in costs.items()}
    assert list(drives.values()).count("input") == 3  # of the sample's own values
    assert set(drives.values()) == {"input", "spikes"}
    assert len(drives) == 7
    with pytest.raises(UnsupportedOps) as refused:
        refuse_islands(made)
    assert [op for _, op, _ in refused.value.findings] == ["Mul+Softmax", "LayerNormalization"]
    found = simulate(made, x, 8)
    want = before[output.node]
    (answer,) = found.readouts.values()
    assert np.abs(answer[-1] - want).mean() < 0.03 * np.abs(want).mean()
    assert found.macs_per_step == 2 * HEADS * TOKENS**2 + TOKENS * WIDTH  # scale, Softmax, norm


@pytest.mark.parametrize("islands", ["currents", "spikes"])
def test_differential_neurons_add_to_the_samples_own_values(attention: Path, islands: str) -> None:
    """The residual sum reads both, which are decoded otherwise."""
    ann = import_onnx(attention)
    x = RNG.normal(size=(3, TOKENS, WIDTH)).astype(np.float32)
    (output,) = ann.outputs
    want = ann_outputs(ann, {"x": x})[output.node]
    calibration = {"x": RNG.normal(size=(32, TOKENS, WIDTH)).astype(np.float32)}
    errors = []
    for steps in (8, 32):
        options = Options(recipe="differential", steps=steps, islands=islands)  # type: ignore[arg-type]
        made = convert(ann, calibration, options).graph
        found = [simulate(made, x, steps, engine=engine).readouts for engine in ("fast", "numpy")]
        (fast,), (plain,) = (readouts.values() for readouts in found)
        np.testing.assert_array_equal(fast, plain)
        errors.append(np.abs(fast[-1] - want).mean() / np.abs(want).mean())
    assert errors[0] < 0.03
    assert errors[1] < max(errors[0] / 2, 1e-5)


def test_a_layer_without_an_activation_gets_neurons_and_what_spikes_is_left_alone() -> None:
    def linear(name: str, source: str) -> AnnNode:
        return AnnNode(name=name, layer=Linear(weight=drawn(4, 4)), inputs=(source,), shape=(4,))

    nodes = (
        AnnNode(name="x", layer=Input(), shape=(4,), tensor="x"),
        linear("a", "x"),
        linear("b", "a"),  # of the sample's own values, once
        AnnNode(name="r", layer=Relu(), inputs=("b",), shape=(4,)),
        linear("c", "r"),
        linear("d", "c"),
    )
    graph = AnnGraph(nodes=nodes, outputs=(AnnOutput(name="d", node="d", tensor="d"),))
    paired = spiking_products(graph)
    made = [node.name for node in paired.nodes if node.name not in {n.name for n in nodes}]
    assert {name.partition("/")[0] for name in made} == {"c"}
    x = drawn(6, 4)
    before, after = (ann_outputs(g, {"x": x})["d"] for g in (graph, paired))
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)


def test_a_product_is_that_of_running_sums_and_costs_an_accumulate_per_spike_and_partner() -> None:
    """Against a loop over single spikes: what each adds, and how many numbers it touches."""
    first, second, steps = (2, 3, 4), (2, 4, 5), 6
    unit = NeuronParams(v_threshold=np.float32(1), v_init=np.float32(0))
    graph = snn.SpikingGraph(
        nodes=(
            snn.Input(name="x", shape=first),
            snn.Input(name="z", shape=second),
            snn.Population(name="a", shape=first, inputs=("x",), neuron=unit),
            snn.Population(name="b", shape=second, inputs=("z",), neuron=unit),
            snn.Product(
                name="p",
                shape=(2, 3, 5),
                inputs=("a", "b"),
                model=product_model(first, second=second),
                output="product",
                ops=("MatMul",),
            ),
            snn.Readout(name="y", shape=(2, 3, 5), inputs=("p",)),
        )
    )
    given = {"x": RNG.random((1, *first), np.float32), "z": RNG.random((1, *second), np.float32)}
    a, b = (np.floor(np.arange(1, steps + 1) * given[n][0][..., None]).astype(int) for n in "xz")
    total, sums, touched = np.zeros((2, 3, 5)), (np.zeros(first), np.zeros(second)), 0
    answers = []
    for t in range(steps):
        for h, i, k in zip(*np.nonzero(np.diff(a, axis=-1, prepend=0)[..., t]), strict=True):
            total[h, i] += sums[1][h, k]  # a row of what came before of the other
            sums[0][h, i, k] += 1
            touched += 5
        for h, k, j in zip(*np.nonzero(np.diff(b, axis=-1, prepend=0)[..., t]), strict=True):
            total[h, :, j] += sums[0][h, :, k]  # a column, of this step's too
            sums[1][h, k, j] += 1
            touched += 3
        answers.append(total / (t + 1) ** 2)
    for engine in ("fast", "numpy"):
        found = simulate(graph, given, steps, engine=engine)
        np.testing.assert_allclose(found.readouts["y"][:, 0], answers, rtol=1e-6)
        assert found.synops.sum() == touched
        assert found.macs_per_step == 0
