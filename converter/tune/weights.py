"""Weights that compensate the spiking error of what they read: ridge regression, no gradient.

A synapse reads decoded rates r instead of the ANN's activations a. With the mean current over the
window z' = W r + b + rest and the ANN's z, the change of weights and bias that explains the
remaining difference best is

    min over dW, db of  mean (z - z' - dW r - db)^2 + strength * mean(r^2) |dW|^2

in closed form per layer and group, earlier layers already corrected (the asymmetric
reconstruction of Nagel et al. 2020, solved exactly and for spiking errors). ``rest`` contains skip
connections, so what went wrong there is compensated too. A row counts nothing where both z and z'
are negative (no spike either way), and only up to zero where the ANN is silent. The strength is
chosen per layer on samples left out of the fit; the choice "no change" is among the candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from ...runtime import graph as snn
from ...runtime.ops import Array, WeightedOp
from ...runtime.ops.change import Change
from ...runtime.ops.convolution import Conv, ConvTranspose
from ...runtime.ops.linear import Linear
from ...runtime.tables import entry
from .replay import Replay
from .rounded import few_levels, levels_of

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
MAX_FEATURES = 5000  # a Gram matrix of this size takes 200 MB
FIT_BYTES = 3 << 28  # a layer whose fit takes more keeps its weights
WHOLE = 1 << 22  # numbers of a solution that is judged at once
ROWS = 32768  # of inputs in a fit, over all samples
OF_BIAS = 1e-3  # the strength of its regularization


@dataclass(frozen=True, eq=False, kw_only=True)
class Columns:
    """An operation as products of its weights, (out channels, features) in ``groups``, with columns
    of its input: ``of`` gives (batch, groups, features, positions), ``out`` the output in that
    form, (batch, groups, out channels / groups, positions)."""

    groups: Callable[[Any], int]
    of: Callable[[Any, Array], Array]
    out: Callable[[Any, Array], Array]


def _conv_columns(op: Conv, x: Array) -> Array:
    return op.columns(x).reshape(len(x), op.groups, _features(op), -1)


def _conv_out(op: Conv, y: Array) -> Array:
    return y.reshape(len(y), op.groups, len(op.weight) // op.groups, -1)


def _linear_columns(op: Linear, x: Array) -> Array:
    return x.reshape(len(x), 1, -1, x.shape[-1]).swapaxes(2, 3)


LINEAR = Columns(groups=lambda op: 1, of=_linear_columns, out=_linear_columns)
CONV = Columns(groups=lambda op: op.groups, of=_conv_columns, out=_conv_out)
# Operations whose weights are corrected. None: an output is no such product.
COLUMNS: Mapping[type[WeightedOp], Columns | None] = {
    Linear: LINEAR,
    Conv: CONV,
    ConvTranspose: None,  # which adds up several products, as many as windows overlap there
}


def _columns(op: WeightedOp) -> Columns | None:
    return entry(COLUMNS, op, "converter.tune.weights.COLUMNS")


def correctable(replay: Replay, name: str) -> tuple[snn.Synapse, ...]:
    """The weighted synapses whose currents reach node ``name`` unchanged, and only it."""
    consumers = replay.facts.consumers
    out: list[snn.Synapse] = []
    stack = list(replay.graph[name].inputs)
    while stack:
        node = replay.nodes[stack.pop()]
        if not isinstance(node, snn.Synapse) or len(consumers[node.name]) != 1:
            continue
        if isinstance(node.op, WeightedOp):
            if _columns(node.op) is not None:
                out.append(node)
        elif node.op.adds and all(replay.nodes[i].shape == node.shape for i in node.inputs):
            stack += node.inputs
    return tuple(out)


def fits(synapse: snn.Synapse) -> bool:
    """Whether the fit of a weighted synapse is made; a larger layer keeps its weights."""
    op = synapse.op
    assert isinstance(op, WeightedOp)
    return _features(op) <= MAX_FEATURES and fit_bytes(synapse) <= FIT_BYTES


def fit_bytes(synapse: snn.Synapse) -> int:
    """What the correction of a layer takes: two sums of squares and two of products, a solution,
    and what LAPACK works on."""
    op = synapse.op
    assert isinstance(op, WeightedOp)
    size, out = _features(op) + 1, len(op.weight)
    groups = op.groups if isinstance(op, Conv) else 1
    return 8 * (groups * 2 * size * size + 3 * size * out + size * size + size * out // groups)


def residual(z: Array, *, mean: Array, spiking: bool) -> Array:
    """What a change of the mean current should add (see the module)."""
    if not spiking:
        return z - mean
    wanted = np.where(z > 0, z, np.minimum(mean, 0))
    return wanted - mean


Missing = Callable[[slice, Callable[[str], Array]], Array]


def correct(
    replay: Replay, synapse: snn.Synapse, missing: Missing, rng: np.random.Generator
) -> tuple[snn.Synapse, Array]:
    """The corrected synapse and the bias change per output channel, (channels,).

    ``missing``: what its output should gain on the samples of a tile, (batch, *shape), given the
    tile and a function of the mean at a node there.
    """
    op = synapse.op
    assert isinstance(op, WeightedOp)
    fit, held = _sums(replay, synapse, missing, rng)
    strength = _best_strength(fit, held=held) if held.count and fit.count else 1.0
    if strength is None:
        return synapse, np.zeros(len(op.weight), np.float32)
    fit.take(held)
    del held  # as large as the weights
    levels = levels_of(op.weight)
    codes, step, bias = few_levels(
        fit.solve(strength), spread=fit.spread(), means=fit.means(), levels=levels
    )
    change = Change(
        codes=codes, levels=levels, step=op.per_output(step), scale=np.ones((), np.float32)
    )
    new = op.with_factors(change.of(op.weight))
    return replace(synapse, op=new, change=change), bias


def _sums(
    replay: Replay, synapse: snn.Synapse, missing: Missing, rng: np.random.Generator
) -> tuple[_Gram, _Gram]:
    """Of the samples that are fitted to, and of those held back: tiles in threads, added up in
    their order."""
    op = synapse.op
    assert isinstance(op, WeightedOp)
    columns = _columns(op)
    assert columns is not None
    groups, out = columns.groups(op), len(op.weight)
    fit, held = (_Gram(groups, features=_features(op), out=out // groups) for _ in range(2))
    per_sample = -(-max(ROWS, 4 * _features(op)) // replay.samples)
    positions = prod(synapse.shape) // out
    chosen = {}
    for part in replay.tiles():
        count = part.stop - part.start
        chosen[part.start] = _choose(count * positions, count=per_sample * count, rng=rng)

    def rows(part: slice) -> tuple[Array, Array]:
        means = replay.means(part)
        x, wanted = means(synapse.inputs[0]), missing(part, means)
        return _rows(columns.of(op, x), wanted=columns.out(op, wanted), chosen=chosen[part.start])

    def take(part: slice, drawn: tuple[Array, Array]) -> None:
        gram = held if part.start // replay.tile % 4 == 3 else fit
        gram.add(*drawn)

    replay.in_order(rows, take)
    return fit, held


def _features(op: WeightedOp) -> int:
    return int(np.prod(op.weight.shape[1:]))


def _rows(columns: Array, *, wanted: Array, chosen: Array) -> tuple[Array, Array]:
    """The ``chosen`` rows of inputs (groups, n, features) and outputs (groups, n, out)."""
    positions = columns.shape[3]
    sample, position = chosen // positions, chosen % positions
    return (
        columns[sample, :, :, position].swapaxes(0, 1),
        wanted[sample, :, :, position].swapaxes(0, 1),
    )


def _choose(total: int, *, count: int, rng: np.random.Generator) -> Array:
    if total <= count:
        return np.arange(total)
    return np.sort(rng.choice(total, count, replace=False))


class _Gram:
    """Sums over rows (x, 1) and y: all that ridge regression needs."""

    def __init__(self, groups: int, *, features: int, out: int) -> None:
        size = features + 1
        self.xx = np.zeros((groups, size, size))
        self.xy = np.zeros((groups, size, out))
        self.count = 0

    def add(self, x: Array, y: Array) -> None:
        one = np.ones((*x.shape[:2], 1), np.float32)
        rows = np.concatenate([x, one], axis=2)
        self.xx += rows.swapaxes(1, 2) @ rows
        self.xy += rows.swapaxes(1, 2) @ y
        self.count += x.shape[1]

    def take(self, other: _Gram) -> None:
        """The rows of ``other`` too."""
        self.xx += other.xx
        self.xy += other.xy
        self.count += other.count

    def solve(self, strength: float) -> Array:
        """(groups, features + 1, out): dW transposed, then db."""
        size = self.xx.shape[1] - 1
        at, every = np.arange(size), np.arange(size + 1)
        matrix, kept = self.xx, self.xx[:, every, every]
        power = matrix[:, at, at].mean(axis=1, keepdims=True)
        matrix[:, at, at] += strength * power + 1e-12 * self.count
        matrix[:, size, size] += OF_BIAS * self.count
        try:
            return np.linalg.solve(matrix, self.xy)
        finally:
            matrix[:, every, every] = kept

    def means(self) -> Array:
        """(groups, features): what adding one to a weight adds to an output's bias, in the fit."""
        return self.xx[:, -1, :-1] / (self.xx[:, -1, -1:] + OF_BIAS * self.count)

    def spread(self) -> Array:
        """(groups, features): the mean square of a feature that the bias does not take away."""
        at = np.arange(self.xx.shape[1] - 1)
        return (self.xx[:, at, at] - self.xx[:, -1, :-1] * self.means()) / max(self.count, 1)

    def gain(self, solution: Array) -> float:
        """How much of the squared error a solution takes away on these rows."""
        change, out = 0.0, solution.shape[2]
        block = out if solution.size <= WHOLE else max(1, WHOLE * out // solution.size)
        for at in range(0, out, block):
            xy, part = (x[:, :, at : at + block] for x in (self.xy, solution))
            change += 2 * (xy * part).sum() - (part * (self.xx @ part)).sum()
        return float(change)


def _best_strength(fit: _Gram, *, held: _Gram) -> float | None:
    """The strength that helps most on held-out rows; None where none helps."""
    large = fit.xx.shape[1] > 1500
    candidates: Sequence[float] = (0.03, 0.3) if large else STRENGTHS
    gains = [held.gain(fit.solve(strength)) for strength in candidates]
    best = int(np.argmax(gains))
    return candidates[best] if gains[best] > 0 else None
