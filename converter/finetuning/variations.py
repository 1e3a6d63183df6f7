"""Variations of samples while a network is fine-tuned: the ANN answers them too, so that they need
no labels; with labels they must leave the class as it is.

    flip        mirrored along the last axis, every second sample
    shift:N     moved by up to N places along each of the last two axes; the edge is repeated
    noise:X     normal noise of X standard deviations of the batch
    contrast:X  times 1 - X to 1 + X and plus up to X standard deviations, each sample and channel
    mix:X       up to a share X of another sample of the batch (not with labels)
    cut:X       a box of up to a share X of the last two axes from another sample (not with labels)

N is whole, shares are at most 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import TypeAlias

import numpy as np

from ...errors import UsageError, did_you_mean
from ...runtime.ops import Array
from ...spelling import spelled

Batch: TypeAlias = dict[str, Array]
Variation: TypeAlias = Callable[[Array, float, np.random.Generator], Array]


def _flip(x: Array, amount: float, rng: np.random.Generator) -> Array:
    chosen = rng.random(len(x)) < 0.5
    out = x.copy()
    out[chosen] = x[chosen][..., ::-1]
    return out


def _shift(x: Array, amount: float, rng: np.random.Generator) -> Array:
    most = int(amount)
    axes = range(max(x.ndim - 2, 1), x.ndim)
    moves = rng.integers(-most, most + 1, (len(x), len(axes)))
    out = np.empty_like(x)
    for i, by in enumerate(moves):
        one = x[i]
        for axis, n in zip(axes, by, strict=True):
            at = np.clip(np.arange(x.shape[axis]) + n, 0, x.shape[axis] - 1)
            one = one.take(at, axis=axis - 1)
        out[i] = one
    return out


def _noise(x: Array, amount: float, rng: np.random.Generator) -> Array:
    return x + np.float32(amount * x.std()) * rng.standard_normal(x.shape, np.float32)


def _mix(x: Array, amount: float, rng: np.random.Generator) -> Array:
    share = (amount * rng.random((len(x), *(1,) * (x.ndim - 1)))).astype(np.float32)
    return (1 - share) * x + share * x[rng.permutation(len(x))]


def _contrast(x: Array, amount: float, rng: np.random.Generator) -> Array:
    shape = (*x.shape[:2], *(1,) * (x.ndim - 2))
    scale, offset = (amount * (2 * rng.random(shape) - 1) for _ in range(2))
    return x * (1 + scale).astype(np.float32) + (x.std() * offset).astype(np.float32)


def _cut(x: Array, amount: float, rng: np.random.Generator) -> Array:
    out, axes = x.copy(), range(max(x.ndim - 2, 1), x.ndim)
    for one, other in zip(out, x[rng.permutation(len(x))], strict=True):
        side = (amount * rng.random()) ** (1 / max(len(axes), 1))
        box: list[slice] = [slice(None)] * one.ndim
        for axis in axes:
            length = round(side * x.shape[axis])
            start = rng.integers(0, x.shape[axis] - length + 1)
            box[axis - 1] = slice(start, start + length)
        one[tuple(box)] = other[tuple(box)]
    return out


# Name -> what it does, and whether it takes a number; of ``SHARES`` that is at most 1.
VARIATIONS: Mapping[str, tuple[Variation, bool]] = {
    "flip": (_flip, False),
    "shift": (_shift, True),
    "noise": (_noise, True),
    "contrast": (_contrast, True),
    "mix": (_mix, True),
    "cut": (_cut, True),
}
SHARES = ("mix", "cut")


def check(given: Iterable[str]) -> None:
    """Raise UsageError (E140) for what is no variation."""
    for text in given:
        _read(text)


def mixes(given: Iterable[str]) -> bool:
    """Whether what comes out has no one class."""
    return any(text.startswith(("mix", "cut")) for text in given)


def varied(batch: Mapping[str, Array], given: Iterable[str], rng: np.random.Generator) -> Batch:
    """``batch``, (samples, *shape) per input, in the variations ``given``."""
    out = dict(batch)
    for text in given:
        vary, amount = _read(text)
        out = {name: np.ascontiguousarray(vary(x, amount, rng)) for name, x in out.items()}
    return out


def _read(text: str) -> tuple[Variation, float]:
    name, colon, number = text.partition(":")
    vary, counted = VARIATIONS.get(name, (None, False))
    try:
        amount = float(number) if colon else 0.0
    except ValueError:
        amount = -1.0
    if vary is None or bool(colon) != counted or amount < 0 or (counted and not 0 < amount < inf):
        raise UsageError(
            f"{spelled('augment')} takes flip, shift:N, noise:X, contrast:X, mix:X and cut:X, got "
            f"'{text}'",
            remedy=did_you_mean(name, VARIATIONS) if vary is None else "",
            code="E140",
        )
    wrong = "a share, at most 1" if name in SHARES and amount > 1 else None
    if name == "shift" and amount != int(amount):
        wrong = "a whole number of places"
    if wrong:
        raise UsageError(f"{spelled('augment')} {name}: {wrong}, got '{text}'", code="E140")
    return vary, amount
