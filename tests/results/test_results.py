"""No command destroys a file: every verb that writes, every kind of thing in its way."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from places import ROOT

import onnx2snn
from onnx2snn.cli import conversion, main, sweeping
from onnx2snn.experiments import store
from onnx2snn.experiments.store import Store
from onnx2snn.results import marks
from onnx2snn.results.marks import Kind, made_by_us

PRE = ["--scale", "16", "--layout", "NHWC"]
FEW = ["--calib-samples", "32"]
pytestmark = pytest.mark.usefixtures("blank_pictures")


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


def refused(code: str, *args: object) -> str:
    """Run; it must be refused with one line, status 2 and ``code``. The line."""
    done = run(*args)
    assert done.exit_code == 2, done.output
    assert done.stderr.startswith(f"error {code}: "), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert args[0] == "demo" or done.stdout == ""  # which says first what it is about
    return done.stderr


def tree(folder: Path) -> dict[str, Any]:
    """All there is in a folder: kinds, where links lead, contents."""
    out: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        status = os.lstat(path)
        content: Any = None
        if stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        elif stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        out[str(path.relative_to(folder))] = (stat.S_IFMT(status.st_mode), content)
    return out


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, data, and the network made of them."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copy(ROOT / "models" / "digits_mlp.onnx", folder / "model.onnx")
    with np.load(ROOT / "models" / "digits.npz") as data:
        np.savez(folder / "data.npz", x=data["x_test"][:40], y=data["y_test"][:40])
    calib = ["--calib", folder / "data.npz", *PRE]
    done = run("convert", folder / "model.onnx", *calib, "-T", 2, "-o", folder / "net.snn.onnx")
    assert done.exit_code == 0, done.output
    nir = ["--to", "nir", "--approximate", "-o", folder / "net.nir"]
    done = run("export", folder / "net.snn.onnx", *nir)
    assert done.exit_code == 0, done.output
    done = run("run", folder / "net.snn.onnx", "--data", folder / "data.npz", "--json")
    (folder / "run.json").write_text(done.stdout)
    return folder


@pytest.fixture
def work(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own with copies of these, and the current folder."""
    for path in made.iterdir():
        shutil.copy(path, tmp_path / path.name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Verb -> its arguments but for the output; and the file, or what it writes into the folder.
FILES: dict[str, list[object]] = {
    "convert": ["convert", "model.onnx", "--calib", "data.npz", *PRE, *FEW, "-T", 2, "-o"],
    "check": ["check", "model.onnx", "--tagged"],
    "learn": [
        *("learn", "net.snn.onnx", "--data", "data.npz", "--rule", "prototype", "--neurons", 5),
        "-o",
    ],
    "finetune": ["finetune", "net.snn.onnx", "--data", "data.npz", "--hold-out", 0.25, "-o"],
    "watch": ["watch", "net.snn.onnx", "--data", "data.npz", "--samples", 2, "-o"],
    "export": ["export", "net.snn.onnx", "--to", "onnx", "-o"],
    "import": ["import", "net.nir", "-o"],
}
CHARTS = ["json", "answers.npz", "csv", "html", "png"]
FOLDERS: dict[str, tuple[list[object], list[str]]] = {
    "sweep": (
        ["sweep", "model.onnx", "--data", "data.npz", "--calib", "data.npz", *PRE, *FEW, "-T", 2],
        [*(f"sweep.{end}" for end in CHARTS), "model.binary.snn.onnx"],
    ),
    "run": (["run", "net.snn.onnx", "--data", "data.npz"], [f"run.{end}" for end in CHARTS]),
    "compare": (["compare", "run.json", "run.json"], ["compare.json", "compare.html"]),
    "diagnose": (
        ["diagnose", "model.onnx", "net.snn.onnx", "--data", "data.npz"],
        ["diagnosis.json", "diagnosis.html", "errors.png", "rates.png", "accuracy.png"],
    ),
    "place": (
        ["place", "net.snn.onnx", "--target", "truenorth", "--seconds", 0.1],
        ["placement.json", "placement.txt", "placement.html", "truenorth.npz"],
    ),
    "demo": (
        ["demo", "-T", "1:2"],
        [*(f"sweep.{end}" for end in CHARTS), "digits_cnn.binary.snn.onnx", "watch.html"],
    ),
}
INPUTS = {  # what a verb reads
    "convert": ["model.onnx", "data.npz"],
    "check": ["model.onnx"],
    "learn": ["net.snn.onnx", "data.npz"],
    "finetune": ["net.snn.onnx", "data.npz"],
    "watch": ["net.snn.onnx", "data.npz"],
    "export": ["net.snn.onnx"],
    "import": ["net.nir"],
    "sweep": ["model.onnx", "data.npz"],
    "run": ["net.snn.onnx", "data.npz"],
    "compare": ["run.json"],
    "diagnose": ["model.onnx", "net.snn.onnx", "data.npz"],
    "place": ["net.snn.onnx"],
}


def _by_two_links(at: Path, to: Path) -> None:
    Path("between").symlink_to(to)
    at.symlink_to(Path("between").absolute())


WAYS: dict[str, Callable[[Path, Path], None]] = {
    "symbolic link": lambda at, to: at.symlink_to(to),
    "link to a link": lambda at, to: _by_two_links(at, to),
    "hard link": lambda at, to: os.link(to, at),
}
EVERY = [
    *(pytest.param(verb, None, id=verb) for verb in FILES),
    *(
        pytest.param(verb, name, id=f"{verb}-{name}")
        for verb, (_, names) in FOLDERS.items()
        for name in names
    ),
]


def output(verb: str, name: str | None) -> tuple[list[object], Path]:
    """The command, and the path of one of its results."""
    if name is None:
        return [*FILES[verb], "out"], Path("out")
    Path("out").mkdir(exist_ok=True)
    return [*FOLDERS[verb][0], "-o", "out"], Path("out") / name


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("verb", "name"), [p for p in EVERY if not str(p.id).startswith("demo")])
def test_an_output_that_is_an_input_is_refused_by_whatever_path(
    work: Path, verb: str, name: str | None, way: str
) -> None:
    for source in INPUTS[verb]:
        arguments, at = output(verb, name)
        WAYS[way](at, work / source)
        before = tree(work)
        for force in ([], ["--force"]):
            line = refused("E221", *arguments, *force)
            assert str(at) in line and source in line
        assert tree(work) == before
        at.unlink()
        Path("between").unlink(missing_ok=True)


@pytest.mark.parametrize("verb", FILES)
@pytest.mark.parametrize("spelled", ["{0}", "./{0}", "sub/../{0}", "{1}/{0}", "link/{0}"])
def test_an_output_that_is_an_input_by_name_is_refused(work: Path, verb: str, spelled: str) -> None:
    (work / "sub").mkdir()
    (work / "link").symlink_to(".")
    before = tree(work)
    for source in INPUTS[verb]:
        for force in ([], ["--force"]):
            refused("E221", *FILES[verb], spelled.format(source, work), *force)
    assert tree(work) == before


def test_a_folder_of_results_does_not_take_in_an_input_of_the_same_name(work: Path) -> None:
    (work / "out").mkdir()
    os.rename("data.npz", "out/run.csv")
    before = tree(work)
    line = refused("E221", "run", "net.snn.onnx", "--data", "out/run.csv:x,y", "-o", "out")
    assert "out/run.csv" in line
    assert tree(work) == before


def test_weights_beside_the_model_are_inputs(work: Path) -> None:
    for name in ("external_data.onnx", "external_data.bin"):
        shutil.copy(ROOT / "tests" / "fixtures" / name, work / name)
    before = tree(work)
    for verb in (["check", "external_data.onnx", "--tagged"],
                 ["convert", "external_data.onnx", "--calib", "none", "-o"]):  # fmt: skip
        refused("E221", *verb, "external_data.bin", "--force")
    assert tree(work) == before


def test_nothing_is_written_into_a_folder_of_images(work: Path) -> None:
    (work / "images" / "cat").mkdir(parents=True)
    (work / "images" / "cat" / "1.png").write_bytes(b"a picture")
    before = tree(work)
    data = ["--data", "images", "--calib", "images"]
    for out in ("images", "images/cat", "images/new/deep"):
        refused("E221", "sweep", "model.onnx", *data, "-o", out, "--force")
        refused("E221", "run", "net.snn.onnx", "--data", "images", "-o", out)
    refused("E221", "convert", "model.onnx", "--calib", "images", "-o", "images/cat/1.png")
    refused("E221", "convert", "model.onnx", "--calib", "images", "-o", "images/n.onnx")
    assert tree(work) == before


def test_pictures_that_are_links_are_inputs_where_they_lead(work: Path) -> None:
    for name in ("images/cat", "elsewhere", "dogs"):
        (work / name).mkdir(parents=True)
    for name in ("a.png", "b.png", "c.png"):
        (work / "elsewhere" / name).write_bytes(b"a picture")
    (work / "images" / "cat" / "1.png").symlink_to("../../elsewhere/a.png")
    os.link("elsewhere/b.png", "images/cat/2.png")
    (work / "images" / "dog").symlink_to("../dogs")
    os.rename("elsewhere/c.png", "dogs/3.png")
    before = tree(work)
    convert = ["convert", "model.onnx", "--calib", "images", "--force", "-o"]
    for out in ("elsewhere/a.png", "elsewhere/b.png", "dogs/3.png", "dogs/new.onnx"):
        refused("E221", *convert, out)
    assert tree(work) == before


def test_a_model_from_a_pipe_is_read_once(work: Path) -> None:
    model = Path("model.onnx").read_bytes()
    os.mkfifo("pipe")
    writer = Thread(target=lambda: Path("pipe").write_bytes(model))
    writer.start()
    done = run("convert", "pipe", *FILES["convert"][2:], "out")
    writer.join()
    assert done.exit_code == 0, done.output


def test_the_chips_file_is_an_input(work: Path) -> None:
    bundled = ROOT / "hwtargets" / "truenorth" / "truenorth.toml"
    text = bundled.read_text()
    Path("chip.toml").write_text(text)
    (work / "out").mkdir()
    os.link("chip.toml", "out/placement.txt")
    place = ["place", "net.snn.onnx", "--target", "chip.toml", "-o", "out"]
    refused("E221", *place, "--force")
    assert Path("chip.toml").read_text() == text
    # Files for the chip's tools have its name: that must stay in the folder.
    Path("chip.toml").write_text(text.replace('name = "truenorth"', 'name = "../model"'))
    refused("E501", *place)
    xylo = (ROOT / "hwtargets" / "xylo" / "xylo-imu.toml").read_text()
    Path("chip.toml").write_text(xylo.replace('name = "xylo-imu"', 'name = "placement"'))
    Path("out/placement.txt").unlink()
    refused("E224", *place)


@pytest.mark.parametrize(("verb", "name"), EVERY)
def test_what_is_no_regular_file_is_refused(work: Path, verb: str, name: str | None) -> None:
    arguments, at = output(verb, name)
    makers: list[tuple[str, Callable[[], object]]] = [
        ("E222", lambda: os.mkfifo(at)),
        ("E222", lambda: at.symlink_to("/dev/null")),
        ("E220", lambda: at.symlink_to(at.name)),
        ("E220", lambda: at.symlink_to("/no/such/folder/result")),
        ("E220", lambda: at.mkdir()),
    ]
    for code, make in makers:
        make()
        before = tree(work)
        for force in ([], ["--force"]):
            refused(code, *arguments, *force)
        assert tree(work) == before
        at.rmdir() if at.is_dir() and not at.is_symlink() else at.unlink()


@pytest.mark.parametrize("verb", FILES)
def test_devices_and_folders_that_do_not_exist_are_refused(work: Path, verb: str) -> None:
    before = tree(work)
    refused("E222", *FILES[verb], "/dev/null", "--force")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    for out in ("no/out.onnx", "data.npz/out.onnx", ".", "n" * 300):
        refused("E220", *FILES[verb], out)
    assert tree(work) == before


@pytest.mark.parametrize("verb", FOLDERS)
def test_a_folder_that_cannot_be_one_is_refused(work: Path, verb: str) -> None:
    (work / "loop").symlink_to("loop")
    os.mkfifo("pipe")
    before = tree(work)
    for out in ("data.npz", "model.onnx/below", "loop", "pipe", "/dev/null"):
        refused("E220", *FOLDERS[verb][0], "-o", out, "--force")
    assert tree(work) == before


@pytest.mark.parametrize(("verb", "name"), EVERY)
def test_what_others_made_is_refused(work: Path, verb: str, name: str | None) -> None:
    arguments, at = output(verb, name)
    foreign = [b"", b"my notes", b'{"schema": "mine/1"}', (work / "data.npz").read_bytes()]
    foreign += [(ROOT / "models" / "digits_cnn.onnx").read_bytes(), b"\x89PNG\r\n\x1a\n" + bytes(9)]
    foreign += [b"<!doctype html><html>", b"recipe,T,notes\n", b"[" * 100_000]
    for content in foreign:
        at.write_bytes(content)
        before = tree(work)
        assert "--force" in refused("E223", *arguments)
        assert tree(work) == before


def test_a_result_of_another_kind_is_not_replaced_either(work: Path) -> None:
    shutil.copy("net.snn.onnx", "hours.snn.onnx")
    refused("E223", *FILES["check"], "hours.snn.onnx")
    assert Path("hours.snn.onnx").read_bytes() == Path("net.snn.onnx").read_bytes()


def test_files_of_an_unfinished_sweep_are_looked_at_too(work: Path) -> None:
    (work / "out").mkdir()
    (work / "out" / store.NAME).write_bytes(b"mine")
    assert run(*FOLDERS["sweep"][0], "-o", "out").exit_code == 0
    aside = store.NAME.replace(".sqlite", ".set-aside-1.sqlite")
    assert (work / "out" / aside).read_bytes() == b"mine"
    os.mkfifo(f"out/{store.NAME}")  # reading it would wait for ever
    refused("E222", *FOLDERS["sweep"][0], "-o", "out")


@pytest.mark.parametrize("verb", FOLDERS)
def test_two_results_that_would_be_one_file_are_refused(work: Path, verb: str) -> None:
    (work / "out").mkdir()
    first, second = FOLDERS[verb][1][:2]
    (work / "out" / first).symlink_to(second)
    line = refused("E224", *FOLDERS[verb][0], "-o", "out", "--force")
    assert first in line and second in line


# Fine-tuning needs PyTorch and ends with another status: in tests/provenance.
@pytest.mark.parametrize("verb", sorted({*FILES} - {"finetune"}))
def test_a_file_of_ours_is_replaced_others_with_force(work: Path, verb: str) -> None:
    far = work / "far"
    far.mkdir()
    Path("out").symlink_to("far/result")  # leads nowhere yet
    for _ in range(2):
        done = run(*FILES[verb], "out")
        assert done.exit_code == 0, done.output
        assert Path("out").is_symlink()
        (far / "result").chmod(0o640)
    first = (far / "result").read_bytes()
    (far / "result").write_bytes(b"mine")
    assert run(*FILES[verb], "out", "--force").exit_code == 0
    again = (far / "result").read_bytes()
    assert again.replace(b" --force", b"") == first  # a page ends with the command
    assert stat.S_IMODE((far / "result").stat().st_mode) == 0o640
    assert [p.name for p in far.iterdir()] == ["result"]


@pytest.mark.parametrize("verb", FOLDERS)
def test_results_of_ours_are_replaced_others_with_force(work: Path, verb: str) -> None:
    command, names = FOLDERS[verb]
    command = [*command, "-o", "new/out"]
    assert run(*command).exit_code == 0
    out = work / "new" / "out"
    assert sorted(p.name for p in out.iterdir()) == sorted(names)
    (out / "notes.txt").write_text("mine")  # files by other names are in no one's way
    done = run(*command)
    assert done.exit_code == 0, done.output
    (out / names[0]).write_text("mine")
    assert run(*command, "--force").exit_code == 0
    assert json.loads((out / names[0]).read_text())["schema"].startswith("onnx2snn")
    assert sorted(p.name for p in out.iterdir()) == sorted([*names, "notes.txt"])
    assert (out / "notes.txt").read_text() == "mine"


def test_places_on_all_chips_are_looked_at_before_the_work(work: Path) -> None:
    (work / "out" / "truenorth").mkdir(parents=True)
    (work / "out" / "truenorth" / "truenorth.npz").write_text("mine")
    place = ["place", "net.snn.onnx", "--target", "all", "--seconds", 0.1, "-o", "out"]
    before = tree(work)
    refused("E223", *place)
    assert tree(work) == before
    for force in (["--force"], []):
        assert run(*place, *force).exit_code == 0


def test_a_killed_sweep_goes_on_without_force(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*args: Any) -> None:
        raise KeyboardInterrupt

    command = [*FOLDERS["sweep"][0], "-o", "out"]
    with monkeypatch.context() as patched:
        patched.setattr(sweeping, "write_chart", killed)
        assert run(*command).exit_code != 0
        assert [p.name for p in (work / "out").iterdir()] == [store.NAME]
    with monkeypatch.context() as patched:
        patched.setattr(Store, "keep_shard", killed)  # nothing is left to do
        assert run(*command).exit_code == 0
    assert not list((work / "out").glob(".*"))


@pytest.mark.parametrize("verb", ["run", "place", "diagnose", "sweep"])
def test_a_command_that_fails_leaves_no_folder_behind(work: Path, verb: str) -> None:
    command = [str(a).replace("net.snn.onnx", "no.onnx") for a in FOLDERS[verb][0]]
    command = [a.replace("data.npz", "no.npz") for a in command]
    done = run(*command, "-o", "out/below")
    assert done.exit_code == 2 and not (work / "out").exists()


def test_no_file_of_the_users_is_taken_for_a_probe(work: Path) -> None:
    (work / "out").mkdir()
    (work / "out" / ".write-test").write_text("mine")
    assert run(*FOLDERS["run"][0], "-o", "out").exit_code == 0
    assert (work / "out" / ".write-test").read_text() == "mine"


def test_a_file_that_comes_while_the_command_works_is_kept(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert = conversion.run_convert

    def slow(*args: Any, **options: Any) -> Any:
        Path("out").write_text("mine")
        return convert(*args, **options)

    monkeypatch.setattr(conversion, "run_convert", slow)
    refused("E223", *FILES["convert"], "out")
    assert Path("out").read_text() == "mine"


def test_the_library_saves_under_the_same_rules(work: Path) -> None:
    network = onnx2snn.load("net.snn.onnx")
    model = Path("model.onnx").read_bytes()
    for force in (False, True):
        with pytest.raises(onnx2snn.DataError) as caught:
            onnx2snn.save(network, "model.onnx", force=force)
        assert caught.value.code == ("E221" if force else "E223")
    assert Path("model.onnx").read_bytes() == model
    with pytest.raises(onnx2snn.DataError) as caught:
        onnx2snn.save(network, "/dev/null", force=True)
    assert caught.value.code == "E222"
    Path("notes").write_text("mine")
    with pytest.raises(onnx2snn.DataError) as caught:
        onnx2snn.save(network, "notes")
    assert caught.value.code == "E223" and Path("notes").read_text() == "mine"
    onnx2snn.save(network, "notes", force=True)
    onnx2snn.save(network, "notes")
    assert len(onnx2snn.load("notes").nodes) == len(network.nodes)


def test_a_write_protected_result_is_kept(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy("net.snn.onnx", "kept.onnx")
    access = os.access
    monkeypatch.setattr(  # the administrator, who may run this, may write everything
        os, "access", lambda p, mode: Path(p).name != "kept.onnx" and access(p, mode)
    )
    refused("E220", *FILES["convert"], "kept.onnx")


def test_every_verb_that_takes_an_output_takes_force_and_is_tried_here() -> None:
    writing = {
        verb
        for verb, command in main.commands.items()
        if {"-o", "--output", "--tagged"} & {o for p in command.params for o in p.opts}
    }
    assert writing == {*FILES, *FOLDERS}
    for verb in writing:
        assert "--force" in {o for p in main.commands[verb].params for o in p.opts}


def test_every_kind_has_its_reader(tmp_path: Path) -> None:
    assert set(marks.READERS) == set(Kind)
    path = tmp_path / "anything"
    for content in (b"", b"{", b"PK\x03\x04", os.urandom(5000)):
        path.write_bytes(content)
        # What is in a state's place is set aside, whoever made it.
        assert [kind for kind in Kind if made_by_us(path, kind)] == [Kind.STATE]
