"""Every operation in PyTorch: a layer that holds its numbers, and the expression that calls it.

Expressions have ``{0}``, ``{1}``, ... for their inputs, signals (batch, *shape), and ``{me}`` for
the layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from ... import ops
from ...ops import Shape
from ...ops.linear import CumSum
from ...tables import entry
from .places import Held

Shapes: TypeAlias = Sequence[Shape]


@dataclass(frozen=True, eq=False, kw_only=True)
class Code:
    """``call``: the expression; ``layer``: what makes the layer, "" without one; ``arrays``: its
    numbers, by their names in it."""

    call: str
    layer: str = ""
    arrays: Mapping[str, Held] = field(default_factory=dict)


def code_of(op: ops.Operation, shapes: Shapes) -> Code:
    """``op`` on inputs of these sample ``shapes``."""
    emit: Callable[[Any, Shapes], Code] = entry(
        OPERATIONS, op, "runtime.engine.torch.operations.OPERATIONS"
    )
    return emit(op, shapes)


def torch_pads(pads: Shape) -> tuple[int, ...]:
    """Begins and ends of every axis as ``F.pad`` takes them: the last axis first."""
    rank = len(pads) // 2
    return tuple(p for axis in reversed(range(rank)) for p in (pads[axis], pads[rank + axis]))


def _conv(op: ops.Conv, shapes: Shapes) -> Code:
    rank, outs = len(op.kernel), len(op.weight)
    even = op.pads[:rank] == op.pads[rank:]
    pads = op.pads[:rank] if even else (0,) * rank
    layer = (
        f"nn.Conv{rank}d({op.weight.shape[1] * op.groups}, {outs}, {op.kernel}, "
        f"stride={op.strides}, padding={pads}, dilation={op.dilations}, groups={op.groups}, "
        "bias=False)"
    )
    call = "{me}({0})" if even else f"{{me}}(F.pad({{0}}, {torch_pads(op.pads)}))"
    return Code(call=call, layer=layer, arrays={"weight": Held(op.weight, "op.weight")})


def _conv_transpose(op: ops.ConvTranspose, shapes: Shapes) -> Code:
    rank = len(op.kernel)
    layer = (
        f"nn.ConvTranspose{rank}d({len(op.weight)}, {op.weight.shape[1] * op.groups}, {op.kernel}, "
        f"stride={op.strides}, dilation={op.dilations}, groups={op.groups}, bias=False)"
    )
    begins = tuple(-p for p in op.pads[:rank])
    ends = tuple(more - p for more, p in zip(op.output_padding, op.pads[rank:], strict=True))
    cropped = torch_pads((*begins, *ends))
    call = f"F.pad({{me}}({{0}}), {cropped})" if any(cropped) else "{me}({0})"
    return Code(call=call, layer=layer, arrays={"weight": Held(op.weight, "op.weight")})


def in_module(op: ops.WeightedOp, shape: Shape) -> tuple[ops.WeightedOp, Shape]:
    """What the module's own layer does of an operation on a sample ``shape``: pads that differ
    between the sides are added before a convolution, what a transposed one crops is cut behind."""
    if isinstance(op, ops.Conv):
        rank = len(op.kernel)
        begins, ends = op.pads[:rank], op.pads[rank:]
        if begins != ends:
            padded = tuple(n + b + e for n, b, e in zip(shape[1:], begins, ends, strict=True))
            return replace(op, pads=(0,) * 2 * rank), (shape[0], *padded)
    if isinstance(op, ops.ConvTranspose):
        rank = len(op.kernel)
        return replace(op, pads=(0,) * 2 * rank, output_padding=(0,) * rank), shape
    return op, shape


def _linear(op: ops.Linear, shapes: Shapes) -> Code:
    outs, ins = op.weight.shape
    layer = f"nn.Linear({ins}, {outs}, bias=False)"
    return Code(call="{me}({0})", layer=layer, arrays={"weight": Held(op.weight, "op.weight")})


def _aligned(name: str, shape: Shape, rank: int) -> str:
    """A signal with leading axes of size one, up to a sample rank."""
    if len(shape) == rank:
        return name
    return f"{name}.reshape(-1, {', '.join(map(str, (*(1,) * (rank - len(shape)), *shape)))})"


def _scale(op: ops.Scale, shapes: Shapes) -> Code:
    x = _aligned("{0}", shapes[0], max(op.scale.ndim, len(shapes[0])))
    layer = f"Scale({op.scale.shape})"
    return Code(call=f"{{me}}({x})", layer=layer, arrays={"scale": Held(op.scale, "op.scale")})


def _add(op: ops.Add, shapes: Shapes) -> Code:
    rank = max(map(len, shapes))
    terms = (_aligned(f"{{{i}}}", shape, rank) for i, shape in enumerate(shapes))
    return Code(call=" + ".join(terms))


def _reduce_sum(op: ops.ReduceSum, shapes: Shapes) -> Code:
    axes = tuple(a + 1 for a in op.axes)
    return Code(call=f"{{0}}.sum({axes}, keepdim={op.keepdims})" if axes else "{0}")


def _cum_sum(op: CumSum, shapes: Shapes) -> Code:
    axis = op.axis + 1
    call = f"{{0}}.cumsum({axis})"
    if op.reverse:
        call = f"{{0}}.flip({axis}).cumsum({axis}).flip({axis})"
    return Code(call=f"({call} - {{0}})" if op.exclusive else call)


def _concat(op: ops.Concat, shapes: Shapes) -> Code:
    names = ", ".join(f"{{{i}}}" for i in range(len(shapes)))
    return Code(call=f"torch.cat([{names}], {op.axis + 1})")


def _pad(op: ops.Pad, shapes: Shapes) -> Code:
    return Code(call=f"F.pad({{0}}, {torch_pads(op.pads)})")


def _slice(op: ops.Slice, shapes: Shapes) -> Code:
    flipped, parts = [], []
    for axis, (n, index) in enumerate(zip(shapes[0], op._index(), strict=True)):
        found = range(*index.indices(n))
        if found.step < 0:  # which PyTorch's slices do not take
            flipped.append(axis + 1)
            found = range(n - 1 - found.start, n - 1 - found[-1] + 1, -found.step)
        whole = found == range(n)
        step = f":{found.step}" if found.step > 1 else ""
        parts.append(":" if whole else f"{found.start}:{found.stop}{step}")
    while parts and parts[-1] == ":":
        parts.pop()
    x = f"{{0}}.flip({tuple(flipped)})" if flipped else "{0}"
    return Code(call=f"{x}[{', '.join([':', *parts])}]" if parts else x)


def _take(op: ops.Take, shapes: Shapes) -> Code:
    layer = f"Take({op.axis + 1}, {len(op.indices)})"
    return Code(call="{me}({0})", layer=layer, arrays={"indices": Held(op.indices, "op.indices")})


def _reshape(op: ops.Reshape, shapes: Shapes) -> Code:
    return Code(call=f"{{0}}.reshape({', '.join(map(str, (-1, *op.shape)))})")


def _transpose(op: ops.Transpose, shapes: Shapes) -> Code:
    return Code(call=f"{{0}}.permute({', '.join(map(str, (0, *(p + 1 for p in op.perm))))})")


def _broadcast(op: ops.Broadcast, shapes: Shapes) -> Code:
    out = op.output_shape(*shapes)
    x = _aligned("{0}", shapes[0], len(out))
    return Code(call=f"{x}.expand({', '.join(map(str, (-1, *out)))})")


def _sum_pool(op: ops.SumPool, shapes: Shapes) -> Code:
    windows = f"{op.kernel}, {op.strides}, {op.dilations}, {torch_pads(op.pads)}"
    return Code(call="{me}({0})", layer=f"SumPool({windows})")


Emitter: TypeAlias = Callable[[Any, Shapes], Code]
OPERATIONS: Mapping[type, Emitter] = {
    ops.Conv: _conv,
    ops.ConvTranspose: _conv_transpose,
    ops.Linear: _linear,
    ops.Scale: _scale,
    ops.Add: _add,
    ops.ReduceSum: _reduce_sum,
    CumSum: _cum_sum,
    ops.Concat: _concat,
    ops.Pad: _pad,
    ops.Slice: _slice,
    ops.Take: _take,
    ops.Reshape: _reshape,
    ops.Transpose: _transpose,
    ops.Broadcast: _broadcast,
    ops.SumPool: _sum_pool,
}
