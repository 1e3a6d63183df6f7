"""Pages as programs: their `sh` blocks are run in order, what their `text` blocks show is compared.

A `sh` block has commands of onnx2snn (`cd` and other programs are not for tests), a `python` block
is run as it stands. One that cannot be run says why, on its first line, title="not run: REASON", or
in a comment before it, <!-- not run: REASON -->, which readers do not see; one that makes
an environment is not run either.
A `text` block behind a `sh` block shows its output: its lines are lines of the output in that
order, others left out; ` ...` at an end stands for the rest of a line. Words must be equal, and
numbers what is printed, with room for another processor alone, which rounds sums in another order:
shares by one sample of the 128 that the shortest runs take, other numbers by a twentieth.

`python tests/pages.py PAGE.md ...` writes what is printed now in place of lines that differ.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner
from places import MODELS

from onnx2snn.cli import main

NOT_RUN = re.compile(r'title="not run: [^"]{8,}"|<!-- not run: .{8,} -->')
SETS_UP = "python3 -m venv "  # what begins so is for `.ci/run`, which sets up and runs all of it
RUNS = ("sh", "python")
NUMBER = re.compile(r"[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]\d+)?")
POINTS, SHARE, LEAST = 0.8, 0.05, 0.011  # LEAST: the last digit of most that is printed


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the line before it and the rest of its first line, where its
    text begins (a line, from 0), and its lines."""

    language: str
    info: str
    begins: int
    lines: tuple[str, ...]


def blocks(text: str) -> Iterator[Block]:
    """All fenced blocks, also indented ones."""
    lines, at = text.splitlines(), 0
    while at < len(lines):
        opened = re.match(r"( *)```(\w*) ?(.*)$", lines[at])
        if opened is None:
            at += 1
            continue
        indent, end = len(opened[1]), at + 1
        while lines[end].strip() != "```":
            end += 1
        inside = tuple(line[indent:] for line in lines[at + 1 : end])
        before = lines[at - 1] if at else ""
        yield Block(opened[2], f"{before}\n{opened[3]}", at + 1, inside)
        at = end + 1


def left_out(block: Block) -> bool:
    """Whether a block is not run: it says so, or it makes an environment."""
    return bool(NOT_RUN.search(block.info)) or block.lines[0].startswith(SETS_UP)


def commands(block: Block) -> list[list[str]]:
    """The arguments of every command of a `sh` block, comments left out."""
    whole = "\n".join(block.lines).replace("\\\n", " ")
    return [words for line in whole.splitlines() if (words := shlex.split(line, comments=True))]


def differing(text: str, folder: Path, *, points: float = POINTS) -> Iterator[tuple[int, str, str]]:
    """Runs a page in ``folder``; of every shown line that was not printed its place (a line of
    the page, from 0), itself, and the nearest line that was printed behind the last one found.
    ``points``: room for shares; training adds up what processors round otherwise.

    A command that ends with another status than 0 or 1, or a `python` block that raises, fails."""
    (folder / "models").symlink_to(MODELS)
    namespace: dict[str, object] = {}
    printed: list[str] = []
    with contextlib.chdir(folder):
        for block in blocks(text):
            if left_out(block):
                continue
            if block.language in RUNS:
                printed = list(_run(block, namespace))
            elif block.language == "text" and printed:
                yield from _compared(block, printed, points)


def _run(block: Block, namespace: dict[str, object]) -> Iterator[str]:
    if block.language == "python":
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile("\n".join(block.lines), "<page>", "exec"), namespace)
        yield from out.getvalue().splitlines()
        return
    for program, *arguments in commands(block):
        assert program == "onnx2snn", f"{program}: only onnx2snn is run"
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code in (0, 1), f"{shlex.join(arguments)}\n{done.output}"
        yield from done.output.splitlines()


def _compared(block: Block, printed: list[str], points: float) -> Iterator[tuple[int, str, str]]:
    at = 0
    for offset, shown in enumerate(block.lines):
        if not shown.strip() or shown.strip() == "...":
            continue
        found = [i for i in range(at, len(printed)) if same(shown, printed[i], points=points)]
        if found:
            at = found[0] + 1
        else:
            near = (difflib.get_close_matches(shown, printed[at:], 1, 0) or [""])[0]
            if shown.endswith(" ..."):
                near = _first_words(near, len(shown.split()) - 1) + " ..."
            yield block.begins + offset, shown, near


def same(shown: str, printed: str, *, points: float = POINTS) -> bool:
    """Is ``shown`` (whose end may be ` ...`) what ``printed`` says, but for the processor?"""
    if shown.endswith(" ..."):
        shown = shown.removesuffix(" ...")
        printed = _first_words(printed, len(shown.split()))
    left, right = (
        NUMBER.sub("0", " ".join(re.sub("-{2,}", "--", s).split())) for s in (shown, printed)
    )
    if left != right:
        return False
    pairs = zip(NUMBER.finditer(shown), NUMBER.finditer(printed), strict=True)
    return all(
        _near(a[0], b[0], behind=shown[a.end() : a.end() + 2], points=points) for a, b in pairs
    )


def _first_words(text: str, count: int) -> str:
    found = list(re.finditer(r"\S+", text))
    return text[: found[count - 1].end()] if len(found) >= count else text


def _near(shown: str, printed: str, *, behind: str, points: float) -> bool:
    a, b = (float(s.replace(",", "")) for s in (shown, printed))
    if "e" in shown:  # what rounding leaves, which every processor does in an order of its own
        return max(abs(a), abs(b)) <= 3 * min(abs(a), abs(b))
    if shown[0] in "+-" or "%" in behind or behind.startswith("-"):
        return abs(a - b) <= points
    return abs(a - b) <= max(LEAST, SHARE * max(abs(a), abs(b)))


def write(page: Path) -> int:
    """The page with what is printed now; how many lines changed."""
    text = page.read_text()
    lines, changed = text.splitlines(), 0
    with tempfile.TemporaryDirectory() as folder:
        for at, shown, near in differing(text, Path(folder)):
            indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
            lines[at] = near if near.startswith(indent) else indent + near
            print(f"{page.name}:{at + 1}\n- {shown}\n+ {near}")
            changed += 1
    page.write_text("\n".join(lines) + "\n")
    return changed


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(sum(write(Path(name)) for name in sys.argv[1:]) > 0)
