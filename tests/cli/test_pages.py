"""Every kind of page in the one frame: in a real browser, without a script, and on paper."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from browser import WIDTHS, said_of
from places import MODELS

from cli.test_sweep_page import SWEEP
from hwtargets.truenorth import nets
from onnx2snn import diagnosis
from onnx2snn.converter.frontend import load_onnx
from onnx2snn.data import Preprocessing, load_samples
from onnx2snn.experiments.comparison import Comparison, CurvePair, Difference, PointPair
from onnx2snn.hwtargets import PlacementReport, place
from onnx2snn.hwtargets.placement.report import FloorPlan
from onnx2snn.provenance.converted import convert
from onnx2snn.reports.pages.chips import render_chips
from onnx2snn.reports.pages.compare import compare_html
from onnx2snn.reports.pages.diagnosis import diagnosis_html
from onnx2snn.reports.pages.floor import CELL, board_drawing
from onnx2snn.reports.pages.placement import render_html
from onnx2snn.reports.pages.sweep import sweep_html

COMMAND = "onnx2snn verb '<x>'"


def a_point(steps: int) -> PointPair:
    apart = Difference(
        first=0.9, second=0.93, difference=0.03, low=-0.01, high=0.08, only_first=1, only_second=4
    )
    costs = {"latency": (steps, steps), "energy_to_ann": (2.0, 1.0)}
    return PointPair(T=(steps, steps), shares={"accuracy": apart}, same=0.95, costs=costs)


COMPARED = Comparison(
    first="a.json",
    second="b.json",
    changes=(),
    curves=(
        CurvePair(
            first="binary",
            second="binary",
            changes=(),
            points=(a_point(4), a_point(8)),
            unpaired="",
        ),
    ),
    only_first=(),
    only_second=(),
)


@cache
def placed(chip: str) -> PlacementReport:
    graph = nets.dense_net(0, inputs=16, hidden=(12, 9))
    return place(graph, chip, steps=8, seconds=0)


@cache
def diagnosed() -> diagnosis.Diagnosis:
    model = load_onnx(MODELS / "digits_mlp.onnx")
    taken = Preprocessing(scale=16, layout="NHWC")
    shapes = {info.name: info.shape for info in model.inputs}
    few = load_samples(f"{MODELS}/digits.npz:x_test,y_test", shapes, taken, limit=16)
    network = convert(model, None, preprocessing=taken, steps=4)
    found = diagnosis.diagnose(model, network, few, 4)
    assert diagnosis.errors_by_layer(model, network, few, steps=4).layers[0].adds == pytest.approx(
        found.measured.layers[0].adds
    )
    return found


def sweep_page() -> str:
    runs = (replace(SWEEP.runs[0], layers=diagnosed().measured), *SWEEP.runs[1:])
    return sweep_html(replace(SWEEP, runs=runs), command=COMMAND)


PAGES = {
    "sweep": sweep_page,
    "run": lambda: sweep_html(SWEEP, command=COMMAND, kind="run"),
    "compare": lambda: compare_html(COMPARED, command=COMMAND),
    "truenorth": lambda: render_html(placed("truenorth"), command=COMMAND),
    "loihi": lambda: render_html(placed("loihi2"), command=COMMAND),
    "xylo": lambda: render_html(placed("xylo-imu"), command=COMMAND),
    "chips": lambda: render_chips([placed("loihi2"), placed("xylo-imu")], {}, command=COMMAND),
    "diagnosis": lambda: diagnosis_html(diagnosed(), {}, command=COMMAND),
}
PROBE = """
    said.push(failed, document.documentElement.scrollWidth <= innerWidth);
    const wide = [...document.querySelectorAll("main *")].filter(one =>
        one.getBoundingClientRect().right > innerWidth + 1 && !one.closest(".scroll"));
    said.push(wide.length);
    said.push(document.querySelector("main").firstElementChild.className.split(" ")[0]);
    const mark = document.querySelector("svg :not(svg) > title")?.parentElement;
    mark?.dispatchEvent(new Event("pointerover", {bubbles: true}));
    const tip = document.getElementById("tip");
    said.push(!mark || !tip.hidden && tip.textContent.length > 5 && !mark.querySelector("title"));
"""
SWITCH = """
    document.querySelector("#series button").click();
    said.push(getComputedStyle(document.querySelector(".charts .run0")).display);
"""


def test_pages_work_in_a_browser() -> None:
    """No script fails, nothing is wider than the screen but what scrolls, the answer comes first,
    a mark says its value, and a curve can be switched off."""
    curves = ("sweep", "run")
    pages = {
        name: (make(), PROBE + (SWITCH if name in curves else "")) for name, make in PAGES.items()
    }
    expected = {
        f"{name},{width},0,true,0,answer,true" + (",none" if name in curves else "")
        for name in PAGES
        for width in WIDTHS
    }
    assert said_of(pages) == expected


@pytest.mark.parametrize("name", PAGES)
def test_a_page_reads_without_a_script_and_needs_nothing_from_outside(name: str) -> None:
    page = PAGES[name]()
    assert not re.search(r'(src|href)="(?!data:|[\w.-]+/placement\.html")', page)
    assert "&lt;x&gt;" in page and "<x>" not in page
    plain = re.sub(r"<script.*?</script>|<style.*?</style>", "", page, flags=re.S)
    answer = re.search(r'<section class="answer.*?<p>([^<]+)</p>', plain, re.S)
    assert answer is not None and re.search(r"\d|[Ff]its|lost", answer[1])
    assert "<table>" in plain
    for words in ("prefers-color-scheme: dark", "@media print", 'name="viewport"'):
        assert words in page


def a_plan(cells: list[tuple[int, int]], links: np.ndarray) -> FloorPlan:
    x, y = np.array(cells).T
    zeros = np.zeros(len(cells))
    ints = np.zeros(len(cells), int)
    return FloorPlan(
        width=64, height=64, layers=("a",), chip=ints, x=x, y=y, layer=ints, neurons=ints + 1,
        load=zeros, sent=zeros, received=zeros, links=links,
    )  # fmt: skip


def test_a_floor_plan_shows_what_is_used_and_no_link_without_load() -> None:
    links = np.zeros((64, 64, 4))
    links[3, 5, 0], links[4, 5, 0], links[5, 5, 0] = 10.0, 1e-14, 0.5
    drawn = board_drawing(a_plan([(3, 5), (4, 5), (6, 7)], links))
    assert drawn["part"] == (2, 4, 6, 5)  # with a cell around
    assert drawn["view"] == f"{2 * CELL} {4 * CELL} {6 * CELL} {5 * CELL}"
    assert drawn["cropped"] and drawn["whole"] == (64, 64)
    assert [line["title"].split(":")[0] for line in drawn["links"]] == [
        "(3, 5) to (4, 5)",
        "(5, 5) to (6, 5)",
    ]
    whole = board_drawing(a_plan([(0, 0), (63, 63)], links))
    assert whole["part"] == (0, 0, 64, 64) and not whole["cropped"]
