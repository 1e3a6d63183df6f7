"""Recipe auto and conversion without data."""

from __future__ import annotations

import numpy as np
import pytest
from digits_nets import ann, answers, logit_error, lowered, samples
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx2snn.converter.auto import choose
from onnx2snn.converter.convert import Options, convert
from onnx2snn.converter.datafree import ASSUMPTION, assumed_statistics, rectified
from onnx2snn.errors import UsageError
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime.engine import simulate


def test_auto_takes_the_fewest_steps_within_the_limit_and_lists_what_it_tried() -> None:
    options = Options(recipe="auto", steps=16, max_drop=3.0)
    found = choose(ann("digits_mlp"), samples()[:200], options, ladder=(1, 2, 4, 8))
    assert found.within and found.chosen.drop <= 3.0
    tried = [(c.recipe, c.T) for c in found.candidates]
    assert tried[0] == ("binary", 1)
    assert (found.chosen.recipe, found.chosen.T) == tried[-1]
    assert all(c.drop > 3.0 for c in found.candidates[:-1])
    meta = found.conversion.graph.meta
    assert meta["recipe"] == found.chosen.recipe and meta["T"] == found.chosen.T
    assert len(meta["auto"]["candidates"]) == len(tried)


def test_auto_says_when_nothing_stays_within_the_limit() -> None:
    options = Options(recipe="auto", steps=1, max_drop=-1.0)
    found = choose(ann("digits_mlp"), samples()[:48], options, recipes=("binary", "signed"))
    assert not found.within
    assert found.chosen.drop == min(c.drop for c in found.candidates)


def test_auto_needs_data_to_judge_on() -> None:
    for calibration in (None, samples()[:4]):
        with pytest.raises(UsageError) as refused:
            convert(ann("digits_mlp"), calibration, Options(recipe="auto"))
        assert refused.value.code == "E113"


@settings(max_examples=20, deadline=None)
@given(mean=st.floats(-3, 3), deviation=st.floats(0.1, 3))
def test_moments_of_a_rectified_gaussian_are_those_of_draws(mean: float, deviation: float) -> None:
    draws = np.maximum(np.random.default_rng(0).normal(mean, deviation, 200_000), 0)
    first, second = rectified(np.array([mean]), np.array([deviation**2]))
    assert first[0] == pytest.approx(draws.mean(), abs=0.02 * deviation)
    assert second[0] == pytest.approx(draws.var(), abs=0.05 * deviation**2)


def test_assumed_statistics_are_those_of_normal_inputs_in_the_first_layer() -> None:
    graph = lowered("digits_mlp")
    stats = assumed_statistics(graph)
    first = graph.of(snn.Population)[0]
    x = np.random.default_rng(0).standard_normal((4000, *samples().shape[1:])).astype(np.float32)
    linear = next(n for n in graph.of(snn.Synapse) if hasattr(n.op, "weight"))
    z = x.reshape(4000, -1) @ linear.op.weight.T + first.bias  # type: ignore[union-attr]
    np.testing.assert_allclose(
        stats[first.name].mean, np.maximum(z, 0).mean(axis=0), atol=0.05 * z.std()
    )


def test_conversion_without_data_works_at_many_steps_and_says_what_it_assumed() -> None:
    network = convert(ann(), None, Options(steps=64)).graph
    assert ASSUMPTION in network.meta["notes"]
    result = simulate(network, samples("x_test"), 64, at=[64])
    got = next(iter(result.readouts.values()))[-1].argmax(axis=-1)
    assert (got == answers("digits_cnn").argmax(axis=-1)).mean() > 0.9
    assert logit_error(steps=64) < logit_error_of(result)


def logit_error_of(result: object) -> float:
    got = next(iter(result.readouts.values()))[-1]  # type: ignore[attr-defined]
    wanted = answers("digits_cnn")
    return float(((got - wanted) ** 2).mean() / wanted.var())
