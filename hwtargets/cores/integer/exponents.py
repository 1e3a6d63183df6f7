"""Exponents of a chain's weights: one for all, or one for each group that has lists of its own.

An input of a grouped (depthwise) convolution reaches one group alone, one of a skip connection one
channel, and its list of weights has a format of its own: groups of small weights keep their bits
beside groups of large ones (those of a threshold next to nothing, made equal to the others').
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from ....runtime import ops
from ....runtime.ops import Array
from .chains import Chain

SPAN = 16  # exponents that weights can have: from 8 below to 7 above the finest
LEFT = 7  # largest exponent above the finest (lava-nc 0.10.0, Dense: weight_exp -8..7)


def tops(chain: Chain, *, spiking: bool) -> Array:
    """The largest weights of what has an exponent of its own, no finer than exponents can follow.
    ``spiking``: into neurons, not an output's sum, whose weights share one."""
    found = _tops(chain, chain.weights, spiking)
    return np.asarray(np.where(found > 0, np.maximum(found, found.max() / 2**LEFT), 0.0))


@dataclass(frozen=True)
class Formats:
    """What the lists of one connection may have of a core's formats: ``most`` different exponents,
    all of them multiples of ``stride``."""

    most: float = SPAN
    stride: int = 1


def formats(most: float, *, connections: int) -> Formats:
    """Of a core that holds so many, each of its layer's connections has the same share. Where there
    are more connections than formats they share them, and with them a coarser grid."""
    if connections <= most:
        return Formats(most=min(most, SPAN * connections) // max(connections, 1))
    return Formats(most=1, stride=ceil(SPAN / most))


def exponents(
    chain: Chain, needed: Array, *, spiking: bool, least: float, within: Formats
) -> tuple[int | Array, bool]:
    """The exponent, one for all or one per channel (channels, 1, ...), and whether the largest
    weights have lost bits since none is below ``least``.

    ``needed``: the chain's weights over the largest whole number, in steps.
    """
    found = _tops(chain, needed, spiking)
    if not found.any():
        return ceil(max(least, 0) / within.stride) * within.stride, least > 0
    fine = np.ceil(np.log2(np.maximum(found, 1e-300)) - 1e-9)
    high = max(least, fine.max())
    high = ceil(high / within.stride) * within.stride
    lowest = max(least, high - LEFT - 8)
    fine = np.where(found > 0, np.clip(fine, lowest, high), high)
    stride = ceil((high - fine.min() + 1) / within.most)
    each = (high - (high - fine) // stride * stride).astype(int)
    coarse = bool(high > np.ceil(np.log2(found.max()) - 1e-9))
    if not np.ptp(each):
        return int(each[0]), coarse
    per_channel = np.repeat(each, len(needed) // len(each))
    rank = len(chain.projection.target_shape)
    return per_channel.reshape(-1, *(1,) * (rank - 1)), coarse


def _tops(chain: Chain, weights: Array, spiking: bool) -> Array:
    groups = own_lists(chain) if spiking else 1
    return np.asarray(np.abs(weights).reshape(groups, -1).max(axis=1, initial=0))


def own_lists(chain: Chain) -> int:
    """Groups of output channels that no input reaches two of: an input's list of weights, and so
    its exponent, is of one group alone."""
    op, rank = chain.carrier, len(chain.projection.target_shape)
    if not {type(o) for o in chain.after} <= {ops.SumPool}:
        return 1
    if isinstance(op, ops.Conv):
        return op.groups
    factors = op.factors
    by_channel = isinstance(op, ops.Scale) and factors.ndim == rank > 0
    return len(factors) if by_channel and factors.size == len(factors) else 1
