"""What a converted network remembers: one record, written and read in one place."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from click.testing import CliRunner
from places import FIXTURES, MODELS

import onnx2snn
from onnx2snn import Preprocessing
from onnx2snn.cli import main
from onnx2snn.cli.help.spelling import as_typed
from onnx2snn.diagnosis.remedies import Kind, Remedy
from onnx2snn.diagnosis.trials import Family, Trial
from onnx2snn.errors import ModelError
from onnx2snn.provenance import KEYS, Provenance
from onnx2snn.reports.remedies import REMEDIES, TRIALS, remedy_text, trial_text
from onnx2snn.runtime.graph import SpikingGraph
from onnx2snn.spelling import spelled_by

MLP, DATA = MODELS / "digits_mlp.onnx", MODELS / "digits.npz"
PRE = Preprocessing(scale=16.0, layout="NHWC")


@cache
def network(calibrated: bool = True, **options: Any) -> SpikingGraph:
    model = onnx2snn.load_onnx(MLP)
    calib = onnx2snn.load_samples(f"{DATA}:x_calib", model, PRE, limit=64)
    return onnx2snn.convert(model, calib if calibrated else None, steps=8, **options)


def edited(**meta: Any) -> SpikingGraph:
    return replace(network(), meta={**network().meta, **meta})


def as_version_0_1_wrote_it(net: SpikingGraph) -> SpikingGraph:
    """Without the keys that came later."""
    later = ("calibrated", "assumed", "versions")
    return replace(net, meta={k: v for k, v in net.meta.items() if k not in later})


def test_the_file_has_every_field_as_a_key_and_gives_the_same_record_back(tmp_path: Path) -> None:
    onnx2snn.save(network(), tmp_path / "net.onnx")
    read = onnx2snn.load(tmp_path / "net.onnx")
    made = Provenance.of(read)
    assert read.meta == network().meta == made.to_json()
    assert set(KEYS.values()) - {"auto", "learned", "finetuned"} <= set(read.meta)
    assert (made.recipe, made.steps, made.lag, made.calibrated, made.assumed) == (
        *("binary", 8, 0),
        *(True, False),
    )
    assert made.calibration is not None and made.calibration.samples == 64
    assert made.source is not None and made.source.path == "digits_mlp.onnx"
    assert made.preprocessing is not None
    assert (made.preprocessing.scale, made.preprocessing.layout) == (16.0, "NHWC")
    assert made.versions is not None and made.versions["numpy"] == np.__version__


@pytest.mark.parametrize(
    ("options", "calibrated", "assumed"),
    [({}, True, False), ({"tune": False}, False, False), ({"calibrated": False}, False, True)],
)
def test_files_of_the_last_version_are_read_as_they_were(
    options: dict[str, Any], calibrated: bool, assumed: bool
) -> None:
    net = network(**options)
    for made in (Provenance.of(net), Provenance.of(as_version_0_1_wrote_it(net))):
        assert (made.calibrated, made.assumed) == (calibrated, assumed)


def test_no_sentence_decides_anything() -> None:
    """Notes are for people: with other notes a network is the same."""
    lies = ["converted without data: not at all", "calibrated in the spiking loop: not at all"]
    for net in (network(), network(calibrated=False), network(tune=False)):
        told = Provenance.of(net).to_json()
        for notes in ([], lies):
            other = Provenance.of(replace(net, meta={**net.meta, "notes": notes}))
            assert other.to_json() == {**told, "notes": notes}


def test_a_graph_that_says_nothing_of_itself_is_read_as_that() -> None:
    made = Provenance.of(replace(network(), meta={"mine": 1}))
    assert (made.calibrated, made.assumed, made.steps) == (None, False, None)
    assert made.to_json()["mine"] == 1


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ({"left_out": 5}, "'left_out' is 5, not an object"),
        ({"left_out": {"y": 5}}, "'left_out/y' is 5, not a list of texts"),
        ({"T": "8"}, "'T' is '8', not of type int"),
        ({"T": True}, "'T' is True, not of type int"),
        ({"preprocesing": {}}, "no key 'preprocesing'.*Did you mean 'preprocessing'"),
        ({"notes": "one"}, "'notes' is not a list of texts"),
        ({"options": {"stepps": 8}}, "'options' has no 'stepps'.*Did you mean 'steps'"),
        ({"calibration": {"source": "x"}}, "'calibration' lacks one of source, samples"),
        ({"calibration": {"source": "x", "sample": 1}}, "no 'sample'.*Did you mean 'samples'"),
        ({"thresholds": {"a": {"median": 1.0}}}, "'thresholds/a' lacks one of median, reach"),
        ({"thresholds": [1]}, r"'thresholds' is \[1\], not an object"),
        ({"preprocessing": {"scal": 255}}, "no 'scal'.*Did you mean 'scale'"),
        ({"preprocessing": {"scale": "255"}}, "'scale' is '255'"),
        ({"preprocessing": {"mean": 0.5}}, "'mean' is 0.5"),
        ({"preprocessing": {"layout": "HWC"}}, "layout"),
        ({"preprocessing": {"scale": -1}}, "greater than 0"),
    ],
)
def test_an_edited_file_is_refused_with_what_is_wrong(
    meta: dict[str, Any], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "edited.onnx"
    onnx2snn.save(edited(**meta), path)
    with pytest.raises(ModelError, match=f"edited.onnx.*{said}") as error:
        onnx2snn.load(path)
    assert error.value.code == "E323"
    done = CliRunner().invoke(main, ["run", str(path), "--data", f"{DATA}:x_test"])
    assert done.exit_code == 2 and done.stderr.startswith("error E323: ")


def test_a_file_without_t_is_not_run_for_a_guessed_one(tmp_path: Path) -> None:
    path = tmp_path / "silent.onnx"
    onnx2snn.save(replace(network(), meta={"preprocessing": PRE.to_json()}), path)
    arguments = ["run", str(path), "--data", f"{DATA}:x_test", "--samples", "2"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2 and "does not say for how many time steps" in done.stderr
    assert CliRunner().invoke(main, [*arguments, "-T", "2"]).exit_code == 0
    done = CliRunner().invoke(main, ["place", str(path), "--target", "truenorth"])
    assert done.exit_code == 2 and "does not say for how many time steps" in done.stderr


def test_every_kind_of_remedy_and_of_trial_has_its_words() -> None:
    assert set(REMEDIES) == set(get_args(Kind)) and set(TRIALS) == set(get_args(Family))
    texts = [remedy_text(Remedy(kind, 4, other=8)) for kind in get_args(Kind)]
    assert len(set(texts)) == len(texts)
    assert remedy_text(Remedy("lag", 4)) == "lag=4"
    with spelled_by(as_typed(main.commands.values())):
        assert [remedy_text(Remedy(kind, 4)) for kind in ("lag", "raise", "lower")] == [
            "--lag 4",
            "raise it (--method max, or --method percentile --percentile 99.99)",
            "lower it (--method mmse -T 4)",
        ]
    trial = Trial(family="graded", value=15, before=1.0, after=0.5, samples=1)
    assert trial_text(trial) == "up to 15 signed levels per spike"


def test_external_weights_are_part_of_what_was_converted(tmp_path: Path) -> None:
    for name in ("external_data.onnx", "external_data.bin"):
        (tmp_path / name).write_bytes((FIXTURES / name).read_bytes())
    model = onnx2snn.load_onnx(tmp_path / "external_data.onnx")
    onnx2snn.save(onnx2snn.convert(model, None, steps=4), tmp_path / "net.onnx")
    source = Provenance.of(onnx2snn.load(tmp_path / "net.onnx")).source
    assert source is not None and source.same_as(model)
    content = (tmp_path / "external_data.bin").read_bytes()
    assert source.weights_sha256 == hashlib.sha256(content).hexdigest()
    weights = np.frombuffer(content, np.float32).copy()
    weights[0] += 1
    weights.tofile(tmp_path / "external_data.bin")  # the .onnx file is the same to the byte
    assert not source.same_as(onnx2snn.load_onnx(tmp_path / "external_data.onnx"))
    assert replace(source, weights_sha256=None).same_as(model)  # of an earlier version
    assert set(network().meta["source"]) == {"path", "sha256"}
