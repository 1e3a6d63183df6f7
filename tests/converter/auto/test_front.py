"""What a price for spikes saves, beside the candidates of recipe auto."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from converter.digits_nets import ann, samples
from onnx2snn.converter.auto import Candidate, Kind, Selection, choose
from onnx2snn.converter.auto.front import COSTS, preferred, walked
from onnx2snn.converter.recipes.options import Options
from onnx2snn.reports.comparison import auto_text
from onnx2snn.spelling import spelled


def candidate(spikes: float, *, within: bool = True, cost: float = 0.0) -> Candidate:
    return Candidate(
        recipe="binary", T=4, lag=0, latency=4, drop=0.0, expected=0.0, low=None, high=None,
        within=within, samples=8, spikes_per_neuron=spikes, synops_per_sample=spikes,
        macs_per_sample=0.0, energy_pj=spikes, spike_cost=cost,
    )  # fmt: skip


def weigh(**options: Any) -> Selection:
    kinds = (Kind(recipe="few-spike", start=5),)
    given = Options(**{"recipe": "auto", "steps": 5, "max_drop": 20.0, **options})
    return choose(ann("digits_mlp"), samples()[:96], given, kinds=kinds)


@pytest.mark.parametrize(
    ("over", "rows"), [((), 5), ((0,), 5), ((0, 2), 3), ((1, 2), 3), ((0, 1), 2)]
)
def test_the_front_ends_behind_the_second_that_is_over_the_limit(
    over: tuple[int, ...], rows: int
) -> None:
    asked: list[float] = []

    def at(cost: float) -> Candidate:
        asked.append(cost)
        return candidate(1.0, within=COSTS.index(cost) not in over, cost=cost)

    assert [c.spike_cost for c in walked(candidate(1.0), at)] == asked == list(COSTS[:rows])
    assert not list(walked(candidate(1.0, within=False), at))


def test_a_preference_for_little_work_takes_the_cheapest_row_within_the_limit() -> None:
    best, front = candidate(1.0), (candidate(0.8, cost=0.01), candidate(0.5, within=False))
    for prefer, spikes in (("spikes", 0.8), ("synops", 0.8), ("energy", 0.8), ("chips", 1.0)):
        options = Options(recipe="auto", prefer=prefer)  # type: ignore[arg-type]
        assert preferred(best, front, options).spikes_per_neuron == spikes


def test_it_is_measured_said_and_taken() -> None:
    plain = weigh()
    meta = plain.conversion.graph.meta
    front = meta["auto"]["front"]
    assert [c["spike_cost"] for c in front] == list(COSTS)
    assert {(c["recipe"], c["T"]) for c in front} == {("few-spike", plain.chosen.T)}
    spikes = [plain.chosen.spikes_per_neuron, *(c["spikes_per_neuron"] for c in front)]
    assert spikes[-1] < 0.92 * spikes[0]
    assert all(after <= 1.02 * before for before, after in pairwise(spikes))
    assert plain.chosen.spike_cost == meta["options"]["spike_cost"] == 0.0
    shown = auto_text(meta["auto"])
    assert f"few-spike at T={plain.chosen.T} where spikes have a price" in shown
    assert shown.startswith(f"chosen: few-spike at T={plain.chosen.T}, ")
    assert "-0 %" not in shown
    saved = f"{100 * (spikes[-1] / spikes[0] - 1):+.0f} %"
    assert saved in shown.splitlines()[-1]

    fewest = weigh(prefer="spikes")
    within = [c for c in fewest.front if c.within]
    assert fewest.chosen == min(within, key=lambda c: c.spikes_per_neuron)
    assert fewest.conversion.graph.meta["options"]["spike_cost"] == fewest.chosen.spike_cost > 0
    said = spelled("spike_cost", fewest.chosen.spike_cost)
    assert said in auto_text(fewest.conversion.graph.meta["auto"])


@pytest.mark.parametrize("options", [{"spike_cost": 0.02}, {"tune": False}])
def test_none_where_a_price_is_given_or_nothing_weighs_it(options: dict[str, Any]) -> None:
    found = weigh(**options)
    assert found.front == () and found.conversion.graph.meta["auto"]["front"] == []
    assert found.chosen.spike_cost == options.get("spike_cost", 0.0)
    assert "price" not in auto_text(found.conversion.graph.meta["auto"])
