"""The kernels that compute synapses give what the operation records give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from onnx2snn.runtime import ops
from onnx2snn.runtime.engine.definition import by_rows
from onnx2snn.runtime.engine.fast.products.large import has_large_weight, large_kernel
from onnx2snn.runtime.engine.fast.products.onnxruntime import open_session, session_kernel
from onnx2snn.runtime.engine.fast.products.records import byte_pool_kernel, record_kernel
from onnx2snn.runtime.engine.profile import Clock
from onnx2snn.runtime.file.emit import emit_chain
from onnx2snn.runtime.graph import Synapse
from runtime.ops.test_against_onnxruntime import CASES, weight

RNG = np.random.default_rng(0)
LANES, STEPS = 8, 3


def conv(out, inside, kernel, stride=1, dilation=1, pads=(0, 0, 0, 0), groups=1):
    return ops.Conv(
        weight=weight(out, inside, *kernel),
        strides=(stride,) * len(kernel),
        dilations=(dilation,) * len(kernel),
        pads=pads,
        groups=groups,
    )


MORE = [
    (conv(128, 64, (3, 3), pads=(1, 1, 1, 1)), (64, 5, 4)),  # weights read once per chunk
    (conv(128, 64, (3, 3), stride=2, pads=(0, 1, 1, 0)), (64, 6, 5)),
    (conv(1150, 100, (3, 3), stride=2, pads=(1, 0, 2, 1)), (100, 5, 4)),  # over all steps
    (conv(450, 260, (3, 3), dilation=2, pads=(2, 2, 2, 2)), (260, 3, 2)),
    (conv(7, 5, (1, 1)), (5, 4, 3)),
    (conv(7, 5, (1, 1), stride=2), (5, 5, 4)),
    (conv(6, 4, (3, 3), dilation=2, pads=(2, 2, 2, 2)), (4, 6, 5)),
    (conv(6, 2, (3, 3), pads=(1, 1, 1, 1), groups=2), (4, 6, 5)),
    (conv(6, 1, (3, 5), stride=2, pads=(1, 2, 1, 2), groups=6), (6, 7, 6)),
    (conv(6, 4, (5,), dilation=2, pads=(4, 4)), (4, 11)),
    (conv(6, 1, (3,), pads=(1, 1), groups=6), (6, 11)),
    (conv(3, 2, (4, 4), pads=(3, 3, 3, 3)), (2, 2, 2)),  # windows larger than the map
    (ops.Linear(weight=weight(300, 400)), (400,)),
    (ops.SumPool(kernel=(4, 5), strides=(4, 5), dilations=(1, 1), pads=(0,) * 4), (3, 4, 5)),
    (ops.SumPool(kernel=(2, 2), strides=(2, 2), dilations=(1, 1), pads=(0,) * 4), (3, 4, 6)),
    (ops.SumPool(kernel=(3, 2), strides=(2, 1), dilations=(1, 2), pads=(1, 0, 1, 2)), (3, 9, 8)),
    (ops.SumPool(kernel=(1, 3), strides=(1, 2), dilations=(1, 1), pads=(0, 2, 0, 2)), (2, 5, 7)),
    (ops.SumPool(kernel=(3,), strides=(1,), dilations=(2,), pads=(4, 4)), (3, 5)),
    (ops.Reshape(shape=(2, 3, 10)), (3, 4, 5)),
    (ops.Reshape(shape=(60,)), (3, 4, 5)),
    (ops.Transpose(perm=(1, 0)), (3, 4)),
]
ALL = [(c[0], c[1]) for c in CASES if not isinstance(c[0], ops.MaxPool)]
ALL += [(op, [shape]) for op, shape in MORE]


@dataclass
class Rows:
    """A convolution as the definition's engine computes it."""

    op: ops.Conv

    def apply(self, *xs):
        return by_rows(self.op, *xs)


def kernels(op, shapes, spikes):
    """Every kernel that a plan may choose for ``op``, by name."""
    single = np.dtype(np.float32)
    yield "record", record_kernel(op, single)
    if isinstance(op, ops.Conv):
        yield "rows", record_kernel(Rows(op), single)
    if isinstance(op, ops.SumPool) and spikes:
        yield "bytes", byte_pool_kernel(op, shapes[0], LANES, chunk=STEPS)
    if has_large_weight(op, shapes[0]):
        yield (
            "large",
            large_kernel(op, shapes[0], lanes=LANES, dtype=single, chunk=STEPS, clock=Clock()),
        )
    if isinstance(op, ops.SumPool) and max(op.pads) >= min(op.kernel):
        return  # ONNX Runtime refuses pads as large as the window
    sources = [f"x{i}" for i in range(len(shapes))]
    node = Synapse(name="y", shape=op.output_shape(*shapes), inputs=tuple(sources), op=op)
    known = {**dict(zip(sources, shapes, strict=True)), "y": node.shape}
    session = open_session(emit_chain([node], sources, known).SerializeToString())
    yield "session", session_kernel(session, shapes, LANES, chunk=STEPS, clock=Clock())


@pytest.mark.parametrize("kind", ["spikes", "currents"])
@pytest.mark.parametrize("case", ALL, ids=[f"{type(c[0]).__name__}{i}" for i, c in enumerate(ALL)])
def test_a_kernel_gives_what_the_record_gives(case, kind):
    op, shapes = case
    for name, kernel in kernels(op, shapes, kind == "spikes"):
        for count in (STEPS, 2):  # the second call finds used buffers
            xs, values = [], []
            for shape in shapes:
                x = RNG.normal(size=(count, LANES, *shape)).astype(np.float32)
                if kind == "spikes":
                    x = np.sign(x).astype(np.int8)
                xs.append(x)
                values.append(x.reshape(-1, *shape).astype(np.float32))
            expected = op.apply(*values)
            out = np.full((count, LANES, *expected.shape[1:]), np.nan, np.float32)
            kernel(xs, out)
            got = out.reshape(expected.shape)
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4, err_msg=name)


def test_large_weights_are_among_the_cases():
    assert sum(has_large_weight(op, shapes[0]) for op, shapes in ALL) == 2
