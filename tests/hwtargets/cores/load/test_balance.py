"""Balanced tiles: a less busy core on no more cores, each within its limits."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest

from hwtargets.chip_nets import RESNET20, SMALL, build
from onnx2snn.hwtargets import chip_view, load_target, place
from onnx2snn.hwtargets.cores.load.balance import balanced
from onnx2snn.hwtargets.cores.load.work import work
from onnx2snn.hwtargets.cores.mapping import CORES
from onnx2snn.hwtargets.cores.memory import tile_cost
from onnx2snn.hwtargets.cores.partition import allocated, core_limits, fits, partition


@pytest.mark.parametrize("measured", [False, True])
def test_the_busiest_core_of_resnet20_has_a_quarter_less_on_no_more_cores(measured: bool) -> None:
    target, network = load_target("loihi2"), chip_view(build(*RESNET20, cheap=True))
    model, limits = CORES.request(target).options.memory, core_limits(target)
    before, _ = partition(network, target, model, False)
    rng = np.random.default_rng(0)
    rates = {t.name: 0.2 * rng.random(t.shape) for t in before} if measured else None
    asked = {"rate": 0.1, "sent": 1.0}
    after = balanced(network, target, model, before, rates, **asked)
    first, second = (
        work(network, target, model, cut, rates, **asked).synops for cut in (before, after)
    )
    assert second.max() < 0.75 * first.max() and len(second) <= len(first)
    assert second.sum() == pytest.approx(first.sum())  # the same synapses, cut elsewhere
    at = 0
    for was, now in zip(before, after, strict=True):
        assert (now.name, now.shape, now.first) == (was.name, was.shape, at)
        at += now.cores
        padded = allocated(now.tile, shape=now.shape)
        assert fits(tile_cost(network.find(now.name), model, now.tile, padded), limits)
        assert now.neurons().sum() == prod(now.shape)


def test_the_option_changes_tiles_and_no_answer() -> None:
    graph = build(*SMALL)
    x = np.random.default_rng(0).random((4, 2, 8, 8)).astype(np.float32)
    from onnx2snn.hwtargets.placement.assembly import PlaceData

    asked = {"data": PlaceData(x=x, y=np.arange(4) % 5), "steps": 4, "seconds": 0.02}
    plain, cut = (
        place(graph, "loihi2", options={"tiles": tiles}, **asked)
        for tiles in ("fewest", "balanced")
    )
    assert cut.accuracy == plain.accuracy and cut.cores <= plain.cores
    assert cut.work["synops"]["most"] <= plain.work["synops"]["most"]
