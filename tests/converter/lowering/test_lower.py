"""Lowering keeps the function; biases end up where state is; folding thresholds changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx2snn.converter.ann.evaluate import ann_outputs
from onnx2snn.converter.ann.graph import AnnGraph, AnnNode, AnnOutput, Input, LeakyRelu, Relu
from onnx2snn.converter.lowering.fold_thresholds import set_thresholds
from onnx2snn.converter.lowering.lower import compact, lower
from onnx2snn.errors import GraphError
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime import ops
from onnx2snn.runtime.neurons import NeuronParams
from onnx2snn.runtime.ops import Array, Shape
from onnx2snn.runtime.ops.arrays import compact_scale
from onnx2snn.runtime.semantics.analog import run_analog


class Builder:
    """Appends nodes to an AnnGraph, inferring shapes."""

    def __init__(self, shape: Shape) -> None:
        self.nodes = [AnnNode(name="x", layer=Input(), shape=shape)]

    def shape(self, name: str) -> Shape:
        return next(n.shape for n in self.nodes if n.name == name)

    def add(self, layer: object, *inputs: str, bias: Array | None = None) -> str:
        name = f"n{len(self.nodes)}"
        shapes = [self.shape(i) for i in inputs]
        shape = shapes[0] if isinstance(layer, Relu) else layer.output_shape(*shapes)
        self.nodes.append(AnnNode(name=name, layer=layer, inputs=inputs, shape=shape, bias=bias))
        return name

    def graph(self, *outputs: str) -> AnnGraph:
        return AnnGraph(
            nodes=tuple(self.nodes),
            outputs=tuple(AnnOutput(name=f"out{o}", node=o, tensor=o) for o in outputs),
        )


def conv(rng: np.random.Generator, out: int, per_group: int, **kwargs: object) -> ops.Conv:
    weight = rng.standard_normal((out, per_group, 3, 3)).astype(np.float32) / 3
    defaults = {"strides": (1, 1), "dilations": (1, 1), "pads": (1, 1, 1, 1)}
    return ops.Conv(weight=weight, **{**defaults, **kwargs})


POOL = {"kernel": (2, 2), "strides": (2, 2), "dilations": (1, 1), "pads": (0, 0, 0, 0)}


def step(rng: np.random.Generator, b: Builder, name: str) -> str:
    """One random layer after ``name`` (a feature map with an even number of channels)."""
    c, h, w = b.shape(name)
    bias = rng.standard_normal((c, 1, 1)).astype(np.float32)
    choices = [
        lambda: b.add(Relu(), name),
        lambda: b.add(Relu(ceiling=1.0), name),
        lambda: b.add(conv(rng, c, c), name, bias=bias),
        lambda: b.add(conv(rng, c, 1, groups=c), name, bias=bias),
        lambda: b.add(conv(rng, c, c // 2, groups=2), name),
        lambda: b.add(ops.Scale(scale=bias), name, bias=bias),
        lambda: b.add(ops.Scale(scale=rng.standard_normal((c, h, w)).astype(np.float32)), name),
        lambda: b.add(ops.Add(), name, b.add(ops.Scale(scale=bias), name)),
        lambda: b.add(ops.Add(), b.add(Relu(), name), b.add(conv(rng, c, c), name, bias=bias)),
        lambda: b.add(ops.Concat(axis=0), b.add(Relu(), name), b.add(Relu(ceiling=0.5), name)),
        lambda: b.add(ops.Pad(pads=(0, 1, 0, 0, 0, 1)), name, bias=bias),
        lambda: b.add(ops.Pad(pads=(1, 0, 0, 1, 0, 0)), b.add(Relu(), name)),
        lambda: b.add(ops.Slice(starts=(0, 0, 1), stops=(c, h, w), steps=(1, 1, 1)), name),
        lambda: b.add(ops.Take(axis=0, indices=rng.permutation(c)), b.add(Relu(), name)),
        lambda: b.add(ops.Take(axis=1, indices=np.repeat(np.arange(h), 2)[:h]), name),
        lambda: b.add(ops.SumPool(**POOL), b.add(Relu(), name)),
        lambda: b.add(ops.MaxPool(**POOL), b.add(Relu(), name)),
        lambda: b.add(ops.MaxPool(**POOL), b.add(conv(rng, c, c), name, bias=bias)),
        lambda: b.add(ops.Transpose(perm=(0, 2, 1)), b.add(Relu(), name)),
    ]
    return choices[rng.integers(len(choices))]()


def random_graph(seed: int, length: int) -> AnnGraph:
    rng = np.random.default_rng(seed)
    b = Builder((4, 8, 8))
    name = "x"
    for _ in range(length):
        c, h, w = b.shape(name)
        if min(h, w) < 3 or c % 2 or c > 16:
            break
        name = step(rng, b, name)
    c, h, w = b.shape(name)
    if rng.random() < 0.5:
        flat = b.add(ops.ReduceSum(axes=(1, 2), keepdims=False), name)
    else:
        flat = b.add(ops.Reshape(shape=(c * h * w,)), name)
    size = b.shape(flat)[0]
    weight = rng.standard_normal((5, size)).astype(np.float32) / np.sqrt(size)
    bias = rng.standard_normal(5).astype(np.float32)
    last = b.add(ops.Linear(weight=weight), flat, bias=bias.astype(np.float32))
    return b.graph(last, name)


def relative(got: Array, expected: Array) -> float:
    return float(np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-6))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 7))
def test_lowered_and_folded_graphs_compute_the_ann(seed: int, length: int) -> None:
    ann = random_graph(seed, length)
    rng = np.random.default_rng(seed + 1)
    x = rng.standard_normal((3, 4, 8, 8)).astype(np.float32)
    expected = ann_outputs(ann, {"x": x})
    lowered = lower(ann)
    neurons = {}
    for p in lowered.of(snn.Population):
        theta = rng.uniform(0.5, 2, (p.shape[0], *(1,) * (len(p.shape) - 1))).astype(np.float32)
        neurons[p.name] = NeuronParams(v_threshold=theta, v_init=theta / 2)
    for graph in (lowered, set_thresholds(lowered, neurons)):
        got = run_analog(graph, x)
        for output in ann.outputs:
            assert relative(got[output.name], expected[output.node]) < 1e-4


def test_a_bias_before_a_padded_convolution_becomes_a_bias_that_varies_over_space() -> None:
    rng = np.random.default_rng(0)
    b = Builder((2, 5, 5))
    first = b.add(conv(rng, 2, 2), "x", bias=np.ones((2, 1, 1), np.float32))
    second = b.add(conv(rng, 2, 2), first)
    relu = b.add(Relu(), second)
    population = lower(b.graph(relu)).of(snn.Population)[0]
    assert population.bias.shape == (2, 5, 5)
    assert len(np.unique(population.bias[0, 1:-1, 1:-1].round(5))) == 1
    assert population.bias[0, 0, 0] != population.bias[0, 2, 2]


def test_a_plain_bias_stays_one_number_per_channel() -> None:
    rng = np.random.default_rng(0)
    b = Builder((2, 5, 5))
    bias = np.array([1, -2], np.float32).reshape(2, 1, 1)
    relu = b.add(Relu(), b.add(conv(rng, 2, 2), "x", bias=bias))
    np.testing.assert_array_equal(lower(b.graph(relu)).of(snn.Population)[0].bias, bias)


def test_spikes_stay_integers_up_to_the_next_weights() -> None:
    """Pool, reshape and concatenation carry spike counts; only weights know thresholds."""
    rng = np.random.default_rng(0)
    b = Builder((4, 8, 8))
    relu = b.add(Relu(), b.add(conv(rng, 4, 4), "x"))
    pooled = b.add(ops.MaxPool(**POOL), relu)
    flat = b.add(ops.Reshape(shape=(64,)), b.add(ops.Concat(axis=0), pooled))
    fc = b.add(ops.Linear(weight=rng.standard_normal((3, 64)).astype(np.float32)), flat)
    lowered = lower(b.graph(fc))
    theta = np.array([1, 2, 4, 8], np.float32).reshape(4, 1, 1)
    folded = set_thresholds(lowered, {relu: NeuronParams(v_threshold=theta, v_init=theta / 2)})
    assert not [s for s in folded.of(snn.Synapse) if isinstance(s.op, ops.Scale)]
    before, after = lowered[fc], folded[fc]
    assert isinstance(before, snn.Synapse)
    assert isinstance(after, snn.Synapse)
    np.testing.assert_allclose(
        after.op.weight, before.op.weight * np.repeat([1, 2, 4, 8], 16), rtol=1e-6
    )


def test_a_skip_connection_keeps_its_own_scale() -> None:
    rng = np.random.default_rng(0)
    b = Builder((2, 4, 4))
    first = b.add(Relu(), b.add(conv(rng, 2, 2), "x"))
    total = b.add(ops.Add(), first, b.add(conv(rng, 2, 2), first))
    lowered = lower(b.graph(b.add(Relu(), total)))
    theta = np.full((), 3, np.float32)
    neuron = NeuronParams(v_threshold=theta, v_init=theta / 2)
    folded = set_thresholds(lowered, {p.name: neuron for p in lowered.of(snn.Population)})
    scales = [s.op.scale for s in folded.of(snn.Synapse) if isinstance(s.op, ops.Scale)]
    assert [float(s) for s in scales[:1]] == [3.0]


def test_layers_without_a_spiking_form_are_refused_by_name() -> None:
    node = AnnNode(name="leaky", layer=LeakyRelu(slope=np.array(0.1)), inputs=("x",), shape=(2,))
    graph = AnnGraph(
        nodes=(AnnNode(name="x", layer=Input(), shape=(2,)), node),
        outputs=(AnnOutput(name="y", node="leaky", tensor="y"),),
    )
    with pytest.raises(GraphError, match="leaky"):
        lower(graph)


def test_an_output_may_have_the_name_of_a_node() -> None:
    b = Builder((4,))
    last = b.add(ops.Linear(weight=np.eye(4, dtype=np.float32)), "x")
    graph = b.graph(last)
    graph = replace(graph, outputs=(replace(graph.outputs[0], name=last),))
    assert lower(graph).of(snn.Readout)[0].name == f"{last}/readout"


@given(st.lists(st.integers(1, 3), min_size=0, max_size=3), st.integers(0, 1000))
def test_compact_arrays_broadcast_back(shape: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    axes = [n if rng.random() < 0.5 else 1 for n in shape]
    whole = np.broadcast_to(rng.integers(0, 3, axes).astype(np.float32), shape)
    for small in (compact(whole), compact_scale(whole)):
        np.testing.assert_array_equal(np.broadcast_to(small, whole.shape), whole)
        assert small.size <= max(int(np.prod(axes)), 1)
