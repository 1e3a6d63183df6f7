"""Copies of hidden neurons that have more hidden targets than one neuron of the chip may have.

A copy receives what its original receives and has its parameters, so it fires whenever that does;
each serves a part of the targets, and the first of them the outputs, whose number is not limited.
So the network computes the same (no partial sum leaves 16 bits, which calibration sees to, and
other sums do not depend on the order of their terms). Copies are targets too: neurons that feed
copied ones may need copies in their turn.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...runtime.ops import Array
from .core import XyloConfig

PARAMETERS = ("dash_mem", "dash_syn", "threshold", "bias")


def copies_for(wired: Array, *, fan_out: float) -> Array:
    """How many neurons each hidden neuron takes, so that none has more than ``fan_out`` targets.

    Args:
        wired: (hidden, hidden), bool, from row to column, to later neurons only.
    """
    number = np.ones(len(wired), np.int64)
    for i in reversed(range(len(wired))):
        number[i] = max(1, int(np.ceil(number[wired[i]].sum() / fan_out)))
    return number


def copies_of(number: Array) -> tuple[Array, Array]:
    """Copies beside each other: of which neuron each is, and whether it is the first."""
    of = np.repeat(np.arange(len(number)), number)
    return of, np.diff(of, prepend=-1) > 0


def copied(config: XyloConfig, *, fan_out: float) -> tuple[XyloConfig, Array]:
    """The configuration with as many copies as it needs, and of which hidden neuron each of its
    hidden neurons is."""
    number = copies_for(config.weights_rec != 0, fan_out=fan_out)
    of, first = copies_of(number)
    w_rec = config.weights_rec[np.ix_(of, of)]
    for neuron in np.flatnonzero(number > 1):
        rows = np.flatnonzero(of == neuron)
        targets = np.flatnonzero(w_rec[rows[0]])
        for row, own in zip(rows, np.array_split(targets, len(rows)), strict=True):
            w_rec[row, np.setdiff1d(targets, own)] = 0
    made = replace(
        config,
        weights_in=config.weights_in[:, of],
        weights_rec=w_rec,
        weights_out=np.where(first[:, None], config.weights_out[of], 0),
        **{name: getattr(config, name)[of] for name in PARAMETERS},
    )
    return made, of
