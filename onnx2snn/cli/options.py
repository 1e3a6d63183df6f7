"""Options and output that several verbs share."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

import click

from ..converter.recipes import RECIPES, recipe_named
from ..converter.recipes.options import Choosable, choosable
from ..data import LAYOUTS, Preprocessing, others_beside
from ..display import displayed, json_text
from ..errors import UnsupportedOps, UsageError
from ..evaluation.spiking import SpikingShare
from ..experiments.plan import Steps
from ..runtime.cost import layer_costs
from ..runtime.engine import ALIASES, DEFAULT, ENGINES, Device, EarlyExit, make_engine
from ..runtime.facts import GraphFacts
from ..runtime.graph import Analog, SpikingGraph
from ..runtime.ops import Shape
from . import progress, terminal
from .help import onwards

F = TypeVar("F", bound=Callable[..., Any])


def _apply(function: F, decorators: list[Callable[[F], F]]) -> F:
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


def preprocessing_options(function: F) -> F:
    """--scale, --mean, --std, --layout: one argument ``preprocessing``, a Preprocessing, or None
    where no option was given."""

    @wraps(function)
    def with_preprocessing(
        *,
        scale: float | None = None,
        mean: str | None = None,
        std: str | None = None,
        layout: Literal["NCHW", "NHWC"] | None = None,
        **others: Any,
    ) -> Any:
        given = chosen(
            scale=scale,
            mean=None if mean is None else numbers(mean, option="--mean"),
            std=None if std is None else numbers(std, option="--std"),
            layout=layout,
        )
        return function(preprocessing=Preprocessing(**given) if given else None, **others)

    return _apply(
        cast(F, with_preprocessing),
        [
            click.option("--scale", type=float, help="Divide stored values by this (255)."),
            click.option("--mean", help="Then subtract: one value, or one per channel: .4,.5,.4"),
            click.option("--std", help="Then divide: one value, or one per channel."),
            click.option(
                "--layout",
                type=click.Choice(LAYOUTS),
                help="Axes of the stored samples [default: NCHW].",
            ),
        ],
    )


def numbers(text: str, *, option: str) -> tuple[float, ...]:
    """Comma-separated numbers. Raises UsageError for anything else."""
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
    """What every verb that converts lets one choose: the fields of ``Options`` with a help text."""
    return _apply(function, [_of_field(f) for f in choosable(auto=False)])


def auto_options(function: F) -> F:
    """What `--recipe auto` alone lets one choose."""
    return _apply(function, [_of_field(f) for f in choosable(auto=True)])


def _of_field(choice: Choosable) -> Callable[[F], F]:
    """The option of a field: absent, it leaves the field's default."""
    name = f"--{choice.name.replace('_', '-')}"
    if choice.kind is bool:
        flags = choice.flags or f"{name}/--no-{name.removeprefix('--')}"
        return click.option(flags, choice.name, default=None, help=choice.help)
    metavar = choice.metavar or None
    return click.option(name, choice.name, type=_type_of(choice), metavar=metavar, help=choice.help)


def _type_of(choice: Choosable) -> Any:
    if choice.words:
        return click.Choice(choice.words)
    if choice.kind is str:
        return click.STRING
    if choice.kind is int:
        return click.INT if choice.smallest is None else click.IntRange(min=int(choice.smallest))
    return click.FLOAT if choice.smallest is None else click.FloatRange(min=choice.smallest)


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


def verbose_option(function: F) -> F:
    return click.option("-v", "--verbose", is_flag=True, help="List everything, row by row.")(
        function
    )


def json_option(function: F) -> F:
    return click.option(
        "--json", "as_json", is_flag=True, help="Print the result as JSON, nothing else."
    )(function)


def emit(
    document: dict[str, Any],
    as_json: bool,
    text: Callable[..., str],
    *records: Any,
    then: Sequence[object] = (),
) -> None:
    """Print the JSON document, or the ``text`` of the records. Its lines are those that ``text``
    makes: no string in ``records`` has a line break or anything hidden left in it. ``then``: the
    words of the command that comes next in the work, in a last line that can be pasted."""
    if progress.in_lines():
        progress.event("result", result=document)
        return
    terminal.out(json_text(document) if as_json else text(*displayed(records)))
    if then and not as_json:
        terminal.out(onwards.line(then, click.get_current_context()))


def converts(model: Path, data: str | None) -> Sequence[object]:
    """What comes next for a model that is understood, with the ``data`` that the user has named;
    else a file that asks for them."""
    if data is None:
        asking = Path(f"{model.stem}.toml")
        return ("sweep", asking) if asking.exists() else ("init", model, asking)
    return "convert", model, "--calib", data, "--recipe", "auto", "-o", f"{model.stem}.snn.onnx"


def runs(network: Path, data: str | None) -> Sequence[object]:
    """What comes next for a network that was made with ``data``: others of the same file to run it
    on, else a verb that needs none."""
    others = None if data is None else others_beside(data)
    if others is None:
        return "place", network, "--target", "all"
    return "run", network, "--data", others


def pairs(texts: Sequence[str], *, option: str) -> dict[str, str]:
    """NAME=VALUE as often as the option was given. Raises UsageError for anything else."""
    out = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{option} takes NAME=VALUE, got '{text}'")
        out[name.strip()] = value.strip()
    return out


_ENGINE = click.option(
    "--engine",
    type=click.Choice([*ENGINES, *ALIASES]),
    default=DEFAULT,
    help="The fast one; numpy: the readable definition; or torch: PyTorch, also on a GPU [fast].",
)
_DEVICE = click.option(
    "--device", type=click.Choice(get_args(Device)), help="Of the engine torch [cpu]."
)
_THREADS = click.option("--threads", type=click.IntRange(min=1), help="[all cores]")
_MEM_LIMIT = click.option("--mem-limit", help="Memory for buffers, such as 500M or 2G.")
calibration_memory = click.option(
    "--mem-limit",
    default="1G",
    metavar="SIZE",
    help="For what a conversion adds to the process, beside samples; with less it takes longer, "
    "or sees fewer samples and says so [1G].",
)


def simulation_options(function: F) -> F:
    """How a network is simulated that is not judged."""
    return _apply(function, [_ENGINE, _DEVICE, _THREADS, _MEM_LIMIT])


def engine_options(function: F) -> F:
    """How the simulation runs; without --early-exit the answers do not depend on these."""
    return _apply(
        function,
        [
            _ENGINE,
            _DEVICE,
            click.option(
                "--events",
                type=click.Choice(["auto", "never", "always"]),
                default="auto",
                help="Drive layers by their spikes: where that is cheaper [auto]. Needs numba.",
            ),
            _THREADS,
            _MEM_LIMIT,
            click.option("--seed", type=int, default=0, help="For stochastic encodings [0]."),
            click.option(
                "--early-exit",
                type=click.FloatRange(0, 1),
                metavar="MARGIN",
                help="Stop a sample whose winner leads by this share of the spread of all classes.",
            ),
        ],
    )


ENGINE = ("engine", "device", "events", "threads", "mem_limit", "seed", "early_exit")


def engine_arguments(choices: dict[str, Any], *, profile: bool = False) -> dict[str, Any]:
    """Keyword arguments of ``evaluate`` from the engine options. Raises UsageError now for an
    engine that cannot be had, not when it is to run."""
    exit_margin = choices["early_exit"]
    name = ALIASES.get(choices["engine"], choices["engine"])
    options = chosen(
        device=choices["device"],
        events=choices["events"],
        threads=choices["threads"],
        mem_limit=None if choices["mem_limit"] is None else size(choices["mem_limit"]),
    )
    make_engine(name, profile=profile, **options)
    return options | chosen(
        engine=name,
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
    """Raise UnsupportedOps naming every analog island, and every product of two signals of which
    not both are spikes."""
    costs = layer_costs(GraphFacts(network))
    found = [
        (node.name, "+".join(node.ops), "runs as an analog island, not in spikes")
        for node in network.of(Analog)
        if node.name not in costs or costs[node.name].drive != "spikes"
    ]
    if found:
        raise UnsupportedOps(found)


def allow_analog_option(function: F) -> F:
    """--allow-analog, which ``refuse_analog`` is told."""
    return click.option(
        "--allow-analog",
        is_flag=True,
        help="Exit status 0 also where the result is not a spiking network.",
    )(function)


def refuse_analog(shares: Sequence[SpikingShare], allowed: bool) -> None:
    """Exit status 1 where one of these networks is not spiking, unless that is ``allowed``."""
    if not allowed and any(share.verdict == "no" for share in shares):
        raise SystemExit(1)


SEVERAL = "N, A,B,C or FIRST:LAST"


def parse_steps(text: str, *, forms: str = "N or FIRST:LAST") -> tuple[int, int]:
    """``N`` or ``FIRST:LAST`` as (first, last). Raises UsageError for anything else, which names
    the ``forms`` that the verb takes."""
    if "," in text:
        raise UsageError(
            f"-T takes one T here, got '{text}'",
            remedy="`run` and `sweep` take several: -T 8,16,32.",
        )
    first, colon, last = text.partition(":")
    try:
        begin, end = int(first), int(last if colon else first)
    except ValueError:
        raise UsageError(
            f"-T takes {forms}, got '{text}'", remedy="Example: -T 32 or -T 1:64."
        ) from None
    if begin < 1 or end < begin:
        raise UsageError(f"-T must be at least 1 and FIRST at most LAST, got '{text}'", code="E110")
    return (begin, end) if colon else (end, end)


def parse_sweep(text: str) -> Steps:
    """``N``, ``A,B,C`` or ``FIRST:LAST`` as several T. Raises UsageError for others."""
    if "," not in text:
        return Steps.span(*parse_steps(text, forms=SEVERAL))
    if ":" in text:
        raise UsageError(f"-T takes {SEVERAL}, got '{text}'", remedy="Example: -T 4,8,16.")
    chosen = tuple(sorted({parse_steps(part, forms=SEVERAL)[1] for part in text.split(",")}))
    return Steps(answers=chosen, conversions=chosen)
