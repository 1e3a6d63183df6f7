"""NIR files: what is written, that it does what the network does, and what is refused."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import residual_cnn
from places import ROOT

import onnx2snn
from exchange.nets import converted
from exchange.nir.nets import hard, residual
from onnx2snn.errors import GraphError, UsageError
from onnx2snn.exchange import nir as exchange_nir
from onnx2snn.exchange.counts import count
from onnx2snn.exchange.nir.conventions import from_metadata
from onnx2snn.exchange.nir.write import nir_graph
from onnx2snn.results.marks import Kind, made_by_us
from onnx2snn.runtime import graph as snn

nir = pytest.importorskip("nir")

PARAMS: dict[str, dict[str, object]] = {
    "soft": {},
    "signed levels": {"signed": True, "levels": 3},
    "refractory floor": {"refractory": 2, "v_min": -0.5},
    "leak": {"leak": 0.25},
}


@pytest.mark.parametrize("params", PARAMS)
def test_the_written_file_does_what_the_network_does(params: str, tmp_path: Path) -> None:
    """``export`` checks that itself; here is that it wrote what it says it did."""
    network = residual(np.random.default_rng(3), **PARAMS[params])
    done = onnx2snn.export(network, tmp_path / "net.nir", to="nir", approximate=True)
    assert any("declared" in note for note in done.notes)
    graph = nir.read(tmp_path / "net.nir", type_check=False)
    kinds = sorted({type(node).__name__ for node in graph.nodes.values()})
    wanted = ["Affine", "Conv2d", "Flatten", "Input", "Output", "SumPool2d"]
    assert kinds == sorted([*wanted, "LIF" if params == "leak" else "IF"])
    about, told = from_metadata(graph.metadata)
    assert (about["T"], about["dt"], about["encoding"]) == (6, 1.0, {"x": "rate"})
    assert told["a"]["reset"] == "subtract" and told["a"]["v_init"].shape == (2, 1, 1)
    assert about["names"]["conv_1"] == "conv/1"
    assert made_by_us(tmp_path / "net.nir", Kind.NIR)
    twins = [n for n in graph.nodes if n.startswith("conv_1")]
    assert len(twins) == 2  # two readers, two biases


def test_what_nir_itself_says_needs_no_convention(tmp_path: Path) -> None:
    network = hard(residual(np.random.default_rng(4)))
    done = onnx2snn.export(network, tmp_path / "net.nir", to="nir")
    assert done.notes == ()
    with pytest.raises(GraphError, match="node 'a': soft reset") as error:
        onnx2snn.export(residual(np.random.default_rng(4)), tmp_path / "soft.nir", to="nir")
    assert error.value.code == "E430" and "approximate" in error.value.remedy
    constant = residual(np.random.default_rng(4))
    constant = constant.with_nodes([replace(constant["x"], encoding="constant")])
    with pytest.raises(GraphError, match="'conv/1': a constant current that is rounded"):
        onnx2snn.export(constant, tmp_path / "constant.nir", to="nir")
    assert [path.name for path in tmp_path.iterdir()] == ["net.nir"]


def test_what_it_cannot_say_is_refused_by_name_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"'max': a max pool") as error:
        onnx2snn.export(
            residual_cnn(np.random.default_rng(0)), tmp_path / "n.nir", to="nir", approximate=True
        )
    assert error.value.code == "E430"
    for recipe, why in (("ttfs", "a start lag"), ("differential", "model 'differential'")):
        with pytest.raises(GraphError, match=why):
            onnx2snn.export(converted(recipe), tmp_path / "n.nir", to="nir", approximate=True)
    assert not list(tmp_path.iterdir())


def test_a_file_that_does_something_else_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = residual(np.random.default_rng(5))
    right = nir_graph

    def wrong(of: snn.SpikingGraph) -> Any:
        made = right(of)
        made.graph.nodes["conv2"].weight[0, 0, 1, 1] += 1
        return made

    monkeypatch.setattr(exchange_nir, "nir_graph", wrong)
    with pytest.raises(GraphError, match=r"'c' \(\d+ of 72 neurons\)") as error:
        onnx2snn.export(network, tmp_path / "n.nir", to="nir", approximate=True)
    assert error.value.code == "E431" and not list(tmp_path.iterdir())


def test_without_the_package_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "nir", None)
    with pytest.raises(UsageError, match=r"onnx2snn\[nir\]"):
        exchange_nir.needed()


OTHERS = os.environ.get("ONNX2SNN_OTHERS", "")  # a Python with norse and sinabs


@pytest.mark.skipif(not OTHERS, reason="needs ONNX2SNN_OTHERS, see benchmarks/exchange.py")
@pytest.mark.parametrize("tool", ["norse", "sinabs"])
def test_other_tools_send_the_same_spikes(tool: str, tmp_path: Path) -> None:
    """Without the depthwise layer: both make a convolution of too few channels of it."""
    full = residual(np.random.default_rng(6))
    kept = [
        n
        for n in full.nodes
        if n.name in ("x", "conv/1", "a", "b", "ab", "conv2", "cut", "skip", "worth", "sum", "c")
    ]
    network = snn.SpikingGraph(
        nodes=(*(replace(n, encoding="constant") if n.name == "x" else n for n in kept),
               snn.Readout(name="out", inputs=("c",), shape=(4, 3, 3))),
        meta={"T": 6},
    )  # fmt: skip
    x = np.random.default_rng(0).random((3, 1, 6, 6), np.float32)
    onnx2snn.export(network, tmp_path / "net.nir", to="nir", approximate=True)
    done = count(network, {"x": x}, 6)
    spikes = {f"spikes/{name}": v for name, v in done.spikes.items()}
    np.savez(tmp_path / "given.npz", x=x, steps=6, **spikes)
    script = ROOT / "benchmarks" / "readers" / f"read_{tool}.py"
    command = [OTHERS, str(script), str(tmp_path / "net.nir"), str(tmp_path / "given.npz")]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert '"differ": 0,' in found.stdout.splitlines()[-1], found.stdout
