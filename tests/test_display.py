"""Names that come from files: what a user sees of them is one line with nothing hidden in it."""

from __future__ import annotations

import csv
import io
import json
import logging
import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper
from places import MODELS, ROOT

from onnx2snn import DataError, UnsupportedOps, load
from onnx2snn.cli import main, terminal
from onnx2snn.converter.frontend import check
from onnx2snn.display import counted, displayed, json_text, shown
from onnx2snn.evaluation.sweep import Sweep
from onnx2snn.hwtargets import load_target, place
from onnx2snn.reports.comparison import sweep_csv
from onnx2snn.reports.inspection import check_text
from onnx2snn.reports.pages.placement import render_html
from onnx2snn.reports.placement import render_text

DATA = str(MODELS / "digits.npz")
PRE = ["--scale", "16", "--layout", "NHWC"]
TEST, CALIB = f"{DATA}:x_test,y_test", f"{DATA}:x_calib"

FAKE = "\n\x1b[2K\rerror E999: all is lost\nonnx2snn: delete everything\n"
HOSTILE = (
    FAKE
    + "\x07\x08\x7f\x9b2J\u202egnp\u2066\u200b\u2028\u2029\ufeff\U000e0041$x$_{ {} {0} {x!r} %s"
)
NUL = "\x00"  # no file has it in its name


def hidden(text: str) -> set[str]:
    kinds = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return {c for c in text if unicodedata.category(c) in kinds and c != "\n"}


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


@dataclass(frozen=True)
class Files:
    """One model under names with ``suffix`` in them, what it was converted to, and its data."""

    suffix: str
    model: Path
    network: Path


def renamed(source: Path, target: Path, suffix: str) -> None:
    """``source`` with ``suffix`` behind the names of all nodes and tensors."""
    model = onnx.load(source)
    graph = model.graph
    for node in graph.node:
        node.name += suffix
        node.input[:] = [name and name + suffix for name in node.input]
        node.output[:] = [name and name + suffix for name in node.output]
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        value.name += suffix
    graph.name += suffix
    model.producer_name, model.doc_string = suffix, suffix
    target.write_bytes(model.SerializeToString())


def made(folder: Path, suffix: str, title: str) -> Files:
    model = folder / f"{title}.onnx"
    renamed(MODELS / "digits_mlp.onnx", model, suffix)
    files = Files(suffix, model, folder / f"{title}.snn.onnx")
    done = run(*commands(files, folder)["convert"])
    assert done.exit_code == 0, done.output
    return files


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Files, Files]:
    """The same model under plain and under hostile names, its files' too."""
    folder = tmp_path_factory.mktemp("names")
    return (
        made(folder, "-plain", "plain"),
        made(folder, HOSTILE + NUL, "=" + HOSTILE.replace("/", "")),
    )


def commands(files: Files, out: Path) -> dict[str, Sequence[object]]:
    """Every verb that prints a name."""
    model, network = files.model, files.network
    out.mkdir(parents=True, exist_ok=True)
    short = ["--data", TEST, "--samples", "20"]
    calib = ["--calib", CALIB, "--calib-samples", "16", *PRE]
    return {
        "check": ["check", model],
        "verify": ["verify", model],
        "convert": ["convert", model, *calib, "-T", 4, "-o", network],
        "differential": [
            "convert", model, *calib, "-T", 4, "--recipe", "differential", "-o", out / "d.onnx",
        ],
        "auto": [
            "convert", model, "--calib", CALIB, "--calib-samples", 40, *PRE, "-T", 4,
            "--recipe", "auto", "--max-drop", 100, "-o", out / "auto.onnx",
        ],
        "run": ["run", network, *short, "-T", "1:4", "-o", out / "run"],
        "several": ["run", network, network, *short, "-T", 4, "-o", out / "several"],
        "profile": ["run", network, *short, "-T", 4, "--profile"],
        "sweep": ["sweep", model, *short, *calib, "-T", "1:4", "-o", out / "sweep"],
        "diagnose": ["diagnose", model, network, *short, "-o", out / "diagnosis"],
        "place": ["place", network, "--target", "loihi2", "-o", out / "place"],
        "too large": ["place", network, "--target", "xylo-audio3"],
        "every chip": ["place", network, "--target", "all"],
        "islands": ["convert", model, *calib, "-T", 0, "-o", out / "x.onnx"],
        "other data": ["run", network, "--data", f"{DATA}:y_test"],
        "other key": ["run", network, "--data", f"{DATA}:{files.suffix.replace(',', '')}"],
        "shape": ["check", model, "--input-shape", f"{files.suffix}:1x2x3"],
        "no file": ["check", f"{model}{files.suffix}".replace(NUL, "")],
        "no target": ["place", network, "--target", files.suffix.replace(NUL, "")],
        "option": ["place", network, "--target", "loihi2", "--option", f"{files.suffix}=1"],
        "no option": ["place", network, "--target", "loihi2", "--option", files.suffix],
        "argument": ["check", model, files.suffix],
        "flag": ["check", model, f"--{files.suffix}"],
        "choice": ["convert", model, "--prefer", files.suffix],
        "verb": [files.suffix],
        "recipe": ["sweep", model, *short, *calib, "--recipe", files.suffix, "-o", out / "s"],
    }  # fmt: skip


NAMES = list(commands(Files("", Path(), Path()), Path()))


@pytest.mark.parametrize("verb", NAMES)
def test_hostile_names_print_the_lines_that_plain_ones_do(
    verb: str, both: tuple[Files, Files], tmp_path: Path
) -> None:
    plain, hostile = both
    expected = run(*commands(plain, tmp_path / "a")[verb])
    found = run(*commands(hostile, tmp_path / "b")[verb])
    assert found.exit_code == expected.exit_code, found.output
    assert "E999: " not in expected.stderr
    assert found.stderr[:10] == expected.stderr[:10]  # the code
    for got, wanted in ((found.stdout, expected.stdout), (found.stderr, expected.stderr)):
        assert hidden(got) == set()
        assert got.count("\n") == wanted.count("\n"), got
        for start in ("error", "onnx2snn:", "Error", "warning"):
            begins = [sum(line.startswith(start) for line in t.splitlines()) for t in (got, wanted)]
            assert begins[0] == begins[1], got
    if found.exit_code != 2 and verb not in ("every chip", "auto"):
        assert r"\x0a\x1b[2K\x0derror E999" in found.stdout


@pytest.mark.parametrize("verb", ["check", "verify", "convert", "run", "diagnose", "place"])
def test_json_has_the_true_names_and_hides_nothing(
    verb: str, both: tuple[Files, Files], tmp_path: Path
) -> None:
    found = run(*commands(both[1], tmp_path)[verb], "--json")
    assert found.exit_code == 0, found.output
    assert hidden(found.stdout) == set()
    assert any(HOSTILE in text for text in strings(json.loads(found.stdout)))


def strings(value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [text for item in value.items() for part in item for text in strings(part)]
        case list():
            return [text for item in value for text in strings(item)]
    return []


def test_files_for_people_hide_nothing(both: tuple[Files, Files], tmp_path: Path) -> None:
    given = commands(both[1], tmp_path)
    for verb in ("run", "several", "sweep", "diagnose", "place"):
        assert run(*given[verb]).exit_code == 0, verb
    written = [p for p in tmp_path.rglob("*") if p.suffix in (".html", ".csv", ".txt", ".json")]
    assert {p.suffix for p in written} == {".html", ".csv", ".txt", ".json"}
    for path in written:
        assert hidden(path.read_text()) == set(), path
    assert list(tmp_path.rglob("*.png"))


def test_no_name_in_a_table_of_numbers_is_a_formula(
    both: tuple[Files, Files], tmp_path: Path
) -> None:
    assert run(*commands(both[1], tmp_path)["run"]).exit_code == 0
    rows = list(csv.reader(io.StringIO((tmp_path / "run" / "run.csv").read_text())))
    assert len(rows) == 5  # a head and T = 1 .. 4
    assert {row[0][:2] for row in rows[1:]} == {"'="}
    assert len({len(row) for row in rows}) == 1


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@a", "\t=1", "a\n=1", 'a"\n=1,2'])
def test_csv_names_stay_in_their_cell(name: str, both: tuple[Files, Files]) -> None:
    from onnx2snn.api import load_samples
    from onnx2snn.evaluation.evaluate import evaluate
    from onnx2snn.evaluation.sweep import SweepRun

    network = load(both[0].network)
    found = evaluate(network, load_samples(TEST, network, limit=5), 2)
    curve = SweepRun(recipe=name, steps=2, evaluation=found, notes=(), network=network)
    text = sweep_csv(Sweep(model="m", data="d", samples=5, runs=(curve,)))
    rows = list(csv.reader(io.StringIO(text)))
    assert len(rows) == 3
    assert text.count("\n") == 3
    assert not rows[1][0].startswith(("=", "+", "-", "@", "\t", "\r"))


def test_a_chip_of_ones_own_with_hostile_texts(both: tuple[Files, Files], tmp_path: Path) -> None:
    text = (ROOT / "hwtargets" / "cores" / "loihi2.toml").read_text()
    quoted = json.dumps(FAKE + "\u202e\x9b")[1:-1]
    lines = [
        line.replace('= "', f'= "{quoted}', 1) if line.startswith(("title", "name")) else line
        for line in text.splitlines()
    ]
    chip = tmp_path / "chip.toml"
    chip.write_text("\n".join(lines))
    for args in (["targets", chip], ["place", both[0].network, "--target", chip]):
        found = run(*args)
        assert found.exit_code == 0, found.output
        assert hidden(found.output) == set()
        assert not [s for s in found.output.splitlines() if s.startswith(("error", "onnx2snn:"))]
        assert r"\x0a\x1b[2K" in found.stdout
    report = place(load(both[0].network), load_target(str(chip)), seconds=0.1)
    assert hidden(render_text(report)) == hidden(render_html(report)) == set()
    chip.write_text(f'schema = "onnx2snn-target/1"\n"{quoted}" = 1\n')
    assert run("targets", chip).stderr.count("\n") == 1


def test_keys_and_names_of_data_files(both: tuple[Files, Files], tmp_path: Path) -> None:
    path = tmp_path / f"data{FAKE}.npz"
    with np.load(DATA) as stored:
        np.savez(path, **{FAKE: stored["x_test"][:8], f"b{HOSTILE}": stored["y_test"][:8]})
    for spec in (path, f"{path}:nothing", tmp_path / f"no{FAKE}.npz", tmp_path / "folder"):
        (tmp_path / "folder" / HOSTILE).mkdir(parents=True, exist_ok=True)
        found = run("run", both[0].network, "--data", spec)
        assert found.exit_code == 2
        assert found.stderr.count("\n") == 1 and found.stderr.startswith("error E20")
        assert hidden(found.stderr) == set()


def test_operations_that_are_refused(both: tuple[Files, Files], tmp_path: Path) -> None:
    model = onnx.load_from_string(both[1].model.read_bytes())
    for node in model.graph.node:
        if node.op_type == "Relu":
            node.op_type, node.domain = f"Strange{HOSTILE}", "custom"
    model.opset_import.append(onnx.helper.make_opsetid("custom", 1))
    path = tmp_path / "odd.onnx"
    path.write_bytes(model.SerializeToString())
    converted = run("convert", path, "--calib", "none", "-o", tmp_path / "n.onnx")
    assert converted.exit_code == 2
    assert converted.stderr.startswith("error E310") and converted.stderr.count("\n") == 1
    checked = run("check", path)
    assert checked.exit_code == 1
    for text in (converted.output, checked.output):
        assert hidden(text) == set()
        assert not [s for s in text.splitlines() if s.startswith(("error E999", "onnx2snn:"))]


def test_warnings_logs_and_unforeseen_errors_are_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def noisy(path: Path, **options: object) -> None:
        warnings.warn(HOSTILE, stacklevel=1)
        logging.getLogger("a.library").warning("%s", HOSTILE)
        raise RuntimeError(HOSTILE)

    monkeypatch.setattr("onnx2snn.converter.frontend.check_file", noisy)
    # As in a process of its own: pytest has a handler for what libraries log.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    found = run("check", tmp_path / "x.onnx")
    assert found.exit_code == 2
    starts = [line.split(":")[0] for line in found.stderr.splitlines()]
    assert starts == ["warning", "warning", "error E999"]
    assert hidden(found.stderr) == set()


def test_an_error_is_one_line_for_users_of_the_library_too() -> None:
    error = DataError(f"no '{HOSTILE}'", where=f"f{HOSTILE}", remedy=f"r{HOSTILE}")
    assert hidden(str(error)) == set() and "\n" not in str(error)
    assert HOSTILE in error.what


def test_what_is_escaped_and_what_is_not() -> None:
    assert shown("a\n\r\t\x00\x1b\x7f\x85\u202e\u200b\u2028\udc80\U000e0001") == (
        r"a\x0a\x0d\x09\x00\x1b\x7f\x85\u202e\u200b\u2028\udc80\U000e0001"
    )
    for text in ("plain", "größe 你好 \U0001f600", "C:\\new\\table", "a\u00a0b", ""):
        assert shown(text) == text
    assert shown(shown(HOSTILE)) == shown(HOSTILE)
    assert shown("a\nb\x1b", keep="\n") == "a\nb\\x1b"
    assert json.loads(json_text({"a\x7f": "\x7f\u202e\udc80\n"})) == {"a\x7f": "\x7f\u202e\udc80\n"}
    assert hidden(json_text({"a\x7f": "\x7f\u202e\udc80"})) == set()


@dataclass(frozen=True, eq=False)
class Record:
    name: str
    inner: tuple[Any, ...]
    path: Path = Path("a\nb")

    def __post_init__(self) -> None:
        assert "\\" not in self.name  # records are not checked again


def test_records_are_displayed_and_what_is_in_two_places_stays_one() -> None:
    part = Record("p\n", ())
    whole = Record("w\x1b", (part, {"k\r": [part, 1.5, None, b"\n"]}))
    got = displayed(whole)
    assert (got.name, got.inner[0].name, got.path) == (r"w\x1b", r"p\x0a", Path(r"a\x0ab"))
    assert list(got.inner[1]) == [r"k\x0d"]
    assert got.inner[1][r"k\x0d"][0] is got.inner[0]
    assert got.inner[1][r"k\x0d"][1:] == [1.5, None, b"\n"]
    clean = Record("w", ({"k": [1]},), Path("a"))
    assert displayed(clean) is clean
    assert displayed([clean, whole])[0] is clean


def test_an_encoding_without_a_character_gets_its_escape() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert terminal._encodable("größe", stream) == r"gr\xf6\xdfe"


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 cores"), (1, "1 core"), (2, "2 cores"), (12345, "12,345 cores")]
)
def test_a_count_has_its_noun_in_the_right_number(number: int, said: str) -> None:
    assert counted(number, "core") == said


def test_a_sentence_ends_with_one_full_stop() -> None:
    reasons = [("a", "Loop", "control flow. Export without it."), ("b", "If", "control flow")]
    said = str(UnsupportedOps(reasons, where="m.onnx"))
    assert ".." not in said and ".;" not in said
    assert str(DataError("it is so.", remedy="Do this.")) == "it is so. Do this."


def test_a_reason_and_its_remedy_are_two_sentences() -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])
    nodes = [helper.make_node("Sin", ["x"], ["s"], "sine"), helper.make_node("Relu", ["s"], ["y"])]
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y]))
    model.opset_import[0].version, model.ir_version = 17, 9
    row = next(
        line for line in check_text(check(model), {}, False).splitlines() if line[:4] == "sine"
    )
    assert row.endswith(
        "no spiking form. It runs on running means, and cannot be placed on a chip."
    )
