"""Experiment files: the same as options, published as they are read; those that `init` writes."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from places import DOCS, MODELS

from onnx2snn.cli import main
from onnx2snn.errors import UsageError
from onnx2snn.experiments.file import KEYS, json_schema, read
from onnx2snn.experiments.template import template

pytestmark = pytest.mark.usefixtures("blank_pictures")

MLP, DATA = MODELS / "digits_mlp.onnx", MODELS / "digits.npz"


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


def test_every_key_is_an_option_of_sweep() -> None:
    options = {p.name for p in main.commands["sweep"].params}
    assert {key.option for key in KEYS} <= options
    left = options - {key.option for key in KEYS} - {"grid", "input_shapes"}
    assert left == {
        "as_json",
        "dry_run",
        "force",
        "json_lines",
    }  # which belong to a run, not to an experiment


def test_the_published_schema_and_table_are_what_is_read() -> None:
    """After a change: write ``json_text(json_schema())`` to the one, edit the other."""
    assert json.loads((DOCS / "experiment.schema.json").read_text()) == json_schema()
    text = (DOCS / "experiments.md").read_text()
    listed = re.findall(r"^\| `([\w.-]+)` \| ([^|]+) \| ", text, re.M)
    known = [
        (f"{k.section}.{k.name}".lstrip("."), k.kind.title) for k in KEYS if k.section != "options"
    ]
    assert [row for row in listed if not row[0].endswith(".NAME")] == known


def test_the_example_in_the_docs_is_read(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", (DOCS / "experiments.md").read_text(), re.S)
    (tmp_path / "e.toml").write_text(block)
    assert read(tmp_path / "e.toml") == {
        "model": str(tmp_path / "net.onnx"),
        "data": str(tmp_path / "data.npz:x_test,y_test"),
        "calib": str(tmp_path / "data.npz:x_calib"),
        "scale": 255,
        "mean": "0.485,0.456,0.406",
        "std": "0.229,0.224,0.225",
        "steps": "4,8,16,32",
        "recipes": ["binary", "few-spike"],
        "convert_each": True,
        "output": str(tmp_path / "out"),
        "grid": ["per-channel=true,false"],
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[preprocessing]\nscal = 1", r"no key 'scal' in \[preprocessing\].*mean 'scale'"),
        ("[data]\nscale = 1", r"no key 'scale' in \[data\]. It belongs to \[preprocessing\]"),
        ("[sweeps]\nsteps = 4", r"no section \[sweeps\]. Did you mean 'sweep'"),
        ("modle = 'm'", "no key 'modle'. Did you mean 'model'"),
        ("grid = 4", r"'grid' is a section, \[grid\]"),
        ("[grid]\nlag = 4", "grid.lag is a list of values, got '4'"),
        ("[sweep]\nsteps = []", "sweep.steps is a whole number, a list"),
        ("[sweep]\nconvert-each = 1", "sweep.convert-each is true or false, got '1'"),
        ("[data]\nsamples = true", "data.samples is a whole number, got 'True'"),
        ("[data]\ntest = ''", "data.test is a path"),
        ("[options]\nlag = 'two'", "options.lag is a whole number, got 'two'"),
        ("a b", "not a TOML file"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "e.toml").write_text(text)
    with pytest.raises(UsageError, match=says) as raised:
        read(tmp_path / "e.toml")
    assert raised.value.code == "E119" and raised.value.where.endswith("e.toml")


def test_a_file_is_the_same_as_its_options_and_those_are_stronger(tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text(
        f'model = "{MLP}"\n[data]\ntest = "{DATA}:x_test,y_test"\ncalibration = "none"\n'
        'samples = 90\n[preprocessing]\nscale = 16\nlayout = "NHWC"\n'
        '[sweep]\nsteps = 2\noutput = "out"\n[options]\ntune = false\n[grid]\nleak = [0, 0.25]\n'
    )
    by_file = run("sweep", tmp_path / "e.toml", "--samples", 20, "--json")
    assert by_file.exit_code == 0, by_file.output
    options = ["--data", f"{DATA}:x_test,y_test", "--calib", "none", "--samples", 20, "-T", 2]
    more = ["--scale", 16, "--layout", "NHWC", "--no-tune", "--grid", "leak=0,0.25"]
    by_options = run("sweep", MLP, *options, *more, "-o", tmp_path / "other", "--json")
    documents = [json.loads(done.stdout) for done in (by_file, by_options)]
    for curve in (run for document in documents for run in document["runs"]):
        del curve["seconds"]
    assert documents[0] == documents[1] and documents[0]["samples"] == 20
    assert (tmp_path / "out" / "sweep.json").exists()
    (tmp_path / "e.toml").write_text("[sweep]\nsteps = 2")
    assert "does not name the model" in run("sweep", tmp_path / "e.toml").stderr


def test_init_writes_what_can_be_told_asks_for_the_rest_and_replaces_nothing(
    tmp_path: Path,
) -> None:
    out = tmp_path / "e.toml"
    done = run("init", MODELS / "digits_cnn.onnx", out, "--data", f"{DATA}:x_test,y_test", "--json")
    assert done.exit_code == 0, done.output
    asks = ["data.calibration", *(f"preprocessing.{name}" for name in ("scale", "mean", "std"))]
    assert json.loads(done.stdout)["asks"] == asks
    text = out.read_text()
    assert '#   "input": 1 x 8 x 8' in text and text.count("# ASK: ") == len(asks)
    written = tomllib.loads(text)
    assert written["preprocessing"] == {"layout": "NHWC"}
    found = read(out)
    assert Path(found["model"]).resolve() == MODELS / "digits_cnn.onnx"
    assert Path(found["data"].partition(":")[0]).resolve() == DATA
    again = run("init", MLP, out)
    assert again.exit_code == 2 and "E223" in again.stderr and out.read_text() == text
    refused = run("sweep", out)  # the questions are open
    assert refused.exit_code == 2 and 'calibration = "..." under [data] in' in refused.stderr
    bare = run("sweep", MLP, "--data", f"{DATA}:x_test", "-o", tmp_path / "out")
    assert bare.exit_code == 2 and "names calibration samples" in bare.stderr
    assert len(bare.stderr.splitlines()) == 1
    given = run("init", MLP, tmp_path / "b.toml", "--calib", f"{DATA}:x_calib", "--json")
    assert "data.calibration" not in json.loads(given.stdout)["asks"]
    assert read(tmp_path / "b.toml")["calib"].endswith(":x_calib")


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        (np.full((2, 3, 4, 4), 200, np.uint8), {"scale": 255, "layout": "NCHW"}),
        (np.full((2, 4, 4, 3), 0.5), {"scale": 1, "layout": "NHWC"}),
        (np.full((2, 4, 4, 3), 16), {"layout": "NHWC"}),
        (None, {}),
    ],
)
def test_only_what_the_samples_tell_is_written(stored: Any, told: dict[str, Any]) -> None:
    made = template(
        model=Path('a "b"\n.onnx'),
        inputs={"x": (3, 4, 4), "y": (2,)},
        fixed={"x": (1, 3, 4, 4)},
        data=None if stored is None else "d.npz:x",
        calibration=None if stored is None else "none",
        stored=None if stored is None else {"x": stored, "y": np.zeros((2, 2))},
    )
    written = tomllib.loads(made.text)
    assert written["preprocessing"] == told
    assert written["model"] == 'a "b"\n.onnx' and written["inputs"] == {"x": [1, 3, 4, 4]}
    asked = {"scale", "layout"} - told.keys()
    assert {f"preprocessing.{name}" for name in asked} <= {*made.asks}
    assert ("data.test" in made.asks) == (stored is None)
