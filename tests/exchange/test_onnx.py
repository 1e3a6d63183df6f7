"""The converted file in runtimes other than ONNX Runtime, with and without local functions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from click.testing import CliRunner
from onnx.reference import ReferenceEvaluator
from places import ROOT

import onnx2snn
from exchange.nets import STEPS, converted, digits
from onnx2snn.cli import main
from onnx2snn.converter.recipes import RECIPES
from onnx2snn.runtime import graph as snn


def feed(count: int = 2) -> dict[str, np.ndarray]:
    return {**digits().section(0, count).whole(), "steps": np.array([STEPS], np.int64)}


def shapeless(model: onnx.ModelProto) -> list[str]:
    graph = model.graph
    known = {
        info.name
        for info in (*graph.value_info, *graph.input, *graph.output)
        if info.type.tensor_type.HasField("shape")
    }
    return [name for node in graph.node for name in node.output if name and name not in known]


@pytest.mark.parametrize("inline", [False, True], ids=["functions", "inline"])
@pytest.mark.parametrize("recipe", [*RECIPES])
def test_every_recipe_runs_in_onnxs_own_evaluator_and_every_value_has_its_shape(
    recipe: str, inline: bool, tmp_path: Path
) -> None:
    network = converted(recipe)
    onnx2snn.export(network, tmp_path / "net.onnx", to="onnx", inline=inline)
    model = onnx.load(tmp_path / "net.onnx")
    assert (not model.functions) == inline
    assert shapeless(model) == []
    if inline:
        assert {node.domain for node in model.graph.node} == {""}
        assert [entry.domain for entry in model.opset_import] == [""]
    inputs = feed()
    (stock,) = ort.InferenceSession(model.SerializeToString()).run(None, inputs)
    (found,) = ReferenceEvaluator(model).run(None, inputs)
    np.testing.assert_array_equal(found, stock)
    again = onnx2snn.load(tmp_path / "net.onnx")
    assert [node.name for node in again.nodes] == [node.name for node in network.nodes]


WEB = os.environ.get("ONNX2SNN_WEB", "")  # a folder node_modules with onnxruntime-web in it


@pytest.mark.skipif(not (WEB and shutil.which("node")), reason="needs node and ONNX2SNN_WEB")
@pytest.mark.parametrize("inline", [False, True], ids=["functions", "inline"])
@pytest.mark.parametrize("recipe", [*RECIPES])
def test_every_recipe_runs_in_onnx_runtime_web(recipe: str, inline: bool, tmp_path: Path) -> None:
    onnx2snn.export(converted(recipe), tmp_path / "net.onnx", to="onnx", inline=inline)
    inputs = feed()
    (stock,) = ort.InferenceSession(tmp_path / "net.onnx").run(None, inputs)
    case = {
        "file": str(tmp_path / "net.onnx"),
        "inputs": {k: {"dims": x.shape, "data": x.ravel().tolist()} for k, x in inputs.items()},
        "output": stock.ravel().tolist(),
    }
    (tmp_path / "case.json").write_text(json.dumps(case))
    script = [str(Path(__file__).with_name("web.mjs")), WEB, str(tmp_path / "case.json")]
    done = subprocess.run(["node", *script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "0", done


OPENVINO = os.environ.get("ONNX2SNN_OPENVINO", "")  # a Python with openvino
NETRON = os.environ.get("ONNX2SNN_NETRON", "")  # a Python with netron
READERS = ROOT / "benchmarks" / "readers"


@pytest.mark.skipif(not OPENVINO, reason="needs ONNX2SNN_OPENVINO, see benchmarks/exchange.py")
def test_every_recipe_runs_in_openvino_once_it_is_inlined(tmp_path: Path) -> None:
    for recipe in RECIPES:
        file, given = tmp_path / f"{recipe}.onnx", tmp_path / f"{recipe}.npz"
        onnx2snn.export(converted(recipe), file, to="onnx", inline=True)
        inputs = feed()
        (wanted,) = ort.InferenceSession(file).run(None, inputs)
        np.savez(given, wanted=wanted, **inputs)
        command = [OPENVINO, str(READERS / "read_openvino.py"), str(file), str(given)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        assert found["differ_f32"] <= 1e-5 * max(1, found["largest"]), (recipe, found)


@pytest.mark.skipif(not NETRON, reason="needs ONNX2SNN_NETRON, see benchmarks/exchange.py")
def test_netron_draws_one_node_per_layer_of_neurons(tmp_path: Path) -> None:
    network = converted("binary")
    onnx2snn.save(network, tmp_path / "net.snn.onnx")
    command = [NETRON, str(READERS / "read_netron.py"), str(tmp_path / "net.snn.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    drawn = json.loads(done.stdout)["drawn"]
    assert drawn["IF"] == len(network.of(snn.Population)) == 5
    assert drawn["Readout"] == drawn["input"] == drawn["logits"] == 1


def test_options_of_other_formats_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    network = converted("binary")
    onnx2snn.save(network, tmp_path / "net.snn.onnx")
    output = str(tmp_path / "out.onnx")
    for wrong in (["--to", "onnx", "--approximate"], ["--to", "nothing"]):
        command = ["export", str(tmp_path / "net.snn.onnx"), *wrong, "-o", output]
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 2 and not done.stdout, done.output
    with pytest.raises(onnx2snn.UsageError, match="Did you mean 'onnx'"):
        onnx2snn.export(network, output, to="onxn")
    with pytest.raises(onnx2snn.UsageError, match="approximate"):
        onnx2snn.export(network, output, to="onnx", approximate=True)
    assert not Path(output).exists()
    with pytest.raises(onnx2snn.DataError):  # the network itself
        place = tmp_path / "net.snn.onnx"
        onnx2snn.export(network, place, to="onnx", inputs=[place])
