"""The exported PyTorch module: what stands in it, and, where PyTorch is installed, that it does the
same spike for spike."""

from __future__ import annotations

import ast
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import residual_cnn, with_input
from hypothesis import given, settings
from hypothesis import strategies as st
from runtime.engine.test_against_naive import assert_same as assert_same_run
from runtime.random_graphs import graphs, samples, windowed

import onnx2snn
from exchange.nets import STEPS, converted, digits
from onnx2snn.converter.recipes import RECIPES
from onnx2snn.errors import DataError, GraphError, UsageError
from onnx2snn.exchange.counts import count
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime import ops
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.engine.torch import module_of
from onnx2snn.runtime.neurons import FewSpikeParams, TtfsParams
from onnx2snn.runtime.ops import ALL_OPS
from onnx2snn.runtime.ops.linear import CumSum


def assert_same(network: snn.SpikingGraph, inputs: dict[str, np.ndarray], steps: int) -> None:
    torch = pytest.importorskip("torch")
    made = module_of(network, steps=STEPS)
    found: dict[str, np.ndarray] = {}

    def listen(name: str) -> Any:
        def add(layer: object, given: object, spikes: Any) -> None:
            found[name] = found.get(name, 0) + spikes.double().numpy()

        return add

    with torch.no_grad():
        for p in network.of(snn.Population):
            getattr(made, made.names[p.name]).register_forward_hook(listen(p.name))
        given = [torch.from_numpy(inputs[n.name]) for n in network.of(snn.Input)]
        answers = made(*given, steps)
    answers = answers if isinstance(answers, tuple) else (answers,)
    wanted = count(network, inputs, steps)
    for name, spikes in wanted.spikes.items():
        np.testing.assert_array_equal(found[name], spikes, err_msg=name)
    run = simulate(network, inputs, steps, engine="numpy")
    for name, values in zip(run.readouts, answers, strict=True):
        np.testing.assert_array_equal(values.float().numpy(), run.readouts[name], err_msg=name)


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_random_networks_do_the_same_in_pytorch(data: st.DataObject) -> None:
    pytest.importorskip("torch")
    network = data.draw(graphs())
    if data.draw(st.booleans()):
        network = with_input(network, data.draw(st.sampled_from(["rate", "poisson"])))
    x = data.draw(samples(network.nodes[0].shape))
    assert_same(network, {network.nodes[0].name: np.abs(x) / 8}, data.draw(st.integers(1, 5)))


@given(st.data())
@settings(max_examples=10, deadline=None)
def test_random_windowed_networks_do_the_same_in_pytorch(data: st.DataObject) -> None:
    pytest.importorskip("torch")
    model = data.draw(st.sampled_from([FewSpikeParams, TtfsParams]))
    network = windowed(data.draw(graphs(lags=False)), model, STEPS)
    x = data.draw(samples(network.nodes[0].shape))
    assert_same(network, {network.nodes[0].name: x}, STEPS)


@pytest.mark.parametrize("recipe", [*RECIPES])
def test_every_recipe_does_the_same_in_pytorch(recipe: str) -> None:
    pytest.importorskip("torch")
    network, inputs = converted(recipe), digits().section(0, 3).whole()
    assert_same(network, inputs, STEPS)
    run, defined = (simulate(network, inputs, STEPS, engine=e) for e in ("torch", "numpy"))
    assert_same_run(run, defined)
    assert run.synops_of == defined.synops_of


rng = np.random.default_rng(0)
WEIGHTS = {n: rng.integers(-4, 5, n).astype(np.float32) for n in [(4, 3, 3, 2), (6, 2, 3), (2, 5)]}
CASES: dict[str, tuple[ops.LinearOp, tuple[tuple[int, ...], ...]]] = {
    "Conv": (
        ops.Conv(
            weight=WEIGHTS[4, 3, 3, 2], strides=(2, 1), dilations=(1, 2), pads=(0, 1, 2, 1),
            groups=2,
        ),
        ((6, 7, 5),),
    ),
    "Conv 1d": (
        ops.Conv(weight=WEIGHTS[6, 2, 3], strides=(2,), dilations=(1,), pads=(1, 1)),
        ((2, 9),),
    ),
    "ConvTranspose": (
        ops.ConvTranspose(
            weight=WEIGHTS[4, 3, 3, 2], strides=(2, 3), dilations=(1, 1), pads=(1, 0, 0, 1),
            output_padding=(1, 4), groups=2,
        ),
        ((4, 3, 4),),
    ),
    "Linear": (ops.Linear(weight=WEIGHTS[2, 5].astype(np.float64)), ((3, 5),)),
    "Scale": (ops.Scale(scale=np.full((2, 1, 3), 0.5, np.float32)), ((4, 1),)),
    "Add": (ops.Add(), ((3, 1, 2), (4, 1))),
    "ReduceSum": (ops.ReduceSum(axes=(0, 2), keepdims=False), ((2, 3, 4),)),
    "CumSum": (CumSum(axis=1, exclusive=True, reverse=True), ((2, 3, 2),)),
    "Concat": (ops.Concat(axis=1), ((2, 3), (2, 1))),
    "Pad": (ops.Pad(pads=(1, 0, 2, 3)), ((2, 3),)),
    "Slice": (ops.Slice(starts=(4, 0, 1), stops=(-1, 3, 3), steps=(-2, 2, 1)), ((5, 3, 4),)),
    "Take": (ops.Take(axis=1, indices=np.array([2, 0, 2])), ((2, 3),)),
    "Reshape": (ops.Reshape(shape=(3, 4)), ((2, 6),)),
    "Transpose": (ops.Transpose(perm=(2, 0, 1)), ((2, 3, 4),)),
    "Broadcast": (ops.Broadcast(shape=(2, 3, 4)), ((3, 1),)),
    "SumPool": (
        ops.SumPool(kernel=(2, 3), strides=(2, 1), dilations=(2, 1), pads=(1, 0, 0, 2)),
        ((2, 5, 4),),
    ),
}  # fmt: skip


def test_every_operation_has_a_case() -> None:
    assert {name.split()[0] for name in CASES} == {op.__name__ for op in ALL_OPS} - {"MaxPool"}


@pytest.mark.parametrize("encoding", ["rate", "constant"])
@pytest.mark.parametrize("name", CASES)
def test_every_operation_does_the_same_in_pytorch(name: str, encoding: Any) -> None:
    op, shapes = CASES[name]
    inputs = [
        snn.Input(name=f"x{i}", shape=shape, encoding=encoding) for i, shape in enumerate(shapes)
    ]
    out = op.output_shape(*shapes)
    synapse = snn.Synapse(name="forward", inputs=tuple(n.name for n in inputs), shape=out, op=op)
    readout = snn.Readout(name="step", inputs=("forward",), shape=out)
    network = snn.SpikingGraph(nodes=(*inputs, synapse, readout))
    x = {n.name: rng.integers(-4, 5, (2, *n.shape)).astype(np.float32) / 4 for n in inputs}
    assert_same(network, x, 3)


def test_it_can_be_trained() -> None:
    torch = pytest.importorskip("torch")
    network = residual_cnn(np.random.default_rng(1))
    made = module_of(network, steps=STEPS)
    made(torch.rand(2, 2, 8, 8), 3)[-1].sum().backward()
    gradients = {name: p.grad for name, p in made.named_parameters()}
    assert all(g is not None and g.abs().sum() > 0 for g in gradients.values()), gradients


def test_it_needs_nothing_but_pytorch_and_numpy_and_holds_only_what_it_uses(tmp_path: Path) -> None:
    done = onnx2snn.export(converted("binary"), tmp_path / "net.py", to="torch")
    assert [path.name for path in done.files] == ["net.py", "net.npz"]
    tree = ast.parse((tmp_path / "net.py").read_text())
    names = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert names - set(sys.stdlib_module_names) == {"numpy", "torch"}
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    assert "Differential" not in classes and classes[-1] == "Network"
    again = onnx2snn.export(converted("binary"), tmp_path / "net.py", to="torch")  # ours: replaced
    assert again.files == done.files


def test_no_name_or_text_of_a_file_becomes_code(tmp_path: Path) -> None:
    evil = 'x"""\nraise SystemExit(7)\n"""'
    network = residual_cnn(np.random.default_rng(1))
    renamed = [
        replace(n, name=f"{n.name}{evil}", inputs=tuple(f"{i}{evil}" for i in n.inputs))
        for n in network.nodes
    ]
    network = snn.SpikingGraph(nodes=tuple(renamed), meta={"recipe": evil, "T": 2})
    onnx2snn.export(network, tmp_path / "net.py", to="torch")
    tree = ast.parse((tmp_path / "net.py").read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    assert "SystemExit(" not in (tmp_path / "net.py").read_text()


def test_what_it_cannot_say_is_refused_by_name_and_nothing_is_written(tmp_path: Path) -> None:
    network = residual_cnn(np.random.default_rng(1))
    with pytest.raises(UsageError, match=r"NAME\.py"):
        onnx2snn.export(network, tmp_path / "net.txt", to="torch")
    (tmp_path / "net.npz").write_bytes(b"a user's")
    with pytest.raises(DataError, match="exists"):
        onnx2snn.export(network, tmp_path / "net.py", to="torch")
    island = snn.Analog(name="soft", inputs=("fc",), shape=(3,), model=b"", output="y")
    readout = replace(network["out"], inputs=("soft",))
    analog = snn.SpikingGraph(nodes=(*network.nodes[:-1], island, readout))
    with pytest.raises(GraphError, match="'soft'") as error:
        onnx2snn.export(analog, tmp_path / "other.py", to="torch")
    assert error.value.code == "E430"
    leaky = residual_cnn(np.random.default_rng(1), leak=0.1)
    with pytest.raises(GraphError, match="approximate"):
        onnx2snn.export(leaky, tmp_path / "other.py", to="torch")
    assert [path.name for path in tmp_path.iterdir()] == ["net.npz"]
    done = onnx2snn.export(leaky, tmp_path / "other.py", to="torch", approximate=True)
    assert len(done.notes) == 1
