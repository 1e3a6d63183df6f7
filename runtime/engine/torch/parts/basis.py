"""What all layers of a module share: windows, grids, what is rounded and how gradients pass it."""

import torch
from torch import nn


class Step(torch.autograd.Function):
    """1 where x >= 0. Backward: a triangle around 0 (surrogate gradient)."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * (1 - x.abs()).clamp(min=0)


class Whole(torch.autograd.Function):
    """floor(x) within [low, high]. Backward: straight through, within the bounds."""

    @staticmethod
    def forward(ctx, x, low, high):
        ctx.save_for_backward((x >= low) & (x < high + 1))
        return torch.minimum(torch.maximum(x.floor(), low), high)

    @staticmethod
    def backward(ctx, gradient):
        (inside,) = ctx.saved_tensors
        return gradient * inside, None, None


def within(t, begin, steps):
    """Whether step t is in the window of ``steps`` steps that begins with ``begin``."""
    return begin <= t < begin + steps


def weight(position, steps):
    """T - k for step k of a window, from 0; outside it the nearest step's."""
    return steps - min(max(position, 0), steps - 1)


def over(x, number):
    """x / number, rounded as division is: a GPU multiplies by the inverse of a plain number."""
    return x / torch.full((), number, dtype=x.dtype, device=x.device)


def to_grid(x, grid):
    """x in whole multiples of ``grid`` (straight through for gradients)."""
    near = (x * (1 / grid)).round() * grid
    return x + (near - x).detach()


def in_double(module, *signals):
    """``module`` computed in double precision."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    double = {k: v.double() if v.is_floating_point() else v for k, v in tensors.items()}
    return torch.func.functional_call(module, double, tuple(x.double() for x in signals))


class Layer(nn.Module):
    """What every layer with a state is: it forgets with ``reset``."""

    def __init__(self, begin=0, first=0):
        super().__init__()
        self.begin, self.first = begin, first
        self.reset()

    def reset(self):
        self.state = None
