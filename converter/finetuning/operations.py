"""A network's operations in PyTorch: those of the modules that are exported
(``runtime.engine.torch``), called with numbers that are trained."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeAlias

import torch
from torch.nn import functional

from ...runtime import graph as snn
from ...runtime.engine.torch import code_of, copied, torch_pads
from ...runtime.ops import LinearOp, Shape

Tensor: TypeAlias = torch.Tensor


@cache
def _scope(body: str) -> dict[str, Any]:
    """What the expressions in ``body`` need, by name."""
    scope: dict[str, Any] = {}
    exec(copied(f"{body}\nF.pad"), scope)
    return scope


class Operation:
    """A linear operation on (batch, *shape), whose numbers may be others when it is called."""

    def __init__(self, op: LinearOp, shapes: Sequence[Shape]) -> None:
        code = code_of(op, shapes)
        names = [f"x{i}" for i in range(len(shapes))]
        text = code.call.format(*names, me="me")
        scope = _scope(f"{text}\n{code.layer}")
        self.call = eval(f"lambda me, {', '.join(names)}: {text}", scope)
        self.layer = eval(code.layer, scope) if code.layer else None
        self.tensors = {
            name: torch.as_tensor(held.array.copy()) for name, held in code.arrays.items()
        }
        self.array = op.array

    def __call__(self, *xs: Tensor, factors: Tensor | None = None) -> Tensor:
        given = dict(self.tensors)
        if factors is not None:
            given[self.array] = factors
        if xs[0].dtype == torch.float64:
            given = {k: v.double() if v.is_floating_point() else v for k, v in given.items()}
        layer: Any = self.layer

        def me(*x: Tensor) -> Any:
            return torch.func.functional_call(layer, given, x)

        return self.call(me, *xs)


def even_spikes(x: Tensor, t: int) -> Tensor:
    """An input of encoding "rate" in step t."""
    return _scope("even_spikes")["even_spikes"](x, t)


def pooled(node: snn.MaxPool, x: Tensor) -> Tensor:
    op = node.op
    pools = (
        functional.max_pool1d,
        functional.max_pool2d,
        functional.max_pool3d,
    )
    if any(op.pads):
        pads = torch_pads(op.pads)
        x = functional.pad(x, pads, value=torch.finfo(x.dtype).min)
    return pools[len(op.kernel) - 1](x, op.kernel, op.strides, dilation=op.dilations)
