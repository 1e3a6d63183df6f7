"""What a sweep is to run: one series per recipe and combination of conversion options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from ..converter.recipes import together
from ..converter.recipes.options import Choosable, Options, choosable
from ..errors import UsageError, did_you_mean
from ..spelling import spelled

# The T that tables show, and that are run where every T costs a conversion.
LADDER = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The T of a sweep, ascending: ``answers`` those whose answers are shown, ``conversions`` those
    that networks are converted for where every T is a conversion of its own."""

    answers: tuple[int, ...]
    conversions: tuple[int, ...]

    @property
    def last(self) -> int:
        return self.answers[-1]

    @staticmethod
    def span(first: int, last: int) -> Steps:
        """Every T from ``first`` to ``last``; conversions a few per octave."""
        ladder = (t for t in LADDER if first <= t < last)
        return Steps(answers=tuple(range(first, last + 1)), conversions=(*ladder, last))


@dataclass(frozen=True, eq=False, kw_only=True)
class Series:
    """One recipe with one choice of conversion options, at several T.

    Attributes:
        label: the recipe, and the options that differ between the series.
        options: of ``Options``, with the recipe, without the steps.
        steps: the T whose answers are asked for.
        each: every T is a conversion of its own, beside the early answers of the network that is
            converted for the last; else these alone.
    """

    label: str
    options: Mapping[str, Any]
    steps: Steps
    each: bool

    def seeded(self, seed: int) -> Series:
        """With other samples drawn in calibration; 0 is what is drawn where nobody asks."""
        if seed == 0:
            return self
        options = {**self.options, "seed": seed}
        return replace(self, options=options, label=f"{self.label} seed {seed}")


def plan(
    recipes: Sequence[str],
    options: Mapping[str, Any],
    *,
    grid: Mapping[str, Sequence[Any]],
    steps: Steps,
    each: bool,
) -> tuple[Series, ...]:
    """The series of every recipe with every combination of the values in ``grid``.

    Raises UsageError where an option is given once and in the grid.
    """
    for name in grid:
        if name in options:
            raise UsageError(f"{name} is given as an option and in the grid", code="E118")
    chosen = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    return tuple(
        Series(
            label=" ".join([recipe, *(f"{name}={_said(value)}" for name, value in values.items())]),
            options={**options, **values, "recipe": recipe},
            steps=steps,
            each=each,
        )
        for recipe in recipes
        for values in chosen
    )


def fitting(series: Sequence[Series]) -> tuple[tuple[Series, ...], tuple[str, ...]]:
    """The series with the T that their recipes have, and what was left out, in words: a grid and a
    list of T also ask for what does not exist.

    Raises the UsageError of the first, where nothing is left of a recipe.
    """
    left: list[Series] = []
    out: list[str] = []
    refused: dict[str, UsageError] = {}
    for one in series:
        wrong = {t: error for t in _asked(one) if (error := _refusal(one, t)) is not None}
        if wrong:
            out.append(_left_out(one, wrong))
            refused.setdefault(one.options["recipe"], next(iter(wrong.values())))
        if len(wrong) < len(_asked(one)):
            left.append(replace(one, steps=_without(one.steps, wrong)))
    kept = {one.options["recipe"] for one in left}
    for recipe, error in refused.items():
        if recipe not in kept:
            raise error
    return tuple(left), tuple(out)


def _asked(series: Series) -> list[int]:
    return sorted({*series.steps.answers, *series.steps.conversions})


def _refusal(series: Series, steps: int) -> UsageError | None:
    try:
        together.check(Options(**{**series.options, "steps": steps}))
    except UsageError as error:
        return error
    return None


def _without(steps: Steps, wrong: dict[int, UsageError]) -> Steps:
    """The last one is converted for in any case."""
    answers = tuple(t for t in steps.answers if t not in wrong)
    conversions = {t for t in steps.conversions if t not in wrong}
    return Steps(answers=answers, conversions=tuple(sorted({*conversions, answers[-1]})))


def _left_out(series: Series, wrong: dict[int, UsageError]) -> str:
    which, first = list(wrong), next(iter(wrong.values()))
    if len(which) == len(_asked(series)):
        return f"{series.label}: left out: {first.what}"
    apart = ", ".join(map(str, which)) if len(which) < 4 else f"{which[0]} to {which[-1]}"
    return f"{series.label}: T={apart} left out: {first.what}"


def parse_grid(texts: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """``NAME=VALUE,VALUE`` by name, of the options of a conversion.

    Raises UsageError (E118) for an unknown option, a value that it does not take, or a name twice.
    """
    known = {choice.name: choice for choice in choosable(auto=False)}
    out: dict[str, tuple[Any, ...]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not values.strip():
            raise UsageError(
                f"a grid is NAME=VALUE,VALUE, got '{text}'",
                remedy=f"Example: {spelled('grid', {'lag': (0, 2, 4)})}.",
                code="E118",
            )
        if name not in known:
            raise UsageError(
                f"there is no conversion option '{name}'",
                remedy=did_you_mean(name, known),
                code="E118",
            )
        if name in out:
            raise UsageError(f"the grid has '{name}' twice", code="E118")
        found = [_value(known[name], value.strip()) for value in values.split(",")]
        out[name] = tuple(dict.fromkeys(found))
    return out


def _said(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


WORDS = {"true": True, "yes": True, "false": False, "no": False}


def _value(choice: Choosable, text: str) -> Any:
    try:
        value = WORDS[text.lower()] if choice.kind is bool else choice.kind(text)
    except (KeyError, ValueError):
        value = None
    small = choice.smallest is not None and value is not None and not value >= choice.smallest
    if value is None or small or (choice.words and value not in choice.words):
        takes = ", ".join(choice.words or (WORDS if choice.kind is bool else ()))
        raise UsageError(
            f"{choice.name} does not take '{text}'",
            remedy=f"It takes {takes}." if takes else "",
            code="E118",
        )
    return value
