"""Rounds the weights of a chain so that their errors cancel in sums (``fitting.feedback``)."""

from __future__ import annotations

import numpy as np

from ....runtime import ops
from ....runtime.ops import Array
from ...fitting.feedback import Feedback, Levels
from .chains import Chain

MOST_FIELDS = 1200  # inputs of a neuron up to which rounding errors are fed back
MEANS = 0.05  # weight of the inputs' means among their moments: a bias takes care of them


def feedback(chain: Chain, x: Array) -> tuple[Feedback, ...] | None:
    """What rounding the chain's weights by error feedback takes, per group of channels, from
    samples x (n, *source shape) of what the source sends; None where a weight is not one input's.

    Where there are few samples to many inputs, correlations between inputs count for less.
    """
    op = chain.carrier
    if not isinstance(op, ops.Linear | ops.Conv):
        return None
    groups = op.groups if isinstance(op, ops.Conv) else 1
    size = op.factors[0].size
    if not 1 < size <= MOST_FIELDS:
        return None
    count, total, squares = 0, np.zeros((groups, size)), np.zeros((groups, size, size))
    for at in range(len(x)):
        rows = _fields(chain, x[at : at + 1], groups)  # (groups, rows, size)
        count += rows.shape[1]
        total += rows.sum(axis=1)
        squares += rows.transpose(0, 2, 1) @ rows
    mean = total / count
    moments = squares / count - (1 - MEANS) * mean[:, :, None] * mean[:, None, :]
    own = np.eye(size)
    alone = size / (size + count)
    return tuple(Feedback((1 - alone) * m + alone * own * m) for m in moments)


def _fields(chain: Chain, x: Array, groups: int) -> Array:
    """What every output position reads, (groups, rows, inputs)."""
    for before in chain.before:
        x = before.apply(x)
    x = np.asarray(x, np.float64)
    op = chain.carrier
    if not isinstance(op, ops.Conv):
        return x.reshape(1, -1, x.shape[-1])
    columns = op.columns(x)
    split = columns.reshape(len(x), groups, op.factors[0].size, -1)
    return split.transpose(1, 0, 3, 2).reshape(groups, -1, split.shape[2])


def rounded(weights: Array, given: tuple[Feedback, ...], levels: Levels) -> Array:
    """Weights of a carrier, in levels, rounded so that their errors cancel."""
    rows = weights.reshape(len(given), len(weights) // len(given), -1)
    one = np.ones(rows.shape[1])
    found = []
    for wanted, each in zip(rows, given, strict=True):
        first = each.fed_back(wanted, levels, delta=one)
        found.append(each.settled(wanted, levels, delta=one, first=first))
    return np.stack(found).reshape(weights.shape)
