"""What would fit on TrueNorth: suggestions are counted by placing them, and hold when followed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwtargets.truenorth import nets
from onnx2snn.hwtargets import load_target
from onnx2snn.hwtargets.placement import place
from onnx2snn.hwtargets.truenorth.compile.copies import count
from onnx2snn.hwtargets.truenorth.compile.lower import lower
from onnx2snn.hwtargets.truenorth.file import parse
from onnx2snn.hwtargets.truenorth.variants import thinned
from onnx2snn.reports.placement import render_text
from onnx2snn.runtime import ops


def chip_of(cores, target=None):
    """A chip with so few cores."""
    target = target or nets.small_target(48, 48)
    limits = dict(target.limits)
    limits["cores_per_chip"] = replace(limits["cores_per_chip"], value=cores)
    for name, side in (("mesh_width", cores), ("mesh_height", 1)):
        limits[name] = replace(limits[name], value=side)
    return replace(target, limits=limits, boards={})


def placed(graph, target, **options):
    return place(graph, target, steps=4, seconds=0.1, chips=1, options={"fit_steps": 4, **options})


def lowered(graph):
    return lower(graph, {"x": nets.samples(graph, 1)})


@pytest.mark.parametrize("pool", ["avg", "max"])
def test_a_network_with_half_its_channels_is_counted_as_one_built_so(pool):
    wide, built = nets.conv_net(0, pool, channels=8), nets.conv_net(0, pool, channels=4)
    target = nets.small_target(48, 48)
    half, real = thinned(lowered(wide), 0.5), lowered(built)
    assert [u.size for u in half.units] == [u.size for u in real.units]
    assert count(half, target, "axons3").cores == count(real, target, "axons3").cores
    assert count(lowered(wide), target, "axons3").cores > count(half, target, "axons3").cores


def test_thinning_keeps_skip_connections_and_pads_of_channels():
    net = nets.Graph((2, 6, 6), 0)
    skip = net.relu(net.conv("x", 4))
    wide = net.synapse(ops.Pad(pads=(2, 0, 0, 2, 0, 0)), skip)
    both = net.synapse(ops.Add(), net.conv(skip, 8), wide)
    graph = net.out(net.linear(net.flat(net.relu(both)), 3))
    half = thinned(lowered(graph), 0.5)
    assert [u.size for u in half.units] == [2 * 36, 4 * 36, 12]
    fields = [b.fields for b in half.units[1].blocks]
    assert sorted(f.shape for f in fields) == [(36, 18), (72, 1)]
    assert max(int(f.max()) for f in fields) < half.units[1].first


@pytest.mark.slow
def test_all_three_suggestions_hold_when_they_are_followed():
    graph = nets.conv_net(0, channels=8)
    full = placed(graph, chip_of(500))
    small = chip_of(full.cores * 2 // 3)
    report = placed(graph, small)
    assert not report.fits
    (violation,) = report.violations
    assert (violation.rule, violation.used) == ("cores", full.cores)
    assert violation.limit == full.cores * 2 // 3
    board, coding, narrower = report.would_fit
    assert board["change"].startswith("a board of 2 chips") and board["fits"]
    assert place(graph, small, steps=4, seconds=0.1, chips=2).fits
    assert coding["change"].startswith("coding=") and coding["fits"]
    name = coding["change"].split()[0].removeprefix("coding=")
    followed = placed(graph, small, coding=name)
    assert followed.fits and abs(followed.cores - coding["cores"]) <= 1
    share = float(narrower["change"].split()[0])
    built = nets.conv_net(0, channels=round(8 * share))
    assert narrower["fits"] and placed(built, small).fits
    assert abs(placed(built, small).cores - narrower["cores"]) <= 1
    assert "What would fit (computed):" in render_text(report)


def test_what_is_tried_in_vain_is_reported_as_such():
    report = placed(nets.conv_net(0, channels=8), chip_of(2), coding="ternary")
    board, narrower = report.would_fit  # no coding has fewer axons
    assert board["fits"] and not narrower["fits"]
    assert narrower["change"].startswith("0.125 times") and narrower["cores"] > 2


def test_nothing_is_suggested_where_no_size_would_help():
    net = nets.Graph((2, 4, 4), 0)
    graph = net.out(net.linear(net.flat(net.max_pool(net.conv("x", 2))), 3))
    assert placed(graph, load_target("truenorth")).would_fit == ()


def test_a_neuron_with_too_many_axons_is_told_the_coding_that_fits():
    graph = nets.dense_net(0, inputs=4, hidden=(6,))
    report = placed(graph, nets.small_target(3, 24))
    assert not report.fits
    assert {v.rule for v in report.violations} == {"E524"}
    coding = next(v for v in report.would_fit if v["change"].startswith("coding="))
    assert coding["fits"] == placed(graph, nets.small_target(3, 24), coding="axons3").fits


def test_a_dead_channel_behind_a_skip_stays_within_the_chips_weights():
    net = nets.Graph((2, 5, 5), 0)
    skip = net.relu(net.conv("x", 4))
    conv = net.conv(skip, 4)
    net.nodes[-1].op.weight.flags.writeable = True
    net.nodes[-1].op.weight[1] = 0
    graph = net.out(net.linear(net.flat(net.relu(net.synapse(ops.Add(), conv, skip))), 3))
    report = placed(graph, nets.small_target(24, 24), coding="ternary")
    assert report.facts["split"] and report.violations == ()
    box = parse(report.files["truenorth.npz"])
    assert np.abs(box.weights).max() <= 255 and np.abs(box.leak).max() <= 255


def test_nothing_is_suggested_that_breaks_a_limit_when_it_is_compiled():
    """Counting alone sees cores; every neuron's floor here needs a wider field than there is."""
    target = chip_of(500)
    limits = dict(target.limits)
    limits["threshold_max"] = replace(limits["threshold_max"], value=1000)
    report = placed(nets.conv_net(0), replace(target, limits=limits))
    rule = "negative threshold within threshold_max"
    assert [v.rule for v in report.violations] == [rule]
    assert {entry["change"].split()[0] for entry in report.would_fit} >= {"a", "coding=ternary"}
    assert all(not e["fits"] and e["still"] == [rule] for e in report.would_fit)
    assert "still: negative threshold" in render_text(report)
