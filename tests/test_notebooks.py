"""The two notebooks of docs/: about 30 lines each, executed, and what they show is what is printed
now."""

from __future__ import annotations

import ast
import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pages
import pytest
from places import DOCS

NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]


def cells(path: Path) -> list[dict[str, Any]]:
    found = json.loads(path.read_text())["cells"]
    return [cell for cell in found if cell["cell_type"] == "code"]


def run(source: str, names: dict[str, Any]) -> str:
    """What a cell prints, and the repr of its last expression, as a notebook shows them."""
    tree, out = ast.parse(source), io.StringIO()
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(out):
        exec(compile(tree, "cell", "exec"), names)
        value = None
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)  # type: ignore[attr-defined]
    return out.getvalue() + ("" if value is None else repr(value))


def shown(cell: dict[str, Any]) -> str:
    texts = [o.get("text") or o["data"]["text/plain"] for o in cell["outputs"]]
    return "".join("".join(text) for text in texts)


def test_there_is_one_for_each_of_the_two() -> None:
    assert NAMES == ["ml_engineer", "neuromorphic_engineer"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_what_a_notebook_shows_is_what_it_gives(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert path.stat().st_size < 100_000
    lines = [line for cell in cells(path) for line in "".join(cell["source"]).splitlines()]
    assert 20 <= len([line for line in lines if line.strip()]) <= 36
    names: dict[str, Any] = {}
    for cell in cells(path):
        printed, wanted = run("".join(cell["source"]), names), shown(cell)
        assert len(printed.splitlines()) == len(wanted.splitlines())
        for mine, theirs in zip(wanted.splitlines(), printed.splitlines(), strict=True):
            assert pages.same(mine, theirs), f"{mine}\n{theirs}"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_runs_in_a_kernel(path: Path, tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, resources=resources).execute()
    tables = sum(
        "text/html" in o.get("data", {}) for c in notebook.cells for o in c.get("outputs", ())
    )
    assert tables >= 2
