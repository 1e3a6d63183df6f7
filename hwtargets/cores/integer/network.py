"""A network in integers: ``quantize`` makes it, ``integers`` runs it, ``file`` lists it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from ....runtime.neurons import Coding, Neuron
from ....runtime.ops import Array, LinearOp, MultiplyingOp, Shape


@dataclass(frozen=True, eq=False, kw_only=True)
class IntProjection:
    """current = floor(2^exponent ops(k)): ``ops`` with integer weights; ``exponent``: one, or one
    per channel (broadcasts to the layer's shape). ``host``: ops are in floating point and run on
    the host once per sample (analog input as bias). ``narrow``: no partial sum can exceed 2^24, so
    float32 holds it exactly. ``delay``: steps the spikes wait."""

    source: str
    ops: tuple[LinearOp, ...]
    exponent: int | Array = 0
    host: bool = False
    narrow: bool = False
    delay: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class IntLayer:
    """A layer in integers. ``unit``: ANN units per step of the membrane, for channels scaled to one
    threshold as many as these have; ``bias``, ``v_init``, ``threshold``, ``v_min``, ``v_reset`` are
    in these steps; ``neuron`` is None for a membrane readout. ``coding``:
    how a readout weighs steps; ``scaled``: what each channel was scaled by."""

    name: str
    shape: Shape
    projections: tuple[IntProjection, ...]
    bias: Array
    unit: float
    shift: int
    neuron: Neuron | None = None
    threshold: Array | None = None
    v_init: Array | None = None
    v_min: Array | None = None
    v_reset: Array | int = 0
    coding: Coding = "rate"
    scaled: Array | float = 1.0


@dataclass(frozen=True, kw_only=True)
class Register:
    """Of a bias: a mantissa of at most +-``mantissa``, shifted left by 0 to ``exponent``."""

    mantissa: float = inf
    exponent: float = inf

    def holds(self, wanted: Array) -> Array:
        """What it holds of whole numbers, each with an exponent of its own."""
        if self.mantissa == inf:
            return wanted
        needed = np.ceil(np.log2(np.maximum(np.abs(wanted) / self.mantissa, 1.0)))
        shift = 2.0 ** np.minimum(needed, self.exponent)
        return np.asarray(np.clip(np.round(wanted / shift), -self.mantissa, self.mantissa) * shift)

    @property
    def largest(self) -> float:
        return self.mantissa * 2.0**self.exponent


@dataclass(frozen=True, eq=False, kw_only=True)
class IntNetwork:
    """``input_mode``: "graded" (integers of step ``input_unit`` sent in every step), "bias" (the
    host computes the first layer's current), "population" (encoding neurons), "spikes" (the graph
    itself encodes). ``state_max``: largest membrane; ``strict``: fires at v > threshold;
    ``register``: what holds a bias, and in mode "bias" the host's current with it."""

    layers: tuple[IntLayer, ...]
    input_mode: str
    input_unit: float
    input_max: float
    state_max: float
    strict: bool
    notes: tuple[str, ...] = ()
    register: Register = Register()


def with_one_exponent_each(network: IntNetwork) -> IntNetwork:
    """The same sums, by projections of one exponent each: their weights are 0 for the channels of
    other exponents."""
    return replace(network, layers=tuple(_with_one_each(layer) for layer in network.layers))


def _with_one_each(layer: IntLayer) -> IntLayer:
    parts = (part for p in layer.projections for part in _by_exponent(p))
    return replace(layer, projections=tuple(parts))


def _by_exponent(p: IntProjection) -> Iterator[IntProjection]:
    for exponent in np.unique(p.exponent).tolist():
        own = np.equal(p.exponent, exponent)
        ops = (
            op.with_factors(op.factors * op.per_output(own))
            if isinstance(op, MultiplyingOp) and not own.all()
            else op
            for op in p.ops
        )
        yield replace(p, ops=tuple(ops), exponent=exponent)
