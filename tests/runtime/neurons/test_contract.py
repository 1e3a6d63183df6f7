"""What holds for every neuron model: its own step is what its equations say, both engines and the
saved file in stock ONNX Runtime give what its step gives, and nothing takes it for another model.

Models are those that a file can hold, and one defined in the tests (``examples``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime as ort
import pytest
from examples.adaptive_threshold import AdaptiveParams

from onnx2snn.converter.tune import Tuning, tune
from onnx2snn.converter.tune.search import SEARCHES
from onnx2snn.diagnosis.run import SpikingRun, constant_response
from onnx2snn.errors import GraphError, ModelError
from onnx2snn.runtime import file as snnfile
from onnx2snn.runtime import graph as g
from onnx2snn.runtime import ops
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.engine.fast.events.choice import available
from onnx2snn.runtime.engine.fast.native.steps import has_compiled_step
from onnx2snn.runtime.engine.fast.products.terms import is_plain
from onnx2snn.runtime.file.codec import decode_graph, encode_graph
from onnx2snn.runtime.file.naming import FileNames
from onnx2snn.runtime.file.neurons import NEURONS
from onnx2snn.runtime.neurons import Neuron, NeuronParams, WinnerTakeAllParams
from onnx2snn.runtime.neurons.differential import DifferentialParams
from onnx2snn.runtime.semantics.analog import run_analog

from . import models
from .models import CASES, EXAMPLES, MODELS, WIDTH, made, naive

T, BATCH = 9, 4


@pytest.fixture(autouse=True)
def with_the_example(request: pytest.FixtureRequest) -> Iterator[None]:
    """The example is registered, but where a test asks what happens without."""
    if "without" in request.node.name:
        yield
        return
    with models.registered():
        yield


def currents(count: int, seed: int = 0) -> np.ndarray:
    """(count, BATCH, WIDTH), multiples of 1/16."""
    rng = np.random.default_rng(seed)
    return (rng.integers(-12, 24, (count, BATCH, WIDTH)) / 16).astype(np.float32)


def stepped(neuron: Neuron, x: np.ndarray, steps: int = T) -> np.ndarray:
    """Spikes (steps, batch, width) of the model's own step on ``x`` (lag + steps, batch, width)."""
    state = neuron.initial_state(x.shape[1], x.shape[2:], np.dtype(np.float32))
    spikes = np.zeros(x.shape, np.float32)
    for t, current in enumerate(x):
        position = t - neuron.lag
        neuron.step(
            state, current.copy(), spikes[t], may_fire=position >= 0, position=position, steps=steps
        )
        assert position >= 0 or not spikes[t].any()
    return spikes[neuron.lag :]


def network(neuron: Neuron, encoding: str = "constant") -> g.SpikingGraph:
    """Weights, neurons, and a readout of their spikes as they count, and one with weights."""
    rng = np.random.default_rng(1)
    weight = (rng.integers(-8, 16, (WIDTH, 5)) / 16).astype(np.float32)
    bias = np.zeros((), np.float32)
    if "bias" not in neuron.traits:
        bias = (rng.integers(-2, 4, WIDTH) / 16).astype(np.float32)
    last = (rng.integers(-8, 8, (3, WIDTH)) / 8).astype(np.float32)
    shared = {"coding": neuron.coding}
    return g.SpikingGraph(
        nodes=(
            g.Input(name="x", shape=(5,), encoding=encoding),
            g.Synapse(name="w", inputs=("x",), shape=(WIDTH,), op=ops.Linear(weight=weight)),
            g.Population(name="p", inputs=("w",), shape=(WIDTH,), bias=bias, neuron=neuron),
            g.Readout(name="sent", inputs=("p",), shape=(WIDTH,), **shared),
            g.Synapse(name="v", inputs=("p",), shape=(3,), op=ops.Linear(weight=last)),
            g.Readout(name="out", inputs=("v",), shape=(3,), **shared),
        )
    )


def samples(seed: int = 2) -> np.ndarray:
    return (np.random.default_rng(seed).integers(-8, 16, (BATCH, 5)) / 16).astype(np.float32)


def arriving(graph: g.SpikingGraph, x: np.ndarray, neuron: Neuron, steps: int = T) -> np.ndarray:
    """The constant current of every step, (lag + steps, batch, width): none after the window."""
    now = x @ graph["w"].op.weight.T + graph["p"].bias
    return np.stack([now] * steps + [0 * now] * neuron.lag)


def decoded(neuron: Neuron, spikes: np.ndarray, t: int) -> np.ndarray:
    """What a readout of the spikes says after step ``t``, of a window of T steps."""
    if neuron.coding == "differential":
        return sum(k / (i + 1) for i, k in enumerate(spikes[:t]))
    weigh = {"paced": lambda i: T - i, "few-spike": lambda i: 2 ** (T - 1 - i)}
    weights = [weigh.get(neuron.coding, lambda i: 1)(i) for i in range(t)]
    return sum(w * k for w, k in zip(weights, spikes, strict=False)) / sum(weights)


# The model itself


def test_every_model_of_the_file_has_examples_and_a_loop_here_and_a_name_of_its_own() -> None:
    assert {*NEURONS} <= {*EXAMPLES} == {*models.NAIVE, WinnerTakeAllParams}
    assert len({model.name for model in MODELS}) == len(MODELS)


@pytest.mark.parametrize(("model", "more"), CASES)
def test_the_step_is_the_models_equations_neuron_by_neuron(
    model: type[Neuron], more: dict[str, Any]
) -> None:
    neuron = made(model, more)
    x = currents(neuron.lag + T)
    spikes = stepped(neuron, x)
    for sample in range(BATCH):
        assert spikes[:, sample].tolist() == naive(neuron, x[:, sample], T)
    assert np.abs(spikes).sum() > T


@pytest.mark.parametrize(("model", "more"), CASES)
def test_traits_name_the_model_and_the_fields_that_it_has(
    model: type[Neuron], more: dict[str, Any]
) -> None:
    neuron = made(model, more)
    own = {field.name for field in fields(neuron)}
    assert model.name in neuron.traits
    assert ("v_init" in neuron.traits) == ("v_init" in own)
    assert ("bias" in neuron.traits) == ("bias" in own)
    assert ("ceiling" in neuron.traits) == (getattr(neuron, "ceiling", None) is not None)
    assert ("levels" in neuron.traits) == (neuron.levels > 1)
    assert ("lag" in neuron.traits) == (neuron.lag > 0)
    spikes = stepped(neuron, currents(neuron.lag + T))
    assert "signed" in neuron.traits or spikes.min() >= 0
    assert np.abs(spikes).max() <= neuron.levels
    assert not neuron.traits <= NeuronParams(v_threshold=1.0, v_init=0.5).traits or is_plain(neuron)


@pytest.mark.parametrize("steps", [1, 7, 16])
@pytest.mark.parametrize(("model", "more"), CASES)
def test_a_spike_is_worth_what_a_readout_makes_of_it(
    model: type[Neuron], more: dict[str, Any], steps: int
) -> None:
    neuron = made(model, more)
    graph = network(neuron)
    x = samples()
    spikes = stepped(neuron, arriving(graph, x, neuron, steps), steps)
    worth = neuron.worth(steps)
    assert worth.shape == (steps,)
    answer = simulate(graph, x, steps).readouts["sent"][-1]
    np.testing.assert_allclose(np.tensordot(worth, spikes, axes=1), answer, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 6, 13])
@pytest.mark.parametrize(("model", "more"), CASES)
def test_reach_is_the_most_that_is_sent_and_is_reached(
    model: type[Neuron], more: dict[str, Any], steps: int
) -> None:
    neuron = made(model, more)
    count = neuron.worth(steps) * steps
    driven = np.zeros((neuron.lag + steps, WIDTH, WIDTH), np.float32)
    driven[:] = 1000 * np.eye(WIDTH)  # one at a time: neurons may compete
    most = np.diag(np.tensordot(count, stepped(neuron, driven, steps), axes=1))
    np.testing.assert_allclose(most, np.broadcast_to(neuron.reach(steps), most.shape), rtol=1e-5)
    some = stepped(neuron, 2 * currents(neuron.lag + steps, 3), steps)
    assert (np.tensordot(count, some, axes=1) <= neuron.reach(steps) * (1 + 1e-5)).all()


def test_a_model_derived_from_another_needs_a_name_of_its_own() -> None:
    with pytest.raises(TypeError, match="Nameless needs a name of its own"):

        @dataclass(frozen=True, eq=False, kw_only=True)
        class Nameless(NeuronParams):
            pass


# What runs it


ENGINES = {
    "numpy": {"engine": "numpy"},
    "fast": {"events": "never"},
    "compiled": {"events": "never"},
    "compiled, spikes": {"events": "always"},
    "torch": {"engine": "torch"},
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("model", "more"), CASES)
def test_the_engine_gives_the_spikes_of_the_step(
    model: type[Neuron], more: dict[str, Any], engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine == "torch":
        pytest.importorskip("torch")
    if not engine.startswith("compiled"):
        monkeypatch.setattr("onnx2snn.runtime.engine.fast.simulator.available", lambda: False)
    elif not available():
        pytest.skip("needs the extra 'fast'")
    neuron = made(model, more)
    graph, x = network(neuron), samples()
    if engine == "torch" and model is AdaptiveParams:
        with pytest.raises(GraphError, match=f"'p' has neurons of the model '{model.name}'"):
            simulate(graph, x, T, engine=engine)
        return
    result = simulate(graph, x, T, tile=2, block=4, **ENGINES[engine])
    spikes = stepped(neuron, arriving(graph, x, neuron))
    fired = (spikes != 0).sum(axis=(1, 2))
    np.testing.assert_array_equal(result.spikes["p"], fired)
    for t in range(1, T + 1):
        expected = decoded(neuron, spikes, t)
        np.testing.assert_allclose(result.readouts["sent"][t - 1], expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("encoding", ["constant", "rate"])
@pytest.mark.parametrize(("model", "more"), CASES)
def test_the_file_in_stock_onnx_runtime_gives_the_engines_answers_and_is_read_back(
    model: type[Neuron],
    more: dict[str, Any],
    encoding: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    neuron = made(model, more)
    graph, x = network(neuron, encoding), samples()
    path = tmp_path / "n.snn.onnx"
    snnfile.save(graph, path)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    stock = session.run(["sent", "out"], {"x": x, "steps": np.array([T], np.int64)})
    ours = simulate(graph, x, T).readouts
    np.testing.assert_allclose(stock[0], ours["sent"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(stock[1], ours["out"], rtol=1e-5, atol=1e-5)
    assert np.abs(ours["sent"]).max() > 0
    assert capfd.readouterr() == ("", "")  # and warns of nothing

    back = snnfile.load(path)["p"].neuron
    assert type(back) is model
    for field in fields(neuron):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(neuron, field.name))
    again = simulate(snnfile.load(path), x, T).readouts
    np.testing.assert_array_equal(again["sent"], ours["sent"])


@pytest.mark.parametrize(("model", "more"), CASES)
def test_in_analog_mode_it_is_the_activation_function(
    model: type[Neuron], more: dict[str, Any]
) -> None:
    neuron = made(model, more)
    graph, x = network(neuron), samples()
    graph = graph.with_nodes([replace(graph["p"], ceiling=0.75)])
    seen = {}
    run_analog(graph, x, observe=lambda node, pre, out: seen.update({node.name: out}))
    z = x @ graph["w"].op.weight.T + graph["p"].bias
    expected = np.clip(z, 0, 0.75)
    if isinstance(neuron, WinnerTakeAllParams):  # who would fire first
        first = (expected / neuron.v_threshold).argmax(axis=1)
        expected = expected * np.eye(WIDTH, dtype=np.float32)[first]
    np.testing.assert_allclose(seen["p"], expected, rtol=1e-6)
    np.testing.assert_allclose(seen["sent"] * neuron.v_threshold, seen["p"], rtol=1e-6)


@pytest.mark.parametrize(("model", "more"), CASES)
def test_diagnosis_counts_its_spikes_as_the_engine_does(
    model: type[Neuron], more: dict[str, Any]
) -> None:
    neuron = made(model, more)
    graph, x = network(neuron), samples()
    sums = SpikingRun(graph, {"x": x}, T).measure()
    result = simulate(graph, x, T)
    assert sums.events["p"] == result.spikes["p"].sum()
    np.testing.assert_allclose(sums.emitted["p"] / T, result.readouts["sent"][-1], rtol=1e-5)
    # Its input is the same in every step, so that is what it sends where spikes arrive evenly.
    if neuron.reads == "rate" or neuron.coding == "paced":
        even = constant_response(graph["p"], sums.current["p"] / T, T)
        np.testing.assert_allclose(even, sums.emitted["p"], rtol=1e-5)


@pytest.mark.parametrize("model", [m for m in MODELS if m in SEARCHES])
def test_calibration_keeps_the_model_and_lowers_its_error(model: type[Neuron]) -> None:
    first = next(iter(EXAMPLES[model].values()))
    graph, neuron = network(made(model, first)), made(model, first)
    rng = np.random.default_rng(0)
    calibration = rng.uniform(0, 1, (64, 5)).astype(np.float32)
    errors = []
    for search in (False, True):
        tuning = Tuning(weights=False, search=search, rounds=3 if search else 0)
        tuned = tune(graph, calibration, {"p": neuron}, T, tuning)
        assert type(tuned.neurons["p"]) is model
        errors.append(tuned.errors["p"])
    assert errors[1] <= errors[0]


# What has no entry


def without_form() -> g.SpikingGraph:
    return network(made(AdaptiveParams, {}))


def test_without_its_function_a_model_is_not_saved_and_the_error_names_it(tmp_path: Path) -> None:
    path = tmp_path / "n.snn.onnx"
    with pytest.raises(GraphError, match=r"AdaptiveParams.*runtime\.file\.neurons\.NEURONS") as e:
        snnfile.save(without_form(), path)
    assert e.value.code == "E420" and not path.exists()


def test_without_its_function_a_file_with_the_model_is_not_read_and_the_error_names_it() -> None:
    with models.registered():
        graph = without_form()
        document, arrays = encode_graph(graph, FileNames(graph))
        assert type(decode_graph(document, arrays)["p"].neuron) is AdaptiveParams
    with pytest.raises(ModelError, match=r"'neuron\.AdaptiveParams'.*does not know") as e:
        decode_graph(document, arrays)
    assert e.value.code == "E324"


def test_a_model_derived_from_another_is_not_saved_as_that_one_without_its_function() -> None:
    @dataclass(frozen=True, eq=False, kw_only=True)
    class Tired(NeuronParams):
        """As its parent, but fires in every second step only."""

        name: ClassVar[str] = "tired"

        def step(self, state, current, spikes, *, may_fire=True, position=0, steps=1) -> None:
            super().step(
                state,
                current,
                spikes,
                may_fire=may_fire and position % 2 == 1,
                position=position,
                steps=steps,
            )

    neuron = Tired(v_threshold=models.THETA, v_init=models.HALF)
    graph, x = network(neuron), samples()
    assert not is_plain(neuron) and not has_compiled_step(neuron)
    assert simulate(graph, x, T).spikes["p"][::2].sum() == 0
    with pytest.raises(GraphError, match="Tired"):
        snnfile.to_model(graph)


def test_without_a_search_calibration_refuses_a_model_and_the_error_names_it() -> None:
    neuron = made(AdaptiveParams, {})
    with pytest.raises(GraphError, match=r"AdaptiveParams.*converter\.tune\.search\.SEARCHES") as e:
        tune(network(neuron), samples(), {"p": neuron}, T)
    assert e.value.code == "E420"


def test_a_lag_before_a_model_that_knows_no_windows_is_refused_where_it_is_saved() -> None:
    graph = network(made(DifferentialParams, {"source": "rate"}))
    late = NeuronParams(v_threshold=np.float32(1), v_init=np.float32(0.5), lag=2)
    first = g.Population(name="first", inputs=("x",), shape=(5,), neuron=late)
    nodes = [graph["x"], first, replace(graph["w"], inputs=("first",)), *graph.nodes[2:]]
    with pytest.raises(GraphError, match="'differential' have no ONNX form"):
        snnfile.to_model(g.SpikingGraph(nodes=tuple(nodes)))
