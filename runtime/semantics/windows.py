"""Max pools and analog islands between neurons that send one number per window.

What their reader decodes of a window is f of what is decoded of their inputs' (``neurons.windowed``
has the weights of the steps). Outside its inputs' window nothing reaches a node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..graph import Analog, Coding, MaxPool
from ..neurons import State
from ..neurons.model import weight
from ..ops import Array
from . import islands

# How what they read may be coded, and what a step of a window of some steps is worth.
READ: Mapping[Coding, Callable[[int, int], int]] = {
    "few-spike": lambda position, steps: 1 << (steps - 1 - position),
    "paced": weight,
}


def run(
    node: MaxPool | Analog,
    xs: Sequence[Array],
    state: State,
    *,
    t0: int,
    count: int,
    begin: int,
    length: int,
) -> Array:
    """Steps t0.. (count, batch, *shape) of signals ``xs`` (time or 1, batch, ...), whose window of
    ``length`` steps begins at ``begin``."""
    out = np.zeros((count, xs[0].shape[1], *node.shape), xs[0].dtype)
    for i in range(count):
        position = t0 + i - begin
        if 0 <= position < length:
            now = [x[i if len(x) > 1 else 0] for x in xs]
            if isinstance(node, Analog):
                _read(node, now, state, READ[node.coding](position, length))
            else:
                out[i] = _pool(node, now[0], state)
        if isinstance(node, Analog) and node.lag <= position < node.lag + length:
            if position == node.lag:
                total = sum(READ[node.coding](t, length) for t in range(length))
                state["answer"] = islands.apply(
                    node, [state[f"sum{j}"] / total for j in range(len(xs))]
                )
            out[i] = state["answer"]
    return out


def _pool(node: MaxPool, x: Array, state: State) -> Array:
    """One step of a max pool (see ``graph.MaxPool``), in double precision: sums of a window's
    weighted currents outgrow the bits in which one step's are exact."""
    if not state:
        state["sum"] = np.zeros(x.shape, np.float64)
        state["charge"] = np.zeros(x.shape, np.float64)
        state["before"] = np.zeros((len(x), *node.shape), np.float64)
        state["change"] = np.zeros_like(state["before"])
    x = x + node.bias.astype(np.float64)
    if node.coding == "few-spike":
        state["sum"] = 2 * state["sum"] + x
        total = node.op.apply(state["sum"])
        out = total - 2 * state["before"]
    else:
        state["sum"] = state["sum"] + x
        state["charge"] = state["charge"] + state["sum"]
        total = node.op.apply(state["charge"])
        change = total - state["before"]
        out = change - state["change"]
        state["change"] = change
    state["before"] = total
    return np.asarray(out)


def _read(node: Analog, xs: Sequence[Array], state: State, worth: int) -> None:
    """Add one step to the weighted sums of the inputs, in double precision."""
    for j, x in enumerate(xs):
        state[f"sum{j}"] = state.get(f"sum{j}", np.zeros(x.shape)) + worth * x.astype(np.float64)
