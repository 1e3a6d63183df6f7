"""What is between a layer and one of its sources: operations around the one that has weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from ....errors import TargetError
from ....runtime import ops
from ....runtime.ops import Array, LinearOp, MultiplyingOp, WeightedOp
from ....runtime.tables import entry
from ...view import sparse
from ...view.network import Link, Projection

MAX_COMPOSED = 1 << 24  # entries of a product of two weight matrices

# What may follow weights whose output channels are scaled; None: their channels are not scaled.
KEEPING_CHANNELS: dict[type, set[type] | None] = {
    ops.Linear: set(),
    ops.Conv: {ops.SumPool},
    ops.ConvTranspose: None,
    ops.Scale: {ops.SumPool},
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Chain:
    """A projection as before -> carrier (the operation with the weights) -> after."""

    projection: Projection
    before: tuple[LinearOp, ...]
    carrier: MultiplyingOp
    after: tuple[LinearOp, ...]

    @property
    def weights(self) -> Array:
        return self.carrier.factors

    def with_weights(self, w: Array) -> tuple[LinearOp, ...]:
        return (*self.before, self.carrier.with_factors(w), *self.after)


def largest_sum(chain: Chain, weights: Array) -> float:
    """The largest input that one target can get from sources of at most 1."""
    ones: Array = np.ones((1, *chain.projection.source_shape))
    for op in chain.with_weights(np.abs(weights)):
        ones = op.apply(ones)
    return float(ones.max(initial=0))


def split(p: Projection) -> Chain:
    """The chain with all scales folded into its one operation with weights."""
    found = _folded(p.chain)
    if found is None:
        return _composed(p)
    before, carrier, after = found
    return Chain(projection=p, before=tuple(before), carrier=carrier, after=tuple(after))


def _folded(
    chain: Sequence[Link],
) -> tuple[list[LinearOp], MultiplyingOp, list[LinearOp]] | None:
    """Scalar scales are multiplied into the weights; None where that does not work."""
    factor, plain = 1.0, []
    for link in chain:
        op, position, shapes = link
        if (
            isinstance(op, ops.Scale)
            and op.scale.size == 1
            and op.output_shape(*shapes) == shapes[0]
        ):
            factor *= float(op.scale.reshape(-1)[0])
            continue
        single = op.of_input(position, shapes)
        if single is not None:
            plain.append(single)
    carriers = [(i, op) for i, op in enumerate(plain) if isinstance(op, MultiplyingOp)]
    if len(carriers) > 1:
        return None
    if not carriers:
        return plain, ops.Scale(scale=np.array(factor)), []
    at, op = carriers[0]
    carrier = op.with_factors(np.asarray(op.factors, np.float64) * factor)
    return plain[:at], carrier, plain[at + 1 :]


def _composed(p: Projection) -> Chain:
    """Several weighted operations in a row: their product, as one dense layer."""
    size = prod(p.source_shape) * prod(p.target_shape)
    if size > MAX_COMPOSED:
        raise TargetError(
            f"synapses {', '.join(p.names)} into '{p.target}' are {len(p.names)} weighted "
            f"operations in a row, whose product has {size:,} weights",
            remedy="Put an activation between them, or merge them in the model.",
            code="E505",
        )
    dense = sparse.of_chain(p.chain, prod(p.source_shape)).dense()
    return Chain(
        projection=p,
        before=(ops.Reshape(shape=(prod(p.source_shape),)),),
        carrier=ops.Linear(weight=dense),
        after=(ops.Reshape(shape=p.target_shape),),
    )


def only_axis(values: Array) -> int | None:
    """The axis along which alone the values differ, None where there are several."""
    for axis in range(values.ndim):
        if np.ptp(np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1), axis=1).max() == 0:
            return axis
    return None


def scale_outputs(chain: Chain, factor: Array, axis: int) -> Chain | None:
    """The chain with every output channel along ``axis`` scaled; None where the operation's
    channels lie along another, or are mixed afterwards. ``factor``: 1 along the other axes."""
    op = chain.carrier
    allowed = entry(KEEPING_CHANNELS, op, "hwtargets.cores.integer.chains.KEEPING_CHANNELS")
    if allowed is None or not {type(o) for o in chain.after} <= allowed:
        return None
    rank = len(chain.projection.target_shape)
    own = op.channel_axis % rank if isinstance(op, WeightedOp) else axis
    if own != axis or (axis and chain.after):  # what pools leave alone is the first axis
        return None
    return replace(chain, carrier=op.with_factors(op.factors * op.per_output(factor)))


def largest_by_channel(chain: Chain, axis: int) -> Array | None:
    """The largest weight of every output channel along ``axis``, 1 along the others; None where
    ``scale_outputs`` could not scale them."""
    shape = chain.projection.target_shape
    one = tuple(n if i == axis else 1 for i, n in enumerate(shape))
    if scale_outputs(chain, np.ones(one), axis) is None:
        return None
    numbers = chain.carrier.per_output(np.arange(shape[axis], dtype=np.float64).reshape(one))
    at = np.broadcast_to(numbers, chain.weights.shape).astype(np.int64).reshape(-1)
    top = np.zeros(shape[axis])
    np.maximum.at(top, at, np.abs(chain.weights).reshape(-1))
    return top.reshape(one)
