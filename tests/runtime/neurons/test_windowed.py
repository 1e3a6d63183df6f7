"""Codes of one number per window: layer after layer on numbers equals step by step, bit for bit."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx2snn.errors import GraphError, UsageError
from onnx2snn.runtime import file as snnfile
from onnx2snn.runtime import graph as g
from onnx2snn.runtime import ops
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.engine.fast.products.whole import exact, whole_products
from onnx2snn.runtime.facts import GraphFacts
from onnx2snn.runtime.neurons import FewSpikeParams, TtfsParams, WindowedNeuron
from runtime import naive_oracle
from runtime.random_graphs import graphs, samples, windowed

T = 4
WINDOW = {"kernel": (2, 2), "strides": (1, 1), "dilations": (1, 1), "pads": (0,) * 4}


def network(model: type[WindowedNeuron], pooled: bool) -> g.SpikingGraph:
    """conv, neurons, (overlapping max pools of spikes and of currents,) conv and a skip that waits,
    neurons, linear; all dyadic."""
    rng = np.random.default_rng(3)
    theta = np.array([1, 0.5], np.float32).reshape(2, 1, 1)
    neuron = model(v_threshold=theta, v_init=theta / 2, lag=T)
    shape, coding = (2, 4, 4), neuron.coding

    def conv() -> ops.Conv:
        weight = (rng.integers(-8, 10, (2, 2, 3, 3)) / 32).astype(np.float32)
        return ops.Conv(weight=weight, strides=(1, 1), dilations=(1, 1), pads=(1, 1, 1, 1))

    def layer(name: str, source: str, shape: tuple[int, ...]) -> list[g.Node]:
        bias = np.array([0.125, -0.25], np.float32).reshape(2, 1, 1)
        one = g.Synapse(name=f"c{name}", inputs=(source,), shape=shape, op=conv())
        return [
            one,
            g.Population(name=name, inputs=(one.name,), shape=shape, neuron=neuron, bias=bias),
        ]

    nodes: list[g.Node] = [g.Input(name="x", shape=shape), *layer("p1", "x", shape)]
    before = "p1"
    if pooled:
        shape = (2, 3, 3)
        op = ops.MaxPool(**WINDOW)
        nodes.append(g.MaxPool(name="m1", inputs=("p1",), shape=shape, op=op, coding=coding))
        nodes += layer("p2", "m1", shape)
        nodes.append(g.Synapse(name="c3", inputs=("p2",), shape=shape, op=conv()))
        shape = (2, 2, 2)
        bias = np.full((2, 1, 1), 0.125, np.float32)
        nodes.append(
            g.MaxPool(name="m2", inputs=("c3",), shape=shape, op=op, bias=bias, coding=coding)
        )
        nodes.append(g.Population(name="p3", inputs=("m2",), shape=shape, neuron=neuron))
        before = "p3"
    nodes += layer("p4", before, shape)
    nodes.append(g.Delay(name="late", inputs=(before,), shape=shape, steps=T))
    unit = np.full((2, 1, 1), 0.5, np.float32)
    nodes.append(g.Synapse(name="s", inputs=("late",), shape=shape, op=ops.Scale(scale=unit)))
    nodes.append(g.Synapse(name="c5", inputs=("p4",), shape=shape, op=conv()))
    nodes.append(g.Synapse(name="a", inputs=("c5", "s"), shape=shape, op=ops.Add()))
    nodes.append(g.Population(name="p5", inputs=("a",), shape=shape, neuron=neuron))
    flat = ops.Reshape(shape=(int(np.prod(shape)),))
    nodes.append(g.Synapse(name="f", inputs=("p5",), shape=flat.shape, op=flat))
    nodes.append(g.Readout(name="out", inputs=("f",), shape=flat.shape, coding=coding))
    return g.SpikingGraph(nodes=tuple(nodes))


def images() -> np.ndarray:
    return (np.random.default_rng(5).integers(-4, 17, (5, 2, 4, 4)) / 8).astype(np.float32)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("model", [FewSpikeParams, TtfsParams])
def test_numbers_layer_after_layer_are_the_spikes_step_by_step(
    model: type[WindowedNeuron], pooled: bool
) -> None:
    graph, x = network(model, pooled), images()
    assert GraphFacts(graph).windowed
    for steps in range(1, T + 1):
        stepped = simulate(graph, x, steps, engine="numpy")
        numbers = simulate(graph, x, steps, engine="fast", tile=2)
        np.testing.assert_array_equal(numbers.readouts["out"], stepped.readouts["out"])
        for name, spikes in stepped.spikes.items():
            np.testing.assert_array_equal(numbers.spikes[name], spikes, err_msg=name)
        np.testing.assert_array_equal(numbers.synops, stepped.synops)
    assert stepped.latency == sum(1 for n in graph.nodes if isinstance(n, g.Population)) * T
    assert all(spikes.sum() > 0 for spikes in stepped.spikes.values())
    if model is TtfsParams:
        most = len(x) * np.array([numbers.neurons[name] for name in stepped.spikes])
        assert (np.array([s.sum() for s in stepped.spikes.values()]) <= most).all()


@pytest.mark.parametrize("model", [FewSpikeParams, TtfsParams])
def test_what_is_decoded_is_a_quantized_network_evaluated_layer_after_layer(
    model: type[WindowedNeuron],
) -> None:
    graph, x = network(model, pooled=False), images().astype(np.float64)
    nodes = graph.by_name()
    most = 2**T - 1 if model is FewSpikeParams else T
    total = 2**T - 1 if model is FewSpikeParams else T * (T + 1) // 2

    def layer(name: str, z: np.ndarray) -> np.ndarray:
        theta = nodes[name].neuron.v_threshold.astype(float)
        return np.clip(np.floor((z + nodes[name].bias * total) / theta + 0.5), 0, most)

    p1 = layer("p1", nodes["cp1"].op.apply(x * total))
    p4 = layer("p4", nodes["cp4"].op.apply(p1))
    p5 = layer("p5", nodes["c5"].op.apply(p4) + p1 * 0.5)
    answer = simulate(graph, images(), T).readouts["out"][-1]
    np.testing.assert_allclose(answer, p5.reshape(len(x), -1) / total, rtol=1e-6)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("model", [FewSpikeParams, TtfsParams])
def test_the_file_has_the_engines_answers_and_a_skip_that_waits(
    model: type[WindowedNeuron], pooled: bool
) -> None:
    graph, x = network(model, pooled), images()
    session = ort.InferenceSession(snnfile.to_bytes(graph), providers=["CPUExecutionProvider"])
    (stock,) = session.run(["out"], {"x": x, "steps": np.array([T], np.int64)})
    np.testing.assert_allclose(stock, simulate(graph, x, T).readouts["out"], rtol=1e-6)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.data())
def test_any_network_is_the_naive_loop_and_its_file_says_the_same(data: st.DataObject) -> None:
    steps = data.draw(st.integers(1, 5))
    model = data.draw(st.sampled_from([FewSpikeParams, TtfsParams]))
    graph = windowed(data.draw(graphs(lags=False, max_stages=2)), model, steps)
    x = data.draw(samples(graph.of(g.Input)[0].shape, most=2))
    spikes, answers = naive_oracle.simulate(graph, x, steps)
    assert GraphFacts(graph).windowed
    session = ort.InferenceSession(snnfile.to_bytes(graph), providers=["CPUExecutionProvider"])
    feed = {graph.of(g.Input)[0].name: x, "steps": np.array([steps], np.int64)}
    stock = session.run(list(answers), feed)
    got = simulate(graph, x, steps, engine="numpy"), simulate(graph, x, steps, engine="fast")
    for result in got:
        for name, train in spikes.items():
            assert result.spikes[name].sum() == train.sum()
    for name, from_file in zip(answers, stock, strict=True):
        np.testing.assert_allclose(got[0].readouts[name], answers[name], rtol=1e-6, err_msg=name)
        np.testing.assert_array_equal(got[1].readouts[name], got[0].readouts[name], err_msg=name)
        np.testing.assert_allclose(from_file, answers[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("model", [FewSpikeParams, TtfsParams])
def test_a_profile_has_every_layer_and_changes_nothing(model: type[WindowedNeuron]) -> None:
    graph, x = network(model, pooled=True), images()
    plain, found = (simulate(graph, x, T, profile=profile) for profile in (False, True))
    stateful = [n.name for n in graph.nodes if isinstance(n, g.STATEFUL)]
    assert [layer.name for layer in found.profile if layer.name in stateful] == stateful
    # Every layer reads through weights, of the input too, and decides.
    assert all(p.neuron > 0 for p in found.profile if p.name in stateful)
    fed = {"p1", "p2", "out"}
    assert all(p.synapse > 0 for p in found.profile if p.name in fed)
    assert any(p.gflop_per_second > 0 for p in found.profile) and not plain.profile
    for name, answer in plain.readouts.items():
        np.testing.assert_array_equal(answer, found.readouts[name])


def test_products_are_in_single_precision_where_that_is_exact() -> None:
    weight = np.array([[0.125, -0.75, 0.5]], np.float32)  # on a grid of 1/8: 11 of its steps
    assert exact(weight, 2**20) and not exact(weight, 2**21)
    assert not exact(np.array([[1.0, 2.0**-20]], np.float32), 16)
    assert not exact(np.array([[0.1]], np.float64), 1)
    graph = network(FewSpikeParams, pooled=True)
    products = whole_products(GraphFacts(graph), T)
    assert {"cp2", "c3", "cp4", "c5"} <= set(products) and "cp1" not in products
    x = np.random.default_rng(1).integers(0, 2**T, (3, *graph["p4"].shape))
    whole = graph["c5"].op.apply(x.astype(np.float64))
    np.testing.assert_array_equal(products["c5"](x), whole)


def test_a_window_is_no_longer_than_the_neurons_wait() -> None:
    with pytest.raises(UsageError, match="windows have 4 steps") as caught:
        simulate(network(FewSpikeParams, False), images(), T + 1)
    assert caught.value.code == "E117"
    with pytest.raises(GraphError, match="at most 16"):
        FewSpikeParams(v_threshold=np.ones(()), v_init=np.zeros(()), lag=17)
    with pytest.raises(GraphError, match="lag is at least 1"):
        TtfsParams(v_threshold=np.ones(()), v_init=np.zeros(()), lag=0)


@pytest.mark.parametrize("model", [FewSpikeParams, TtfsParams])
def test_every_number_has_its_code(model: type[WindowedNeuron]) -> None:
    neuron = model(v_threshold=np.ones(()), v_init=np.zeros(()), lag=8)
    codes = neuron.code(5)
    weights = neuron.weight(np.arange(5), 5)
    np.testing.assert_array_equal(codes @ weights, np.arange(neuron.most(5) + 1))
    assert all(a > b for a, b in pairwise(weights))


@pytest.mark.parametrize("model", [FewSpikeParams, TtfsParams])
def test_a_maximum_of_sums_of_neurons_counts_as_it_is_defined(model: type[WindowedNeuron]) -> None:
    """It is larger than any number of one neuron, which has no code."""
    one = np.ones((), np.float32)
    neuron = model(v_threshold=one, v_init=one / 2, lag=T)
    eye = ops.Conv(
        weight=np.eye(2, dtype=np.float32).reshape(2, 2, 1, 1),
        strides=(1, 1), dilations=(1, 1), pads=(0,) * 4,
    )  # fmt: skip
    shape, pooled = (2, 4, 4), (2, 3, 3)
    nodes: list[g.Node] = [
        g.Input(name="x", shape=shape),
        g.Synapse(name="c", inputs=("x",), shape=shape, op=eye),
        g.Population(name="p", inputs=("c",), shape=shape, neuron=neuron),
        g.Population(name="q", inputs=("c",), shape=shape, neuron=neuron),
        g.Synapse(name="both", inputs=("p", "q"), shape=shape, op=ops.Add()),
        g.MaxPool(
            name="m", inputs=("both",), shape=pooled, op=ops.MaxPool(**WINDOW),
            coding=neuron.coding,
        ),
        g.Synapse(name="d", inputs=("m",), shape=pooled, op=eye),
        g.Readout(name="y", inputs=("d",), shape=pooled, coding=neuron.coding),
    ]  # fmt: skip
    graph = g.SpikingGraph(nodes=tuple(nodes), meta={})
    x = np.random.default_rng(0).integers(-1, 6, (3, *shape)).astype(np.float32) / 4
    fast, defined = (simulate(graph, x, T, engine=name) for name in ("fast", "numpy"))
    assert np.array_equal(fast.readouts["y"], defined.readouts["y"])
    assert np.array_equal(fast.synops_per_sample, defined.synops_per_sample)
    most = 2 * neuron.most(T) / neuron.total(T)
    assert fast.readouts["y"][-1].max() == pytest.approx(most)
