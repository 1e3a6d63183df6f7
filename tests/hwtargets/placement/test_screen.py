"""What `check` says of chips before anything is calibrated, against what `place` finds."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from hwtargets.chip_nets import Net, neuron
from onnx2snn.hwtargets import chip_view, load_target, place, screened, targets
from onnx2snn.hwtargets.cores import least
from onnx2snn.hwtargets.placement import mapping_of
from onnx2snn.hwtargets.truenorth.compile.copies import count_chosen
from onnx2snn.hwtargets.truenorth.compile.lower import lower
from onnx2snn.runtime.graph import Input, SpikingGraph


def mlp(*sizes: int) -> SpikingGraph:
    net = Net(sizes[:1])
    for size in sizes[1:-1]:
        net.dense(size)
        net.population("", neuron())
    net.readout(sizes[-1])
    return net.graph


def conv() -> SpikingGraph:
    net = Net((2, 12, 12))
    net.conv(6, 3)
    net.population("", neuron())
    net.pool(2)
    net.conv(4, 3, stride=2)
    net.population("", neuron())
    net.readout(5)
    return net.graph


NETS = {
    "small": mlp(8, 12, 4),
    "wide": mlp(40, 30, 12),
    "many_outputs": mlp(8, 12, 40),
    "conv": conv(),
}


@pytest.mark.parametrize("name", NETS)
def test_a_no_is_certain_and_cores_are_a_lower_bound(name: str) -> None:
    graph = NETS[name]
    found = screened(graph, targets().values())
    for chip in targets().values():
        screening = found[chip.name]
        report = place(graph, chip, steps=2, seconds=0)
        assert screening.may_fit or not report.fits
        assert screening.cores <= report.cores
        limits = {v.rule: v.limit for v in report.violations}
        assert all(limits[v.rule] == v.limit for v in screening.violations)
        if chip.mapping == "cores":  # nothing irregular in them: the partition itself
            assert screening.cores == report.cores
    assert found["xylo-audio2"].may_fit is (name == "small")


def test_a_yes_says_on_what_condition() -> None:
    fan = screened(mlp(8, 20, 65, 4), [load_target("xylo-audio2")])["xylo-audio2"]
    assert fan.may_fit and fan.conditions == (
        "only if of the 65 hidden targets of a neuron at most 64 are not 0 in 8 bits, or there is "
        "room for copies of such neurons",
    )
    large = screened(mlp(16, 600, 500, 4), [load_target("xylo-audio2")])["xylo-audio2"]
    assert [(v.rule, v.used, v.limit) for v in large.sizes] == [("hidden_neurons", 1100, 1000)]
    reach = screened(mlp(8, 200, 200, 4), [load_target("xylo-audio3")])["xylo-audio3"]
    assert [v.rule for v in reach.sizes] == ["input_expansion", "output_expansion"]
    chip = load_target("truenorth")
    split = screened(mlp(300, 70, 12), [chip])["truenorth"]
    assert "up to 300 inputs per neuron, 256 axons per core" in split.conditions[0]
    plain = screened(mlp(30, 70, 12), [chip])["truenorth"]
    assert plain.conditions == ("copies of neurons come on top",)


def test_inputs_that_no_core_takes_count_as_partial_sums() -> None:
    """512 neurons of 4,096 inputs, a quarter of which are coded: 4 parts on axons of 8 cores, and
    as many that add them up; vastly more than the 3 cores that hold the neurons."""
    found = screened(mlp(4096, 512, 10), [load_target("truenorth")])["truenorth"]
    assert found.cores == 8 + 8 + 1


@pytest.mark.parametrize("name", [*NETS, "long"])
def test_cores_of_truenorth_are_a_lower_bound_where_sums_are_split(name: str) -> None:
    chip = load_target("truenorth")
    small = {key: replace(chip.limits[key], value=32) for key in ("axons", "neurons")}
    chip = replace(chip, limits={**chip.limits, **small})
    graph = mlp(160, 20, 4) if name == "long" else NETS[name]
    mapping = mapping_of(chip)
    found = mapping.least(chip_view(graph), chip, mapping.request(chip).options)
    lowered = lower(graph, {n.name: np.ones((2, *n.shape)) for n in graph.of(Input)})
    for coding in ("ternary", "axons4"):
        counted = count_chosen(lowered, chip, coding, 1).cores
        assert counted is not None and found.cores <= counted < 50 * found.cores


def test_more_cores_than_the_largest_board_has_are_a_no() -> None:
    chip = load_target("loihi1")
    one = {"cores_per_chip": replace(chip.limits["cores_per_chip"], value=1)}
    chip = replace(chip, limits={**chip.limits, **one}, boards={"two": 2})
    found = screened(mlp(8, 6, 7, 3), [chip])["loihi1"]
    assert [(v.rule, v.used, v.limit) for v in found.sizes] == [("cores", 3, 2)]
    assert not place(mlp(8, 6, 7, 3), chip, steps=2, seconds=0).fits
    assert screened(mlp(8, 6, 3), [chip])["loihi1"].board == "two"


def test_a_neuron_with_more_inputs_than_a_core_takes_is_a_no() -> None:
    graph = mlp(5000, 3, 2)
    found = screened(graph, [load_target("loihi1")])["loihi1"]
    report = place(graph, "loihi1", steps=2, seconds=0)
    assert not found.may_fit and not report.fits
    assert [(v.node, v.rule) for v in found.sizes] == [(v.node, v.rule) for v in report.violations]


def test_layers_behind_the_first_hundred_kinds_count_by_their_neurons(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(least, "LOOKED_AT", 1)
    graph = mlp(8, 6, 2000, 3)
    found = screened(graph, [load_target("loihi1")])["loihi1"]
    cut = 1 + -(-2000 * 2 // 1024) + 1  # two of the chip's neurons for each
    assert found.cores == cut <= place(graph, "loihi1", steps=2, seconds=0).cores
    assert found.conditions == ("of 2 layers the neurons alone are counted, not the synapses",)


def test_a_deep_network_is_looked_at_in_a_moment() -> None:
    net = Net((4, 8, 8))
    for _ in range(150):
        net.conv(4, 3, pad=1)
        net.population("", neuron())
    net.readout(3)
    graph, begin = net.graph, time.process_time()
    screened(graph, targets().values())
    assert time.process_time() - begin < 1.0
