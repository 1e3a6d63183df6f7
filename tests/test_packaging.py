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


def test_the_citation_names_the_version_and_licence_of_the_package() -> None:
    said = dict(
        line.split(": ", 1)
        for line in (ROOT / "CITATION.cff").read_text().splitlines()
        if ": " in line
    )
    project = CONFIG["project"]
    assert (said["version"], said["license"]) == (project["version"], project["license"])
    assert (ROOT / "LICENSE").read_text().split()[:2] == ["Apache", "License"]
    assert "END OF TERMS AND CONDITIONS" in (ROOT / "LICENSE").read_text()


def test_the_changelog_has_a_heading_for_what_is_unreleased_and_known_lists() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings[:2] == ["# Changelog", "## Unreleased"]
    assert {h for h in headings if h.startswith("### ")} <= {
        f"### {kind}" for kind in ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
    }
    said = [line for line in text.splitlines() if line.startswith("- ")]
    assert len(said) == len({*said})
