"""Activation statistics without data: Gaussian moments carried through the network.

Every input element is taken to be independent and standard normal. A linear layer maps means by W
and variances by W^2 (independent inputs); a rectified Gaussian has

    E[a] = mu Phi(mu/s) + s phi(mu/s),   E[a^2] = (mu^2 + s^2) Phi(mu/s) + mu s phi(mu/s)

(phi, Phi: the standard normal density and distribution). Max pooling and analog islands are
evaluated on a few drawn inputs. Where the model had a BatchNormalization, its output has mean beta
and variance gamma^2 over the training data: these replace what was carried that far, and the values
are taken to be spread like the logistic distribution, whose tails are longer. Thresholds then come
from the same rules as with data (for "mmse" the problem that threshold iteration solves, Huang et
al. 2025), on a histogram of the assumed distribution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import erf, pi, sqrt
from typing import TypeAlias

import numpy as np

from ...runtime import graph as snn
from ...runtime.facts import GraphFacts
from ...runtime.ops import Array, LinearOp, MultiplyingOp
from ...runtime.semantics import islands
from ..ann.graph import AnnGraph
from ..ann.silent import silent_values
from .measure import BINS, LayerStats, by_channel, channel_axis

Moments: TypeAlias = tuple[Array, Array]  # mean and variance, element by element

DRAWS = 32
_GRID = np.linspace(-8, 8, 3201)
_PHI = np.array([0.5 * (1 + erf(x / sqrt(2))) for x in _GRID])


@dataclass(frozen=True, eq=False, kw_only=True)
class Law:
    """How a channel's values are spread: P(x <= mean + deviation * g) for g of ``_GRID``, and the
    assumed largest value, in deviations above the mean."""

    below: Array
    reach: float


NORMAL = Law(below=_PHI, reach=4.0)
# Values that a BatchNorm gives have longer tails than normal ones: docs/methods.md has figures.
LOGISTIC = Law(below=1 / (1 + np.exp(-_GRID * pi / sqrt(3))), reach=6.0)


def assumed_statistics(
    graph: snn.SpikingGraph, known: Mapping[str, Moments] | None = None
) -> dict[str, LayerStats]:
    """Statistics per population and readout of a lowered graph, as ``calibrate`` gives them.

    ``known``: mean and variance of what some nodes give (``trained_moments``), which are taken
    instead of those carried there.
    """
    carried = _Carried(np.random.default_rng(0))
    known, facts = known or {}, GraphFacts(graph)
    moments: dict[str, Moments] = {}
    # Nodes whose value is one that BatchNorm tells of, or the sum of such a one and others: what
    # takes one element of each input leaves them spread as they are.
    told: set[str] = set()
    out: dict[str, LayerStats] = {}
    for node in graph.nodes:
        before = [moments[name] for name in node.inputs]
        if node.name in known:
            mean, variance = (np.broadcast_to(x, node.shape) for x in known[node.name])
            told.add(node.name)
        else:
            mean, variance = snn.visit(carried, node, before)
            if isinstance(node, snn.Synapse) and node.op.pattern == "elements":
                told.update({node.name} if told.intersection(node.inputs) else ())
        if isinstance(node, snn.Population | snn.Readout):
            axis = channel_axis(facts, node.name)
            law = LOGISTIC if node.inputs[0] in told else NORMAL
            out[node.name] = _statistics(
                mean, variance=variance, axis=axis, ceiling=getattr(node, "ceiling", None), law=law
            )
        if isinstance(node, snn.Population):
            mean, variance = rectified(mean, variance=variance)
        moments[node.name] = mean, variance
    return out


def assumption(ann: AnnGraph) -> str:
    """What a conversion of ``ann`` without data rests on, in words."""
    told = sum(node.moments is not None for node in ann.nodes)
    known = (
        f"mean and variance of the {told} values that a BatchNormalization gives are its beta and "
        "gamma squared, with the tails of a logistic distribution; everything else is carried from "
        if told
        else "the model has no BatchNormalization that tells how values are spread, so all moments "
        "are carried from "
    )
    return (
        f"converted without data: {known}independent, standard normal inputs (mean 0, variance 1 "
        "per element), normally distributed and independent of each other; nothing was calibrated "
        "in the spiking loop, and real data will need more time steps or a calibration batch"
    )


def trained_moments(ann: AnnGraph) -> dict[str, Moments]:
    """Mean and variance of the lowered form of every node that a BatchNormalization follows.

    beta and gamma^2 are those of the ANN's value; a lowered node gives that less what it gives
    for silent inputs, which its readers add.
    """
    told = [node for node in ann.nodes if node.moments is not None]
    silent = silent_values(ann) if told else {}
    out: dict[str, Moments] = {}
    for node in told:
        assert node.moments is not None
        mean, deviation = (
            x.reshape(-1, *(1,) * (len(node.shape) - 1))
            for x in (node.moments.mean, node.moments.deviation)
        )
        out[node.name] = mean - silent[node.name][0], deviation**2
    return out


class _Carried(snn.Rules[Moments]):
    """Mean and variance of a node's output (for a population: of what it rectifies)."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def input(self, node: snn.Input, xs: Sequence[Moments]) -> Moments:
        return np.zeros(node.shape, np.float32), np.ones(node.shape, np.float32)

    def synapse(self, node: snn.Synapse, xs: Sequence[Moments]) -> Moments:
        mean = node.op.apply(*(m[np.newaxis] for m, _ in xs))[0]
        return mean, _squared(node.op).apply(*(v[np.newaxis] for _, v in xs))[0]

    def population(self, node: snn.Population | snn.Readout, xs: Sequence[Moments]) -> Moments:
        mean, variance = xs[0]
        return mean + node.bias, variance

    readout = population

    def delay(self, node: snn.Delay, xs: Sequence[Moments]) -> Moments:
        return xs[0]

    def max_pool(self, node: snn.MaxPool, xs: Sequence[Moments]) -> Moments:
        y = node.op.apply(self._drawn(xs)[0] + node.bias)
        return y.mean(axis=0), y.var(axis=0)

    def analog(self, node: snn.Analog, xs: Sequence[Moments]) -> Moments:
        y = islands.apply(node, self._drawn(xs))
        return y.mean(axis=0), y.var(axis=0)

    def _drawn(self, xs: Sequence[Moments]) -> list[Array]:
        """A few inputs (draws, *shape) with these moments."""
        return [
            m + np.sqrt(v) * self.rng.standard_normal((DRAWS, *m.shape)).astype(np.float32)
            for m, v in xs
        ]


def _squared(op: LinearOp) -> LinearOp:
    """The operation that maps variances of independent elements."""
    return op.with_factors(op.factors**2) if isinstance(op, MultiplyingOp) else op


def rectified(mean: Array, *, variance: Array) -> Moments:
    """Mean and variance of max(x, 0) for Gaussian x."""
    s = np.sqrt(np.maximum(variance, 1e-12))
    ratio = mean / s
    upper = np.interp(ratio, _GRID, _PHI)
    density = np.exp(-0.5 * np.minimum(ratio**2, 80)) / sqrt(2 * np.pi)
    first = mean * upper + s * density
    second = (mean**2 + s**2) * upper + mean * s * density
    return first.astype(np.float32), np.maximum(second - first**2, 0).astype(np.float32)


def _statistics(
    mean: Array, *, variance: Array, axis: int, ceiling: float | None, law: Law
) -> LayerStats:
    """The histogram of each channel's activations: one law over its positions together."""
    rows = by_channel(mean[np.newaxis], axis)
    mu = rows.mean(axis=1)
    s = np.sqrt(by_channel(variance[np.newaxis], axis).mean(axis=1) + rows.var(axis=1) + 1e-12)
    top = np.minimum(np.maximum(mu + law.reach * s, 0), np.inf if ceiling is None else ceiling)
    edges = top[:, np.newaxis] * np.linspace(0, 1, BINS + 1)
    below = np.interp((edges - mu[:, np.newaxis]) / s[:, np.newaxis], _GRID, law.below)
    count = 1_000_000
    histogram = np.round(np.diff(below, axis=1) * count)
    return LayerStats(
        axis=axis,
        maximum=top.astype(np.float32),
        mean=rectified(mu, variance=s**2)[0],
        histogram=histogram,
        count=count,
    )
