"""Layers with a state that are no neurons: max pools, delays, readouts."""

import torch
from torch import nn
from torch.nn import functional as F

from .basis import Layer, weight, within


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
