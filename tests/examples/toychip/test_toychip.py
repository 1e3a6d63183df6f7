"""The toy chip of docs/adding.md through the common pipeline: placed, run, reported, refused."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hwtargets.chip_nets import Net, neuron

from examples.toychip.mapping import TOY
from onnx2snn.errors import TargetError, UsageError
from onnx2snn.hwtargets import (
    MAPPINGS,
    PlaceData,
    PlacementReport,
    chip_view,
    load_target,
    missing_kinds,
    options_of,
    place,
    to_json,
)
from onnx2snn.reports.pages.placement import render_html
from onnx2snn.reports.placement import render_comparison, render_text
from onnx2snn.runtime import graph as g
from onnx2snn.runtime import ops
from onnx2snn.runtime.engine import simulate

FILE = Path(__file__).with_name("toychip.toml")
KINDS = {**MAPPINGS, TOY.name: TOY}
F32 = np.float32
T = 24


def four_bits(*sizes: int, seed: int = 0) -> g.SpikingGraph:
    """A perceptron whose weights, biases and thresholds are whole eighths, the largest weight 7."""
    rng = np.random.default_rng(seed)
    nodes: list[g.Node] = [g.Input(name="x", shape=(sizes[0],))]
    for k, (a, b) in enumerate(pairwise(sizes)):
        weight = rng.integers(-6, 8, (b, a))
        weight[0, 0] = 7
        bias = (rng.integers(-4, 5, b) / 8).astype(F32)
        linear = ops.Linear(weight=(weight / 8).astype(F32))
        at = nodes[-1].name
        nodes.append(g.Synapse(name=f"fc{k}", inputs=(at,), shape=(b,), op=linear))
        last = k == len(sizes) - 2
        nodes.append(
            g.Readout(name="out", inputs=(f"fc{k}",), shape=(b,), bias=bias)
            if last
            else g.Population(
                name=f"n{k}", inputs=(f"fc{k}",), shape=(b,), bias=bias, neuron=neuron(2.0)
            )
        )
    return g.SpikingGraph(nodes=tuple(nodes))


GRAPH = four_bits(6, 50, 40, 3)
X = (np.random.default_rng(1).integers(0, 9, (20, 6)) / 8).astype(F32)
FLOATING = simulate(GRAPH, X, T)


@pytest.fixture(scope="module")
def report() -> PlacementReport:
    data = PlaceData(x=X, y=FLOATING.readouts["out"][-1].argmax(1))
    options = {"scale": "8"}
    return place(GRAPH, FILE, data=data, steps=T, seconds=0, options=options, mappings=KINDS)


def test_its_integers_spike_as_the_network_does_where_nothing_is_rounded(
    report: PlacementReport,
) -> None:
    assert report.fits
    assert report.accuracy["chip"] == report.accuracy["agreement"] == 1.0
    chip = load_target(FILE, KINDS)
    run = TOY.step(chip_view(GRAPH), chip, TOY.request(chip, {"scale": 8})).run
    assert run is not None and X.max() == 1  # sent as 8, so that every value is whole
    for name in ("n0", "n1"):
        assert run(X, T).spikes[name] == FLOATING.spikes[name].sum()


def test_it_takes_the_cores_and_chips_that_its_layers_need(report: PlacementReport) -> None:
    assert (report.cores, report.chips) == (2, 2)  # 50 | 40 + 3
    rows = [(row.name, row.cores, row.neurons) for row in report.layers]
    assert rows == [("n0", 1, 50), ("n1", 1, 40), ("out", 1, 3)]
    assert (report.binding["name"], report.binding["used"]) == ("neurons", 50)
    assert report.facts["boards"]["smallest_that_holds_it"] == "toy board"
    assert report.facts["scale"] == 8
    n0 = FLOATING.spikes["n0"].sum() / len(X)
    assert report.traffic["packets"] == pytest.approx(n0 / T)  # n1 and out share a core
    first = next(n.op for n in GRAPH.of(g.Synapse) if isinstance(n.op, ops.Linear))
    synops = np.count_nonzero(first.weight) * T + sum(FLOATING.synops_of.values()) / len(X)
    assert report.energy.counts["synop"] == pytest.approx(synops)
    assert report.energy.dynamic_j is not None and report.energy.static_j is None
    assert report.energy.dynamic_j.value == pytest.approx(synops * 10e-12)


def test_all_reports_know_it(report: PlacementReport) -> None:
    assert json.loads(to_json(report))["target"] == "toychip"
    assert "A toy chip of one core: fits, 2 cores on 2 chips (toy board)." in render_text(report)
    assert render_html(report).count("<title>core ") == 3 * report.cores
    assert "toychip" in render_comparison([report])


def test_what_it_cannot_hold_or_do_is_refused_by_name() -> None:
    wide = place(four_bits(6, 65, 3), FILE, seconds=0, mappings=KINDS)
    assert [(v.node, v.rule, v.used, v.limit) for v in wide.violations] == [
        ("n0", "neurons", 65, 64)
    ]
    net = Net((2, 4, 4))
    net.conv(2, 3)
    net.population("conv", neuron(signed=True))
    net.readout(2)
    found = missing_kinds(net.graph, load_target(FILE, KINDS), KINDS)
    assert {(v.node, v.rule) for v in found} == {
        ("conv", "negative spikes"),
        ("conv", "dense layers"),
    }


def test_its_options_and_its_file_are_checked_as_those_of_any_chip(tmp_path: Path) -> None:
    assert options_of(load_target(FILE, KINDS), KINDS) == ("scale",)
    with pytest.raises(UsageError, match="scale must be a whole number from 1 to 255, got '0'"):
        place(four_bits(2, 3, 2), FILE, options={"scale": "0"}, mappings=KINDS)
    with pytest.raises(UsageError, match=r"no option scle\. Did you mean 'scale'\?"):
        place(four_bits(2, 3, 2), FILE, options={"scle": 3}, mappings=KINDS)
    other = tmp_path / "other.toml"
    other.write_text(FILE.read_text().replace("[limits.neurons]", "[limits.neuron]"))
    with pytest.raises(TargetError, match=r"unknown limit 'neuron' \(Did you mean 'neurons'\?"):
        load_target(other, KINDS)


def test_without_its_line_it_is_unknown() -> None:
    with pytest.raises(TargetError, match="unknown mapping 'toy'") as caught:
        load_target(FILE)
    assert caught.value.code == "E504"
