"""Learning rules against loops over single spikes, and against what they promise."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from onnx2snn.errors import UsageError
from onnx2snn.runtime.plasticity import (
    NO_LABEL,
    RULES,
    LayerState,
    LearningEvents,
    PrototypeRule,
    StdpRule,
    frozen_layer,
    responses,
    with_settings,
)

from . import naive

INPUTS, NEURONS, STEPS, SAMPLES = 12, 6, 10, 25


def spikes(seed: int = 0, most: int = 1) -> np.ndarray:
    """(SAMPLES, STEPS, INPUTS): three kinds of samples, each with inputs of its own."""
    rng = np.random.default_rng(seed)
    rates = np.array([np.roll([0.8] * 4 + [0.1] * 8, 4 * (n % 3)) for n in range(SAMPLES)])
    fired = rng.random((SAMPLES, STEPS, INPUTS)) < rates[:, None]
    return fired * rng.integers(1, most + 1, fired.shape).astype(float)


LABELS = np.arange(SAMPLES) % 3
CASES = {
    "stdp": StdpRule(threshold=1.0, total=4.0, rise=0.2),
    "stdp, all of it": StdpRule(
        threshold=1.0, total=4.0, rise=0.5, recovery=0.1, leak=0.1, depression=0.3, offset=0.5
    ),
    "stdp, no depression": StdpRule(threshold=1.0, total=4.0, depression=0.0, x_decay=1.0),
    "prototype": PrototypeRule(threshold=1.0),
    "prototype, all of it": PrototypeRule(
        threshold=0.5, penalty=0.5, novelty=0.25, inhibition=0.5, rate=0.3
    ),
    "prototype, one of a class": PrototypeRule(threshold=0.5, most=1, inhibition=100.0),
}


@pytest.mark.parametrize("most", [1, 3])
@pytest.mark.parametrize("rule", CASES.values(), ids=CASES)
def test_spikes_and_weights_are_those_of_a_loop_over_single_spikes(rule, most):
    state = rule.initial_state(inputs=INPUTS, neurons=NEURONS, seed=3)
    w, threshold, labels = (a.tolist() for a in (state.weight, state.threshold, state.labels))
    total, fired, arrived = LearningEvents(), 0, 0
    for sample, label in zip(spikes(most=most), LABELS, strict=True):
        sent = np.zeros((STEPS, NEURONS))
        total += rule.present(state, sample, int(label), sent=sent)
        if isinstance(rule, StdpRule):
            expected = naive.stdp(rule, w, threshold, sample.tolist())
        else:
            expected = naive.prototype(rule, w, threshold, labels, sample.tolist(), int(label))
        assert [int(row.argmax()) if row.any() else None for row in sent] == expected
        fired += sum(k is not None for k in expected)
        arrived += int((sample != 0).sum())
    assert state.weight.tolist() == w
    assert state.threshold.tolist() == threshold
    assert state.labels.tolist() == labels
    assert (total.spikes_out, total.spikes_in) == (fired, arrived) and fired > SAMPLES / 2
    assert total.synaptic_events == arrived * NEURONS


def test_stdp_gives_neurons_to_kinds_of_samples_and_keeps_the_sum_of_weights():
    rule = CASES["stdp"]
    state = rule.initial_state(inputs=INPUTS, neurons=NEURONS, seed=0)
    for sample in np.concatenate([spikes(1), spikes(2)]):
        rule.present(state, sample, NO_LABEL)
    np.testing.assert_allclose(state.weight.sum(axis=0), rule.total, rtol=1e-12)
    assert (state.threshold > rule.threshold).all()  # every neuron had its turn
    weight, neuron = frozen_layer(rule, state, steps=STEPS, largest=1)
    sent = responses(spikes(5), weight=weight, neuron=neuron)
    by_kind = np.stack([sent[kind == LABELS].sum(axis=0) for kind in range(3)])
    own = by_kind.max(axis=0).sum() / by_kind.sum()
    assert {*by_kind.argmax(axis=0)} == {0, 1, 2} and own > 0.9


def test_updates_count_the_weights_written():
    """One input spike, then one step later: a spike of the layer at the first, none after."""
    rule = StdpRule(threshold=1.0, total=float(INPUTS), depression=0.5, y_decay=0.0)
    state = rule.initial_state(inputs=INPUTS, neurons=NEURONS, seed=0)
    state.weight[...] = 1.0
    sample = np.zeros((2, INPUTS))
    sample[:, 0] = 1
    events = rule.present(state, sample, NO_LABEL)
    # Both steps reach the threshold; a trace of one neuron meets the second incoming spike.
    assert events.spikes_out == 2
    assert events.updates == 2 * INPUTS + 1 + 2 * INPUTS  # at spikes, by depression, by scaling


def test_a_prototype_is_the_sample_and_follows_its_class_with_a_norm_of_one():
    rule = PrototypeRule(threshold=1.0, rate=0.2)
    state = rule.initial_state(inputs=INPUTS, neurons=NEURONS, seed=0)
    first = spikes()[0]
    events = rule.present(state, first, 4)
    x = first.sum(axis=0)
    np.testing.assert_allclose(state.weight[:, 0], x / np.linalg.norm(x), rtol=1e-12)
    assert events.new_neurons == 1 and state.labels.tolist() == [4] + [NO_LABEL] * 5
    for sample in spikes(1)[::3]:
        assert rule.present(state, sample, 4).new_neurons == 0
    assert np.linalg.norm(state.weight[:, 0]) == pytest.approx(1, abs=0.02)
    before = state.weight.copy()
    assert rule.present(state, spikes(7)[1], NO_LABEL).updates == 0  # nobody says what it was
    assert rule.present(state, 0 * first, 2) == LearningEvents()  # nothing arrived
    np.testing.assert_array_equal(state.weight, before)
    assert rule.present(state, spikes(7)[1], 2).new_neurons == 1  # another class: a wrong winner
    np.testing.assert_array_equal(state.weight[:, 0], before[:, 0])  # and nothing is forgotten


def test_a_class_has_at_most_so_many_prototypes_and_late_ones_have_the_threshold_of_their_lesson():
    first = PrototypeRule(threshold=2.0, most=1)
    state = first.initial_state(inputs=INPUTS, neurons=NEURONS, seed=0)
    for sample, label in zip(spikes(), [0, 1, 0, 1, 0, 1], strict=False):  # kinds and labels differ
        first.present(state, sample, label)
    assert state.labels.tolist() == [0, 1] + [NO_LABEL] * 4
    late = replace(first, threshold=1.5)
    assert late.present(state, spikes()[2], 7).new_neurons == 1
    assert state.labels.tolist() == [0, 1, 7] + [NO_LABEL] * 3
    assert state.threshold[:3].tolist() == [2.0, 2.0, 1.5]


@pytest.mark.parametrize("rule", CASES.values(), ids=CASES)
def test_the_frozen_layer_sends_the_spikes_of_the_rule_that_does_not_learn(rule):
    state = rule.initial_state(inputs=INPUTS, neurons=NEURONS, seed=3)
    for sample, label in zip(spikes(), LABELS, strict=True):
        rule.present(state, sample, int(label))
    still = {"potentiation": 0.0, "depression": 0.0, "rise": 0.0, "recovery": 0.0, "leak": 0.0}
    if isinstance(rule, StdpRule):  # a leak leaves the grid
        rule = replace(rule, **still)
    weight, neuron = frozen_layer(rule, state, steps=STEPS, largest=3)
    rounded = LayerState(
        weight=weight.T.astype(float), threshold=neuron.v_threshold, labels=state.labels
    ).copy()
    plain = replace(rule, novelty=0.0) if isinstance(rule, PrototypeRule) else rule
    expected = []
    for sample in spikes(9, most=3):
        sent = np.zeros((STEPS, NEURONS))
        again = rounded.copy()
        plain.present(again, sample, NO_LABEL, sent=sent)
        expected.append(sent.sum(axis=0))
    found = responses(spikes(9, most=3), weight=weight, neuron=neuron)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(weight.T, rule.effective(state.weight), atol=2e-5)


# What is chosen


def test_every_rule_has_a_name_help_and_limits_of_its_parameters():
    for name, rule in RULES.items():
        assert rule.name == name and rule.summary and rule().name == name
        for field in fields(rule):
            assert field.metadata["help"], field.name
            with pytest.raises(UsageError, match=f"'{field.name}' of the rule '{name}' is") as e:
                rule(**{field.name: -1.0})
            assert e.value.code == "E131"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"potentation": "1"}, "Did you mean 'potentiation'"),
        ({"rise": "much"}, "is a number, got 'much'"),
        ({"rise": "nan"}, "at least 0"),
        ({"leak": "1"}, "at most 0.999"),
        ({"total": "0"}, "above 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values, said):
    with pytest.raises(UsageError, match=said) as e:
        with_settings(StdpRule, values)
    assert e.value.code == "E131"


def test_settings_change_what_is_named_and_keep_the_rest():
    rule = with_settings(StdpRule(rise=0.7), {"leak": "0.25"})
    assert (rule.leak, rule.rise) == (0.25, 0.7)
