"""The package list is written by hand: a forgotten folder would be missing in the wheel."""

import tomllib
from pathlib import Path

from places import ROOT

import onnx2snn

CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_folder_is_listed() -> None:
    folders = set()
    for top in ("onnx2snn", "converter", "runtime", "hwtargets", "models"):
        for init in (ROOT / top).rglob("__init__.py"):  # follows no links
            parts = init.parent.relative_to(ROOT).parts
            folders.add(".".join(parts if top == "onnx2snn" else ["onnx2snn", *parts]))
    assert folders == set(CONFIG["tool"]["setuptools"]["packages"])


def test_data_files_are_packaged() -> None:
    data = CONFIG["tool"]["setuptools"]["package-data"]
    for package, patterns in data.items():
        folder = ROOT / Path(*package.split("."))  # the links lead to the folders
        for pattern in patterns:
            if pattern != "py.typed":
                assert list(folder.glob(pattern)), f"{package}: no file matches {pattern}"


def test_public_names_exist() -> None:
    assert sorted(onnx2snn.__all__) == onnx2snn.__all__
    for name in onnx2snn.__all__:
        assert getattr(onnx2snn, name) is not None
