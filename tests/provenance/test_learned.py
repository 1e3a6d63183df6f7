"""Learning as a user has it: the verb and the function, what they refuse, what the file keeps."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from places import MODELS

import onnx2snn
from onnx2snn import Preprocessing, Samples
from onnx2snn.cli import main
from onnx2snn.diagnosis import diagnose
from onnx2snn.errors import DataError, ModelError, UsageError
from onnx2snn.provenance import Provenance
from onnx2snn.questions.made import ask_of_overlap
from onnx2snn.runtime.graph import PlasticSynapse, SpikingGraph

DATA = MODELS / "digits.npz"
PRE = Preprocessing(scale=16.0, layout="NHWC")


@cache
def network() -> SpikingGraph:
    model = onnx2snn.load_onnx(MODELS / "digits_mlp.onnx")
    return onnx2snn.convert(
        model, onnx2snn.load_samples(f"{DATA}:x_calib", model, PRE, limit=64), steps=8
    )


@cache
def data(split: str = "calib") -> Samples:
    return onnx2snn.load_samples(f"{DATA}:x_{split},y_{split}", network())


def accuracy(made: SpikingGraph, samples: Samples) -> float:
    found = onnx2snn.evaluate(made, samples, 8).points[-1].accuracy
    assert found is not None
    return found


def classes(samples: Samples, *which: int, each: int | None = None) -> Samples:
    rows = [np.flatnonzero(samples.labels == c)[:each] for c in which]
    return samples.at(np.concatenate(rows))


def test_neurons_without_labels_while_they_learn_name_digits_afterwards() -> None:
    done = onnx2snn.learn(network(), data(), rule="stdp", neurons=50, passes=2)
    assert done.classes == 10 and done.new_classes == () and done.named > 25
    assert accuracy(done.network, data()) == done.accuracy > 0.9
    assert accuracy(done.network, data("test")) > 0.85
    unlabelled = Samples(arrays=data().arrays, labels=None, preprocessing=PRE, source="more.npz:x")
    more = onnx2snn.learn(done.network, unlabelled, passes=1)
    assert more.accuracy is None and more.events.updates > 0
    before, after = (n.of(PlasticSynapse)[0].state for n in (done.network, more.network))
    np.testing.assert_array_equal(before.labels, after.labels)
    assert (before.weight != after.weight).any()


def test_a_class_is_learned_later_from_a_few_samples_and_the_others_are_kept() -> None:
    old = onnx2snn.learn(network(), classes(data(), *range(8)), rule="prototype", neurons=100)
    known, new = classes(data("test"), *range(8)), classes(data("test"), 8, 9)
    before = accuracy(old.network, known)
    assert before > 0.9 and accuracy(old.network, new) == 0
    late = onnx2snn.learn(old.network, classes(data(), 8, 9, each=5))
    assert (old.lost_classes, late.lost_classes) == ((8, 9), ())
    assert late.new_classes == (8, 9) and late.events.new_neurons >= 2
    assert accuracy(late.network, new) > 0.6
    assert accuracy(late.network, known) > before - 0.1
    sessions = Provenance.of(late.network).learned
    assert sessions is not None
    assert [(s.rule, s.samples) for s in sessions] == [
        ("prototype", len(classes(data(), *range(8)))),
        ("prototype", 10),
    ]


def test_more_classes_than_the_model_has_widen_the_output() -> None:
    samples = data().section(0, 20)
    shifted = Samples(
        arrays=samples.arrays, labels=samples.labels + 5, preprocessing=PRE, source="x"
    )
    done = onnx2snn.learn(network(), shifted, rule="prototype", neurons=30)
    assert done.classes == int(shifted.labels.max()) + 1 > 10
    assert set(done.new_classes) == {c for c in shifted.labels.tolist() if c >= 10}


def test_the_verb_writes_a_network_that_runs_and_goes_on_learning(tmp_path: Path) -> None:
    first, second = tmp_path / "a.snn.onnx", tmp_path / "b.snn.onnx"
    onnx2snn.save(network(), tmp_path / "net.snn.onnx")
    few = ["--data", f"{DATA}:x_calib,y_calib", "--samples", "40", "--json"]
    options = ["--rule", "stdp", "--neurons", "20", "--passes", "2", "--set", "rise=0.5"]
    found = _json("learn", tmp_path / "net.snn.onnx", *few, *options, "-o", first)
    assert found["schema"] == "onnx2snn.learn/1" and found["settings"]["rise"] == 0.5
    assert found["events"]["synaptic_events"] == 20 * found["events"]["spikes_in"]
    again = _json("learn", first, *few, "-o", second)
    assert again["settings"] == found["settings"] and len(again["learned"]) == 2
    ran = _json("run", second, *few)
    assert ran["points"][-1]["accuracy"] == again["accuracy_on_learned"]
    assert ran["runs_on"][0].startswith("no chip known")  # whatever the recipe of the rest needs
    text = _invoke("learn", first, *few[:-1], "-o", second).stdout
    assert "weights written" in text and f"next: onnx2snn run {second} --data " in text
    assert text.endswith("x_test,y_test\n")  # not those that it learned from


def _invoke(*words: object):
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done


def _json(*words: object):
    return json.loads(_invoke(*words).stdout)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ({}, "E130", "a learning rule is needed"),
        ({"rule": "sdtp"}, "E130", "Did you mean 'stdp'"),
        ({"rule": "stdp", "settings": {"rize": 1}}, "E131", "Did you mean 'rise'"),
        ({"rule": "stdp", "at": "nowhere"}, "E132", "'nowhere' is not in the network"),
        ({"rule": "stdp", "steps": 0}, "E110", "at least 1"),
        ({"rule": "stdp", "neurons": 0}, "E100", "at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused(options, code, said) -> None:
    with pytest.raises(UsageError, match=said) as e:
        onnx2snn.learn(network(), data(), **options)
    assert e.value.code == code


@pytest.mark.parametrize("rule", ["stdp", "prototype"])
@pytest.mark.parametrize(("labels", "said"), [(None, "no labels"), ([0.5] * 20, "no class")])
def test_labels_that_are_missing_or_no_classes_are_refused(rule, labels, said) -> None:
    samples = Samples(
        arrays=data().section(0, 20).arrays,
        labels=None if labels is None else np.array(labels),
        preprocessing=PRE,
        source="new.npz:x",
    )
    with pytest.raises(DataError, match=said) as e:
        onnx2snn.learn(network(), samples, rule=rule)
    assert e.value.code == "E244"


def test_a_network_that_has_learned_keeps_its_rule_and_layer() -> None:
    done = onnx2snn.learn(network(), data().section(0, 9), rule="prototype", neurons=9)
    for options, code in (({"rule": "stdp"}, "E130"), ({"neurons": 8}, "E133")):
        with pytest.raises(UsageError) as e:
            onnx2snn.learn(done.network, data().section(0, 9), **options)
        assert e.value.code == code
    assert onnx2snn.learn(done.network, data().section(0, 9), neurons=9).neurons == 9


def test_samples_that_it_learned_from_and_the_model_itself_do_not_judge_it() -> None:
    done = onnx2snn.learn(network(), data("test").section(0, 40), rule="prototype", neurons=30)
    again, other = data("test").section(0, 40), data("test").section(100, 140)
    (asked,) = ask_of_overlap(again, done.network)
    assert asked.code == "W430" and "learned from" in asked.what
    assert not list(ask_of_overlap(other, done.network))
    model = onnx2snn.load_onnx(MODELS / "digits_mlp.onnx")
    for compare in (
        lambda: onnx2snn.onnx_ann(model, done.network),
        lambda: diagnose(model, done.network, again, 8),
    ):
        with pytest.raises(ModelError, match="rule 'prototype'") as e:
            compare()
        assert e.value.code == "E329"
