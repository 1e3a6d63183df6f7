"""Neurons as functions of tensors whose gradients pass: PyTorch, imported where it is used only.

Forwards they are ``runtime.neurons``, potential for potential; backwards every step function has a
surrogate (``surrogates``). Currents are (steps, batch, *shape).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ...runtime.neurons import Neuron, NeuronParams, PacedParams, WindowedNeuron
from .surrogates import SURROGATES

State = tuple[torch.Tensor, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Learnable:
    """How gradients pass a spike: the ``surrogate`` and its ``width``; ``detached``: the reset is
    taken for a constant."""

    surrogate: str
    width: float
    detached: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Arriving:
    """What arrives at neurons: ``x`` (steps, batch, *shape) from step ``first`` on, one step of it
    where it is ``still``, in a ``window`` from ``begin`` with the ``bias``. Called with a step it
    gives both."""

    x: torch.Tensor
    bias: torch.Tensor
    still: bool
    first: int
    begin: int
    window: int

    def biased(self, t: int) -> bool:
        return self.begin <= t < self.begin + self.window

    def __call__(self, t: int) -> torch.Tensor:
        now = self.x[0 if self.still else t - self.first]
        if self.still and t >= self.window:
            now = torch.zeros_like(now)
        return now + self.bias if self.biased(t) else now


class _Fire(torch.autograd.Function):
    """1 where v >= threshold."""

    @staticmethod
    def forward(ctx: Any, v: torch.Tensor, threshold: torch.Tensor, how: Learnable) -> torch.Tensor:
        ctx.save_for_backward(v, threshold)
        ctx.how = how
        return (v >= threshold).to(v.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        v, threshold = ctx.saved_tensors
        u = v / threshold - 1
        return gradient * SURROGATES[ctx.how.surrogate](u, ctx.how.width) / threshold, None, None


class _Count(torch.autograd.Function):
    """floor(v / threshold) within ``bounds``, the lowest and the highest: a step at every whole
    number, of which the nearest counts backwards."""

    @staticmethod
    def forward(
        ctx: Any,
        v: torch.Tensor,
        threshold: torch.Tensor,
        bounds: tuple[torch.Tensor | float, float],
        how: Learnable,
    ) -> torch.Tensor:
        u, high = v / threshold, bounds[1]
        low = torch.as_tensor(bounds[0], dtype=v.dtype)
        ctx.save_for_backward(u, threshold, low)
        ctx.high, ctx.how = high, how
        return torch.maximum(u.floor(), low).clamp(max=high)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        u, threshold, low = ctx.saved_tensors
        at = torch.maximum(u.round(), low + 1).clamp(max=ctx.high)
        bump = SURROGATES[ctx.how.surrogate](u - at, ctx.how.width)
        return gradient * bump / threshold, None, None, None


def _plain(neuron: NeuronParams) -> bool:
    """Whether ``_Integrate`` computes it."""
    special = neuron.signed or neuron.leak or neuron.refractory or neuron.v_min is not None
    return neuron.levels == 1 and neuron.reset == "subtract" and not special


@dataclass(frozen=True, eq=False, kw_only=True)
class _Job:
    """What ``_Integrate`` does; ``firing``: in which of the ``steps`` neurons may send."""

    threshold: torch.Tensor
    current: Arriving
    steps: range
    firing: list[bool]
    how: Learnable


class _Integrate(torch.autograd.Function):
    """Integration, spikes of one level and reset by subtraction over all steps, with derivatives by
    hand: of each step only its potential is kept. Step by step and in place, since the numbers of
    one step stay in the processor's cache."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, bias: torch.Tensor, v: torch.Tensor, job: _Job
    ) -> tuple[torch.Tensor, torch.Tensor]:
        current, steps, firing, threshold = job.current, job.steps, job.firing, job.threshold
        v = v.clone()
        before = v.new_empty((len(steps), *v.shape))
        out = v.new_zeros((len(steps), *v.shape))
        for i, t in enumerate(steps):
            if not current.still:
                v += x[i]
            elif t < current.window:
                v += x[0]
            if current.biased(t):
                v += bias
            before[i] = v
            if firing[i]:
                torch.ge(v, threshold, out=out[i])
                v.addcmul_(out[i], threshold, value=-1)
        ctx.save_for_backward(before)
        ctx.job, ctx.shape = job, bias.shape
        return out, v

    @staticmethod
    def backward(
        ctx: Any, spikes: torch.Tensor, behind: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        """``spikes``, ``behind``: gradients of the two that ``forward`` gave."""
        (before,) = ctx.saved_tensors
        job: _Job = ctx.job
        current, steps, firing, how = job.current, job.steps, job.firing, job.how
        worth, bump = 1 / job.threshold, SURROGATES[how.surrogate]
        v = behind.clone()
        at = torch.empty_like(before)
        k, u = torch.empty_like(v), torch.empty_like(v)
        for i in reversed(range(len(steps))):
            if firing[i]:
                if how.detached:
                    torch.mul(spikes[i], worth, out=k)
                else:
                    torch.mul(spikes[i], worth, out=k).sub_(v)
                v.addcmul_(k, bump(torch.mul(before[i], worth, out=u).sub_(1), how.width))
            at[i] = v
        biased = [i for i, t in enumerate(steps) if current.biased(t)]
        to_bias = at[biased[0] : biased[-1] + 1].sum((0, 1)) if biased else torch.zeros_like(v[0])
        if current.still:
            at = at[: sum(t < current.window for t in steps)].sum(0, keepdim=True)
        return at, to_bias.sum_to_size(ctx.shape), v, None


def integrate_and_fire(
    neuron: NeuronParams,
    threshold: torch.Tensor,
    *,
    v_init: torch.Tensor,
    how: Learnable,
    current: Arriving,
    first: int,
    window: int,
    steps: range,
    state: State | None,
) -> tuple[torch.Tensor, State]:
    """The spikes of ``steps``, (steps, batch, *shape), and the state behind them.

    ``current``: of a step, bias included; it fires in ``window`` steps from ``first``.
    """
    if _plain(neuron):
        v = current(steps[0]) * 0 + v_init if state is None else state[0]
        firing = [first <= t < first + window for t in steps]
        job = _Job(threshold=threshold, current=current, steps=steps, firing=firing, how=how)
        k, v = _Integrate.apply(current.x, current.bias, v, job)
        return k, (v, *((v.detach() * 0,) * 2))
    out = []
    if state is None:
        zero = torch.zeros_like(current(steps[0]))
        state = (zero + v_init, zero, zero)
    v, sent, wait = state
    binary = neuron.levels == 1 and not neuron.signed
    for t in steps:
        integrated = (v * (1 - neuron.leak) if neuron.leak else v) + current(t)
        active = wait == 0
        v = torch.where(active, integrated, v) if neuron.refractory else integrated
        if neuron.v_min is not None:
            v = v.clamp(min=neuron.v_min)
        if not first <= t < first + window:
            out.append(torch.zeros_like(v))
            wait = (wait - 1).clamp(min=0) if neuron.refractory else wait
            continue
        if binary:
            k = _Fire.apply(v, threshold, how)
        else:
            low = -sent.detach().clamp(max=neuron.levels) if neuron.signed else 0.0
            k = _Count.apply(v, threshold, (low, float(neuron.levels)), how)
        if neuron.refractory:
            k = k * active
            wait = torch.where(k != 0, float(neuron.refractory), (wait - 1).clamp(min=0))
        spent = k.detach() if how.detached else k
        if neuron.reset == "subtract":
            v = v - spent * threshold
        else:
            v = v + (neuron.v_reset - v) * (spent.abs() if how.detached else spent).clamp(0, 1)
        sent = sent + k.detach() if neuron.signed else sent
        out.append(k)
    return torch.stack(out), (v, sent, wait)


def paced(
    neuron: PacedParams,
    threshold: torch.Tensor,
    *,
    v_init: torch.Tensor,
    how: Learnable,
    current: Arriving,
    first: int,
    window: int,
    steps: range,
    state: State | None,
) -> tuple[torch.Tensor, State]:
    """As ``integrate_and_fire``: behind a lag, spikes even in time (``neurons.paced``)."""
    out = []
    theta = threshold.double()
    if state is None:
        zero = torch.zeros_like(current(steps[0]), dtype=torch.float64)
        state = (zero, zero + (theta - v_init.double()))
    charge, due = state
    for t in steps:
        position = t - first
        weight = window - min(max(position + neuron.lag, 0), window - 1)
        charge = charge + current(t).double() * weight
        if not 0 <= position < window:
            out.append(torch.zeros_like(charge, dtype=torch.float32))
            continue
        now = position + 1
        m = min(window, now + neuron.lag)
        much = m * (2 * window + 1 - m)
        over = charge * (2 * now) - due * much  # one threshold is worth ``much``
        k = _Fire.apply(over / much + theta, theta, how)
        due = due + (k.detach() if how.detached else k) * theta
        out.append(k.float())
    return torch.stack(out), (charge, due)


def numbers(
    neuron: WindowedNeuron,
    charge: torch.Tensor,
    *,
    threshold: torch.Tensor,
    how: Learnable,
    steps: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """n of a whole window's ``charge`` (batch, *shape), straight through, and how many spikes say
    it."""
    most = float(neuron.most(steps))
    n = _Whole.apply(charge, threshold, most)
    table = torch.as_tensor(neuron.code(steps).sum(axis=1).astype("float32"))
    said = table[n.detach().long()]
    if neuron.levels == 1 and float(table.max()) == 1:  # one spike at most: where n is not 0
        fired = _Fire.apply(charge, threshold, how)
        said = said + (fired - fired.detach())
    else:  # spikes grow with the number: their slope on average
        said = said + (n - n.detach()) * (float(table.mean()) / max(most / 2, 1))
    return n, said


class _Whole(torch.autograd.Function):
    """floor(charge / threshold) within [0, most]. Backwards: straight through within the bounds,
    and half a level beyond them."""

    @staticmethod
    def forward(
        ctx: Any, charge: torch.Tensor, threshold: torch.Tensor, most: float
    ) -> torch.Tensor:
        u = charge / threshold
        ctx.save_for_backward((u > 0) & (u < most + 1), threshold)
        return u.floor().clamp(0, most)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        inside, threshold = ctx.saved_tensors
        return gradient * inside / threshold, None, None


# By model; those of ``windowed`` networks are ``numbers``. Others are refused by name.
FIRING: Mapping[type[Neuron], Callable[..., tuple[torch.Tensor, State]]] = {
    NeuronParams: integrate_and_fire,
    PacedParams: paced,
}
