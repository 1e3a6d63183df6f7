"""Recipes few-spike and ttfs: a conversion is the quantized network that they promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from converter.digits_nets import converted, samples
from onnx2snn.converter.convert import convert
from onnx2snn.converter.frontend import import_onnx, load_onnx
from onnx2snn.converter.recipes import recipe_named
from onnx2snn.converter.recipes.options import Options
from onnx2snn.converter.recipes.windowed import check
from onnx2snn.errors import UsageError
from onnx2snn.runtime import file as onnxfile
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.facts import GraphFacts
from onnx2snn.runtime.semantics.analog import run_analog
from onnx2snn.runtime.semantics.constants import constant_currents

FIXTURES = Path(__file__).parents[2] / "fixtures"
LEVELS = {"few-spike": lambda steps: 2**steps - 1, "ttfs": lambda steps: steps}
T = {"few-spike": 3, "ttfs": 6}


def quantized(graph: snn.SpikingGraph, x: np.ndarray, levels: int, total: int) -> np.ndarray:
    """The answers of the network whose activations are rounded to ``levels`` levels, layer after
    layer; what a level is worth is in the weights that read it."""
    values: dict[str, np.ndarray] = {}
    grids = constant_currents(GraphFacts(graph)).grids  # of what the input gives alone
    for node in graph.nodes:
        xs = [values[name] for name in node.inputs]
        if isinstance(node, snn.Input):
            values[node.name] = x.astype(float)
        elif isinstance(node, snn.Population):
            theta, half = (getattr(node.neuron, f).astype(float) for f in ("v_threshold", "v_init"))
            number = np.floor((xs[0] + node.bias.astype(float) * total + half) / theta)
            values[node.name] = np.clip(number, 0, levels)
        elif isinstance(node, snn.MaxPool | snn.Synapse):
            y, grid = node.op.apply(*xs), grids.get(node.name)
            values[node.name] = y if grid is None else np.rint(y / grid) * grid * total
        else:
            last = isinstance(node, snn.Readout)
            values[node.name] = xs[0] / total + node.bias if last else xs[0]
    return values[graph.of(snn.Readout)[0].name]


@pytest.mark.parametrize("recipe", T)
@pytest.mark.parametrize("model", ["digits_cnn", "digits_mlp"])
def test_a_conversion_is_the_network_of_so_many_levels_and_its_file_too(
    recipe: str, model: str
) -> None:
    steps, x = T[recipe], samples("x_test")[:100]
    network = converted(model, steps=steps, recipe=recipe).graph
    total = sum(network.of(snn.Population)[0].neuron.weight(t, steps) for t in range(steps))
    expected = quantized(network, x, LEVELS[recipe](steps), total)
    got = simulate(network, x, steps)
    answer = next(iter(got.readouts.values()))[-1]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-6 * scale)
    session = ort.InferenceSession(onnxfile.to_bytes(network), providers=["CPUExecutionProvider"])
    feed = {network.of(snn.Input)[0].name: x, "steps": np.array([steps], np.int64)}
    stock = session.run(None, feed)[0][-1]
    # In single precision a first-layer current may come to lie beyond the edge of a level.
    assert (np.abs(stock - answer).max(axis=1) > 1e-5 * scale).mean() <= 0.02
    if recipe == "ttfs":
        for name, spikes in got.spikes.items():
            assert 0 < spikes.sum() <= len(x) * got.neurons[name]


@pytest.mark.parametrize("recipe", T)
def test_analog_islands_are_computed_between_two_windows_in_the_file_too(recipe: str) -> None:
    ann = import_onnx(load_onnx(FIXTURES / "mobilev3_sigmoid_ts.onnx"))
    steps, source = T[recipe], ann.inputs[0]
    x = np.random.default_rng(0).normal(size=(24, *source.shape)).astype(np.float32)
    network = convert(ann, x, Options(recipe=recipe, steps=steps)).graph
    assert {n.lag for n in network.of(snn.Analog)} == {steps} and network.of(snn.Population)
    fast, slow = (simulate(network, x[:4], steps, engine=e) for e in ("fast", "numpy"))
    session = ort.InferenceSession(onnxfile.to_bytes(network), providers=["CPUExecutionProvider"])
    stock = session.run(None, {source.name: x[:4], "steps": np.array([steps], np.int64)})[0]
    for answer in (fast.readouts, slow.readouts):
        np.testing.assert_allclose(next(iter(answer.values())), stock, rtol=1e-4, atol=1e-6)
    wanted = run_analog(network, {source.name: x[:4]})
    off = np.linalg.norm(stock[-1] - next(iter(wanted.values())))
    assert off < 0.1 * np.linalg.norm(stock[-1])


def test_ttfs_decodes_what_synchronous_neurons_with_the_same_thresholds_decode() -> None:
    """The same network with plain neurons that wait for their whole input: T levels too."""
    steps, x = 8, samples("x_test")[:50]
    late = converted("digits_mlp", steps=steps, recipe="ttfs", tune=False)
    plain = converted("digits_mlp", steps=steps, recipe="synchronous", tune=False)
    for p, q in zip(late.graph.of(snn.Population), plain.graph.of(snn.Population), strict=True):
        share = p.neuron.reach(steps) / steps
        np.testing.assert_allclose(p.neuron.v_threshold * share, q.neuron.v_threshold, rtol=1e-3)
    a, b = (next(iter(simulate(c.graph, x, steps).readouts.values()))[-1] for c in (late, plain))
    assert (np.abs(a - b).max(axis=1) > 1e-2 * np.abs(b).max()).mean() <= 0.05


@pytest.mark.parametrize("recipe", T)
@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"lag": 2}, "a start lag"),
        ({"leak": 0.1}, "a leak"),
        ({"reset": "zero"}, "reset to zero"),
        ({"refractory": 1}, "refractory steps"),
        ({"readout": "count"}, "output spike counts"),
        ({"encoding": "poisson"}, "'poisson' spikes"),
    ],
)
def test_options_that_the_neurons_do_not_have_are_refused_by_name(
    recipe: str, given: dict[str, object], named: str
) -> None:
    with pytest.raises(UsageError, match=named) as caught:
        check(recipe_named(recipe), Options(recipe=recipe, steps=4, **given))  # type: ignore[arg-type]
    assert caught.value.code == "E114"


def test_a_few_spike_window_has_at_most_sixteen_steps() -> None:
    with pytest.raises(UsageError, match="at most 16 steps") as caught:
        check(recipe_named("few-spike"), Options(recipe="few-spike", steps=17))
    assert caught.value.code == "E110"
    check(recipe_named("ttfs"), Options(recipe="ttfs", steps=64))
