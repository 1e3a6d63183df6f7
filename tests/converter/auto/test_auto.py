"""Recipe auto: what is weighed, how it is judged, and what is taken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.digits_nets import ann, samples
from onnx2snn.converter import auto
from onnx2snn.converter.auto import KINDS, PREFERENCES, RANKING, Kind, Selection, choose
from onnx2snn.converter.auto import judge as auto_judge
from onnx2snn.converter.auto.claim import claims, confidence
from onnx2snn.converter.auto.judge import Seen
from onnx2snn.converter.recipes.options import Options
from onnx2snn.errors import UsageError
from onnx2snn.reports.comparison import auto_text
from onnx2snn.runtime import graph as snn


def labels() -> np.ndarray:
    return samples("y_calib").ravel().astype(np.int64)


def weigh(count: int = 160, **options: Any) -> Selection:
    given_labels = options.pop("labels", None)
    return choose(
        ann("digits_mlp"),
        samples()[:count],
        Options(recipe="auto", **options),
        labels=None if given_labels is None else given_labels[:count],
    )


@pytest.fixture(scope="module")
def found() -> Selection:
    return weigh(320, steps=16, max_drop=0.0)


def test_the_first_kind_within_the_limit_is_taken_and_all_candidates_are_listed(
    found: Selection,
) -> None:
    assert found.within
    assert found.chosen.drop <= 0.0
    assert found.chosen.recipe == "binary"
    meta = found.conversion.graph.meta
    assert (meta["recipe"], meta["T"]) == ("binary", found.chosen.T)
    listed = meta["auto"]["candidates"]
    assert len(listed) == len(found.candidates)
    assert [c["within"] for c in listed] == [max(c["expected"], c["drop"]) <= 0.0 for c in listed]
    assert meta["auto"]["measure"] == "agreement"
    weighed = {c.recipe for c in found.candidates}
    told = " ".join(meta["auto"]["left_out"])
    assert all(kind.recipe in weighed or kind.recipe in told for kind in KINDS)
    waiting = {kind.recipe for kind in KINDS if kind.window}
    assert all(c.latency == c.T for c in found.candidates if not c.lag and c.recipe not in waiting)
    assert all(c.latency > c.T for c in found.candidates if c.recipe in waiting)
    # They are not dearer for a chip in every respect: fewer spikes than whatever was found before.
    assert waiting <= weighed
    assert meta["auto"]["best"]["spikes"]["recipe"] == "ttfs"


def test_one_step_less_is_over_the_limit_and_was_tried(found: Selection) -> None:
    chosen = found.chosen
    assert chosen.T > 1
    fewer = [c for c in found.candidates if (c.recipe, c.lag) == ("binary", 0) and c.T < chosen.T]
    assert max(c.T for c in fewer) == chosen.T - 1
    assert not any(c.within for c in fewer)


def test_a_lag_is_at_most_half_the_steps_and_is_in_the_latency() -> None:
    kinds = (Kind(recipe="binary", lagged=True),)
    options = Options(recipe="auto", steps=8, max_drop=-1.0)
    found = choose(ann("digits_mlp"), samples()[:48], options, kinds=kinds)
    populations = len(found.conversion.lowered.of(snn.Population))
    assert [(c.T, c.lag) for c in found.candidates] == [(4, 2), (8, 4)]
    assert all(c.latency == c.T + populations * c.lag for c in found.candidates)
    assert found.conversion.graph.meta["lag"] == found.chosen.lag


def test_each_preference_takes_the_best_of_what_is_within(found: Selection) -> None:
    best = found.conversion.graph.meta["auto"]["best"]
    assert set(best) == set(PREFERENCES) == set(RANKING)
    within = [c for c in found.candidates if c.within]
    assert best["steps"]["T"] == min(c.T for c in within)
    for name, key in (("latency", "latency"), ("spikes", "spikes_per_neuron")):
        assert best[name][key] <= found.chosen.__dict__[key]
    least = min(within, key=lambda c: c.energy_pj)
    assert best["energy"]["energy_pj"] == least.energy_pj
    for c in found.candidates:  # graded spikes alone are multiplied with weights
        each = 4.6 if c.recipe == "graded" else 0.9
        assert c.energy_pj == pytest.approx(each * c.synops_per_sample + 4.6 * c.macs_per_sample)
    shown = auto_text(found.conversion.graph.meta["auto"]).splitlines()
    head = next(n for n, line in enumerate(shown) if line.startswith("recipe "))
    column = shown[head].index("lag")
    for line, c in zip(shown[head + 2 :], found.candidates, strict=False):
        assert line.split()[0] == c.recipe
        assert (line[column : column + 3].strip() == "") == (c.recipe in ("few-spike", "ttfs"))
    fewest = weigh(320, steps=16, max_drop=0.0, prefer="steps")
    assert best["steps"]["T"] == fewest.chosen.T
    assert fewest.conversion.graph.meta["recipe"] == best["steps"]["recipe"]


def test_with_labels_a_candidate_is_judged_by_the_accuracy_it_loses() -> None:
    found = weigh(steps=4, max_drop=0.0, labels=labels())
    assert found.conversion.graph.meta["auto"]["measure"] == "accuracy"
    # Wrong labels for all: nobody can lose, so the first candidate is within.
    wrong = weigh(steps=4, max_drop=0.0, labels=np.full(len(labels()), 99))
    assert all(c.drop == 0 for c in wrong.candidates)
    assert all(c.expected >= 0 for c in wrong.candidates)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)), min_size=2),
)
def test_the_drop_is_that_of_a_plain_count(rows: list[tuple[int, int, int]]) -> None:
    one_hot = np.eye(3, dtype=np.float32)
    ours, anns, truth = (np.array(column) for column in zip(*rows, strict=True))
    wanted, got = {"out": one_hot[anns]}, {"out": one_hot[ours]}
    drop, low, high = auto_judge.drop_of(wanted=wanted, got=got, labels=truth)
    right = [sum(a == t for a, t in zip(c, truth, strict=True)) for c in (anns, ours)]
    assert drop == pytest.approx(100 * (right[0] - right[1]) / len(rows))
    assert low is not None
    assert high is not None
    assert low - 1e-9 <= drop * len(rows) / (len(rows) + 2) <= high + 1e-9
    assert auto_judge.drop_of(wanted=wanted, got=got, labels=None)[0] == pytest.approx(
        100 * np.mean(ours != anns)
    )


def test_chance_wins_on_few_samples_do_not_make_a_candidate_look_good() -> None:
    # 8 of 66 disagree, one more won than lost: the network is not better than the ANN.
    few = auto_judge.shrunk(-100 / 66, disagreement=100 * 8 / 66, count=66)
    assert 1 < few < 100 * 8 / 66
    # Many samples speak for themselves; where nothing disagrees, nothing is lost.
    assert auto_judge.shrunk(1.0, disagreement=4.0, count=100_000) == pytest.approx(1.0, rel=0.01)
    assert auto_judge.shrunk(0.0, disagreement=0.0, count=66) == 0


def below(a: float, b: float, limit: float) -> float:
    """P(share <= limit) of a Beta(a, b), summed over a fine grid of t = sqrt(share)."""
    t = (np.arange(200_000) + 0.5) / 200_000
    density = t ** (2 * a - 1) * (1 - t**2) ** (b - 1)
    return float(density[t**2 <= limit].sum() / density.sum())


@pytest.mark.parametrize(("apart", "count"), [(0, 40), (0, 300), (1, 100), (3, 100), (8, 500)])
def test_what_is_claimed_of_unseen_data_is_a_posterior(apart: int, count: int) -> None:
    seen = Seen(lost=apart, won=0, apart=apart, count=count)
    alone = confidence((8, seen), limit=1.0, agreement=True)
    assert alone == pytest.approx(below(apart + 0.5, count - apart + 0.5, 0.01), abs=0.02)
    # What was won counts against what was lost, and what neither has right is no loss.
    plain, won, neither = (
        confidence((8, s), limit=1.0, agreement=False)
        for s in (seen, replace(seen, won=4, apart=apart + 4), replace(seen, apart=apart + 4))
    )
    assert alone - 0.02 < plain and neither < won
    assert confidence((8, seen), limit=100.0, agreement=False) == 1.0


def test_candidates_of_one_kind_tell_of_each_other() -> None:
    """Chance let T = 8 pass: half and twice as many steps disagree on a few."""

    def seen(apart: int) -> Seen:
        return Seen(lost=apart, won=0, apart=apart, count=100)

    weighed = {("binary", 4, 0): seen(9), ("binary", 8, 0): seen(0), ("binary", 16, 0): seen(4)}
    steep = {("binary", 4, 0): seen(3), ("binary", 8, 0): seen(0), ("binary", 16, 0): seen(0)}
    other = weighed | {("signed", 8, 0): seen(0), ("binary", 8, 4): seen(0)}
    found = {
        name: claims(these, limit=1.0, agreement=True)
        for name, these in (("doubtful", weighed), ("steep", steep), ("other", other))
    }
    alone = confidence((8, seen(0)), limit=1.0, agreement=True)
    at = ("binary", 8, 0)
    assert found["doubtful"][at] < 0.5 * alone < alone < found["steep"][at] + 0.05
    assert found["other"][at] == found["doubtful"][at]
    assert found["other"]["signed", 8, 0] == found["other"]["binary", 8, 4] == alone


@given(st.integers(1, 300), st.integers(0, 30), st.integers(0, 30))
def test_the_expected_drop_is_never_more_than_the_disagreement(
    count: int, lost: int, won: int
) -> None:
    apart = min(lost + won, count)
    expected = auto_judge.shrunk(
        100 * (lost - won) / count, disagreement=100 * apart / count, count=count
    )
    if apart == lost + won:
        assert expected <= 100 * apart / count + 1e-9


def test_outputs_that_are_no_classes_are_judged_by_their_error() -> None:
    wanted = {"a": np.array([[3.0], [4.0]]), "b": np.ones((2, 5))}
    got = {"a": np.array([[3.0], [4.5]]), "b": np.ones((2, 5))}
    assert auto_judge.measured_by(wanted, np.zeros(2)) == "error"
    drop, low, high = auto_judge.drop_of(wanted=wanted, got=got, labels=np.zeros(2))
    assert drop == pytest.approx(100 * 0.5 / 5)
    assert (low, high) == (None, None)


class Weighed(NamedTuple):
    T: int
    lag: int
    within: bool


class Stub:
    """A search in which T >= ``enough`` and lag >= ``patience`` are within the limit."""

    def __init__(self, enough: int, patience: int = 0, lag: int = 0) -> None:
        self.enough, self.patience = enough, patience
        self.options = Options(lag=lag)
        self.tried: dict[tuple[str, int, int], Weighed] = {}

    def weigh(self, kind: Kind, steps: int, lag: int) -> bool:
        within = steps >= self.enough and lag >= self.patience
        self.tried[kind.recipe, steps, lag] = Weighed(steps, lag, within)
        return within


@given(st.integers(1, 80), st.integers(1, 64), st.sampled_from(KINDS))
def test_the_search_finds_the_fewest_steps_to_an_eighth(enough: int, most: int, kind: Kind) -> None:
    search = Stub(enough)
    hit: Any = auto._smallest(search, kind, most=most, part=8)  # type: ignore[arg-type]
    assert all(steps <= most for steps, _, _ in search.tried.values())
    if enough > most:
        assert hit is None
        return
    least = max(enough, 2) if kind.lagged and most > 1 else enough
    assert hit.T - max(hit.T // 8, 1) < least <= hit.T
    assert len(search.tried) <= 14


@given(st.integers(1, 8), st.integers(0, 8))
def test_the_search_halves_the_lag_as_long_as_it_is_enough(patience: int, given_: int) -> None:
    search = Stub(16, patience, lag=given_)
    kind = Kind(recipe="binary", lagged=True)
    hit: Any = auto._smallest(search, kind, most=16, part=8)  # type: ignore[arg-type]
    most = min(8, given_ or 8)
    assert all(lag <= most for _, lag, _ in search.tried.values())
    if patience > most:
        assert hit is None
        return
    assert patience <= hit[1] <= most
    assert hit[1] // 2 < patience or hit[1] == 1


def test_auto_says_when_nothing_stays_within_the_limit() -> None:
    found = weigh(48, steps=1, max_drop=-1.0)
    assert not found.within
    assert found.chosen.expected == min(max(c.drop, c.expected) for c in found.candidates)
    assert {c.recipe for c in found.candidates} == {k.recipe for k in KINDS}


def test_what_a_recipe_cannot_do_is_left_out_and_said() -> None:
    found = weigh(48, steps=2, max_drop=-1.0, leak=0.01)
    assert "differential" not in {c.recipe for c in found.candidates}
    told = found.conversion.graph.meta["auto"]["left_out"]
    assert any("differential" in reason and "leak" in reason for reason in told)


def test_auto_needs_data_to_judge_on() -> None:
    for calibration in (None, samples()[:4]):
        with pytest.raises(UsageError) as refused:
            choose(ann("digits_mlp"), calibration, Options(recipe="auto"))
        assert refused.value.code == "E113"


def test_a_candidate_that_is_nearly_within_is_converted_again_on_more_samples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(auto, "TRIAL", 24)
    found = weigh(160, steps=8, max_drop=0.0)
    few = [c for c in found.candidates if c.samples == 24]
    more = [c for c in found.candidates if c.samples > 24]
    assert all(c.samples == 160 - 53 for c in more)
    # What stays with few samples is within, or over by more than half its interval.
    assert all(c.within or c.drop > ((c.high or 0) - (c.low or 0)) / 2 for c in few)
    assert few
    assert more


@given(st.integers(1, 40), st.sampled_from(KINDS))
def test_a_second_pass_weighs_only_between_what_the_first_one_weighed(
    enough: int, kind: Kind
) -> None:
    search = Stub(enough)
    first: Any = auto._smallest(search, kind, most=40, part=8)  # type: ignore[arg-type]
    before = list(search.tried.values())
    second: Any = auto._smallest(search, kind, most=first.T, part=8)  # type: ignore[arg-type]
    assert second.T <= first.T
    missed = max((w.T for w in before if not w.within), default=0)
    fresh = [w for w in search.tried.values() if w not in before and w.T != first.T]
    assert all(missed < w.T < first.T for w in fresh if w.lag == first.lag)
