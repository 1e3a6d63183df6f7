"""Every neuron model, as in ``runtime.neurons``."""

import torch
from torch import nn

from .basis import Layer, Step, Whole, over, weight, within


class Population(Layer):
    """Neurons: a bias that arrives in the window of the input, a threshold, a start."""

    def __init__(self, bias=(), threshold=(), v_init=(), begin=0, first=0):
        super().__init__(begin, first)
        self.bias = nn.Parameter(torch.zeros(bias))
        self.register_buffer("threshold", torch.ones(threshold))
        self.register_buffer("v_init", torch.zeros(v_init))

    def current(self, x, t, steps):
        return x + self.bias if within(t, self.begin, steps) else x

    def done(self, t, steps):
        return t >= self.first + steps


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
        if self.done(t, steps):
            return torch.zeros_like(x)
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
        if self.done(t, steps):
            return torch.zeros_like(x)
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
        if self.done(t, steps) or t < self.begin:
            return torch.zeros_like(x)
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
            received = received + over(x, now)
        if not within(t, self.first, steps):
            self.state = {"v": m, "received": received, "sent": sent}
            return torch.zeros_like(m)
        room = sent if self.ceiling is None else torch.where(m >= 0, self.ceiling - sent, sent)
        room = power_of_two((room * now / self.threshold + 1e-3).clamp(min=0))
        if self.ceiling is None:
            room = torch.where(m >= 0, float(self.levels), room)
        u = (m / self.threshold).abs()
        size = power_of_two(u)
        size = torch.where(u >= 1.5 * size, 2 * size, size)
        k = torch.minimum(size, room.clamp(max=float(self.levels))).floor() * m.sign()
        emitted = k * self.threshold
        self.state = {"v": m - emitted, "received": received, "sent": sent + over(emitted, now)}
        return k


class WinnerTakeAll(Layer):
    """Neurons of which at most one fires in a step, the farthest above its threshold:

    v <- (1 - leak) v + x + bias; where v_j >= threshold_j for the j with the largest difference
    v_j <- v_j - threshold_j (soft reset) or 0; v_k <- min(v_k, max(v_k - inhibition, 0)), k not j
    """

    def __init__(
        self, bias=(), threshold=(), begin=0, first=0, *, reset="zero", leak=0.0, inhibition=None
    ):
        super().__init__(begin, first)
        self.bias = nn.Parameter(torch.zeros(bias))
        self.register_buffer("threshold", torch.ones(threshold))
        self.how, self.leak, self.inhibition = reset, leak, inhibition

    def forward(self, x, t, steps):
        x = x + self.bias if within(t, self.begin, steps) else x
        before = torch.zeros_like(x) if self.state is None else self.state
        v = (before * (1 - self.leak) if self.leak else before) + x
        spikes = torch.zeros_like(v)
        if within(t, self.first, steps):
            above = (v - self.threshold).reshape(len(v), -1)
            winner = above.argmax(1, keepdim=True)
            left = above.gather(1, winner)
            fired = Step.apply(left)
            others = v.reshape(len(v), -1)
            if self.inhibition is None:
                low = others.clamp(max=0)
            else:
                low = torch.minimum(others, (others - self.inhibition).clamp(min=0))
            after = low.scatter(1, winner, left if self.how == "subtract" else 0 * left)
            v = torch.where(fired > 0, after, others).reshape(v.shape)
            spikes = torch.zeros_like(others).scatter(1, winner, fired).reshape(v.shape)
        self.state = v
        return spikes
