"""Linear operations on calibration data, convolutions by ONNX Runtime's kernels.

Calibration in the spiking loop pushes samples times steps through every layer once or twice, which
is most of its time; ONNX Runtime's convolution is several times faster than one in NumPy.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Any

import numpy as np

from ...runtime import graph as snn
from ...runtime.file import operation_model
from ...runtime.onnx_runtime import onnx_runtime
from ...runtime.ops import Array, LinearOp, WeightedOp
from ...runtime.ops.convolution import Conv, ConvTranspose

HELD = 128 << 20  # bytes of sessions that are kept, or the last LEAST of them
LEAST = 4


def session_bytes(op: WeightedOp) -> int:
    """What ONNX Runtime takes for an operation: its weights as they come, as it reads them, as its
    kernel wants them, and what it worked on meanwhile (measured: 4.1 to 4.6 times the weights)."""
    return 5 * op.weight.nbytes + (1 << 17) if isinstance(op, Conv | ConvTranspose) else 0


class Kernels:
    """Applies operations; keeps the sessions of those used last."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[int, tuple[Conv | ConvTranspose, Any]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()  # tiles run in threads

    def apply(self, op: LinearOp, *xs: Array) -> Array:
        """``op.apply(*xs)`` in float32; xs (batch, *shape)."""
        if not isinstance(op, Conv | ConvTranspose) or not len(xs[0]):
            return op.apply(*xs).astype(np.float32, copy=False)
        session = self._session(op, xs[0].shape[1:])
        x = np.ascontiguousarray(xs[0], np.float32)
        out: Array = session.run(None, {"x": x})[0]
        return out

    def _session(self, op: Conv | ConvTranspose, shape: tuple[int, ...]) -> Any:
        with self._lock:
            # The operation is kept with its session, so that its id stays its own.
            held = self._sessions.pop(id(op), None)
            if held is None:
                node = snn.Synapse(name="y", inputs=("x",), shape=op.output_shape(shape), op=op)
                held = op, _open(operation_model(node, shape))
                self._bytes += session_bytes(op)
            self._sessions[id(op)] = held
            while self._bytes > HELD and len(self._sessions) > LEAST:
                _, (oldest, _) = self._sessions.popitem(last=False)
                self._bytes -= session_bytes(oldest)
            return held[1]


def _open(model: bytes) -> Any:
    ort = onnx_runtime()  # only calibration needs it here

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # what a call used is given back
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
