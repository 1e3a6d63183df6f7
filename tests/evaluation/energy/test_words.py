"""What reports say of energy: the sentence, the lines, the JSON entry."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from evaluation.energy.test_verdict import perceptron
from onnx2snn.reports.energy import verdicts

FOUND = perceptron(8, rate=0.05)


def test_the_sentence_says_under_which_models_the_network_needs_less() -> None:
    assert verdicts.lines(FOUND)[0].endswith(
        "the SNN needs less by arithmetic alone, with memory and at the same precision"
    )
    often = verdicts.lines(perceptron(8, rate=0.3))
    assert often[0].endswith("less by arithmetic alone, more with memory and at the same precision")
    assert "in 2 of 2, most in '0' (4.8 times)" in often[4]
    assert "equal at 0.50 spikes per neuron (now 2.40)" in often[3]


def test_a_network_without_spikes_turns_nowhere_and_without_an_ann_nothing_is_said() -> None:
    analog = replace(FOUND, layers={}, macs=10.0 * FOUND.macs_ann)
    assert all(line.endswith("there are no spikes") for line in verdicts.lines(analog)[1:-1])
    assert " 0 accumulates" in verdicts.lines(analog)[-1]
    assert verdicts.lines(replace(FOUND, macs_ann=0)) == []


def test_the_document_has_events_verdicts_and_their_conditions() -> None:
    made = json.loads(json.dumps(verdicts.document(FOUND), allow_nan=False))
    assert made["events"]["synops"] == FOUND.synops
    layers = made["events"]["layers"]
    assert set(layers) == set(FOUND.layers)
    for name in ("synops", "updates", "spikes", "writes"):
        assert made["events"][name] == sum(layer[name] for layer in layers.values())
    events = made["events"]
    assert events["writes"] == pytest.approx(events["updates"] + events["spikes"])
    weights = events["synops"] + events["macs"]
    assert events["reads"] == pytest.approx(weights + events["writes"])
    assert made["bits"] == 4
    assert set(made["models"]) == {"compute", "memory", "precision"}
    for found in made["models"].values():
        assert found["wins"] == (found["ratio"] < 1)
        assert found["low"] <= found["ratio"] <= found["high"]
        assert found["source"] and found["leaves_out"]
