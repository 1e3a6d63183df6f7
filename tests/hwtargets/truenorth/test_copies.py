"""How many neurons each partial sum gets: two where that takes no chip more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hwtargets.truenorth import nets
from hwtargets.truenorth.test_variants import chip_of
from onnx2snn.hwtargets import load_target, to_json
from onnx2snn.hwtargets.placement import place
from onnx2snn.hwtargets.truenorth.compile import compile_network
from onnx2snn.hwtargets.truenorth.compile import copies as truenorth_copies
from onnx2snn.hwtargets.truenorth.compile.copies import choose, count, count_chosen
from onnx2snn.hwtargets.truenorth.compile.lower import lower
from onnx2snn.reports.placement import render_text

CODING = "ternary"


def split_net():
    return nets.dense_net(0, inputs=80, hidden=(24, 12))


def lowered(graph):
    return lower(graph, {"x": nets.samples(graph, 1)})


def both():
    """Cores with one and with two neurons per partial sum, on small cores."""
    low = lowered(split_net())
    return [count(low, nets.small_target(48, 48), CODING, n).cores for n in (1, 2)]


def placed(target, **options):
    options = {"fit_steps": 4, "coding": CODING, **options}
    return place(split_net(), target, steps=4, seconds=0.1, options=options)


def copies_in(report):
    return {split["copies"] for split in report.facts["split"].values()}


def sentence(report):
    (found,) = [n for n in report.notes if n.startswith("Neurons per partial sum")]
    return found


def test_two_neurons_per_partial_sum_where_that_takes_no_chip_more():
    one, two = both()
    assert one < two
    report = placed(chip_of(two))
    assert report.chips == 1 and copies_in(report) == {2}
    facts = report.facts["partial_sum_copies"]
    assert facts["number"] == 2
    assert facts["counted"] == [
        {"copies": 1, "cores": one, "chips": 1},
        {"copies": 2, "cores": report.cores, "chips": 1},
    ]
    assert f"copies): 2; two take {report.cores} cores" in sentence(report)
    assert sentence(report) in render_text(report) and '"partial_sum_copies"' in to_json(report)


def test_one_where_two_would_need_another_chip():
    one, two = both()
    report = placed(chip_of(two - 1))
    assert report.fits and report.chips == 1 and copies_in(report) == {1}
    assert report.cores < two
    assert f"copies): 1; two take {two} cores on 2 chips, one {one} on 1." in sentence(report)


@pytest.mark.parametrize("asked", [1, 2, "3"])
def test_a_number_is_taken_whatever_it_costs(asked):
    _, two = both()
    report = placed(chip_of(two - 1), copies=asked)
    assert copies_in(report) == {int(asked)}
    assert report.facts["partial_sum_copies"] == {
        "number": int(asked),
        "why": "as asked for",
        "counted": [],
    }
    assert (report.chips == 1) == (asked == 1)


def test_a_network_without_partial_sums_has_none_to_copy():
    report = place(nets.dense_net(0), "truenorth", steps=4, seconds=0.1, options={"fit_steps": 4})
    assert report.facts["split"] == {} and report.facts["partial_sum_copies"]["number"] == 1
    assert "no fan-in is split" in sentence(report)


def test_two_that_have_no_room_on_a_core_are_not_chosen():
    graph, target = nets.dense_net(0, inputs=50, hidden=(4,)), nets.small_target(10, 40)
    low = lowered(graph)
    assert count(low, target, "axons2", 2).cores is None
    chosen = choose(low, target, "axons2", "auto")
    assert chosen.number == 1 and "no room" in chosen.why
    assert [c["copies"] for c in chosen.facts["counted"]] == [1]


def test_fitted_cores_that_need_a_chip_more_after_all_are_fitted_again_with_one(monkeypatch):
    one, two = both()

    def optimistic(low, target, coding, copies):
        found = count(low, target, coding, copies)
        return replace(found, cores=two - 1) if copies == 2 else found

    monkeypatch.setattr(truenorth_copies, "count", optimistic)
    report = placed(chip_of(two - 1))
    assert report.chips == 1 and abs(report.cores - one) <= 1 and copies_in(report) == {1}
    assert f"copies): 1; two take {two} cores on 2 chips" in sentence(report)


def test_other_codings_are_counted_as_they_would_be_placed():
    _, two = both()
    report = placed(chip_of(two), compare=True)
    low = lowered(split_net())
    for entry in report.facts["codings"]:
        found = count_chosen(low, chip_of(two), entry["coding"], "auto")
        assert (entry["copies"], entry["chips"]) == (found.copies, found.chips)
        assert abs(entry["cores"] - found.cores) <= 1
    assert sum(" per partial sum." in note for note in report.notes) == 2


def test_what_would_fit_is_counted_with_the_copies_it_would_get():
    one, _ = both()
    report = placed(chip_of(one - 1), coding="axons4")
    assert not report.fits and report.would_fit
    for entry in report.would_fit:
        assert entry["copies"] in (1, 2)
    assert {e["copies"] for e in placed(chip_of(one - 1), copies=3).would_fit} == {3}


def test_the_same_choice_without_the_command():
    graph = split_net()
    net = compile_network(
        graph, load_target("truenorth"), {"x": nets.samples(graph, 4)}, steps=4, coding="axons4"
    )
    assert net.fitted.split and net.copies.number == 2
