"""Inputs, encodings, analog islands and analog mode."""

from __future__ import annotations

from typing import get_args, get_type_hints

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from onnx2snn.errors import DataError, GraphError, UsageError
from onnx2snn.runtime import graph as g
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.file.emit import ENCODERS
from onnx2snn.runtime.semantics.analog import run_analog
from onnx2snn.runtime.semantics.encoding import SPIKES, encode
from onnx2snn.runtime.tables import entry_named
from runtime.engine.test_against_naive import float_network
from runtime.random_graphs import graphs, samples

pytestmark = pytest.mark.usefixtures("engines")


def identity(encoding="constant", names=("x",)):
    inputs = [g.Input(name=n, shape=(3,), encoding=encoding) for n in names]
    outputs = [g.Readout(name=f"{n}_out", shape=(3,), inputs=(n,)) for n in names]
    return g.SpikingGraph(nodes=(*inputs, *outputs))


def test_every_encoding_is_in_the_tables():
    spiking = {*get_args(get_type_hints(g.Input)["encoding"])} - {"constant"}
    assert SPIKES.keys() == ENCODERS.keys() == spiking
    with pytest.raises(GraphError, match=r"'bursts' has no entry in the table a\.TABLE"):
        entry_named(SPIKES, "bursts", name="a.TABLE")


def test_rate_coding_is_never_more_than_half_a_spike_away():
    x = np.random.default_rng(0).uniform(-1, 1, (5, 3)).astype(np.float32)
    result = simulate(identity("rate"), x, 50).readouts["x_out"]
    t = np.arange(1, 51).reshape(-1, 1, 1)
    assert np.abs(result * t - x * t).max() <= 0.5 + 1e-4
    emitted = np.diff(np.concatenate([np.zeros((1, 5, 3)), result * t]), axis=0)
    assert set(np.unique(np.rint(emitted))) <= {-1.0, 0.0, 1.0}


def test_poisson_coding_is_unbiased_within_its_own_standard_error():
    x = np.linspace(-1, 1, 300, dtype=np.float32).reshape(100, 3)
    steps = 400
    mean = simulate(identity("poisson"), x, steps, seed=2).readouts["x_out"][-1]
    error = np.sqrt(np.abs(x) * (1 - np.abs(x)) / steps) + 1e-6
    assert np.abs((mean - x) / error).max() < 5
    np.testing.assert_array_equal(mean[np.abs(x) == 1], x[np.abs(x) == 1])


@pytest.mark.parametrize("encoding", ["poisson", "rate"])
def test_a_samples_spikes_depend_only_on_seed_index_and_step(encoding):
    node = identity(encoding).of(g.Input)[0]
    x = np.random.default_rng(0).uniform(-1, 1, (6, 3)).astype(np.float32)
    whole = encode(node, x, first_step=0, steps=10, seed=1, offset=0)
    part = encode(node, x[4:], first_step=3, steps=5, seed=1, offset=4)
    np.testing.assert_array_equal(whole[3:8, 4:], part)


@pytest.mark.parametrize("encoding", ["poisson", "rate"])
def test_values_a_spike_train_cannot_carry_are_refused(encoding):
    with pytest.raises(DataError) as caught:
        simulate(identity(encoding), np.full((2, 3), 1.5, np.float32), 4)
    assert caught.value.code == "E210"
    assert "'x'" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (np.zeros((2, 4)), "E212"),
        (np.zeros((0, 3)), "E213"),
        (np.array([[0.0, np.nan, 1.0]]), "E215"),
        ({"y": np.zeros((2, 3))}, "E211"),
    ],
)
def test_data_that_does_not_fit_is_refused_with_a_code(data, code):
    with pytest.raises(DataError) as caught:
        simulate(identity(), data, 4)
    assert caught.value.code == code


def test_several_inputs_need_an_array_each_of_equal_length():
    graph = identity(names=("a", "b"))
    with pytest.raises(DataError) as caught:
        simulate(graph, np.zeros((2, 3)), 4)
    assert caught.value.code == "E211"
    with pytest.raises(DataError) as caught:
        simulate(graph, {"a": np.zeros((2, 3)), "b": np.zeros((3, 3))}, 4)
    assert caught.value.code == "E214"
    both = simulate(graph, {"a": np.zeros((2, 3)), "b": np.ones((2, 3))}, 2)
    np.testing.assert_array_equal(both.readouts["b_out"], np.ones((2, 2, 3)))


@pytest.mark.parametrize("steps", [0, -1])
def test_zero_steps_are_refused(steps):
    with pytest.raises(UsageError):
        simulate(identity(), np.zeros((2, 3)), steps)


def _sigmoid_island(bias):
    graph = helper.make_graph(
        [helper.make_node("Sigmoid", ["a"], ["s"]), helper.make_node("Mul", ["s", "b"], ["y"])],
        "island",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 3]) for n in ("a", "b")],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    zero = np.zeros((), np.float32)
    island = g.Analog(
        name="i",
        shape=(3,),
        inputs=("x", "x"),
        model=model.SerializeToString(),
        output="y",
        biases=(np.float32(bias), zero) if bias else (),
    )
    return g.SpikingGraph(
        nodes=(
            g.Input(name="x", shape=(3,), encoding="rate"),
            island,
            g.Readout(name="out", shape=(3,), inputs=("i",)),
        )
    )


@pytest.mark.parametrize("bias", [0.0, 0.25])
def test_an_islands_mean_output_is_its_function_of_the_mean_input(bias):
    """At every t, exactly; so it converges to f(x) as the input's mean converges to x."""
    x = np.random.default_rng(0).uniform(-1, 1, (4, 3)).astype(np.float32)
    steps = 200
    out = simulate(_sigmoid_island(bias), x, steps).readouts["out"]
    mean = simulate(identity("rate"), x, steps).readouts["x_out"].astype(float)
    for t in (0, 10, steps - 1):
        expected = mean[t] / (1 + np.exp(-mean[t] - bias))
        np.testing.assert_allclose(out[t], expected, atol=2e-5)
    np.testing.assert_allclose(out[-1], x / (1 + np.exp(-x - bias)), atol=5e-3)
    np.testing.assert_allclose(
        run_analog(_sigmoid_island(bias), x)["out"], x / (1 + np.exp(-x - bias)), atol=1e-5
    )


def test_many_steps_converge_to_analog_mode():
    graph = float_network()
    x = np.random.default_rng(3).uniform(0, 0.5, (3, 3, 12, 12)).astype(np.float32)
    target = _clipped_reference(graph, x)
    out = simulate(graph, x, 600).readouts["out"]
    spread = np.abs(target).max()
    assert np.abs(out[-1] - target).max() < 0.03 * spread
    assert np.abs(out[3] - target).max() > 0.1 * spread


def _clipped_reference(graph, x):
    """Analog mode with rates bounded by one spike per step, as the spikes' are."""
    values = {}
    for node in graph.nodes:
        before = [values[n] for n in node.inputs]
        if isinstance(node, g.Population):
            rate = (before[0] + node.bias) / node.neuron.v_threshold
            values[node.name] = np.clip(rate, 0, 1)
        elif isinstance(node, g.Synapse):
            values[node.name] = node.op.apply(*before)
        else:
            values[node.name] = x if isinstance(node, g.Input) else before[0] + node.bias
    return values["out"]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.data())
def test_analog_mode_tells_an_observer_every_node_once(data):
    graph = data.draw(graphs(max_stages=2))
    x = data.draw(samples(graph.of(g.Input)[0].shape))
    seen = {}
    results = run_analog(graph, x, observe=lambda n, pre, out: seen.update({n.name: out}))
    assert list(seen) == [n.name for n in graph.nodes]
    assert set(results) == {r.name for r in graph.of(g.Readout)}
    for p in graph.of(g.Population):
        assert seen[p.name].min() >= 0
