"""watch: the page, what is said, what is refused; the page in a real browser."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from browser import WIDTHS, said_at_both_widths
from click.testing import CliRunner
from graphs import residual_cnn

from onnx2snn import save
from onnx2snn.cli import main
from onnx2snn.runtime import graph as snn


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("watch")
    graph = residual_cnn(np.random.default_rng(1))
    save(snn.SpikingGraph(nodes=graph.nodes, meta={"steps": 5}), path / "net.snn.onnx")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 2, 8, 8)).astype(np.float32)
    np.savez(path / "d.npz", x=x, y=np.arange(20) % 3)
    return path


def watch(folder, *more: str):
    given = [str(folder / "net.snn.onnx"), "--data", str(folder / "d.npz"), "-T", "5"]
    return CliRunner().invoke(main, ["watch", *given, "-o", str(folder / "w.html"), *more])


def test_it_writes_a_page_and_says_what_each_sample_got(folder) -> None:
    result = watch(folder, "--samples", "3")
    assert result.exit_code == 0, result.output
    assert re.search(r"sample 0: label 0, ANN \d, spiking \d, settled at T=\d", result.output)
    assert watch(folder, "--samples", "3").exit_code == 0  # our own page is replaced
    made = json.loads(watch(folder, "--samples", "3", "--json").stdout)
    assert made["schema"] == "onnx2snn.watch/1"
    assert made["samples"] == len(made["answers"]) == 3
    assert made["labels"] == [0, 0, 1]  # samples 0, 9 and 19: spread over all


def test_a_file_that_is_not_ours_is_not_replaced(folder) -> None:
    theirs = folder / "w.html"
    theirs.write_text("<p>mine</p>")
    result = watch(folder)
    assert result.exit_code == 2 and "E22" in result.stderr
    assert theirs.read_text() == "<p>mine</p>"
    theirs.unlink()


def test_the_page_runs_in_a_browser(folder) -> None:
    """After the script ran, the page says the last answer; a step back, it says that one."""
    assert watch(folder, "--samples", "2").exit_code == 0
    probe = """
        said.push(document.getElementById("now").textContent);
        document.getElementById("back").click();
        said.push(document.getElementById("said").textContent.startsWith("After T = 4: class"));
        said.push(document.getElementById("layers").children.length);
        said.push(document.documentElement.scrollWidth <= innerWidth);
    """
    said = said_at_both_widths((folder / "w.html").read_text(), probe)
    assert said == {f"{width},5 of 5 (T = 5),true,3,true" for width in WIDTHS}
