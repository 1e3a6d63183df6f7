"""Layers with a state that are no neurons: max pools, islands, delays, readouts."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .basis import Layer, over, weight, within


class Expectation(Layer):
    """What a function of cumulated inputs gives, sent as its change in every step. ``value``: of
    sums of so many steps; ``biased``: the inputs with their biases."""

    def __init__(self, shape, begin, first, coding):
        super().__init__(begin, first)
        self.shape, self.coding = shape, coding

    def nothing(self, x):
        return x.new_zeros((len(x), *self.shape))

    def rate(self, xs, position, steps):
        inside = 0 <= position < steps
        xs = self.biased(xs) if inside else xs
        sums, before = ([0.0] * len(xs), 0.0) if self.state is None else self.state
        sums = [total + x for total, x in zip(sums, xs, strict=True)]
        if not inside:
            self.state = sums, before
            return self.nothing(xs[0])
        top = self.value(sums, position + 1)
        self.state = sums, top
        return top - before

    def differential(self, xs, position, steps):
        if self.state is None:
            self.state = self.biased([torch.zeros_like(x) for x in xs]), 0.0
        means, before = self.state
        means = [mean + over(x, position + 1) for mean, x in zip(means, xs, strict=True)]
        top = self.value(means, 1)
        self.state = means, top
        return (top - before) * (position + 1)


class MaxPool(Expectation):
    """The maximum of cumulated input."""

    def __init__(
        self, shape, bias, kernel, stride, dilation, pads, begin=0, first=0, coding="rate"
    ):
        super().__init__(shape, begin, first, coding)
        self.bias = nn.Parameter(torch.zeros(bias))
        self.kernel, self.stride, self.dilation, self.pads = kernel, stride, dilation, pads

    def pool(self, x):
        if any(self.pads):
            x = F.pad(x, self.pads, value=torch.finfo(x.dtype).min)
        pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(self.kernel) - 1]
        return pool(x, self.kernel, self.stride, dilation=self.dilation)

    def forward(self, x, t, steps):
        return getattr(self, self.coding)([x], t - self.begin, steps)

    def value(self, sums, count):
        return self.pool(sums[0])

    def biased(self, xs):
        return [xs[0] + self.bias]

    def few_spike(self, xs, position, steps):
        x = xs[0]
        if not 0 <= position < steps:
            return self.nothing(x)
        total, before = (0.0, 0.0) if self.state is None else self.state
        total = 2 * total + x.double() + self.bias.double()
        top = self.pool(total)
        self.state = total, top
        return (top - 2 * before).to(x.dtype)

    def paced(self, xs, position, steps):
        x = xs[0]
        if not 0 <= position < steps:
            return self.nothing(x)
        total, charge, before, change = (0.0,) * 4 if self.state is None else self.state
        total = total + x.double() + self.bias.double()
        charge = charge + total
        top = self.pool(charge)
        self.state = total, charge, top, top - before
        return (top - before - change).to(x.dtype)


class Island(Expectation):
    """A function that spikes do not compute, ``function`` of NumPy arrays, which passes no
    gradients. Of numbers per window (``coding`` "few_spike", "paced") it is computed once, of what
    is read of the whole window, and sent as a constant current in the one ``lag`` steps later."""

    function = None

    def __init__(self, shape, *biases, begin=0, first=0, coding="rate", lag=0):
        super().__init__(shape, begin, first, coding)
        for i, bias in enumerate(biases):
            self.register_buffer(f"bias{i}", torch.zeros(bias))
        self.biases, self.lag = len(biases), lag

    def forward(self, *args):
        *xs, t, steps = args
        return getattr(self, self.coding)(xs, t - self.begin, steps)

    def biased(self, xs):
        return [x + getattr(self, f"bias{i}") for i, x in enumerate(xs)] if self.biases else xs

    def compute(self, xs):
        found = self.function([x.detach().cpu().numpy() for x in xs])
        return torch.from_numpy(np.array(found)).to(xs[0].device)

    def value(self, sums, count):
        found = self.compute([over(x, count) for x in sums])
        return (torch.where(found.isfinite(), found, 0.0) * count).to(sums[0].dtype)

    def window(self, xs, position, steps, worth):
        sums, answer = ([0.0] * len(xs), None) if self.state is None else self.state
        if 0 <= position < steps:
            sums = [total + worth(position) * x.double() for total, x in zip(sums, xs, strict=True)]
        if position == self.lag:
            total = sum(worth(k) for k in range(steps))
            answer = self.compute(self.biased([over(x, total) for x in sums])).to(xs[0].dtype)
        self.state = sums, answer
        return answer if within(position, self.lag, steps) else self.nothing(xs[0])

    def few_spike(self, xs, position, steps):
        return self.window(xs, position, steps, lambda k: 2 ** (steps - 1 - k))

    def paced(self, xs, position, steps):
        return self.window(xs, position, steps, lambda k: weight(k, steps))


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
            self.state = start + over(x.double(), now)
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
        return over(self.state, now)


class Mean(Layer):
    """A neuron's spikes so far, as a mean, times its threshold."""

    def __init__(self, threshold=(), first=0):
        super().__init__(first, first)
        self.register_buffer("threshold", torch.ones(threshold))

    def forward(self, spikes, t, steps):
        self.state = spikes.double() if self.state is None else self.state + spikes
        return over(self.state, max(t - self.first, 0) + 1) * self.threshold.double()
