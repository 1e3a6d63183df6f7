"""What a build of the site adds to mkdocs: pages made from the code and from files outside docs/,
and the check that no page needs the network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import offline
import reference
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

import onnx2snn
from onnx2snn.cli import main

ROOT = Path(__file__).resolve().parents[2]


def on_config(config: Any) -> None:
    """Pages that the navigation does not name stand at its end, so that none is out of reach."""
    named = set(re.findall(r"[\w/-]+\.md", str(config.nav)))
    found = sorted(p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md"))
    if more := [name for name in found if name not in named]:
        config.nav = [*config.nav, {"More": more}]


def on_files(files: Files, config: Any) -> Files:
    made = {
        "reference/command-line.md": reference.command_line(main.commands),
        "reference/python.md": reference.python(onnx2snn),
        "index.md": _beside("README.md"),
        "changelog.md": _beside("CHANGELOG.md"),
        "contributing.md": _beside("CONTRIBUTING.md"),
    }
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    return files


def _beside(name: str) -> str:
    """A page of the repository's top folder, its links as seen from docs/."""
    text = (ROOT / name).read_text().replace("](docs/", "](")
    return re.sub(r"\]\((CONTRIBUTING|CHANGELOG)\.md\)", lambda m: f"]({m[1].lower()}.md)", text)


def on_post_build(config: Any) -> None:
    loads = list(offline.of_site(Path(config.site_dir)))
    if loads:
        raise PluginError("pages must not need the network:\n" + "\n".join(loads))
