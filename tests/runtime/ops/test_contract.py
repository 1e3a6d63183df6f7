"""Every operation against every fact and table about operations: one that is added without an
entry fails here, by name.

The examples are those of ``test_against_onnxruntime``, which cover every record. What connects to
what is found independently, by pushing one-hot inputs through ``apply``.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import ClassVar

import numpy as np
import onnxruntime as ort
import pytest

from onnx2snn.converter.statistics.datafree import _squared
from onnx2snn.converter.tune.weights import COLUMNS
from onnx2snn.errors import GraphError
from onnx2snn.hwtargets.cores.integer.chains import KEEPING_CHANNELS
from onnx2snn.hwtargets.view import geometry, lines, sparse
from onnx2snn.runtime import graph as g
from onnx2snn.runtime import ops
from onnx2snn.runtime.cost import static_cost
from onnx2snn.runtime.engine import ENGINES, simulate
from onnx2snn.runtime.engine.torch.operations import OPERATIONS as LAYERS
from onnx2snn.runtime.facts import GraphFacts
from onnx2snn.runtime.file.codec import decode_graph, encode_graph
from onnx2snn.runtime.file.emit import emit_chain, emit_graph
from onnx2snn.runtime.file.naming import FileNames
from onnx2snn.runtime.file.operations import EMITTERS
from onnx2snn.runtime.neurons import NeuronParams
from onnx2snn.runtime.ops import LinearOp, MultiplyingOp, WeightedOp
from onnx2snn.runtime.ops.arrays import compact_scale
from onnx2snn.runtime.ops.operation import OPERATIONS, MovingOp, operation
from onnx2snn.runtime.tables import entry
from runtime.ops.test_against_onnxruntime import CASES

RNG = np.random.default_rng(5)
EXAMPLES = [
    pytest.param(op, shapes, id=f"{type(op).__name__}{i}")
    for i, (op, shapes, _) in enumerate(CASES)
]
LINEAR = [p for p in EXAMPLES if isinstance(p.values[0], LinearOp)]
WEIGHTED = [p for p in LINEAR if isinstance(p.values[0], WeightedOp)]
MULTIPLYING = [p for p in LINEAR if isinstance(p.values[0], MultiplyingOp)]

every = pytest.mark.parametrize(("op", "shapes"), EXAMPLES)
linear = pytest.mark.parametrize(("op", "shapes"), LINEAR)
weighted = pytest.mark.parametrize(("op", "shapes"), WEIGHTED)
multiplying = pytest.mark.parametrize(("op", "shapes"), MULTIPLYING)


def matrix(op, shapes, position):
    """A of y = A x + ..., (out, in): one-hot inputs through the operation."""
    size = int(np.prod(shapes[position]))
    xs = [np.zeros((size, *s)) for s in shapes]
    xs[position] = np.eye(size).reshape(size, *shapes[position])
    return op.apply(*xs).reshape(size, -1).T


def drawn(shapes, batch=2):
    return [RNG.normal(size=(batch, *s)) for s in shapes]


@linear
def test_the_adjoint_is_the_transpose(op, shapes):
    y = RNG.normal(size=op.output_shape(*shapes))
    for position, shape in enumerate(shapes):
        a = matrix(op, shapes, position)
        found = op.adjoint(y, position, shapes)
        assert found.shape == shape
        np.testing.assert_allclose(found.ravel(), a.T @ y.ravel(), rtol=1e-5, atol=1e-5)
        x = [np.zeros((1, *s)) for s in shapes]
        x[position] = RNG.normal(size=(1, *shape))
        assert np.vdot(y, op.apply(*x)) == pytest.approx(np.vdot(found, x[position]), rel=1e-4)


@linear
def test_the_connections_are_what_one_hot_inputs_show(op, shapes):
    for position, shape in enumerate(shapes):
        a = matrix(op, shapes, position)
        rows, cols, factors = op.connections(position, shapes)
        assert len(set(zip(rows.tolist(), cols.tolist(), strict=True))) == len(rows)
        found = np.zeros_like(a)
        found[rows, cols] = factors
        np.testing.assert_array_equal(found, a)
        assert len(rows) <= op.most_connections(*shapes)
        np.testing.assert_array_equal(sparse.of_op(op, position, tuple(shapes)).dense(), a)
        assert a.shape[1] == np.prod(shape)


@linear
def test_terms_pattern_and_moves_say_how_outputs_read_inputs(op, shapes):
    matrices = [matrix(op, shapes, position) for position in range(len(shapes))]
    reads = [(a != 0).sum(axis=1) for a in matrices]
    assert max(r.max() for r in reads) <= op.terms(*shapes)
    assert (op.pattern == "elements") == (op.terms(*shapes) == 1)
    ones = all(set(np.unique(a)) <= {0, 1} for a in matrices)
    assert op.moves == (ones and sum(reads).max() <= 1)
    assert op.moves == isinstance(op, MovingOp)
    if not isinstance(op, MultiplyingOp):
        assert ones


@linear
def test_an_operation_adds_if_it_gives_the_sum_of_its_inputs(op, shapes):
    (x,) = drawn(shapes[:1])
    twice = op.apply(x, x)
    assert op.adds == (twice.shape == x.shape and np.allclose(twice, x + x))
    if op.adds:
        xs = drawn(shapes)
        np.testing.assert_allclose(op.apply(*xs), sum(xs))


@linear
def test_one_input_alone_is_an_operation_with_one_input(op, shapes):
    for position, shape in enumerate(shapes):
        alone = op.of_input(position, shapes)
        x = [np.zeros((2, *s)) for s in shapes]
        x[position] = RNG.normal(size=(2, *shape))
        found = x[position] if alone is None else alone.apply(x[position])
        np.testing.assert_array_equal(found, op.apply(*x))


def scales(shape):
    """Compact scales: one number, along each axis, and of every element by itself."""
    yield np.float32(1.5) * np.ones((), np.float32)
    for axis, n in enumerate(shape):
        along = [1] * len(shape)
        along[axis] = n
        yield compact_scale(RNG.uniform(0.5, 2, along).astype(np.float32))
    yield compact_scale(RNG.uniform(0.5, 2, shape).astype(np.float32))


@every
def test_a_carried_scale_is_that_of_the_output(op, shapes):
    xs = drawn(shapes)
    for number, scale in enumerate(scales(shapes[0])):
        own = [scale if s == shapes[0] else next(scales(s)) for s in shapes]
        carried = op.carry_scale(own, shapes)
        if number == 0 or getattr(op, "moves", False):
            assert carried is not None, "one number, and what is moved, can always be carried"
        if carried is None:
            continue
        scaled = op.apply(*(x * s for x, s in zip(xs, own, strict=True)))
        np.testing.assert_allclose(scaled, op.apply(*xs) * carried, rtol=1e-5, atol=1e-5)


@every
def test_a_scale_that_differs_where_numbers_are_added_is_not_carried(op, shapes):
    if getattr(op, "pattern", "windows") == "elements":
        return
    every_element = compact_scale(RNG.uniform(0.5, 2, shapes[0]).astype(np.float32))
    assert op.carry_scale([every_element], shapes) is None


def test_a_max_pool_carries_positive_scales_only():
    pool = ops.MaxPool(kernel=(2,), strides=(2,), dilations=(1,), pads=(0, 0))
    scale = np.array([[1.0], [-2.0]], np.float32)
    assert pool.carry_scale([scale], [(2, 4)]) is None


def test_sums_of_unequal_scales_carry_none():
    a, b = np.full((3, 1, 1), 2, np.float32), np.full((3, 1, 1), 3, np.float32)
    assert ops.Add().carry_scale([a, b], [(3, 4, 5), (3, 4, 5)]) is None


@weighted
def test_an_input_scale_folds_into_the_weights_where_it_varies_along_channels_only(op, shapes):
    (x,), (shape,) = drawn(shapes), shapes
    axis = op.channel_axis % len(shape)
    channels = [1] * len(shape)
    channels[axis] = shape[axis]
    for scale in (np.float32(3) * np.ones(()), RNG.uniform(0.5, 2, channels)):
        folded = op.with_input_scale(scale, shape)
        np.testing.assert_allclose(folded.apply(x), op.apply(x * scale), rtol=1e-4, atol=1e-4)
    assert op.with_input_scale(None, shape) is op
    if len(shape) > 1:
        assert op.with_input_scale(RNG.uniform(0.5, 2, shape), shape) is None


@multiplying
def test_factors_per_output_channel_scale_the_output(op, shapes):
    (x,), out = drawn(shapes), op.output_shape(*shapes)
    axis = op.channel_axis % len(out) if isinstance(op, WeightedOp) else 0
    channels = [1] * len(out)
    channels[axis] = out[axis]
    for values in (np.full((1,) * len(out), 2.0), RNG.uniform(0.5, 2, channels)):
        scaled = op.with_factors(op.factors * op.per_output(values))
        assert type(scaled) is type(op)
        np.testing.assert_allclose(scaled.apply(x), op.apply(x) * values, rtol=1e-4, atol=1e-4)
    sums = np.abs(matrix(op, shapes, 0)).sum(axis=1).reshape(out)
    largest = np.moveaxis(sums, axis, 0).reshape(out[axis], -1).max(axis=1)
    bound = op.absolute_sums(out, axis)
    assert bound.shape == largest.shape and np.all(largest <= bound * (1 + 1e-6))
    if op.pattern != "irregular":
        np.testing.assert_allclose(bound, largest, rtol=1e-6)


@weighted
def test_the_fan_out_counts_connections_that_are_not_zero(op, shapes):
    sparse_op = op.with_factors(op.weight * (RNG.random(op.weight.shape) < 0.4))
    for one in (op, sparse_op):
        expected = (matrix(one, shapes, 0) != 0).sum(axis=0)
        np.testing.assert_array_equal(one.fan_out(shapes[0]).ravel(), expected)
        assert one.uses(shapes[0]) == expected.sum()


def neuron():
    return NeuronParams(v_threshold=np.ones((), np.float32), v_init=np.float32(0.5))


def network(op, shapes):
    """Spikes through the operation into a readout."""
    nodes = []
    for i, shape in enumerate(shapes):
        nodes.append(g.Input(name=f"x{i}", shape=shape))
        nodes.append(g.Population(name=f"p{i}", inputs=(f"x{i}",), shape=shape, neuron=neuron()))
    out, names = op.output_shape(*shapes), tuple(f"p{i}" for i in range(len(shapes)))
    nodes.append(g.Synapse(name="y", inputs=names, shape=out, op=op))
    nodes.append(g.Readout(name="out", inputs=("y",), shape=out))
    return g.SpikingGraph(nodes=tuple(nodes))


@linear
def test_a_spike_costs_what_it_reaches(op, shapes):
    fan_out = static_cost(GraphFacts(network(op, shapes))).fan_out
    for position in range(len(shapes)):
        expected = (matrix(op, shapes, position) != 0).sum(axis=0)
        np.testing.assert_array_equal(fan_out[f"p{position}"].ravel(), expected)


@linear
def test_every_engine_and_the_file_in_stock_onnxruntime_give_its_sums_of_spikes(op, shapes):
    graph, steps = network(op, shapes), 6
    xs = {f"x{i}": RNG.uniform(0, 1.2, (3, *s)).astype(np.float32) for i, s in enumerate(shapes)}
    # plain neurons: spikes until step t are the whole part of the input so far plus one half
    spikes = [np.minimum(np.floor(x * steps + 0.5), steps) for x in xs.values()]
    expected = op.apply(*spikes) / steps
    for engine in ENGINES if find_spec("torch") else ENGINES.keys() - {"torch"}:
        result = simulate(graph, xs, steps, engine=engine)
        np.testing.assert_allclose(result.readouts["out"][-1], expected, rtol=1e-4, atol=1e-4)
    names = FileNames(graph)
    document, arrays = encode_graph(graph, names)
    again = decode_graph(document, arrays)
    assert type(again["y"].op) is type(op)
    model = emit_graph(again, arrays, names).SerializeToString()
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    (stock,) = session.run(None, {**xs, "steps": np.array([steps])})
    np.testing.assert_allclose(stock[-1], expected, rtol=1e-4, atol=1e-4)


@every
def test_the_emitted_nodes_compute_it(op, shapes):
    names = tuple(f"x{i}" for i in range(len(shapes)))
    node = g.Synapse(name="y", inputs=names, shape=op.output_shape(*shapes), op=op)
    sizes = {**dict(zip(names, shapes, strict=True)), "y": node.shape}
    model = emit_chain([node], names, sizes).SerializeToString()
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    xs = [x.astype(np.float32) for x in drawn(shapes)]
    (found,) = session.run(None, dict(zip(names, xs, strict=True)))
    np.testing.assert_allclose(found, op.apply(*xs), rtol=1e-4, atol=1e-4)


@linear
def test_the_chips_view_reads_what_it_reads(op, shapes):
    """Blocks of lines, and the composed geometry where there is one."""
    first, signals, spikes = 0, [], []
    for shape in shapes:
        ids = first + np.arange(np.prod(shape)).reshape(shape)
        first += ids.size
        wires = lines.Wires(ids, RNG.uniform(0.5, 2, shape))
        signals.append(lines.Signal(shape=shape, constant=np.ones(shape), terms=(wires,)))
        spikes.append(RNG.normal(size=(2, *shape)))
    out = op.output_shape(*shapes)
    flat = np.concatenate([s.reshape(2, -1) for s in spikes], axis=1)
    double = ops.Scale(scale=RNG.uniform(0.5, 2, out))
    for then in (None, double):
        signal = lines.apply(op, signals, "y")
        values = [s * w.terms[0].scale for s, w in zip(spikes, signals, strict=True)]
        expected, constant = op.apply(*values), op.apply(*(s.constant[None] for s in signals))
        if then is not None:
            signal = lines.apply(then, [signal], "z")
            expected, constant = then.apply(expected), then.apply(constant)
        found = lines.currents_of(lines.blocks_of(signal), flat, int(np.prod(out)))
        np.testing.assert_allclose(found, expected.reshape(2, -1), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(signal.constant, constant[0], rtol=1e-6)
    for position, shape in enumerate(shapes):
        found = geometry.compose(shape, [(op, position, tuple(shapes))])
        if found is None:
            continue
        connected = matrix(op, shapes, position) != 0
        assert found.synapses(shape, out) == connected.sum()
        assert found.fan_in(shape) >= connected.sum(axis=1).max()
        assert found.fan_out(shape, out) == connected.sum(axis=0).max()


@weighted
def test_columns_that_weights_are_fitted_on_give_its_sums(op, shapes):
    form = COLUMNS[type(op)]
    if form is None:
        return
    (x,) = drawn(shapes)
    groups = form.groups(op)
    weight = op.weight.reshape(groups, len(op.weight) // groups, -1)
    found = np.einsum("gof,bgfp->bgop", weight, form.of(op, x))
    np.testing.assert_allclose(found, form.out(op, op.apply(x)), rtol=1e-5, atol=1e-6)


@linear
def test_without_data_variances_pass_by_the_squares_of_its_factors(op, shapes):
    """Of independent elements, which is what conversion without data assumes."""
    variances = [RNG.uniform(0.5, 2, shape).astype(np.float32) for shape in shapes]
    found = _squared(op).apply(*(v[np.newaxis] for v in variances))
    parts = [matrix(op, shapes, i) ** 2 @ v.ravel() for i, v in enumerate(variances)]
    np.testing.assert_allclose(found.ravel(), sum(parts), rtol=1e-5, atol=1e-6)


TABLES = {
    "file": (EMITTERS, lambda op: True),
    "geometry": (geometry.STEPS, lambda op: getattr(op, "pattern", "irregular") != "irregular"),
    "lines": (lines.WINDOWS, lambda op: getattr(op, "pattern", "") == "windows"),
    "quantize": (KEEPING_CHANNELS, lambda op: issubclass(op, MultiplyingOp)),
    "torch": (LAYERS, lambda op: issubclass(op, LinearOp)),
    "tune": (COLUMNS, lambda op: issubclass(op, WeightedOp)),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("op", ops.ALL_OPS, ids=lambda op: op.__name__)
def test_every_operation_is_in_every_table_that_is_about_it(op, name):
    table, concerns = TABLES[name]
    assert (op in table) == concerns(op)


def test_a_missing_entry_names_the_type_and_the_table():
    with pytest.raises(GraphError, match=r"Add has no entry in the table a\.TABLE"):
        entry({}, ops.Add(), "a.TABLE")


def test_an_operation_that_leaves_a_fact_out_is_refused():
    @dataclass(frozen=True, eq=False, kw_only=True)
    class Twice(ops.ElementOp):
        """A record without what it connects, and without its array."""

        moves: ClassVar[bool] = False

        def output_shape(self, *shapes):
            return shapes[0]

        def apply(self, *xs):
            return xs[0] * 2

    with pytest.raises(TypeError, match="Twice does not say adjoint, array, carry_scale, sources"):
        operation(Twice)
    assert Twice not in OPERATIONS
