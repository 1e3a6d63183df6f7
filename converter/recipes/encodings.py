"""How inputs enter, as it is written: ``constant``, ``rate``, ``population:16``, ``few-spike:4``.

What a network's own ``Input`` does is in ``runtime.semantics.encoding``; population, few-spike and
ttfs are neurons in front of the network, which the conversion adds (``lowering.coders``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from ...display import counted
from ...errors import UsageError, did_you_mean
from ...spelling import spelled
from . import Recipe

Drawn: TypeAlias = Literal["constant", "poisson", "rate"]  # by an ``Input``
Coded: TypeAlias = Literal["population", "few-spike", "ttfs"]  # by neurons
WINDOWS = ("few-spike", "ttfs")  # one number per window of T steps
CODED: tuple[str, ...] = get_args(Coded)
WORDS: tuple[str, ...] = (*get_args(Drawn), *CODED)
MOST_NEURONS = 1024  # for one value: with T = 16 steps as many levels as a float16 has


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """``drawn``: what the network's input does. ``coded``: which neurons stand in front of it, or
    None; ``number``: of neurons for a value ("population") or of steps (the others), None: the
    network's T."""

    drawn: Drawn = "constant"
    coded: Coded | None = None
    number: int | None = None

    @property
    def neurons(self) -> int:
        """For each value and sign."""
        return self.number or 1 if self.coded == "population" else 1


def encoding_of(text: str) -> Encoding:
    """Raises UsageError (E116) for anything that is no encoding."""
    word, colon, rest = text.partition(":")
    if word in get_args(Drawn) and not colon:
        return Encoding(drawn=word)  # type: ignore[arg-type]
    if word not in CODED:
        if word in WORDS:
            raise UsageError(f"encoding '{word}' takes no number, got '{text}'", code="E116")
        raise UsageError(f"encoding is '{text}'", remedy=did_you_mean(word, WORDS), code="E116")
    number = int(rest) if rest.isdecimal() else None
    most = MOST_NEURONS if word == "population" else None
    missing = number is None and (bool(colon) or word == "population")
    if missing or (number is not None and not 1 <= number <= (most or number)):
        wanted = f"a number of neurons, 1 to {most}" if most else "a number of steps, or none"
        raise UsageError(
            f"encoding '{word}' takes {wanted}, got '{text}'",
            remedy=f"Example: {spelled('encoding', f'{word}:{16 if most else 4}')}.",
            code="E116",
        )
    return Encoding(coded=word, number=number)  # type: ignore[arg-type]


def why_not(encoding: Encoding, recipe: Recipe, steps: int) -> str:
    """Why networks of ``recipe`` for T = ``steps`` cannot read neurons of this encoding, "" where
    they can."""
    coded, number = encoding.coded, encoding.number
    if coded is None:
        return ""
    if coded in WINDOWS and recipe.name != coded:
        return f"inputs coded as '{coded}' are read by the recipe '{coded}', not '{recipe.name}'"
    if coded == "population" and recipe.model != "if":
        other = "few-spike or ttfs" if recipe.model == "window" else "constant"
        return (
            f"recipe '{recipe.name}' weighs spikes by their step, so it does not read the rates "
            f"of a population (use {spelled('encoding', other)})"
        )
    if coded in WINDOWS and number not in (None, steps):
        return f"a window of inputs has the network's T={counted(steps, 'step')}, not {number}"
    return ""
