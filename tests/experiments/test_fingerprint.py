"""What the keys of results are made of."""

from __future__ import annotations

import shutil
from pathlib import Path

from places import ROOT

from onnx2snn.experiments.fingerprint import _source


def test_an_installed_package_has_the_source_of_the_repository(tmp_path: Path) -> None:
    """Its parts lie in it; in the repository links to folders beside it stand for them."""
    ignored = shutil.ignore_patterns("__pycache__", "*.onnx", "*.npz")
    shutil.copytree(ROOT / "onnx2snn", tmp_path / "onnx2snn", ignore=ignored)

    def installed(package: str) -> list[Path]:
        return [tmp_path.joinpath(*package.split("."))]

    def repository(package: str) -> list[Path]:
        top, _, part = package.partition(".")
        return [ROOT / (part or top)]

    assert _source(installed) == _source(repository)
    names = [name for name, _ in _source(installed)]
    assert len(names) == len(set(names)) > 400 and "onnx2snn.runtime/graph.py" in names
