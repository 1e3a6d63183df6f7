"""Recipes: what they promise about spikes, latency and error, on the bundled networks."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.digits_nets import answers, converted, logit_error, samples
from onnx2snn.converter.recipes import RECIPES
from onnx2snn.converter.recipes.options import Options
from onnx2snn.errors import GraphError, UsageError
from onnx2snn.runtime import file as onnxfile
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.neurons.differential import DifferentialParams
from onnx2snn.runtime.semantics.spiking import run_population

T = 4


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("model", ["digits_cnn", "digits_mlp"])
def test_every_recipe_agrees_with_the_ann_at_eight_steps(recipe: str, model: str) -> None:
    network = converted(model, steps=8, recipe=recipe).graph
    result = simulate(network, samples("x_test"), 8, at=[8])
    got = next(iter(result.readouts.values()))[-1].argmax(axis=-1)
    assert (got == answers(model).argmax(axis=-1)).mean() >= 0.96


@pytest.mark.parametrize("recipe", RECIPES)
def test_spikes_stay_in_the_levels_the_recipe_states(recipe: str) -> None:
    network, chosen = converted(steps=T, recipe=recipe).graph, RECIPES[recipe]
    largest = 8 if chosen.model == "differential" else chosen.levels
    for p in network.of(snn.Population):
        assert p.neuron.levels == largest
        assert ("signed" in p.neuron.traits) == chosen.signed
    meta = network.meta
    assert meta["recipe"] == recipe and meta["T"] == T
    assert set(chosen.notes) <= set(meta["notes"])


def test_better_spikes_give_smaller_errors_at_the_same_steps() -> None:
    error = {name: logit_error(steps=T, recipe=name) for name in RECIPES}
    assert error["graded"] < error["signed"] < error["binary"]
    assert error["differential"] < error["signed"]


def _populations_on_the_longest_path(network: snn.SpikingGraph, to: str) -> int:
    before = [_populations_on_the_longest_path(network, name) for name in network[to].inputs]
    return max(before, default=0) + isinstance(network[to], snn.Population)


def test_latency_counts_every_lag_step() -> None:
    network = converted(steps=T, lag=3, tune=False).graph
    depth = _populations_on_the_longest_path(network, network.of(snn.Readout)[0].name)
    assert simulate(network, samples("x_test")[:4], T).latency == 3 * depth
    synchronous = converted(steps=T, recipe="synchronous", tune=False).graph
    assert simulate(synchronous, samples("x_test")[:4], T).latency == T * depth


def test_start_lag_lowers_the_error_for_the_same_number_of_steps() -> None:
    # Without calibration in the loop, which takes much of the same unevenness away.
    assert logit_error(steps=T, lag=4, tune=False) < 0.8 * logit_error(steps=T, tune=False)
    assert logit_error(steps=T, lag=4) < logit_error(steps=T)


def test_calibration_in_the_loop_halves_what_differential_coding_leaves() -> None:
    plain = logit_error(steps=T, recipe="differential", tune=False)
    assert logit_error(steps=T, recipe="differential") < 0.5 * plain


def test_differential_spikes_per_neuron_grow_slower_than_the_steps() -> None:
    network = converted(steps=32, recipe="differential").graph
    spikes = simulate(network, samples("x_test"), 32).spikes_per_neuron
    assert spikes[31] < 2 * spikes[7]


def test_differential_coding_comes_to_the_ann_within_thirty_two_steps() -> None:
    assert logit_error(steps=32, recipe="differential") < 1e-4


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 999),
    powers=st.integers(1, 5),
    source=st.sampled_from(["rate", "differential"]),
    ceiling=st.sampled_from([None, 0.3, 1.0]),
)
def test_a_differential_neuron_is_the_loop_of_its_equations(
    seed: int, powers: int, source: str, ceiling: float | None
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(0.2, 0.6, (10, 1, 6))
    bias = rng.normal(0, 0.3, 6)
    unit = 0.125
    neuron = DifferentialParams(
        v_threshold=np.asarray(unit),
        powers=powers,
        bias=bias,
        source=source,  # type: ignore[arg-type]
        ceiling=ceiling,
    )
    node = snn.Population(name="p", inputs=("x",), shape=(6,), neuron=neuron)
    got = run_population(node, x, {}, t0=0, count=10, fire=(0, 10))
    for i in range(6):
        v, received, sent = 0.0, bias[i], 0.0
        for t in range(1, 11):
            now = x[t - 1, 0, i]
            m = v + now + received - sent
            if source == "differential":
                received += now / t
            k = 0.0
            for j in range(powers):
                level = unit * 2**j
                room = np.inf if ceiling is None else t * (ceiling - sent)
                if m >= 0.75 * level and room >= level - 1e-3 * unit:
                    k = 2.0**j
                if m <= -0.75 * level and t * sent >= level - 1e-3 * unit:
                    k = -(2.0**j)
            v = m - k * unit
            sent += k * unit / t
            assert sent >= -1e-3 * unit and (ceiling is None or sent <= ceiling + 1e-3 * unit)
            assert got[t - 1, 0, i] == k


def test_a_differential_network_runs_in_stock_onnxruntime(tmp_path: object) -> None:
    conversion = converted(steps=T, recipe="differential")
    path = f"{tmp_path}/net.onnx"
    onnxfile.save(conversion.graph, path)
    x = samples("x_test")[:16]
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    got = session.run(None, {name: x, "steps": np.array([8])})[0]
    for graph in (conversion.graph, onnxfile.load(path)):
        wanted = next(iter(simulate(graph, x, 8).readouts.values()))
        # A potential within rounding of a firing point may tip either way: few answers differ.
        close = np.abs(got - wanted) < 1e-4 * np.ptp(wanted)
        assert close.mean() > 0.9
        assert np.abs(got - wanted).max() < 0.1 * np.ptp(wanted)


def test_options_without_sense_are_refused_by_code() -> None:
    with pytest.raises(UsageError) as unknown:
        Options(recipe="fancy")
    assert unknown.value.code == "E111"
    with pytest.raises(UsageError) as levels:
        Options(recipe="binary", levels=4)
    assert levels.value.code == "E112"
    with pytest.raises(UsageError) as lag:
        converted(steps=T, recipe="differential", lag=2)
    assert lag.value.code == "E114"
    with pytest.raises(GraphError, match="lag"):
        DifferentialParams(v_threshold=np.ones(()), lag=1)
