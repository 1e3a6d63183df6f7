"""Convolutions by ONNX Runtime's own channel-blocked kernels, without its reordering passes.

ONNX Runtime computes convolutions on (N, C/B, H, W, B) with B the floats of a vector register, and
reorders at both ends of a model. Here signals stay in that order, and the kernel's fourth input
(a sum it adds to) is the membrane potential itself, in place: v <- v + conv(x) + bias is one call.

The operation is an internal one of ONNX Runtime (domain com.microsoft.nchwc), so nothing is taken
for granted: ``block_size`` tries it on numbers and says None where it is missing or differs; the
plan then uses ordinary models (``onnxruntime``). Models are in ``models``, one per
``model_key``, and take x, w, b, and with "add" the sum s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

import numpy as np

from .....onnx_runtime import onnx_runtime
from .....ops import Array, Shape
from .....ops.convolution import Conv
from ...buffers import copied, zeros
from ..terms import Term

SIZES = (16, 8)  # floats in a register of AVX-512, of AVX and NEON (two)
PREFIX = "blocked"


def model_key(conv: Conv, add: bool) -> str:
    """The name of the model for ``conv``."""
    numbers = (conv.kernel, conv.strides, conv.dilations, conv.pads)
    text = " ".join("x".join(map(str, n)) for n in numbers)
    return f"{PREFIX} {'add' if add else 'new'} {text} {conv.groups}"


def needed_models(terms: Iterable[tuple[Term, ...]]) -> dict[str, tuple[Conv, bool]]:
    """Every model the terms need: its convolution's attributes, and whether it adds to a sum."""
    out: dict[str, tuple[Conv, bool]] = {}
    for term in (t for several in terms for t in several):
        for conv in term.convs:
            add = conv is term.convs[-1]
            out[model_key(conv, add)] = (conv, add)
    return out


def fits(conv: Conv, size: int) -> bool:
    """Whether the blocked kernel takes this convolution: whole blocks of channels in and out."""
    out, inside = conv.weight.shape[:2]
    if conv.groups == 1:
        return out % size == 0 and inside % size == 0
    return conv.groups == out and inside == 1 and out % size == 0


def block_shape(shape: Shape, size: int) -> Shape:
    """(C / B, H, W, B) of a sample shape (C, H, W)."""
    return (shape[0] // size, *shape[1:], size)


def to_blocks(x: Array, size: int) -> Array:
    """A view (..., C/B, H, W, B) of an array (..., C, H, W)."""
    *lead, channels, height, width = x.shape
    split = x.reshape(*lead, channels // size, size, height, width)
    return np.moveaxis(split, -3, -1)


def from_blocks(x: Array) -> Array:
    """A view (..., C/B, B, H, W) of an array (..., C/B, H, W, B)."""
    return np.moveaxis(x, -1, -3)


def blocked_weight(conv: Conv, size: int) -> Array:
    """The weights in the kernel's order: (O/B, I/B, kh, kw, B in, B out), depthwise (C/B, kh, kw,
    B); in the array shape of the record."""
    weight = conv.weight.astype(np.float32)
    out, inside, *kernel = weight.shape
    if conv.groups > 1:
        split = weight.reshape(out // size, size, *kernel).transpose(0, 2, 3, 1)
    else:
        split = weight.reshape(out // size, size, inside // size, size, *kernel)
        split = split.transpose(0, 2, 4, 5, 3, 1)
    return copied(np.ascontiguousarray(split).reshape(weight.shape), np.float32)


class BlockedSessions:
    """One ONNX Runtime session per kind of convolution, on one thread (tiles run in threads)."""

    def __init__(self, models: Mapping[str, bytes]) -> None:
        self.models = models
        self.made: dict[str, Any] = {}

    def session(self, key: str) -> Any:
        """Raises whatever ONNX Runtime raises for a model it does not know."""
        ort = onnx_runtime()
        if key not in self.made:
            options = ort.SessionOptions()
            options.intra_op_num_threads = 1
            options.inter_op_num_threads = 1
            options.log_severity_level = 4
            options.enable_cpu_mem_arena = False
            self.made[key] = ort.InferenceSession(
                self.models[key], options, providers=["CPUExecutionProvider"]
            )
        return self.made[key]

    def bound(
        self, conv: Conv, arrays: tuple[Array, Array, Array], out: Array, shapes: tuple[Shape, ...]
    ) -> Any:
        """An IO binding: x, w, b in ``arrays`` (kept by the caller); adds to ``out`` in place.

        ``shapes``: (N, C, H, W) of the input and of the output.
        """
        session = self.session(model_key(conv, True))
        return self._bind(session, conv, arrays, out=out, shapes=shapes, add=True)

    def fresh(
        self, conv: Conv, arrays: tuple[Array, Array, Array], out: Array, shapes: tuple[Shape, ...]
    ) -> Any:
        """The same, writing ``out`` anew."""
        session = self.session(model_key(conv, False))
        return self._bind(session, conv, arrays, out=out, shapes=shapes, add=False)

    def _bind(
        self,
        session: Any,
        conv: Conv,
        arrays: tuple[Array, Array, Array],
        *,
        out: Array,
        shapes: tuple[Shape, ...],
        add: bool,
    ) -> Any:
        x, w, b = arrays
        binding = session.io_binding()
        for name, array, shape in (
            ("x", x, shapes[0]),
            ("w", w, conv.weight.shape),
            ("b", b, b.shape),
        ):
            binding.bind_input(name, "cpu", 0, np.float32, shape, array.ctypes.data)
        if add:
            binding.bind_input("s", "cpu", 0, np.float32, shapes[1], out.ctypes.data)
        binding.bind_output("y", "cpu", 0, np.float32, shapes[1], out.ctypes.data)
        return lambda: session.run_with_iobinding(binding)


def block_size(sessions: BlockedSessions, terms: Iterable[tuple[Term, ...]]) -> int | None:
    """The channels of a block on this machine, found by computing: one convolution of each kind
    (model) on small integers, in place on a sum, equal to the definition. None where no size
    gives that, or ONNX Runtime has no such operation."""
    kinds = {}
    for term in (t for several in terms for t in several):
        for conv in term.convs:
            if fits(conv, SIZES[0]):
                kinds[model_key(conv, conv is term.convs[-1])] = (conv, conv is term.convs[-1])
    for size in SIZES if kinds else ():
        try:
            if all(_is_right(sessions, conv, add, size) for conv, add in kinds.values()):
                return size
        except Exception:  # ONNX Runtime raises types of its own for what it does not know
            return None
    return None


def _is_right(sessions: BlockedSessions, conv: Conv, add: bool, size: int) -> bool:
    """Whether the kernel, taken to have blocks of ``size``, computes a convolution like ``conv``
    with two blocks of 16 channels."""
    rng = np.random.default_rng(0)
    channels = 2 * SIZES[0]
    depthwise = conv.groups > 1
    if depthwise and conv.groups != channels:
        channels = conv.groups
    inside = 1 if depthwise else channels
    small = Conv(
        weight=rng.integers(-4, 5, (channels, inside, *conv.kernel)).astype(np.float32),
        strides=conv.strides,
        dilations=conv.dilations,
        pads=conv.pads,
        groups=conv.groups,
    )
    shape = (
        channels,
        *(2 * s + d * k for s, d, k in zip(conv.strides, conv.dilations, conv.kernel, strict=True)),
    )
    x = rng.integers(0, 3, (2, *shape)).astype(np.float32)
    bias = rng.integers(-4, 5, channels).astype(np.float32)
    out_shape = small.output_shape(shape)
    before = rng.integers(-4, 5, (2, *out_shape)).astype(np.float32)
    held = copied(to_blocks(x, size), np.float32)
    total = copied(to_blocks(before, size), np.float32)
    make = sessions.bound if add else sessions.fresh
    weight = blocked_weight(small, size)
    make(small, (held, weight, copied(bias, np.float32)), total, (x.shape, (2, *out_shape)))()
    expected = small.apply(x) + bias[:, np.newaxis, np.newaxis] + (before if add else 0)
    return bool(np.array_equal(from_blocks(total).reshape(expected.shape), expected))


class BlockedTerm:
    """One term added to the potentials: v <- v + conv(x) (+ bias), for all lanes of one step.

    ``blocked``: whether the source's signal is in blocks (else (lanes, C, H, W)); ``scratch``:
    where the source's step is held as numbers, which all terms share.
    """

    def __init__(
        self,
        term: Term,
        sessions: BlockedSessions,
        size: int,
        *,
        shape: Shape,
        blocked: bool,
        v: Array,
        bias: Array,
        scratch: Array,
    ) -> None:
        lanes = len(v)
        self.size, self.blocked, self.bias = size, blocked, bias
        self.held = scratch[: lanes * prod(shape)].reshape(lanes, *block_shape(shape, size))
        self.stages: list[Any] = []
        self.keep: list[Array] = []
        x = self.held
        for conv in term.convs:
            last = conv is term.convs[-1]
            out_shape = conv.output_shape(shape)
            weight = blocked_weight(conv, size)
            b = bias if last else zeros(out_shape[0], np.float32)
            out = v if last else zeros((lanes, *block_shape(out_shape, size)), np.float32)
            make = sessions.bound if last else sessions.fresh
            shapes = ((lanes, *shape), (lanes, *out_shape))
            self.stages.append(make(conv, (x, weight, b), out, shapes))
            self.keep += [weight, b, x]
            x, shape = out, out_shape

    def fill(self, x: Array) -> None:
        """Take one step of the source: spikes or numbers, (lanes, ...)."""
        np.copyto(self.held, x if self.blocked else to_blocks(x, self.size))

    def add(self) -> None:
        for stage in self.stages:
            stage()
