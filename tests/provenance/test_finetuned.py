"""Fine-tuning as users have it: the verb and the function, what they refuse, what files keep."""

from __future__ import annotations

import inspect
import json
import sys
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pages
import pytest
from click.testing import CliRunner
from places import DOCS, MODELS

import onnx2snn
from onnx2snn import Preprocessing, Samples
from onnx2snn.cli import main
from onnx2snn.converter.finetuning.settings import Settings
from onnx2snn.converter.lowering.grid import is_exact
from onnx2snn.diagnosis import diagnose
from onnx2snn.errors import DataError, GraphError, UsageError
from onnx2snn.provenance import Provenance
from onnx2snn.questions.made import ask_of_overlap
from onnx2snn.runtime.graph import Population, SpikingGraph
from onnx2snn.runtime.semantics.analog import run_analog

DATA = MODELS / "digits.npz"
PRE = Preprocessing(scale=16.0, layout="NHWC")
FEW = {"epochs": 8, "rate": 0.005, "hold_out": 0.4, "threads": 1}


@cache
def network() -> SpikingGraph:
    """Converted for too few steps, without calibration in the loop: there is something to win."""
    model = onnx2snn.load_onnx(MODELS / "digits_mlp.onnx")
    calibration = onnx2snn.load_samples(f"{DATA}:x_calib", model, PRE, limit=64)
    return onnx2snn.convert(model, calibration, steps=1, tune=False, method="max")


@cache
def data(split: str = "calib") -> Samples:
    return onnx2snn.load_samples(f"{DATA}:x_{split},y_{split}", network())


def unlabelled() -> Samples:
    return replace(data(), labels=None)


def accuracy(made: SpikingGraph, samples: Samples) -> float:
    found = onnx2snn.evaluate(made, samples, 1).points[-1].accuracy
    assert found is not None
    return found


def test_the_signature_is_the_record_of_settings() -> None:
    given = inspect.signature(onnx2snn.finetune).parameters
    for field in fields(Settings):
        assert given[field.name].default == field.default, field.name


@pytest.mark.parametrize("labelled", [True, False])
def test_a_network_wins_back_what_few_steps_lose(labelled: bool) -> None:
    pytest.importorskip("torch")
    samples = data() if labelled else unlabelled()
    done = onnx2snn.finetune(network(), samples, **FEW)
    assert not done.kept and (done.samples, done.held_back, done.seen) == (192, 128, 26)
    scores = [p.accuracy if labelled else p.agreement for p in (done.before, done.after)]
    assert scores[1] > scores[0] + 0.05
    assert accuracy(done.network, data("test")) > accuracy(network(), data("test")) + 0.05
    # What was judged is what is written, on its grid, in every epoch.
    judged = [done.history[n].held_score for n in (0, done.best)]
    assert judged == pytest.approx(scores)
    assert is_exact(done.network)
    made = Provenance.of(done.network)
    assert made.steps == 1 and made.finetuned is not None
    (session,) = made.finetuned
    assert (session.score_before, session.score) == tuple(scores)
    assert (session.labels, session.samples, session.epochs) == (labelled, 192, 8)
    assert session.settings["rate"] == 0.005 and session.source == "digits.npz:x_calib,y_calib"
    x = data("test").section(0, 32).whole()
    for name, values in run_analog(network(), x).items():
        np.testing.assert_array_equal(run_analog(done.network, x)[name], values)
    # Its own samples are recognised; the whole way through a file is the same network.
    assert [q.code for q in ask_of_overlap(samples, done.network)][-1] == "W430"
    again = onnx2snn.finetune(done.network, samples, **{**FEW, "epochs": 1})
    kept = Provenance.of(again.network).finetuned
    assert kept is not None and len(kept) == (1 if again.kept else 2)


def test_fewer_spikes_are_a_goal_of_their_own() -> None:
    pytest.importorskip("torch")
    done = onnx2snn.finetune(network(), unlabelled(), **FEW, spike_penalty=10.0)
    assert not done.kept
    assert done.after.spikes_per_neuron < 0.9 * done.before.spikes_per_neuron


def test_what_is_answered_no_better_stays_as_it_was() -> None:
    pytest.importorskip("torch")
    done = onnx2snn.finetune(network(), data(), **{**FEW, "epochs": 1, "rate": 1e-9})
    assert done.kept and done.network is network() and done.best in (0, 1)
    # A rate that ruins it: what was there before is taken, to the last bit.
    done = onnx2snn.finetune(network(), data(), **{**FEW, "epochs": 2, "rate": 3.0})
    assert done.kept and done.best == 0 and done.before.error == done.after.error


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    onnx2snn.save(network(), "net.snn.onnx")
    return "net.snn.onnx"


def test_the_verb_goes_on_where_it_stopped_and_its_file_is_any_other(file: str) -> None:
    pytest.importorskip("torch")
    command = ["finetune", file, "--data", f"{DATA}:x_calib,y_calib", "--rate", 0.005]
    command += ["--epochs", 2, "--threads", 1, "--hold-out", 0.4]
    whole = invoke(*command, "-o", "whole.snn.onnx", "--json")
    document = json.loads(whole.stdout)
    assert document["schema"] == "onnx2snn.finetune/1" and whole.exit_code == document["kept"]
    assert [e["loss"] is None for e in document["epochs"]] == [True, False, False]
    parts = [*command, "--checkpoint", "state", "-o", "parts.snn.onnx"]
    states: list[bytes] = []
    from onnx2snn.results import Results

    kept = Results.write

    def until_killed(results: Results, name: str, content: bytes | str) -> None:
        kept(results, name, content)
        if name == "finetune.npz":
            states.append(Path("state/finetune.npz").read_bytes())
            if len(states) == 2:
                raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Results, "write", until_killed)
        assert invoke(*parts).exit_code != 0
        assert not Path("parts.snn.onnx").exists()
    done = invoke(*parts)
    assert done.exit_code == whole.exit_code, done.output
    assert Path("parts.snn.onnx").read_bytes() == Path("whole.snn.onnx").read_bytes()
    # Nothing else goes on from there.
    line = invoke(*parts, "--seed", 1).output
    assert "E226" in line and "state/finetune.npz" in line and "other options" in line
    assert "of processor time" in done.stdout and "wrote parts.snn.onnx" in done.stdout
    Path("parts.snn.onnx").write_bytes(b"mine")
    assert "E223" in invoke(*parts).output
    for line in (["run", "whole.snn.onnx"], ["place", "whole.snn.onnx", "--target", "loihi2"]):
        assert invoke(*line, "--data", f"{DATA}:x_test,y_test", "--samples", 20).exit_code == 0
    model = onnx2snn.load_onnx(MODELS / "digits_mlp.onnx")
    whole_net = onnx2snn.load("whole.snn.onnx")
    assert diagnose(model, whole_net, data("test").section(0, 16), 1).measured


def test_without_torch_one_line_says_what_to_install(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    done = invoke("finetune", file, "--data", f"{DATA}:x_calib", "-o", "out.snn.onnx")
    assert done.exit_code == 2 and not Path("out.snn.onnx").exists()
    assert done.output.strip().endswith("Install it: pip install 'onnx2snn[torch]'.")
    assert len(done.output.strip().splitlines()) == 1


@pytest.mark.slow
def test_the_tutorial_shows_what_is_printed(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    text = (DOCS / "learning.md").read_text()
    section = text[text.index("## Fine-tuning") : text.index("## Synapses that learn")]
    assert section.count("needs PyTorch") == section.count("```sh") == 3
    kept = [line for line in section.splitlines() if "not run:" not in line]
    # 20 epochs on another processor, where sums are rounded otherwise: two to three points.
    assert not list(pages.differing("\n".join(kept), tmp_path, points=4))


def _without_ann(network: SpikingGraph) -> SpikingGraph:
    return replace(network, meta={"T": 1})


def _differential(network: SpikingGraph) -> SpikingGraph:
    model = onnx2snn.load_onnx(MODELS / "digits_mlp.onnx")
    samples = onnx2snn.load_samples(f"{DATA}:x_calib", model, PRE, limit=32)
    return onnx2snn.convert(model, samples, steps=1, recipe="differential", tune=False)


def _learned(network: SpikingGraph) -> SpikingGraph:
    return onnx2snn.learn(network, data(), rule="stdp", neurons=5, passes=1, limit=8).network


REFUSED: dict[str, tuple[Any, Any, dict[str, Any], type[Exception], str]] = {
    "does not say that it was converted": (_without_ann, unlabelled, {}, UsageError, "E142"),
    "no sample with one class": (None, data, {"augment": ("mix:0.5",)}, UsageError, "E142"),
    "of 12 samples leaves 10": (None, lambda: data().section(0, 12), {}, UsageError, "E142"),
    "at least 1, got 0": (None, data, {"steps": 0}, UsageError, "E110"),
    "surrogate takes arctan": (None, data, {"surrogate": "relu"}, UsageError, "E140"),
    "model 'differential'; ": (_differential, data, {}, GraphError, "E421"),
    "by the rule 'stdp'; 'learned': neurons of": (_learned, data, {}, GraphError, "E421"),
    "samples have shape": (None, lambda: np.zeros((40, 3), np.float32), {}, DataError, "E212"),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_cannot_be_fine_tuned_is_refused(said: str) -> None:
    pytest.importorskip("torch")
    change, given, options, kind, code = REFUSED[said]
    made = network() if change is None else change(network())
    with pytest.raises(kind, match=said) as error:
        onnx2snn.finetune(made, given(), **options)
    assert error.value.code == code  # type: ignore[attr-defined]
    if code == "E421":
        assert any(node.name in str(error.value) for node in made.of(Population))
