"""Weight coding: what axons can say, and that fitting never makes it worse."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx2snn.errors import UsageError
from onnx2snn.hwtargets.fitting.feedback import Feedback
from onnx2snn.hwtargets.truenorth.compile.coding import (
    CODINGS,
    coding_of,
    encode,
)
from onnx2snn.hwtargets.truenorth.compile.fit import phases_of
from onnx2snn.hwtargets.truenorth.compile.measured import View


@pytest.mark.parametrize("name", sorted(CODINGS))
def test_planes_add_up_to_their_levels(name):
    coding = coding_of(name)
    levels = np.arange(coding.lowest, coding.highest + 1)
    planes = coding.planes(levels)
    assert planes.shape == (coding.axons, len(levels))
    np.testing.assert_array_equal(np.array(coding.multipliers) @ planes, levels)


@pytest.mark.parametrize("axons", [2, 3, 4])
def test_axons_reach_exactly_the_levels_that_subsets_of_their_weights_reach(axons):
    coding = coding_of(f"axons{axons}")
    sums = {np.dot(coding.multipliers, s) for s in product((0, 1), repeat=axons)}
    assert sums == set(range(coding.lowest, coding.highest + 1))


def _problem(seed, outs=6, ins=12, rows=200):
    rng = np.random.default_rng(seed)
    x = np.maximum(rng.normal(size=(rows, 4)) @ rng.normal(size=(4, ins)), 0)
    return rng.normal(size=(outs, ins)), x


def _error(weights, levels, delta, x):
    return (((weights - levels * delta[:, None]) @ x.T) ** 2).mean(axis=1)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(CODINGS)))
def test_levels_are_in_range_and_the_fit_beats_rounding_on_correlated_inputs(seed, name):
    coding = coding_of(name)
    weights, x = _problem(seed)
    moments = x.T @ x / len(x)
    plain, plain_delta = encode(weights, coding, None)
    levels, delta = encode(weights, coding, moments)
    assert levels.min() >= coding.lowest and levels.max() <= coding.highest
    assert (delta > 0).all()
    fitted, rounded = _error(weights, levels, delta, x), _error(weights, plain, plain_delta, x)
    assert fitted.sum() <= rounded.sum() * 1.02


def test_weights_on_the_grid_are_coded_exactly():
    rng = np.random.default_rng(0)
    levels = rng.integers(-8, 8, (5, 40))
    levels[:, 0] = -8
    weights = levels * rng.uniform(0.1, 2, (5, 1))
    found, delta = encode(weights, coding_of("axons4"), None)
    np.testing.assert_allclose(found * delta[:, None], weights, rtol=0.05, atol=0.05)


def test_more_axons_code_better():
    weights, x = _problem(3, outs=20, ins=60)
    moments = x.T @ x / len(x)
    errors = [
        _error(weights, *encode(weights, coding_of(n), moments), x).sum()
        for n in ("ternary", "axons3", "axons4")
    ]
    assert errors[0] > errors[1] > errors[2]


def test_an_unknown_coding_is_refused_by_name():
    with pytest.raises(UsageError, match=r"base 3.*axons4"):
        coding_of("base 3")


@pytest.mark.parametrize(("parts", "copies"), [(2, 1), (8, 1), (5, 2), (16, 3)])
def test_partial_sums_of_like_rates_do_not_fire_in_step(parts, copies):
    phases = phases_of(parts, copies=copies).reshape(parts * copies, 1)
    for rate in (0.07, 0.31, 0.5, 0.93):
        counted = np.floor(phases + rate * np.arange(1, 200)).sum(axis=0)
        exact = parts * copies * rate * np.arange(1, 200)
        assert np.abs(counted - exact).max() <= 0.5 + 1e-9  # all in one phase: parts * copies / 2


def _view(seed, outs=5, ins=20, rows=150):
    """A group's inputs as measured, and as they should have been: (view, weights)."""
    weights, x = _problem(seed, outs, ins, rows)
    disturbed = x * np.random.default_rng(seed + 1).uniform(0.6, 1.2, ins)
    view = View(disturbed, x @ weights.T)
    return view, weights


@pytest.mark.parametrize("seed", range(4))
def test_weights_are_corrected_for_what_the_layers_before_send(seed):
    view, weights = _view(seed)

    def missing(of):
        off = view.y - view.x @ of.T
        return ((off - off.mean(axis=0)) ** 2).mean()

    corrected = view.corrected(weights)
    assert missing(corrected) < 0.7 * missing(weights)
    exact = View(view.x, view.x @ weights.T)
    np.testing.assert_allclose(exact.corrected(weights), weights, atol=1e-12)


def test_silent_inputs_keep_their_weights():
    view, weights = _view(0)
    x = view.x.copy()
    x[:, 3] = 0
    corrected = View(x, view.y).corrected(weights)
    np.testing.assert_array_equal(corrected[:, 3], weights[:, 3])
    nothing = View(np.zeros_like(x), view.y).corrected(weights)
    np.testing.assert_array_equal(nothing, weights)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(CODINGS)))
def test_no_single_level_could_be_better(seed, name):
    coding = coding_of(name)
    weights, x = _problem(seed)
    moments = x.T @ x / len(x) + 0.05 * np.eye(x.shape[1])
    start, delta = encode(weights, coding, None)
    feedback = Feedback(moments)
    settled = feedback.settled(weights, coding.levels, delta=delta, first=start)
    assert settled.min() >= coding.lowest and settled.max() <= coding.highest

    def errors(levels):
        off = weights - levels * delta[:, None]
        return np.einsum("of,fg,og->o", off, feedback.damped, off)

    best = errors(settled)
    assert (best <= errors(start) + 1e-9).all()
    for i, step in product(range(weights.shape[1]), (-1, 1)):
        other = settled.copy()
        other[:, i] = np.clip(other[:, i] + step, coding.lowest, coding.highest)
        assert (errors(other) >= best * (1 - 1e-9) - 1e-9).all()


@pytest.mark.parametrize("name", CODINGS)
def test_weights_too_small_for_the_threshold_field_become_zeros(name):
    """In units of its own scale the threshold of a nearly dead channel would pass 18 bits."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(3, 20)) * np.array([[1.0], [1e-7], [1e-3]])
    x = rng.random((200, 20))
    for moments in (None, x.T @ x / 200):
        levels, delta = encode(weights, CODINGS[name], moments, 1e-5)
        assert (delta >= 1e-5).all() and not levels[1].any()
        free = encode(weights, CODINGS[name], moments)
        np.testing.assert_array_equal(levels[[0, 2]], free[0][[0, 2]])
