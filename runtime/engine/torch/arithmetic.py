"""Sums that are exact where the network's numbers are on a grid, on every device.

PyTorch may round the operands of products in single precision more coarsely (TF32, bfloat16) where
that is allowed, and cuDNN may convolve by transforms that divide (Winograd, FFT): both leave the
grid. Sums in another order do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any


@contextmanager
def exactly(torch: Any, device: str, threads: int) -> Iterator[None]:
    """Within, products are exact but for single precision's own rounding, on so many threads."""
    before, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, before)
        stack.callback(torch.set_float32_matmul_precision, precision)
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision("highest")
        if device == "cuda":
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        yield


def as_products(module: Any) -> None:
    """Has the two-dimensional convolutions of ``module`` computed as products with columns of their
    input. PyTorch's own way without cuDNN takes one sample after the other."""
    from torch import nn

    for layer in module.modules():
        made: Any = layer
        if isinstance(made, nn.Conv2d) and made.groups == 1:
            made.__dict__["forward"] = partial(_product, made)


def _product(layer: Any, x: Any) -> Any:
    """What a convolution without groups gives of ``x`` (batch, channels, height, width)."""
    from torch.nn import functional as F  # noqa: N812

    top, left = layer.padding
    x = F.pad(x, (left, left, top, top)) if top or left else x
    sizes = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(
            x.shape[2:], layer.kernel_size, layer.stride, layer.dilation, strict=True
        )
    ]
    batch, channels, row, column = x.contiguous().stride()
    (down, right), (far, wide) = layer.stride, layer.dilation
    columns = x.contiguous().as_strided(
        (len(x), x.shape[1], *layer.kernel_size, *sizes),
        (batch, channels, row * far, column * wide, row * down, column * right),
    )
    flat = layer.weight.reshape(len(layer.weight), -1)
    return (flat @ columns.reshape(len(x), flat.shape[1], -1)).reshape(len(x), -1, *sizes)
