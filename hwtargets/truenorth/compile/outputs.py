"""The values that the counting neurons of a readout can tell apart.

Their counts code a window of values, the same for all outputs of a readout, so what all outputs of
a sample have in common takes room that their differences need. With three outputs or more, which
are taken for classes, no decision sees it: it is taken out of the last weights and biases where
the window becomes much narrower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ....runtime.ops import Array
from ...view.lines import Block

CLASSES = 3  # outputs from which on they are taken for classes
NARROWER = 0.5  # of the window, below which outputs are taken without what they have in common


@dataclass(frozen=True, kw_only=True)
class Window:
    """Values from -``offset`` to ``top`` - ``offset`` have counts from 0 to one spike per step."""

    offset: float
    top: float


def chosen(
    name: str, blocks: tuple[Block, ...], bias: Array, *, values: Array
) -> tuple[tuple[Block, ...], Array, Window, list[str]]:
    """Blocks and biases of a readout, its window, and what is said of them.

    Args:
        values: (samples, outputs), of the blocks and biases on calibration samples.
    """
    window = window_of(values)
    apart = centred(blocks, values.shape[1])
    if apart is None:
        return blocks, bias, window, []
    narrow = window_of(values - values.mean(axis=1, keepdims=True))
    if narrow.top >= NARROWER * window.top:
        return blocks, bias, window, []
    said = (
        f"Output values of '{name}' are without what all outputs of a sample have in common, which "
        "no class decision sees: they count in steps "
        f"{window.top / narrow.top:.3g} times finer so."
    )
    return apart, bias - bias.mean(), narrow, [said]


def centred(blocks: Sequence[Block], size: int) -> tuple[Block, ...] | None:
    """The blocks without the mean of their weights over all outputs; None where a block has not
    every output in one place, or outputs are too few to be classes."""
    whole = np.arange(size)
    if size < CLASSES or not blocks:
        return None
    if any(b.outputs.shape != (1, size) or (np.sort(b.outputs[0]) != whole).any() for b in blocks):
        return None
    return tuple(replace(b, weights=b.weights - b.weights.mean(axis=0)) for b in blocks)


def window_of(values: Array) -> Window:
    """The window of counting output neurons: with ``CLASSES`` outputs or more only the largest two
    of a sample need to be told apart, so what is far below may be silent; otherwise everything is
    in range."""
    if values.shape[1] >= CLASSES:
        low = float(np.quantile(np.sort(values, axis=1)[:, -2], 0.02))
    else:
        low = float(values.min(initial=0.0))
    offset = max(-low, 0.0)
    return Window(offset=offset, top=max(float(values.max(initial=0.0)) * 1.05 + offset, 1e-6))
