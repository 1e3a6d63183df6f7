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
from .stretches import by_hand
from .surrogates import AREAS, SURROGATES

SHARE = 1 / 16  # of a windowed neuron's levels: how far a spike's price reaches
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
    if by_hand(neuron):
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
    """n of a whole window's ``charge`` (batch, *shape), v_init included, straight through, and how
    many spikes say it, per sample (batch,)."""
    n, spikes = _Whole.apply(charge, threshold, _coded(neuron, steps), how)
    return n, spikes


@dataclass(frozen=True, eq=False, kw_only=True)
class _Coded:
    """How many ``spikes`` send each number 0 to ``most`` of a window, (most + 1,). ``first``: from
    where on that is one of each neuron that it stands for, whatever the number; None: digits.
    ``slope``: spikes per level on average."""

    most: int
    spikes: torch.Tensor
    first: float | None
    slope: float


def _coded(neuron: WindowedNeuron, steps: int) -> _Coded:
    spikes, most = neuron.code(steps).sum(axis=1).astype("float32"), neuron.most(steps)
    first = None
    if spikes.max() <= neuron.levels:
        first = float((spikes < neuron.levels / 2).sum())
    return _Coded(
        most=most,
        spikes=torch.as_tensor(spikes),
        first=first,
        slope=float(spikes.mean()) / max(most / 2, 1),
    )


def _sent(n: torch.Tensor, coded: _Coded) -> torch.Tensor:
    if coded.first == 1 and float(coded.spikes.max()) == 1:  # far cheaper than a table
        return n.clamp(max=1)
    return coded.spikes[n.long()]


class _Whole(torch.autograd.Function):
    """floor(charge / threshold) within [0, most], and the spikes per sample that send it.

    Backwards the numbers go straight through within the bounds, and half a level beyond them. Where
    every number but the smallest is one spike, a sample's spikes are a step at the first such,
    with a bump of area 1 as its derivative, ``SHARE`` of the levels wide: as many spikes as a shift
    of the charge removes on average over the neurons near it. Else spikes grow with the number:
    their slope on average."""

    @staticmethod
    def forward(
        ctx: Any, charge: torch.Tensor, threshold: torch.Tensor, coded: _Coded, how: Learnable
    ) -> tuple[torch.Tensor, torch.Tensor]:
        u = charge / threshold
        n = u.floor().clamp_(0, coded.most)
        ctx.save_for_backward(u, threshold)
        ctx.coded, ctx.how = coded, how
        return n, _sent(n, coded).flatten(1).sum(1)

    @staticmethod
    def backward(
        ctx: Any, gradient: torch.Tensor, paid: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        """``gradient`` of the numbers, ``paid`` of a sample's spikes."""
        u, threshold = ctx.saved_tensors
        coded: _Coded = ctx.coded
        inside = (u > 0).logical_and_(u < coded.most + 1)
        out = gradient * inside
        if bool(paid.any()):
            each = paid.reshape(-1, *(1,) * (u.ndim - 1))
            if coded.first is None:
                out.addcmul_(inside, each * coded.slope)
            else:
                width = max(SHARE * coded.most, 0.5)
                surrogate = ctx.how.surrogate
                bump = SURROGATES[surrogate](u - coded.first, width)
                worth = float(coded.spikes.max()) / (AREAS[surrogate] * width)
                out.addcmul_(bump, each * worth)
        return out.div_(threshold), None, None, None


# By model; those of ``windowed`` networks are ``numbers``. Others are refused by name.
FIRING: Mapping[type[Neuron], Callable[..., tuple[torch.Tensor, State]]] = {
    NeuronParams: integrate_and_fire,
    PacedParams: paced,
}
