"""Analog islands: what is in them, that they compute what ONNX computes, for any batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.helper import make_node
from places import FIXTURES

from converter.frontend.tools import imported, model, samples, saved, worst_difference
from onnx2snn import convert, save
from onnx2snn.converter.ann.evaluate import ann_outputs
from onnx2snn.converter.ann.graph import AnnGraph, Opaque
from onnx2snn.converter.frontend import Reference, load_onnx
from onnx2snn.converter.frontend.islands.units import Island, units
from onnx2snn.converter.frontend.node import OnnxNode
from onnx2snn.errors import ModelError, UnsupportedOps
from onnx2snn.runtime.engine import simulate

RNG = np.random.default_rng(4)
W = RNG.normal(size=(6, 6)).astype(np.float32)
Net = tuple[AnnGraph, Any]


def built(
    folder: Path, nodes: list[Any], shape: tuple[Any, ...] = ("N", 6), **more: Any
) -> tuple[AnnGraph, float]:
    """The imported graph, and its worst difference from ONNX Runtime."""
    constants = {"w": W, **more.pop("constants", {})}
    graph, loaded = imported(
        saved(model(nodes, {"x": shape}, constants=constants, **more), folder)
    )  # fmt: skip
    return graph, worst_difference(graph, loaded, samples(loaded))


def islands(graph: AnnGraph) -> list[tuple[str, ...]]:
    return [node.layer.ops for node in graph.nodes if isinstance(node.layer, Opaque)]


def scans(graph: AnnGraph) -> bool:
    models = [node.layer.model for node in graph.nodes if isinstance(node.layer, Opaque)]
    protos = [onnx.load_from_string(m) for m in models]
    return any(n.op_type == "Scan" for proto in protos for n in proto.graph.node)


def chain(*ops: str) -> list[Any]:
    names = ["x", *(f"t{i}" for i in range(len(ops) - 1)), "y"]
    return [
        make_node(op, [a, "w"] if op == "MatMul" else [a], [b])
        for op, a, b in zip(ops, names[:-1], names[1:], strict=True)
    ]


@pytest.mark.parametrize(
    "op", ["Sigmoid", "Tanh", "Softmax", "HardSwish", "Elu", "Exp", "Softplus", "Erf", "Mish"]
)
def test_a_function_without_a_spiking_form_is_one_island(tmp_path: Path, op: str) -> None:
    graph, difference = built(tmp_path, chain("MatMul", op, "MatMul"), opset=18)
    assert len(islands(graph)) == 1
    assert difference < 1e-5
    assert not scans(graph)


@pytest.mark.filterwarnings("error")  # of NumPy, of numbers that are none
@pytest.mark.parametrize("op", ["Log", "Reciprocal"])
def test_where_nothing_has_fired_yet_an_island_without_a_value_there_counts_nothing(
    tmp_path: Path, op: str
) -> None:
    """The means of its inputs begin at 0, where it is infinite; those of the network never are."""
    nodes = [
        make_node("Gemm", ["x", "w", "b"], ["a"]),
        make_node("Relu", ["a"], ["r"]),
        make_node(op, ["r"], ["l"]),
        make_node("MatMul", ["l", "w"], ["y"]),
    ]
    constants = {"w": W, "b": np.float32([1, 2, 4, 4, 8, 9])}
    loaded = load_onnx(saved(model(nodes, {"x": ("N", 6)}, constants=constants), tmp_path))
    x = RNG.uniform(-0.05, 0.05, (20, 6)).astype(np.float32)
    network = convert(loaded, x, steps=32)
    save(network, tmp_path / "net.snn.onnx")  # which compares ONNX Runtime's answers
    wanted = Reference(loaded).run(x)["y"]
    for coding in (network, convert(loaded, x, steps=32, recipe="differential")):
        (answers,) = simulate(coding, x, 32).readouts.values()
        assert np.abs(answers[-1] - wanted).max() < 0.05 * np.abs(wanted).max()


def test_connected_operations_are_one_island_and_separated_ones_are_two(tmp_path: Path) -> None:
    graph, difference = built(tmp_path, chain("Sigmoid", "Tanh", "MatMul", "Exp"))
    assert islands(graph) == [("Sigmoid", "Tanh"), ("Exp",)]
    assert difference < 1e-5


def test_light_operations_between_islands_join_them(tmp_path: Path) -> None:
    nodes = [
        make_node("Sigmoid", ["x"], ["a"]),
        make_node("Mul", ["a", "c"], ["b"]),
        make_node("Reshape", ["b", "s"], ["d"]),
        make_node("Softmax", ["d"], ["e"], axis=-1),
        make_node("Reshape", ["e", "t"], ["f"]),
        make_node("MatMul", ["f", "w"], ["y"]),
    ]
    constants = {
        "c": np.float32(3),
        "s": np.asarray([-1, 2, 3], np.int64),
        "t": np.asarray([-1, 6], np.int64),
    }
    graph, difference = built(tmp_path, nodes, constants=constants)
    assert islands(graph) == [("Sigmoid", "Mul", "Reshape", "Softmax")]
    assert difference < 1e-5
    assert not scans(graph)


def test_a_detour_through_a_synapse_keeps_islands_apart(tmp_path: Path) -> None:
    """a = sigmoid(x); y = a * (a W): joining both products would need a W before it exists."""
    nodes = [
        make_node("Sigmoid", ["x"], ["a"]),
        make_node("MatMul", ["a", "w"], ["b"]),
        make_node("Mul", ["a", "b"], ["y"]),
    ]
    graph, difference = built(tmp_path, nodes)
    assert islands(graph) == [("Sigmoid",), ("Mul",)]
    assert difference < 1e-5


def test_a_product_of_two_branches_runs_for_any_batch(tmp_path: Path) -> None:
    nodes = [
        make_node("MatMul", ["x", "w"], ["a"]),
        make_node("Transpose", ["x"], ["b"], perm=[0, 2, 1]),
        make_node("MatMul", ["a", "b"], ["y"]),
    ]
    graph, difference = built(tmp_path, nodes, ("N", 4, 6))
    assert islands(graph) == [("MatMul",)]
    assert difference < 1e-5
    assert not scans(graph)


def test_an_island_that_mixes_the_batch_axis_runs_one_sample_at_a_time(tmp_path: Path) -> None:
    """Softmax over axis 0 of an input without a batch axis, and of one turned around."""
    first = [make_node("Softmax", ["x"], ["a"], axis=0), make_node("MatMul", ["a", "w"], ["y"])]
    graph, difference = built(tmp_path, first, (6,))
    assert scans(graph) and difference < 1e-5
    turned = [
        make_node("Transpose", ["x"], ["a"], perm=[1, 0]),
        make_node("Softmax", ["a"], ["b"], axis=0),
        make_node("Mul", ["b", "b"], ["y"]),
    ]
    graph, difference = built(tmp_path, turned, (1, 6))
    assert scans(graph) and difference < 1e-5


def test_several_outputs_of_an_island_share_its_model(tmp_path: Path) -> None:
    nodes = [
        make_node("Sigmoid", ["x"], ["a"]),
        make_node("Exp", ["a"], ["b"]),
        make_node("MatMul", ["a", "w"], ["c"]),
        make_node("MatMul", ["b", "w"], ["d"]),
        make_node("Add", ["c", "d"], ["y"]),
    ]
    graph, difference = built(tmp_path, nodes)
    opaque = [n.layer for n in graph.nodes if isinstance(n.layer, Opaque)]
    assert [layer.output for layer in opaque] == ["a", "b"]
    assert opaque[0].model is opaque[1].model
    assert difference < 1e-5


def test_integer_inputs_reach_an_island_as_integers(tmp_path: Path) -> None:
    """An embedding: indices in, floats on; the input's running mean is off by rounding errors."""
    gather = make_node("Gather", ["w", "i"], ["e"])
    flat = make_node("Flatten", ["e"], ["y"])
    proto = model([gather, flat], {"i": ("N", 3)}, constants={"w": W})
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    graph, loaded = imported(saved(proto, tmp_path))
    indices = np.asarray([[0, 5, 2], [3, 3, 1]])
    found = ann_outputs(graph, {"i": indices + np.float32(1e-6)})[graph.outputs[0].node]
    np.testing.assert_array_equal(found, Reference(loaded).run(indices)["y"])
    np.testing.assert_array_equal(found, W[indices].reshape(2, -1))


def test_comparisons_and_where_are_inside_islands(tmp_path: Path) -> None:
    nodes = [
        make_node("Greater", ["x", "zero"], ["m"]),
        make_node("Where", ["m", "x", "w0"], ["y"]),
    ]
    constants = {"zero": np.float32(0), "w0": W[0]}
    graph, difference = built(tmp_path, nodes, constants=constants)
    assert islands(graph) == [("Greater", "Where")]
    assert difference == 0


REFUSED = {
    "RandomUniformLike": (make_node("RandomUniformLike", ["x"], ["a"]), "random"),
    "NonZero": (make_node("NonZero", ["x"], ["a"]), "depend on the data"),
    "training Dropout": (make_node("Dropout", ["x", "r", "t"], ["a"]), "training"),
}


@pytest.mark.parametrize("case", REFUSED, ids=lambda c: c.replace(" ", "_"))
def test_what_is_random_or_open_ended_is_refused(tmp_path: Path, case: str) -> None:
    made, why = REFUSED[case]
    constants = {"r": np.float32(0.5), "t": np.asarray(True)}
    with pytest.raises(ModelError, match=why):
        built(tmp_path, [made, make_node("Cast", ["a"], ["y"], to=1)], constants=constants)


def test_everything_unsupported_is_named_at_once_with_a_remedy(tmp_path: Path) -> None:
    body = helper.make_graph(
        [make_node("Relu", ["x"], ["o"])], "b", [],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)],
    )  # fmt: skip
    nodes = [
        make_node("ReduceSum", ["x"], ["s"], keepdims=0, name="sum"),
        make_node("Greater", ["s", "zero"], ["c"], name="cond"),
        make_node("If", ["c"], ["i"], then_branch=body, else_branch=body, name="branch"),
        make_node("RandomNormalLike", ["i"], ["y"], name="noise"),
    ]
    proto = model(nodes, {"x": ("N", 6)}, constants={"zero": np.float32(0)})
    with pytest.raises(UnsupportedOps) as caught:
        imported(load_onnx(saved(proto, tmp_path)))
    assert [(n, op) for n, op, _ in caught.value.findings] == [
        ("branch", "If"),
        ("noise", "RandomNormalLike"),
    ]
    assert "without branches" in str(caught.value)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[OnnxNode], set[str]]:
    """A random graph of up to 12 nodes, and which of them are analog."""
    nodes, tensors = [], ["x"]
    for index in range(draw(st.integers(1, 12))):
        inputs = draw(st.lists(st.sampled_from(tensors), min_size=1, max_size=2))
        nodes.append(
            OnnxNode(name=f"n{index}", op="?", inputs=tuple(inputs), outputs=(f"t{index}",))
        )
        tensors.append(f"t{index}")
    members = {n.name for n in nodes if draw(st.booleans())}
    return nodes, members


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs())
def test_islands_cover_the_analog_nodes_once_in_an_order_that_can_run(
    drawn: tuple[list[OnnxNode], set[str]],
) -> None:
    nodes, members = drawn
    tensors = {o for n in nodes for o in n.outputs} | {"x"}
    last = {nodes[-1].outputs[0]}
    plan = units(nodes, members, tensors, last)
    inside = [n.name for u in plan if isinstance(u, Island) for n in u.nodes]
    alone = [u.name for u in plan if not isinstance(u, Island)]
    assert sorted(inside) == sorted(members)
    assert sorted(inside + alone) == sorted(n.name for n in nodes)
    made = {"x"}
    for unit in plan:
        assert set(unit.inputs) <= made
        made |= set(unit.outputs)
    assert_maximal(nodes, plan)


def assert_maximal(nodes: list[OnnxNode], plan: list[OnnxNode | Island]) -> None:
    """Two islands joined by an edge have a path between them through something else."""
    owner = {
        t: i
        for i, u in enumerate(plan)
        for n in (u.nodes if isinstance(u, Island) else (u,))
        for t in n.outputs
    }
    after: dict[int, set[int]] = {i: set() for i in range(len(plan))}
    for i, unit in enumerate(plan):
        for tensor in unit.inputs:
            if tensor in owner:
                after[owner[tensor]].add(i)
    for i, j in [(source, target) for source in after for target in after[source]]:
        if isinstance(plan[i], Island) and isinstance(plan[j], Island):
            stack, seen = [k for k in after[i] if k != j], set()
            while stack:
                k = stack.pop()
                seen.add(k)
                stack += [m for m in after[k] if m not in seen]
            assert j in seen


@pytest.mark.parametrize("name", ["vit_block_ts", "mobilev3_sigmoid_dynamo"])
def test_a_network_with_islands_converges_to_the_ann(name: str) -> None:
    """Transformer block; hard-swish and squeeze-and-excite: exact in the mean at every step, so
    what is left is the rounding of the populations."""
    loaded = load_onnx(FIXTURES / f"{name}.onnx")
    x = RNG.uniform(size=(16, 3, 8, 8)).astype(np.float32)
    expected = Reference(loaded).run(x)["logits"]
    found = simulate(convert(loaded, x, steps=64), x, 64).readouts["logits"]
    error = [np.abs(found[t - 1] - expected).max() / np.ptp(expected) for t in (4, 64)]
    assert error[1] < 1e-3
    assert error[1] <= error[0] + 1e-6


NORM = {
    "Clip": [make_node("Clip", ["l", "tiny"], ["n"])],
    "Max": [make_node("Max", ["l", "tiny"], ["n"])],
    "Relu": [make_node("Relu", ["l"], ["r"]), make_node("Max", ["r", "tiny"], ["n"])],
    "pool": [make_node("Unsqueeze", ["l", "one"], ["u"]),
             make_node("MaxPool", ["u"], ["p"], kernel_shape=[1]),
             make_node("Squeeze", ["p", "one"], ["q"]),
             make_node("Clip", ["q", "tiny"], ["n"])],
}  # fmt: skip


@pytest.mark.parametrize("kind", NORM)
def test_what_keeps_a_norm_from_zero_lies_in_its_island(tmp_path: Path, kind: str) -> None:
    """F.normalize: as a population it would say 0 where nothing has fired yet, and x / 1e-12."""
    nodes = [
        make_node("MatMul", ["x", "w"], ["e"]),
        make_node("ReduceL2", ["e"], ["l"], axes=[1], keepdims=1),
        *NORM[kind],
        make_node("Div", ["e", "n"], ["d"]),
        make_node("MatMul", ["d", "w"], ["y"]),
    ]
    constants = {"tiny": np.float32(1e-12), "one": np.asarray([1])}
    graph, difference = built(tmp_path, nodes, constants=constants)
    assert difference < 1e-5
    assert islands(graph) == [("ReduceL2", *(n.op_type for n in NORM[kind]), "Div")]


def test_weights_between_islands_stay_synapses(tmp_path: Path) -> None:
    graph, _ = built(tmp_path, chain("Tanh", "MatMul", "Relu", "MatMul", "Tanh"))
    assert islands(graph) == [("Tanh",), ("Tanh",)]


def test_islands_are_tried_on_negative_numbers_too(tmp_path: Path) -> None:
    """A sum over the batch axis that is zero, and so right for any batch, on positive numbers."""
    nodes = [
        make_node("Tanh", ["x"], ["a"]),
        make_node("Min", ["a", "zero"], ["m"]),
        make_node("ReduceSum", ["m", "axes"], ["s"], keepdims=1),
        make_node("Mul", ["m", "s"], ["y"]),
    ]
    constants = {"zero": np.float32(0), "axes": np.asarray([0])}
    graph, difference = built(tmp_path, nodes, constants=constants)
    assert difference < 1e-5 and scans(graph)


ADDED = [
    make_node("Sub", ["one", "m"], ["free"]),
    make_node("Unsqueeze", ["free", "axis"], ["row"]),
    make_node("Mul", ["row", "lowest"], ["mask"]),
]
CHOSEN = [
    make_node("Cast", ["m"], ["b"], to=TensorProto.BOOL),
    make_node("Unsqueeze", ["b", "axis"], ["row"]),
    make_node("And", ["row", "row"], ["both"], "a name"),
    make_node("Where", ["both", "none", "lowest"], ["mask"], "another"),
]


@pytest.mark.parametrize(
    ("made", "lowest"),
    [(ADDED, -1e4), (ADDED, float(np.finfo(np.float32).min)), (CHOSEN, -3e38)],
)
def test_an_attention_mask_is_the_softmaxs_and_hides_no_scores(
    made: list[Any], lowest: float, tmp_path: Path
) -> None:
    """(1 - m) C of BERT's exports: C as a bias behind C m would leave nothing of the scores, and as
    a current that two attentions read it would overflow."""
    nodes = [
        make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        make_node("MatMul", ["x", "t"], ["s"]),
        *made,
        make_node("Add", ["s", "mask"], ["masked"]),
        make_node("Softmax", ["masked"], ["p"], axis=-1),
        make_node("MatMul", ["p", "x"], ["v"]),
        make_node("MatMul", ["v", "t"], ["s2"]),
        make_node("Add", ["s2", "mask"], ["masked2"]),
        make_node("Softmax", ["masked2"], ["p2"], axis=-1),
        make_node("MatMul", ["p2", "v"], ["y"]),
    ]
    held = {"one": np.float32(1), "lowest": np.float32(lowest), "axis": np.asarray([1])}
    held |= {"none": np.float32(0)}
    proto = model(nodes, {"x": ("N", 3, 4), "m": ("N", 3)}, constants=held)
    graph, loaded = imported(saved(proto, tmp_path))
    made_of = ("And", "Where") if made is CHOSEN else ("Mul",)
    assert [i[-len(made_of) - 2 :] for i in islands(graph) if "Add" in i] == 2 * [
        (*made_of, "Add", "Softmax")
    ]
    given = samples(loaded, 3)
    given["m"] = np.asarray([[1, 1, 0], [1, 1, 1], [1, 0, 0]], np.float32)
    assert worst_difference(graph, loaded, given) < 1e-6
    found = convert(loaded, given, recipe="graded", steps=8, islands="spikes")
    (done,) = simulate(found, given, 8).readouts.values()
    wanted = Reference(loaded).run(given)["y"]
    assert np.abs(done[-1] - wanted).max() < 0.2 * np.abs(wanted).max()


def test_an_output_that_is_an_input_is_left_out_where_there_are_others(tmp_path: Path) -> None:
    nodes = [make_node("Identity", ["x"], ["same"]), make_node("Relu", ["x"], ["y"])]
    for outputs, wanted in ((["same", "y"], ["y"]), (["same"], ["same"])):
        made = model(nodes, {"x": ("N", 3)})
        del made.graph.output[:]
        made.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
        graph, _ = imported(saved(made, tmp_path))
        assert [output.name for output in graph.outputs] == wanted
