# Copied, as text, into every exported module that uses them; onnx2snn itself never imports this.
# A signal is (batch, *shape). Every layer with a state is called with its input, the time step t
# from 0 and the number of steps of a window; ``begin`` is the step in which the window of its input
# begins, ``first`` the one of its own.
from itertools import product

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


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


def to_grid(x, grid):
    """x in whole multiples of ``grid`` (straight through for gradients), in single precision."""
    near = (x * (1 / grid)).round() * grid
    return (x + (near - x).detach()).float()


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


class Population(Layer):
    """Neurons: a bias that arrives in the window of the input, a threshold, a start."""

    def __init__(self, bias=(), threshold=(), v_init=(), begin=0, first=0):
        super().__init__(begin, first)
        self.bias = nn.Parameter(torch.zeros(bias))
        self.register_buffer("threshold", torch.ones(threshold))
        self.register_buffer("v_init", torch.zeros(v_init))

    def current(self, x, t, steps):
        return x + self.bias if within(t, self.begin, steps) else x


class IF(Population):
    """Integrate and fire:

    v <- (1 - leak) v + x + bias
    k <- clip(floor(v / threshold), -m, levels), m = min(levels, what was sent) if signed else 0
    v <- v - k threshold (soft reset), or v_reset where k is not 0 (reset "zero")
    """

    def __init__(
        self, bias=(), threshold=(), v_init=(), begin=0, first=0, *, reset="subtract", v_reset=0.0,
        leak=0.0, refractory=0, levels=1, signed=False, v_min=None,
    ):  # fmt: skip
        super().__init__(bias, threshold, v_init, begin, first)
        self.how, self.v_reset, self.leak, self.refractory = reset, v_reset, leak, refractory
        self.levels, self.signed, self.v_min = levels, signed, v_min

    def forward(self, x, t, steps):
        x = self.current(x, t, steps)
        if self.state is None:
            zero = torch.zeros_like(x)
            self.state = {"v": zero + self.v_init, "sent": zero, "wait": zero}
        v, sent, wait = self.state["v"], self.state["sent"], self.state["wait"]
        integrated = (v * (1 - self.leak) if self.leak else v) + x
        active = wait == 0
        v = torch.where(active, integrated, v) if self.refractory else integrated
        if self.v_min is not None:
            v = v.clamp(min=self.v_min)
        if within(t, self.first, steps):
            k = self.fire(v, sent)
            if self.refractory:
                k = k * active
                wait = torch.where(k != 0, float(self.refractory), (wait - 1).clamp(min=0))
            if self.how == "subtract":
                v = v - k * self.threshold
            else:
                v = torch.where(k != 0, self.v_reset, v)
        else:
            k = torch.zeros_like(v)
            wait = (wait - 1).clamp(min=0)
        self.state = {"v": v, "sent": sent + k, "wait": wait}
        return k

    def fire(self, v, sent):
        if self.levels == 1 and not self.signed:
            return Step.apply(v - self.threshold)
        high = torch.full_like(v, self.levels)
        low = -torch.minimum(sent, high) if self.signed else torch.zeros_like(v)
        return Whole.apply(v / self.threshold, low, high)


class Paced(Population):
    """Behind a lag, spikes that are even in time: a spike in step t of the window where

    A 2 t / (m (2 T + 1 - m)) + v_init - sent threshold >= threshold, m = min(T, t + lag),

    with A the sum of (T + 1 - k) x over the steps k of the input's window.
    """

    def forward(self, x, t, steps):
        x = self.current(x, t, steps)
        lag, position = self.first - self.begin, t - self.first
        if self.state is None:
            zero = torch.zeros_like(x, dtype=torch.float64)
            due = zero + (self.threshold.double() - self.v_init.double())
            self.state = {"charge": zero, "due": due}
        charge = self.state["charge"] + x.double() * weight(position + lag, steps)
        due = self.state["due"]
        spikes = torch.zeros_like(x)
        if within(t, self.first, steps):
            now = min(position + 1, steps)
            m = min(steps, now + lag)
            fired = charge * (2 * now) >= due * (m * (2 * steps + 1 - m))
            spikes = fired.to(x.dtype)
            due = due + fired * self.threshold.double()
        self.state = {"charge": charge, "due": due}
        return spikes


class Windowed(Population):
    """One whole number per window: charge is collected over the input's window, then sent."""

    def forward(self, x, t, steps):
        x = self.current(x, t, steps)
        lag, position = self.first - self.begin, t - self.first
        charge = torch.zeros_like(x, dtype=torch.float64) if self.state is None else self.state
        read = position + lag
        if 0 <= read < min(steps, lag):
            charge = charge + x.double() * self.worth(read, steps)
        spikes = torch.zeros_like(x)
        if 0 <= position < steps:
            if position == 0:
                charge = charge + self.v_init.double()
            level = self.threshold.double() * self.worth(position, steps)
            fired = charge >= level
            spikes, charge = fired.to(x.dtype), self.spend(charge, fired, level)
        self.state = charge
        return spikes


class FewSpike(Windowed):
    """Binary digits, the largest first: a spike in step t is worth 2^(T-t)."""

    def worth(self, position, steps):
        return 2 ** (steps - 1 - position)

    def spend(self, charge, fired, level):
        return torch.where(fired, charge - level, charge)


class TimeToFirstSpike(Windowed):
    """At most one spike per window; one in step t is worth T + 1 - t."""

    def worth(self, position, steps):
        return weight(position, steps)

    def spend(self, charge, fired, level):
        return torch.where(fired, 0.0, charge)


def power_of_two(x):
    """The largest power of two up to x >= 0; 0 of 0."""
    return torch.where(x > 0, torch.ldexp(torch.ones_like(x), torch.frexp(x).exponent - 1), 0.0)


class Differential(Layer):
    """A spike k in step t moves the decoded value A by k threshold / t:

    m <- v + x + R - A, R <- R + x / t (R begins at the bias)
    k <- the largest power of two with |m| >= 3/4 k threshold that A and the ceiling allow
    v <- m - k threshold, A <- A + k threshold / t
    """

    def __init__(
        self, bias=(), threshold=(), begin=0, first=0, *, levels=1, ceiling=None, decoded=True
    ):
        super().__init__(begin, first)
        self.bias = nn.Parameter(torch.zeros(bias))
        self.register_buffer("threshold", torch.ones(threshold))
        self.levels, self.ceiling, self.decoded = levels, ceiling, decoded

    def forward(self, x, t, steps):
        if self.state is None:
            zero = torch.zeros_like(x)
            self.state = {"v": zero, "received": zero + self.bias, "sent": zero}
        v, received, sent = self.state["v"], self.state["received"], self.state["sent"]
        now = float(t + 1)
        m = v + x + received - sent
        if self.decoded:
            received = received + x / now
        room = sent if self.ceiling is None else torch.where(m >= 0, self.ceiling - sent, sent)
        room = power_of_two((room * now / self.threshold + 1e-3).clamp(min=0))
        if self.ceiling is None:
            room = torch.where(m >= 0, float(self.levels), room)
        u = (m / self.threshold).abs()
        size = power_of_two(u)
        size = torch.where(u >= 1.5 * size, 2 * size, size)
        k = torch.minimum(size, room.clamp(max=float(self.levels))).floor() * m.sign()
        emitted = k * self.threshold
        self.state = {"v": m - emitted, "received": received, "sent": sent + emitted / now}
        return k


class MaxPool(Layer):
    """The maximum of cumulated input, sent as its change in every step."""

    def __init__(self, bias, kernel, stride, dilation, pads, begin=0, first=0, coding="rate"):
        super().__init__(begin, first)
        self.bias = nn.Parameter(torch.zeros(bias))
        self.kernel, self.stride, self.dilation, self.pads = kernel, stride, dilation, pads
        self.coding = coding

    def pool(self, x):
        if any(self.pads):
            x = F.pad(x, self.pads, value=torch.finfo(x.dtype).min)
        pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(self.kernel) - 1]
        return pool(x, self.kernel, self.stride, dilation=self.dilation)

    def forward(self, x, t, steps):
        return getattr(self, self.coding)(x, t - self.begin, steps)

    def rate(self, x, position, steps):
        if 0 <= position < steps:
            x = x + self.bias
        total, before = (torch.zeros_like(x), 0.0) if self.state is None else self.state
        total = total + x
        inside = 0 <= position < steps
        top = self.pool(total)
        self.state = total, top if inside else before
        return top - before if inside else torch.zeros_like(top)

    def differential(self, x, position, steps):
        mean, before = (torch.zeros_like(x) + self.bias, 0.0) if self.state is None else self.state
        mean = mean + x / (position + 1)
        top = self.pool(mean)
        self.state = mean, top
        return (top - before) * (position + 1)

    def few_spike(self, x, position, steps):
        if not 0 <= position < steps:
            return torch.zeros_like(self.pool(x))
        total, before = (0.0, 0.0) if self.state is None else self.state
        total = 2 * total + x.double() + self.bias.double()
        top = self.pool(total)
        self.state = total, top
        return (top - 2 * before).to(x.dtype)

    def paced(self, x, position, steps):
        if not 0 <= position < steps:
            return torch.zeros_like(self.pool(x))
        total, charge, before, change = (0.0,) * 4 if self.state is None else self.state
        total = total + x.double() + self.bias.double()
        charge = charge + total
        top = self.pool(charge)
        self.state = total, charge, top, top - before
        return (top - before - change).to(x.dtype)


class Delay(Layer):
    """Passes its input on some steps later."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def forward(self, x):
        held = [torch.zeros_like(x)] * self.steps if self.state is None else self.state
        self.state = [*held[1:], x]
        return held[0]


class Readout(Layer):
    """The mean input so far (neurons that integrate and never fire), in double precision; early
    steps weigh more where spikes are read so ("paced", "few_spike")."""

    def __init__(self, bias=(), begin=0, first=0, coding="rate"):
        super().__init__(begin, first)
        self.bias = nn.Parameter(torch.zeros(bias))
        self.coding = coding

    def forward(self, x, t, steps):
        now = max(t - self.first, 0) + 1
        if self.coding == "differential":
            start = self.bias.double() if self.state is None else self.state
            self.state = start + x.double() / now
            return self.state
        if within(t, self.first, steps):
            x = x + self.bias
        x = x.double()
        if self.coding == "paced":
            x = x * weight(now - 1, steps)
            now = min(now, steps)
            now *= (2 * steps + 1 - now) / 2
        elif self.coding == "few_spike":
            digit = 2.0 ** (weight(now - 1, steps) - 1)
            x, now = x * digit, 2.0**steps - digit
        self.state = x if self.state is None else self.state + x
        return self.state / now


class Mean(Layer):
    """A neuron's spikes so far, as a mean, times its threshold."""

    def __init__(self, threshold=(), first=0):
        super().__init__(first, first)
        self.register_buffer("threshold", torch.ones(threshold))

    def forward(self, spikes, t, steps):
        self.state = spikes.double() if self.state is None else self.state + spikes
        return self.state / (max(t - self.first, 0) + 1) * self.threshold.double()


class Scale(nn.Module):
    """Times fixed factors."""

    def __init__(self, shape):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(shape))

    def forward(self, x):
        return x * self.scale


class Take(nn.Module):
    """Some elements along an axis."""

    def __init__(self, axis, count):
        super().__init__()
        self.axis = axis
        self.register_buffer("indices", torch.zeros(count, dtype=torch.int64))

    def forward(self, x):
        return x.index_select(self.axis, self.indices)


class SumPool(nn.Module):
    """Sums over windows of each channel."""

    def __init__(self, kernel, stride, dilation, pads):
        super().__init__()
        self.kernel, self.stride, self.dilation, self.pads = kernel, stride, dilation, pads

    def forward(self, x):
        if any(self.pads):
            x = F.pad(x, self.pads)
        total = 0
        spans = list(zip(x.shape[2:], self.kernel, self.stride, self.dilation, strict=True))
        counts = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in spans]
        for offset in product(*(range(k) for k in self.kernel)):
            at = [
                slice(o * d, o * d + s * (count - 1) + 1, s)
                for o, count, (_, _, s, d) in zip(offset, counts, spans, strict=True)
            ]
            total = total + x[(slice(None), slice(None), *at)]
        return total


def even_spikes(x, t):
    """As evenly as possible: round(t |x|) spikes by step t, signs kept."""
    size = x.abs().double()
    return ((((t + 1) * size + 0.5).floor() - (t * size + 0.5).floor()) * x.sign()).to(x.dtype)


def poisson_spikes(x, t, seed=0):
    """A spike with probability |x|, signs kept: NumPy's numbers, as onnx2snn draws them."""
    size = x.abs().detach().cpu().numpy()
    draw = [
        np.random.default_rng((seed, index, t)).random(one.shape) < one
        for index, one in enumerate(size)
    ]
    return torch.from_numpy(np.stack(draw)).to(x) * x.sign()
