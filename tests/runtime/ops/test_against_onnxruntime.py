"""Every operation record gives what ONNX Runtime gives for the ONNX node it stands for."""

from __future__ import annotations

from itertools import product

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from onnx2snn.errors import GraphError
from onnx2snn.runtime import ops
from onnx2snn.runtime.ops.linear import CumSum

RNG = np.random.default_rng(0)


def weight(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def conv(record, **extra):
    attributes = {
        "strides": record.strides,
        "dilations": record.dilations,
        "pads": record.pads,
        **extra,
    }
    return [("Conv", attributes, [record.weight])]


def transposed(record):
    return [
        (
            "ConvTranspose",
            {
                "strides": record.strides,
                "dilations": record.dilations,
                "pads": record.pads,
                "output_padding": record.output_padding,
                "group": record.groups,
            },
            [record.weight],
        )
    ]


def pooling(op_type, record):
    attributes = {
        "kernel_shape": record.kernel,
        "strides": record.strides,
        "dilations": record.dilations,
        "pads": record.pads,
    }
    if op_type == "MaxPool":
        return [(op_type, attributes, [])]
    size = np.float32(np.prod(record.kernel))
    return [(op_type, {**attributes, "count_include_pad": 1}, []), ("Mul", {}, [size])]


def ints(*values):
    return np.array(values, np.int64)


CONVS = [
    (ops.Conv(weight=weight(4, 3, 3, 3), strides=(1, 1), dilations=(1, 1), pads=(1,) * 4), 1),
    (ops.Conv(weight=weight(4, 3, 3, 2), strides=(2, 1), dilations=(1, 2), pads=(0, 1, 2, 1)), 1),
    (
        ops.Conv(
            weight=weight(6, 2, 3, 3), strides=(1, 2), dilations=(2, 1), pads=(1,) * 4, groups=3
        ),
        3,
    ),
    (
        ops.Conv(
            weight=weight(6, 1, 3, 3), strides=(2, 2), dilations=(1, 1), pads=(1,) * 4, groups=6
        ),
        6,
    ),
]
CONV_1D = ops.Conv(weight=weight(5, 4, 3), strides=(2,), dilations=(1,), pads=(1, 0))
CONV_3D = ops.Conv(
    weight=weight(2, 2, 2, 3, 2), strides=(1, 1, 2), dilations=(1, 1, 1), pads=(0, 1, 0, 0, 1, 1)
)
TRANSPOSED = [
    ops.ConvTranspose(
        weight=weight(4, 3, 3, 3),
        strides=(2, 2),
        dilations=(1, 1),
        pads=(1, 1, 1, 1),
        output_padding=(1, 1),
    ),
    ops.ConvTranspose(
        weight=weight(4, 3, 2, 3),
        strides=(1, 3),
        dilations=(2, 1),
        pads=(0, 1, 1, 0),
        output_padding=(0, 2),
        groups=2,
    ),
]
POOL = {"kernel": (3, 2), "strides": (2, 1), "dilations": (1, 2), "pads": (1, 0, 1, 1)}

# record, its inputs' shapes, the ONNX nodes that say the same
CASES = [
    (ops.Linear(weight=weight(5, 7)), [(7,)], lambda r: [("MatMul", {}, [r.weight.T])]),
    (ops.Linear(weight=weight(5, 7)), [(3, 7)], lambda r: [("MatMul", {}, [r.weight.T])]),
    *[
        (record, [(record.weight.shape[1] * groups, 7, 8)], lambda r: conv(r, group=r.groups))
        for record, groups in CONVS
    ],
    (CONV_1D, [(4, 9)], conv),
    (CONV_3D, [(2, 4, 5, 4)], conv),
    *[(record, [(4, 5, 4)], transposed) for record in TRANSPOSED],
    (ops.SumPool(**POOL), [(3, 7, 6)], lambda r: pooling("AveragePool", r)),
    (ops.MaxPool(**POOL), [(3, 7, 6)], lambda r: pooling("MaxPool", r)),
    (ops.Scale(scale=weight(3, 1, 1)), [(3, 4, 5)], lambda r: [("Mul", {}, [r.scale])]),
    (ops.Scale(scale=weight(3, 1, 1)), [(1, 4, 5)], lambda r: [("Mul", {}, [r.scale])]),
    (ops.Add(), [(3, 4, 5), (3, 1, 1)], lambda r: [("Add", {}, [])]),
    (ops.Concat(axis=1), [(3, 2, 5), (3, 4, 5)], lambda r: [("Concat", {"axis": 2}, [])]),
    (
        ops.Pad(pads=(0, 1, 2, 1, 0, 3)),
        [(3, 4, 5)],
        lambda r: [("Pad", {}, [ints(0, 0, 1, 2, 0, 1, 0, 3)])],
    ),
    (
        ops.Slice(starts=(0, 3, 1), stops=(3, -1, 5), steps=(1, -1, 2)),
        [(3, 4, 5)],
        lambda r: [
            ("Slice", {}, [ints(0, 3, 1), ints(3, -(2**62), 5), ints(1, 2, 3), ints(1, -1, 2)])
        ],
    ),
    (
        ops.Take(axis=1, indices=ints(3, 0, 0, 2)),
        [(3, 4, 5)],
        lambda r: [("Gather", {"axis": 2}, [r.indices])],
    ),
    (
        ops.Reshape(shape=(6, 10)),
        [(3, 4, 5)],
        lambda r: [("Reshape", {}, [ints(0, 6, 10)])],
    ),
    (
        ops.Transpose(perm=(2, 0, 1)),
        [(3, 4, 5)],
        lambda r: [("Transpose", {"perm": (0, 3, 1, 2)}, [])],
    ),
    (ops.Broadcast(shape=(3, 4, 5)), [(3, 1, 5)], lambda r: [("Expand", {}, [ints(1, 3, 4, 5)])]),
    (
        ops.ReduceSum(axes=(1, 2), keepdims=False),
        [(3, 4, 5)],
        lambda r: [("ReduceSum", {"keepdims": 0}, [ints(2, 3)])],
    ),
    *[
        (
            CumSum(axis=axis, exclusive=exclusive, reverse=reverse),
            [(3, 4, 5)],
            lambda r: [
                (
                    "CumSum",
                    {"exclusive": int(r.exclusive), "reverse": int(r.reverse)},
                    [np.asarray(r.axis + 1, np.int64)],
                )
            ],
        )
        for axis, exclusive, reverse in product(range(3), (False, True), (False, True))
    ],
    (
        ops.ReduceSum(axes=(0,), keepdims=True),
        [(3, 4, 5)],
        lambda r: [("ReduceSum", {"keepdims": 1}, [ints(1)])],
    ),
]


def run_in_onnxruntime(nodes, xs):
    """The inputs of the first node are ``xs``; each node also takes its listed constants."""
    constants, proto_nodes, current = [], [], [f"x{i}" for i in range(len(xs))]
    for i, (op_type, attributes, values) in enumerate(nodes):
        names = [f"c{i}_{j}" for j in range(len(values))]
        constants += [
            onnx.numpy_helper.from_array(np.asarray(v), n)
            for n, v in zip(names, values, strict=True)
        ]
        proto_nodes.append(helper.make_node(op_type, [*current, *names], [f"y{i}"], **attributes))
        current = [f"y{i}"]
    graph = helper.make_graph(
        proto_nodes,
        "one",
        [
            helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, x.shape)
            for i, x in enumerate(xs)
        ],
        [helper.make_tensor_value_info(current[0], TensorProto.FLOAT, None)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {f"x{i}": x for i, x in enumerate(xs)})[0]


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{type(c[0]).__name__}{i}" for i, c in enumerate(CASES)]
)
def test_the_record_gives_what_onnxruntime_gives(case):
    record, shapes, nodes = case
    xs = [RNG.normal(size=(4, *shape)).astype(np.float32) for shape in shapes]
    ours = record.apply(*xs)
    theirs = run_in_onnxruntime(nodes(record), xs)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    assert ours.shape == (4, *record.output_shape(*shapes))
    assert ours.dtype == np.float32


def test_every_record_has_a_case():
    assert {type(record) for record, _, _ in CASES} == set(ops.ALL_OPS)


@pytest.mark.parametrize(
    ("record", "shape"),
    [
        (ops.Linear(weight=weight(5, 7)), (6,)),
        (CONVS[0][0], (4, 7, 8)),
        (CONVS[0][0], (3, 7)),
        (TRANSPOSED[0], (3, 5, 4)),
        (ops.MaxPool(kernel=(9, 9), strides=(1, 1), dilations=(1, 1), pads=(0,) * 4), (3, 7, 6)),
        (ops.Reshape(shape=(4, 4)), (3, 5)),
        (CumSum(axis=2), (3, 5)),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(record, shape):
    with pytest.raises(GraphError):
        record.output_shape(shape)
