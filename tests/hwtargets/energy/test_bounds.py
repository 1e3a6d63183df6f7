"""A step takes as long as its largest bound, and the report names it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwtargets.chip_nets import SMALL, build
from onnx2snn.errors import TargetError
from onnx2snn.hwtargets import load_target, place
from onnx2snn.hwtargets.energy import energy_of
from onnx2snn.hwtargets.energy.bounds import TIMES, Work, step_bound
from onnx2snn.hwtargets.energy.latency import latency_of
from onnx2snn.hwtargets.target import Range
from onnx2snn.reports.pages.placement import render_html
from onnx2snn.reports.placement import render_text

LOW = {"update": 1.0, "synop": 2.0, "read": 3.0, "link": 0.1, "barrier": 50.0, "board_barrier": 900}


def chip(**high: float):  # type: ignore[no-untyped-def]
    """Loihi 2 with times of LOW ns, or up to ``high`` times as much."""
    ranges = {
        name: Range(
            name=name, low=low * 1e-9, high=low * high.get(name, 1.0) * 1e-9, source="here",
            verified=False,
        )
        for name, low in LOW.items()
    }  # fmt: skip
    return replace(load_target("loihi2"), times=ranges)


def work(updates: float, synops: float, reads: float) -> Work:
    arrays = [np.array([value / 2, value]) for value in (updates, synops, reads)]
    return Work(updates=arrays[0], synops=arrays[1], reads=arrays[2])


@pytest.mark.parametrize(
    ("counts", "bits", "chips", "binds", "nanoseconds"),
    [
        ((100, 10, 10), 30, 1, "update", 100),
        ((10, 100, 10), 30, 1, "synop", 200),
        ((10, 10, 100), 30, 1, "read", 300),
        ((10, 10, 10), 3000, 1, "link", 300),
        ((10, 10, 10), 30, 1, "barrier", 50),
        ((10, 10, 10), 30, 2, "board_barrier", 900),
    ],
)
def test_the_largest_term_binds(
    counts: tuple[float, float, float], bits: float, chips: int, binds: str, nanoseconds: float
) -> None:
    bound = step_bound(chip(), work(*counts), link_bits=bits, chips=chips, steps=4, lag=2)
    assert bound is not None and bound.binds == (binds, binds)
    assert bound.low == bound.high == pytest.approx(nanoseconds * 1e-9)
    lasting = binds in ("update", "barrier", "board_barrier")
    others = [t.low * (6 if t.name in ("update", "barrier") else 4) for t in bound.terms]
    expected = max(nanoseconds * 1e-9 * (6 if lasting else 4), *others)
    assert bound.inference == pytest.approx((expected, expected))


def test_another_term_may_bind_at_the_other_end() -> None:
    bound = step_bound(chip(link=50), work(10, 100, 10), link_bits=300, chips=1, steps=1, lag=0)
    assert bound is not None and bound.binds == ("synop", "link")
    assert (bound.low, bound.high) == pytest.approx((200e-9, 1500e-9))


def test_latency_and_static_energy_are_no_less_than_what_steps_take() -> None:
    target = chip()
    quick, slow = (
        step_bound(target, work(1, synops, 1), link_bits=1, chips=1, steps=8, lag=0)
        for synops in (10.0, 1e6)
    )
    before = latency_of(target, steps=8, lag=0)
    assert latency_of(target, steps=8, lag=0, bound=quick).seconds == before.seconds
    taken = latency_of(target, steps=8, lag=0, bound=slow).seconds
    assert taken is not None and before.seconds is not None
    assert taken.value == pytest.approx(8 * 2e-3) and taken.value > before.seconds.high
    from onnx2snn.hwtargets.energy import Activity

    asked = {"spike_hops": 0.0, "steps": 8, "lag": 0, "chips": 1, "rates": "r", "bound": slow}
    energy = energy_of(target, Activity(synops=1, neurons=1, spikes=1, macs=1), **asked)
    assert energy.static_j is not None
    assert energy.static_j.value == pytest.approx(0.232 * taken.value)


def test_a_report_names_what_binds_the_busiest_core_and_what_others_state() -> None:
    report = place(build(*SMALL), "loihi2", seconds=0.05)
    bound = report.latency.bound
    assert bound is not None and set(dict.fromkeys(t.name for t in bound.terms)) < set(TIMES)
    assert report.work["synops"]["layer"] == "p2" and bound.binds[0] == "synop"
    assert {o["by"] for o in report.otherwise} == {
        "arXiv 2601.10035", "arXiv 2602.04717", "Intel's brief"
    }  # fmt: skip
    text, page = render_text(report), render_html(report)
    for said in (
        "synaptic operations of the busiest core bind",
        "no placement has less than",
        "As arXiv 2602.04717 has it (cores_per_chip 152): 5 cores on 1 chip.",
    ):
        assert said in text and said.replace("'", "&#39;") in page
    assert report.latency.bound.document()["terms"]["synop"]["basis"] == "quoted"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("[time.synop]", "[time.synops]", "unknown time 'synops'"),
        ("low = 0.7e-9\nhigh = 3.8e-9", "low = 4e-9\nhigh = 3.8e-9", "low must not be above high"),
        ('basis = "assumed"', 'basis = "guessed"', "'basis' must be one of read, quoted"),
        ('by = "Intel\'s brief"\n', "", "[limits.neurons_per_core.others] lacks 'by'"),
    ],
)
def test_mistakes_in_times_and_other_statements_are_refused(
    old: str, new: str, problem: str, tmp_path
) -> None:
    from places import ROOT

    text = (ROOT / "hwtargets" / "cores" / "loihi2.toml").read_text()
    assert old in text
    (tmp_path / "chip.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(TargetError) as error:
        load_target(tmp_path / "chip.toml")
    assert problem in str(error.value)
