"""Operations that PyTorch has no layer for, and how samples enter."""

from itertools import product

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .basis import within


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


class EvenSpikes(nn.Module):
    """Spikes of values up to 1 as evenly as possible: round(t |x|) by step t, signs kept."""

    def forward(self, x, t, steps):
        size = x.abs().double()
        spikes = (((t + 1) * size + 0.5).floor() - (t * size + 0.5).floor()) * x.sign()
        return spikes.to(x.dtype) * within(t, 0, steps)


class PoissonSpikes(nn.Module):
    """A spike with probability |x|, signs kept: NumPy's numbers, as onnx2snn draws them. ``index``:
    of the first sample in the whole run."""

    def __init__(self):
        super().__init__()
        self.seed = self.index = 0

    def forward(self, x, t, steps):
        size = x.abs().detach().cpu().numpy()
        draw = [
            np.random.default_rng((self.seed, index, t)).random(one.shape) < one
            for index, one in enumerate(size, self.index)
        ]
        return torch.from_numpy(np.stack(draw)).to(x) * x.sign() * within(t, 0, steps)
