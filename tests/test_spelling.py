"""Texts name options by their parameters: every one exists, and no text spells one itself."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from places import ROOT

import onnx2snn
from onnx2snn import hwtargets, results
from onnx2snn.cli import main
from onnx2snn.cli.help.spelling import as_typed
from onnx2snn.converter import convert as conversion
from onnx2snn.converter.recipes.options import Options
from onnx2snn.errors import UsageError
from onnx2snn.evaluation import held_back
from onnx2snn.experiments import plan, run
from onnx2snn.runtime import engine
from onnx2snn.runtime.engine.interface import EngineOptions
from onnx2snn.spelling import spelled, spelled_by

PYTHON: tuple[Any, ...] = (
    *(onnx2snn.convert, onnx2snn.evaluate, onnx2snn.load_onnx, onnx2snn.load_samples),
    *(
        onnx2snn.export,
        onnx2snn.import_network,
        onnx2snn.save,
        onnx2snn.verify,
        conversion.convert,
        Options,
        onnx2snn.Preprocessing,
    ),
    *(held_back.split, plan.plan, run.sweep, results.claim),
    *(hwtargets.place, engine.simulate, EngineOptions, onnx2snn.sweep, onnx2snn.learn),
    onnx2snn.finetune,
)
PARAMETERS = {name for callee in PYTHON for name in inspect.signature(callee).parameters}
COMMAND_LINE_ALONE = {"allow_analog", "verbose"}  # exit statuses and tables exist there alone

OPTION = re.compile(r"(?<![\w-])(?:--[a-z][a-z-]*|-[A-Zo](?![\w-]))")
# Texts that spell options, by their file, and why.
SPELLED = {
    # What only the command line shows: help texts stand beside the fields that become options.
    "converter/recipes/options.py": {
        *("--recipe", "--max-drop", "--method", "--per-channel", "--per-layer"),
    },
    "onnx2snn/console.py": {"--mem-limit", "--threads", "--samples"},
    # Whole commands for a shell, whoever reads them.
    "onnx2snn/experiments/template.py": {"--help"},
    "runtime/file/__init__.py": {"--calib", "-o"},
    "hwtargets/view/pools.py": {"--calib", "--recipe", "-T", "--maxpool", "-o", "--scale"},
    "onnx2snn/questions/calibration.py": {"--data"},
    # Of Dask's.
    "onnx2snn/experiments/shards/cluster.py": {"--nthreads"},
    # Of the Python interpreter.
    "runtime/engine/fast/native/__init__.py": {"-I", "-B"},
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for top in ("runtime", "converter", "hwtargets", "onnx2snn"):
        for path in sorted((ROOT / top).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith("onnx2snn/cli/") and not _linked(path):
                yield name, ast.parse(path.read_text())


def _linked(path: Path) -> bool:
    return any(parent.is_symlink() for parent in path.parents)


def texts(tree: ast.Module) -> Iterator[str]:
    """Every string that is not a docstring, or another string nobody reads."""
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.value


def test_no_text_outside_the_command_line_spells_an_option() -> None:
    found: dict[str, set[str]] = {}
    for name, tree in sources():
        options = {match for text in texts(tree) for match in OPTION.findall(text)}
        if options:
            found[name] = options
    assert found == SPELLED


def named() -> dict[str, tuple[str, Any]]:
    """Where, and the parameter and value (None: not a plain one) that the text names."""
    out: dict[str, tuple[str, Any]] = {}
    for path, tree in sources():
        if path == "onnx2snn/spelling.py":
            continue
        calls = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "spelled"
        ]
        uses = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == "spelled"]
        assert len(uses) == len(calls), f"{path}: `spelled` is called by its name"
        for call in calls:
            name, *value = call.args
            assert isinstance(name, ast.Constant), f"{path}:{call.lineno}: a plain name"
            plain = value[0].value if value and isinstance(value[0], ast.Constant) else None
            out[f"{path}:{call.lineno}:{call.col_offset}"] = name.value, plain
    return out


def test_every_option_that_a_text_names_exists_and_takes_the_value() -> None:
    typed = as_typed(main.commands.values())
    commands = main.commands.values()
    takes = {o: p for c in commands for p in c.params for o in (*p.opts, *p.secondary_opts)}
    seen = named()
    assert len(seen) > 50
    for where, (name, value) in seen.items():
        assert name in PARAMETERS | COMMAND_LINE_ALONE, f"{where}: no parameter '{name}'"
        option, _, word = typed(name, value).partition(" ")
        kind = takes[option].type
        if isinstance(kind, click.Choice) and word:
            assert word in kind.choices, f"{where}: {option} {word}"
    assert {name for name, _ in seen.values()} >= COMMAND_LINE_ALONE
    assert not COMMAND_LINE_ALONE & PARAMETERS


CASES: dict[tuple[str, Any], tuple[str, str]] = {
    ("lag", None): ("lag", "--lag"),
    ("lag", 4): ("lag=4", "--lag 4"),
    ("steps", 8): ("steps=8", "-T 8"),
    ("recipe", "binary"): ('recipe="binary"', "--recipe binary"),
    ("calibration", "DATA"): ("calibration=DATA", "--calib DATA"),
    ("percentile", 99.99): ("percentile=99.99", "--percentile 99.99"),
    ("pace", False): ("pace=False", "--no-pace"),
    ("per_channel", False): ("per_channel=False", "--per-layer"),
    ("regression", True): ("regression=True", "--regression"),
    ("mean", (0.5, 0.25)): ("mean=(0.5, 0.25)", "--mean 0.5,0.25"),
    ("std", (1.0,)): ("std=(1,)", "--std 1"),
}


@pytest.mark.parametrize(("given", "wanted"), CASES.items())
def test_an_option_is_spelled_for_who_reads_it(
    given: tuple[str, Any], wanted: tuple[str, str]
) -> None:
    name, value = given
    assert spelled(name, value) == wanted[0]
    with spelled_by(as_typed(main.commands.values())):
        assert spelled(name, value) == wanted[1]
    assert spelled(name, value) == wanted[0]


@pytest.mark.parametrize(
    ("name", "value", "parameter", "typed"),
    [
        ("input_shapes", {"x": (1, 3)}, 'input_shapes={"x": (1, 3)}', "--input-shape x:1x3"),
        ("grid", {"lag": (0, 2)}, 'grid={"lag": (0, 2)}', "--grid lag=0,2"),
        ("options", {"maxpool": "or"}, 'options={"maxpool": "or"}', "--option maxpool=or"),
    ],
)
def test_values_with_names(name: str, value: Any, parameter: str, typed: str) -> None:
    assert spelled(name, value) == parameter
    assert as_typed(main.commands.values())(name, value) == typed


def test_a_python_user_is_told_of_parameters_and_the_command_line_of_options(
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError) as caught:
        Options(recipe="binary", levels=4)
    assert caught.value.remedy == 'Use recipe="graded".'
    given = [
        "convert",
        str(ROOT / "models" / "digits_mlp.onnx"),
        "--calib",
        "none",
        "--levels",
        "4",
    ]
    done = CliRunner().invoke(main, [*given, "-o", str(tmp_path / "net.snn.onnx")])
    assert done.exit_code == 2 and "Use --recipe graded." in done.stderr
