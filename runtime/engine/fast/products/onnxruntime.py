"""Synapses by ONNX Runtime's kernels: a session per chain (see ``sessions``).

A model takes the chain's sources in order, each (N, *shape) float32, and gives the chain's last
synapse; N is time and batch together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ....onnx_runtime import onnx_runtime
from ....ops import Array, Shape
from ...profile import Clock
from ..buffers import zeros


def open_session(model: bytes) -> Any:
    """A session of a serialized model that works in the thread that runs it (tiles run in threads),
    of which there may be several at once."""
    ort = onnx_runtime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def session_kernel(
    session: Any,
    shapes: list[Shape],
    lanes: int,
    *,
    chunk: int,
    clock: Clock,
    held: list[Array] | None = None,
) -> Callable[[list[Array], Array], None]:
    """A kernel (see ``records``) that runs ``session``, writing into the plan's own buffers, on at
    most ``chunk`` steps of ``lanes`` samples (or what else its model takes many of).
    ``held``: memory for its inputs, where it is shared."""
    names = [i.name for i in session.get_inputs()]
    result = session.get_outputs()[0].name
    held = held or [zeros((chunk * lanes, *s), np.float32) for s in shapes]
    binding = session.io_binding()

    bound: tuple[int, int] | None = None

    def bind(size: int, out: Array) -> None:
        nonlocal bound
        if bound == (size, out.ctypes.data):
            return
        bound = size, out.ctypes.data
        for name, buffer in zip(names, held, strict=True):
            shape = (size, *buffer.shape[1:])
            binding.bind_input(name, "cpu", 0, np.float32, shape, buffer.ctypes.data)
        shape = (size, *out.shape[2:])
        binding.bind_output(result, "cpu", 0, np.float32, shape, out.ctypes.data)

    def run(xs: list[Array], out: Array) -> None:
        n = len(out)
        size = n * out.shape[1]
        with clock.copies:
            for x, buffer in zip(xs, held, strict=True):
                np.copyto(buffer[:size].reshape(n, *x.shape[1:]), x)
        if out.dtype == np.float32 and out.flags.c_contiguous:
            bind(size, out)
            session.run_with_iobinding(binding)
            return
        feed = {name: buffer[:size] for name, buffer in zip(names, held, strict=True)}
        np.copyto(out, session.run([result], feed)[0].reshape(out.shape))

    return run
