"""The tree tells the tale: folders small enough to read, and no families told apart by prefixes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from places import ROOT, TESTS

MOST = 14  # modules in a folder
TOP = 16  # of the package itself: each is a topic of its own
OF_NO_FOLDER = {"examples", "examples/toychip", "hostile"}  # worked examples, damaged files
BESIDE = {"reports"}  # whose texts are tested where they are made: cli, diagnosis, display


def folders() -> Iterator[Path]:
    for top in ("runtime", "converter", "hwtargets", "onnx2snn"):
        for folder in (ROOT / top, *(ROOT / top).rglob("*")):  # follows no links
            if _is_package(folder):
                yield folder


def _is_package(path: Path) -> bool:
    return (path / "__init__.py").exists() and not path.is_symlink()


@pytest.mark.parametrize("folder", list(folders()), ids=lambda f: f.relative_to(ROOT).as_posix())
def test_a_folder_has_few_modules_and_none_named_after_a_sibling(folder: Path) -> None:
    # Not what Python asks for: ``__main__`` only passes on to the command line.
    names = {path.stem for path in folder.glob("*.py")} - {"__init__", "__main__"}
    names |= {path.name for path in folder.iterdir() if _is_package(path)}
    assert len(names) <= (TOP if folder.name == "onnx2snn" else MOST)
    children = [(a, b) for a in names for b in names if b.startswith(f"{a}_")]
    assert not children, f"{children}: a family is a folder"


def _named(folder: Path) -> str:
    """As its tests' folder is called: what lies in onnx2snn stands beside the other tops."""
    return folder.relative_to(ROOT).as_posix().removeprefix("onnx2snn/")


def test_the_tests_mirror_the_tree() -> None:
    tested = {p.relative_to(TESTS).as_posix() for p in TESTS.rglob("*") if _is_package(p)}
    tree = {_named(folder) for folder in folders()}
    assert tested - tree == OF_NO_FOLDER
    first = {name for name in tree if name.count("/") <= 1 and name.split("/")[0] not in BESIDE}
    assert first - {"onnx2snn"} <= tested
