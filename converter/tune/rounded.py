"""A change of weights in a few levels per output, so that a file holds both weights in little more
than the room of one (``runtime.ops.change``).

Each output gets a step of its own, by least squares (Lloyd 1982, with equal distances): the error
of an input counts by how much it varies, since the bias takes its mean. What rounding adds to the
error is within what another seed does.
"""

from __future__ import annotations

import numpy as np

from ...runtime.ops import Array
from ...runtime.ops.arrays import own
from ...runtime.ops.change import EACH, lowest, packed

LARGE = 1 << 18  # weights: fewer take 16 levels, as the rest of their file is no smaller anyway
FIRST = {6: 0.75, 16: 0.33}  # of the root mean square: where the search for a step begins
ROUNDS = 4
BITS = 8  # of a step: its product with a digit and a threshold of 12 bits is exact
BLOCK = 1 << 20  # numbers that are looked at together


def levels_of(weight: Array) -> int:
    return 6 if weight.size >= LARGE else 16


def few_levels(
    solution: Array, *, spread: Array, means: Array, levels: int
) -> tuple[Array, Array, Array]:
    """Codes and steps (outputs,) of a ``Change``, and the change of the biases, (outputs,).

    Parameters:
        solution: (groups, features + 1, outputs / groups), the last of the features the bias.
        spread: (groups, features), mean squares of inputs about their means.
        means: (groups, features), what of a change of a weight the bias takes over.
    """
    groups, size, outputs = solution.shape
    count = size - 1
    codes = np.empty((groups, outputs, -(-count // EACH[levels])), np.uint8)
    steps, bias = np.empty((groups, outputs), np.float32), solution[:, -1].copy()
    rows = max(1, BLOCK // max(count, 1))
    for group in range(groups):
        for at in range(0, outputs, rows):
            part = slice(at, at + rows)
            wanted = np.ascontiguousarray(solution[group, :-1, part].T)
            step, digits = _levels(wanted, spread[group], levels)
            codes[group, part], steps[group, part] = packed(digits, levels), step
            bias[group, part] += (wanted - digits * step[:, None]) @ means[group]
    codes = own(codes.reshape(groups * outputs, -1))
    return codes, steps.ravel(), bias.ravel().astype(np.float32)


def _levels(wanted: Array, spread: Array, levels: int) -> tuple[Array, Array]:
    """Steps (rows,), and digits of the shape of ``wanted``, (rows, features)."""
    weighed = wanted * spread
    side = np.where((weighed * wanted**2).sum(axis=1) < 0, -1.0, 1.0)  # that of the most digits
    step = side * FIRST[levels] * np.sqrt((wanted**2).mean(axis=1))
    for _ in range(ROUNDS):
        digits = _digits(wanted, step=step, levels=levels)
        power = (digits**2 * spread).sum(axis=1)
        found = (digits * weighed).sum(axis=1) / np.maximum(power, 1e-300)
        step = np.where(found * side > 0, found, step)
    step = _significant(step)
    return step, _digits(wanted, step=step, levels=levels)


def _digits(wanted: Array, *, step: Array, levels: int) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = np.rint(wanted / step[:, None])
    return np.clip(np.nan_to_num(whole), lowest(levels), lowest(levels) + levels - 1)


def _significant(x: Array) -> Array:
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.rint(np.ldexp(mantissa, BITS)), exponent - BITS)
