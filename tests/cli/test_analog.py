"""Networks in which little or nothing spikes: what every verb says of them, and its exit status."""

from __future__ import annotations

import csv
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

from onnx2snn.cli import main

pytestmark = pytest.mark.usefixtures("blank_pictures")

FLOAT = TensorProto.FLOAT
SIZES = (6, 8, 8, 3)  # 48 MACs on the input, then 64 and 24
T = 4


def network(folder: Path, *activations: str) -> Path:
    """A chain of Gemm with an activation ("SiLU", or an operation's name) behind each but the last;
    the data beside it."""
    rng, nodes, constants, tensor = np.random.default_rng(0), [], [], "x"
    for i, (before, after) in enumerate(pairwise(SIZES)):
        weight = rng.standard_normal((after, before)).astype(np.float32) * 0.5
        constants.append(numpy_helper.from_array(weight, f"w{i}"))
        nodes.append(helper.make_node("Gemm", [tensor, f"w{i}"], [f"z{i}"], f"fc{i}", transB=1))
        tensor = f"z{i}"
        for op in activations[i : i + 1]:
            gate = "Sigmoid" if op == "SiLU" else op
            nodes.append(helper.make_node(gate, [tensor], [f"a{i}"], f"act{i}"))
            tensor = f"a{i}"
            if op == "SiLU":
                nodes.append(helper.make_node("Mul", [f"z{i}", tensor], [f"m{i}"], f"mul{i}"))
                tensor = f"m{i}"
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", FLOAT, ["N", SIZES[0]])],
        [helper.make_tensor_value_info(tensor, FLOAT, ["N", SIZES[-1]])],
        constants,
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / "n.onnx")
    x = rng.standard_normal((24, SIZES[0])).astype(np.float32)
    np.savez(folder / "d.npz", x=x, y=rng.integers(0, SIZES[-1], 24))
    return folder / "n.onnx"


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


def convert(model: Path, *more: object) -> Result:
    data = model.with_name("d.npz")
    output = model.with_suffix(".snn.onnx")
    return run("convert", model, "--calib", f"{data}:x", "-T", T, "-o", output, *more)


SILU = 2 * 8  # MACs of its two operations on 8 numbers
NOTHING = "NOT A SPIKING NETWORK: it has no neurons, so that its answers are the ANN's at any T"
ANN = 48 + 64 + 24 + 2 * SILU
SNN = 48 + T * (64 + 24 + 2 * SILU)


@pytest.fixture(scope="module")
def silu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = network(tmp_path_factory.mktemp("silu"), "SiLU", "SiLU")
    assert convert(model).exit_code == 1
    return model


def commands(model: Path) -> dict[str, list[object]]:
    """Every verb that judges a network, on ``model``."""
    net, data = model.with_suffix(".snn.onnx"), model.with_name("d.npz")
    samples = ["--data", f"{data}:x,y", "--samples", 8]
    swept = ["-T", f"1:{T}", "-o", model.with_name("swept"), "--calib", f"{data}:x"]
    return {
        "convert": ["convert", model, "--calib", f"{data}:x", "-T", T, "-o", net],
        "run": ["run", net, *samples],
        "sweep": ["sweep", model, *samples, *swept],
        "diagnose": ["diagnose", model, net, *samples],
    }


@pytest.mark.parametrize("verb", ["convert", "run", "sweep", "diagnose"])
def test_a_network_without_neurons_is_the_headline_and_exit_status_1(verb: str, silu: Path) -> None:
    command = commands(silu)[verb]
    done, allowed, printed = (run(*command, *more) for more in ([], ["--allow-analog"], ["--json"]))
    assert (done.exit_code, allowed.exit_code, printed.exit_code) == (1, 0, 1), done.output
    assert f"{NOTHING}; at T={T} {SNN / ANN:.2f} times the ANN's" in done.output
    assert done.output.index(NOTHING) < done.output.index("Layers: 0 of 3 driven by spikes, 1 by")
    assert "is within" not in done.output and "Try:" not in done.output
    found = json.loads(printed.stdout)
    one = found["runs"][0] if verb == "sweep" else found
    assert one["spiking"] == {
        "verdict": "no",
        "share": 0.0,
        "layers": {"spikes": 0, "input": 1, "analog": 2},
        "ann_macs": {"spikes": 0, "input": 48, "analog": ANN - 48},
        "islands": 2,
        "emits": False,
        "uncounted": [],
    }
    cost = found["on_calibration"] if verb == "convert" else one
    cost = one["points"][-1] if verb == "sweep" else cost
    assert (cost["macs_per_sample"], cost["synops_per_sample"]) == (SNN, 0)
    assert cost["macs_to_ann"] == pytest.approx(SNN / ANN)
    if verb == "sweep":
        assert one["knee"] is None


def test_what_is_written_says_it_too(silu: Path) -> None:
    net, data = silu.with_suffix(".snn.onnx"), silu.with_name("d.npz")
    samples = ["--data", f"{data}:x,y", "--samples", 8]
    assert run("run", net, *samples, "-o", silu.with_name("ran")).exit_code == 1
    assert run(*commands(silu)["sweep"]).exit_code == 1
    assert run("diagnose", silu, net, *samples, "-o", silu.with_name("told")).exit_code == 1
    for name in ("ran/run", "swept/sweep"):
        path = silu.parent / f"{name}.html"
        page, lines = path.read_text(), path.with_suffix(".csv").read_text().splitlines()
        assert "NOT A SPIKING NETWORK" in page and "<th>MACs/ANN</th>" in page
        rows = list(csv.DictReader(lines))
        assert {r["spiking"] for r in rows} == {"no"}
        assert float(rows[-1]["macs_per_sample"]) == SNN
        assert float(rows[-1]["macs_to_ann"]) == pytest.approx(SNN / float(rows[-1]["ann_macs"]))
    assert "NOT A SPIKING NETWORK" in (silu.parent / "told/diagnosis.html").read_text()


@pytest.mark.parametrize(
    ("activations", "status", "layers", "head"),
    [
        (("Relu", "Relu"), 0, (2, 1, 0), ""),
        (("SiLU", "Relu"), 0, (1, 1, 1), "SPIKING IN PART ONLY: spikes drive 1 of its 3 layers"),
        (("Relu", "SiLU"), 0, (1, 1, 1), ""),  # 64 of 104
        (("Tanh", "Tanh"), 1, (0, 1, 2), NOTHING),
        ((), 1, (0, 3, 0), NOTHING),  # linear: all of it is known once the input is
    ],
    ids=["spiking", "half", "most", "no neurons", "linear"],
)
def test_what_drives_the_layers_decides(
    activations: tuple[str, ...],
    status: int,
    layers: tuple[int, int, int],
    head: str,
    tmp_path: Path,
) -> None:
    model = network(tmp_path, *activations)
    done = convert(model)
    assert done.exit_code == status, done.output
    found: Any = json.loads(convert(model, "--allow-analog", "--json").stdout)
    assert tuple(found["spiking"]["layers"].values()) == layers
    first = done.stdout.splitlines()[0]
    assert first.startswith(head) if head else "SPIKING" not in done.output
