"""Options and output that several verbs share."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import click

from .. import api
from ..converter.recipes import RECIPES, recipe_named
from ..data import Preprocessing, Samples
from ..display import displayed, json_text
from ..errors import DataError, UnsupportedOps, UsageError
from ..runtime.engine import ALIASES, DEFAULT, ENGINES, EarlyExit
from ..runtime.file import write_atomically
from ..runtime.graph import Analog, SpikingGraph
from ..runtime.ops import Shape
from . import terminal

F = TypeVar("F", bound=Callable[..., Any])


def _apply(function: F, decorators: list[Callable[[F], F]]) -> F:
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


def preprocessing_options(function: F) -> F:
    """--scale, --mean, --std, --layout."""
    return _apply(
        function,
        [
            click.option("--scale", type=float, help="Divide stored values by this (255)."),
            click.option("--mean", help="Then subtract: one value, or one per channel: .4,.5,.4"),
            click.option("--std", help="Then divide: one value, or one per channel."),
            click.option(
                "--layout",
                type=click.Choice(["NCHW", "NHWC"]),
                help="Axes of the stored samples [default: NCHW].",
            ),
        ],
    )


def preprocessing(
    scale: float | None, mean: str | None, std: str | None, layout: str | None
) -> Preprocessing | None:
    """The preprocessing named on the command line, or None where no option was given."""
    if scale is None and mean is None and std is None and layout is None:
        return None
    return Preprocessing(
        scale=1.0 if scale is None else scale,
        mean=numbers(mean, "--mean"),
        std=numbers(std, "--std"),
        layout=cast(Literal["NCHW", "NHWC"], layout or "NCHW"),
    )


def numbers(text: str | None, option: str) -> tuple[float, ...]:
    """Comma-separated numbers. Raises UsageError for anything else."""
    if text is None:
        return ()
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{option} takes numbers separated by commas, got '{text}'") from None


def shape_option(function: F) -> F:
    """--input-shape name:1x3x224x224, may be repeated."""
    return click.option(
        "--input-shape",
        "input_shapes",
        multiple=True,
        metavar="NAME:1x3x224x224",
        help="Shape of an input whose size the model leaves open (repeatable).",
    )(function)


def parse_shapes(texts: tuple[str, ...]) -> dict[str, Shape] | None:
    out: dict[str, Shape] = {}
    for text in texts:
        name, _, dims = text.rpartition(":")
        try:
            out[name] = tuple(int(d) for d in dims.replace(",", "x").split("x"))
        except ValueError:
            name = ""
        if not name or any(d < 1 for d in out.get(name, ())):
            raise UsageError(f"--input-shape takes NAME:1x3x224x224, got '{text}'")
    return out or None


def conversion_options(function: F) -> F:
    """What `convert` and `sweep` let one choose."""
    return _apply(
        function,
        [
            click.option(
                "--method",
                type=click.Choice(["mmse", "max", "percentile"]),
                help="How thresholds are chosen [default: the recipe's].",
            ),
            click.option("--percentile", type=float, help="For --method percentile [99.9]."),
            click.option(
                "--per-channel/--per-layer",
                default=None,
                help="Thresholds per channel (default) or one per layer.",
            ),
            click.option(
                "--reset",
                type=click.Choice(["subtract", "zero"]),
                help="Reset by subtraction (default) or to zero.",
            ),
            click.option("--leak", type=float, help="Share of the potential lost per step [0]."),
            click.option(
                "--refractory", type=click.IntRange(min=0), help="Steps of rest after a spike [0]."
            ),
            click.option(
                "--levels", type=click.IntRange(min=1), help="Largest number of spikes per step."
            ),
            click.option(
                "--tune/--no-tune",
                default=None,
                help="Calibrate in the spiking loop (default), or thresholds alone.",
            ),
            click.option(
                "--lag",
                type=click.IntRange(min=0),
                help="Steps each layer integrates before it fires.",
            ),
            click.option(
                "--pace/--no-pace",
                default=None,
                help="Behind a lag: spikes even in time and read by when they come (default), or "
                "plain integrate-and-fire.",
            ),
            click.option(
                "--copies",
                type=click.IntRange(min=1),
                help="Neurons for each value of the first layer [2 up to T=32 where that is a "
                "quarter more neurons or less, else 1]; recipes binary and signed without a lag.",
            ),
            click.option(
                "--encoding",
                type=click.Choice(["constant", "poisson", "rate"]),
                help="How samples enter [constant current].",
            ),
            click.option(
                "--readout",
                type=click.Choice(["membrane", "count"]),
                help="Read the outputs' potential (default) or count their spikes.",
            ),
        ],
    )


def calibration_samples(
    spec: str, model: Any, preprocessing: Preprocessing | None, limit: int | None
) -> Samples | None:
    """Calibration data, or None for `--calib none` (statistics without data)."""
    if spec.lower() == "none":
        return None
    return api.load_samples(spec, model, preprocessing, limit=limit)


def _recipes(context: Any, parameter: Any, texts: tuple[str, ...]) -> tuple[str, ...]:
    """The recipes named in a,b or one by one, each once."""
    names = [name.strip() for text in texts for name in text.split(",")]
    if "auto" in names:
        raise UsageError("recipe 'auto' is for `convert`", remedy=f"Name {', '.join(RECIPES)}.")
    return tuple(dict.fromkeys(recipe_named(name).name for name in names))


def recipes_option(function: F) -> F:
    """--recipe a,b or --recipe a --recipe b."""
    return click.option(
        "--recipe",
        "recipes",
        multiple=True,
        metavar="NAME[,NAME]",
        callback=_recipes,
        help=f"{', '.join(RECIPES)}; several (a,b or repeated) on one chart.",
    )(function)


def regression_option(function: F) -> F:
    return click.option(
        "--regression",
        is_flag=True,
        help="The outputs are values, not one score per class: judge them by their error.",
    )(function)


def chosen(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def json_option(function: F) -> F:
    return click.option(
        "--json", "as_json", is_flag=True, help="Print the result as JSON, nothing else."
    )(function)


def emit(document: dict[str, Any], as_json: bool, text: Callable[..., str], *records: Any) -> None:
    """Print the JSON document, or the ``text`` of the records. Its lines are those that ``text``
    makes: no string in ``records`` has a line break or anything hidden left in it."""
    terminal.out(json_text(document) if as_json else text(*displayed(records)))


def stage(text: str) -> Callable[[int, int], None]:
    """Progress of one stage of long work: a line on a terminal, nothing in a pipe."""
    if not sys.stderr.isatty():
        return lambda done, total: None

    def show(done: int, total: int) -> None:
        terminal.progress(f"{text}: {100 * done // max(total, 1):3d} %", done=done >= total)

    return show


def output_folder(path: Path) -> Path:
    """Create a folder for results. Raises DataError where it cannot be made or written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DataError(
            f"cannot write to the folder ({error.strerror})",
            where=str(path),
            remedy="Choose another -o.",
            code="E220",
        ) from error
    return path


def writable(path: Path) -> None:
    """Raise DataError where a file cannot be written to ``path``: before the work, not after."""
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise DataError(
            "cannot write the file",
            where=str(path),
            remedy="Choose another -o, in a folder that exists and can be written.",
            code="E220",
        )


def write_text(path: Path, text: str) -> None:
    """Write a result file in one step; nothing half-written stays behind."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """As ``write_text``, for binary files."""
    write_atomically(path, content)


def engine_options(function: F) -> F:
    """How the simulation runs; without --early-exit the answers do not depend on these."""
    return _apply(
        function,
        [
            click.option(
                "--engine",
                type=click.Choice([*ENGINES, *ALIASES]),
                default=DEFAULT,
                help="The fast one, or numpy: the readable definition [fast].",
            ),
            click.option(
                "--events",
                type=click.Choice(["auto", "never", "always"]),
                default="auto",
                help="Drive layers by their spikes: where that is cheaper [auto]. Needs numba.",
            ),
            click.option("--threads", type=click.IntRange(min=1), help="[all cores]"),
            click.option("--mem-limit", help="Memory for buffers, such as 500M or 2G."),
            click.option("--seed", type=int, default=0, help="For stochastic encodings [0]."),
            click.option(
                "--early-exit",
                type=click.FloatRange(0, 1),
                metavar="MARGIN",
                help="Stop a sample whose winner leads by this share of the spread of all classes.",
            ),
        ],
    )


ENGINE = ("engine", "events", "threads", "mem_limit", "seed", "early_exit")


def engine_arguments(choices: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments of ``evaluate`` from the engine options."""
    exit_margin = choices["early_exit"]
    return chosen(
        engine=ALIASES.get(choices["engine"], choices["engine"]),
        events=choices["events"],
        threads=choices["threads"],
        mem_limit=None if choices["mem_limit"] is None else size(choices["mem_limit"]),
        seed=choices["seed"],
        early_exit=None if exit_margin is None else EarlyExit(margin=exit_margin),
    )


UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


def size(text: str) -> int:
    """Bytes from a number with an optional K, M or G. Raises UsageError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]?)I?B?", text.strip().upper())
    if match is None or float(match[1]) <= 0:
        raise UsageError(f"--mem-limit takes a size such as 500M or 2G, got '{text}'")
    return int(float(match[1]) * UNITS[match[2]])


def refuse_islands(network: SpikingGraph) -> None:
    """Raise UnsupportedOps naming every analog island."""
    islands = network.of(Analog)
    if islands:
        raise UnsupportedOps(
            [(i.name, "+".join(i.ops), "runs as an analog island, not in spikes") for i in islands]
        )


def parse_steps(text: str) -> tuple[int, int]:
    """``N`` or ``FIRST:LAST`` as (first, last). Raises UsageError for anything else."""
    first, colon, last = text.partition(":")
    try:
        begin, end = int(first), int(last if colon else first)
    except ValueError:
        raise UsageError(
            f"-T takes N or FIRST:LAST, got '{text}'", remedy="Example: -T 32 or -T 1:64."
        ) from None
    if begin < 1 or end < begin:
        raise UsageError(f"-T must be at least 1 and FIRST at most LAST, got '{text}'", code="E110")
    return (begin, end) if colon else (end, end)
