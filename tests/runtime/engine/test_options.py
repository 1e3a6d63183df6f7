"""Threads, memory limit, early exit, kept steps, profile, other kernels and other neurons."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx2snn.errors import UsageError
from onnx2snn.runtime import graph as g
from onnx2snn.runtime.engine import make_engine, simulate
from onnx2snn.runtime.engine.early_exit import EarlyExit
from onnx2snn.runtime.engine.fast.events.choice import available
from onnx2snn.runtime.engine.fast.simulator import Simulator
from onnx2snn.runtime.neurons import Neuron, NeuronParams
from runtime.engine.test_against_naive import (
    RELAXED,
    assert_close,
    assert_same,
    float_network,
    images,
)
from runtime.random_graphs import graphs, samples

pytestmark = pytest.mark.usefixtures("engines")


def test_threads_change_nothing():
    graph, x = float_network(dyadic=True), images(23)
    one = simulate(graph, x, 10, threads=1, tile=4)
    assert_same(one, simulate(graph, x, 10, threads=3, tile=4))


def test_a_simulator_can_be_run_again_on_other_data():
    simulator = Simulator(float_network(dyadic=True), threads=2)
    for count, steps in [(9, 4), (3, 7), (9, 4)]:
        x = images(count, seed=count)
        assert_same(simulator.run(x, steps), simulate(simulator.graph, x, steps))


@pytest.mark.parametrize("encoding", ["poisson", "rate"])
def test_a_run_in_parts_with_offsets_is_the_whole_run(encoding):
    simulator, x = Simulator(float_network(encoding, dyadic=True)), images(10)
    whole = simulator.run(x, 6, seed=4).readouts["out"]
    parts = [simulator.run(x[i : i + 5], 6, seed=4, offset=i).readouts["out"] for i in (0, 5)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_only_the_steps_asked_for_are_kept():
    graph, x = float_network(), images(5)
    every = simulate(graph, x, 12).readouts["out"]
    some = simulate(graph, x, 12, at=[1, 4, 12]).readouts["out"]
    np.testing.assert_array_equal(some, every[[0, 3, 11]])


def test_a_memory_limit_changes_the_tile_and_not_the_result():
    graph, x = float_network(dyadic=True), images(40)
    free = Simulator(graph, threads=1)
    tight = Simulator(graph, threads=1, mem_limit=1_000_000)
    assert_same(free.run(x, 6), tight.run(x, 6))
    (loose_lanes, _), (lanes, _) = next(iter(free._plans)), next(iter(tight._plans))
    assert lanes < loose_lanes
    assert next(iter(tight._plans.values()))[0].nbytes() < 1_000_000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mem_limit": 1000}, "too small"),
        ({"tile": 0}, "tile"),
        ({"block": -1}, "block"),
        ({"threads": 0}, "threads"),
        ({"at": [0]}, "steps 1 to 3"),
        ({"at": [4]}, "steps 1 to 3"),
        ({"at": []}, "steps 1 to 3"),
    ],
)
def test_options_without_sense_are_refused(options, said):
    with pytest.raises(UsageError, match=said):
        simulate(float_network(), images(2), 3, **options)


def test_progress_counts_up_to_all_samples():
    seen = []
    simulate(float_network(), images(11), 2, tile=4, threads=2, on_tile=lambda *a: seen.append(a))
    assert sorted(seen) == seen
    assert seen[-1] == (11, 11)
    assert len(seen) == 3


def test_a_profile_has_every_layer_and_its_time():
    result = Simulator(float_network(), profile=True).run(images(8), 6)
    assert [layer.name for layer in result.profile] == ["p1", "p2", "p3", "out"]
    assert all(layer.seconds > 0 for layer in result.profile)
    assert result.profile[1].gflop_per_second > 0
    assert Simulator(float_network()).run(images(8), 6).profile == ()


@pytest.mark.parametrize("options", [{"profile": True}, {"events": "always"}])
def test_what_only_the_fast_engine_does_is_refused_by_the_definition(options):
    if options.get("events") and not available():
        pytest.skip("needs the extra 'fast'")
    with pytest.raises(UsageError, match="definition") as refused:
        make_engine("numpy", **options)
    assert "'fast'" in refused.value.remedy


def test_engines_have_names_and_an_old_one():
    assert type(make_engine("onnxruntime")) is type(make_engine("fast"))
    with pytest.raises(UsageError, match=r"'tensorflow'.*one of: fast, numpy, torch, onnxruntime"):
        make_engine("tensorflow")


@settings(RELAXED, max_examples=15)
@given(st.data())
def test_engines_give_the_same_spikes_on_dyadic_networks(data):
    graph = data.draw(graphs(max_stages=2))
    x = data.draw(samples(graph.of(g.Input)[0].shape))
    assert_same(simulate(graph, x, 6, engine="numpy"), simulate(graph, x, 6, block=4))


def test_engines_agree_on_ordinary_weights():
    graph, x = float_network(), images(20)
    assert_close(simulate(graph, x, 16, engine="numpy"), simulate(graph, x, 16))


def test_double_precision_can_be_asked_for():
    result = simulate(float_network(), images(3), 5, dtype=np.float64)
    assert result.readouts["out"].dtype == np.float64


class TestEarlyExit:
    def test_a_sample_stops_where_the_rule_says_and_its_answer_stands(self):
        graph, x, rule = float_network(dyadic=True), images(30), EarlyExit(margin=0.05, patience=3)
        whole = simulate(graph, x, 40)
        result = simulate(graph, x, 40, early_exit=rule, block=5)
        expected = [naive_exit(whole.readouts["out"][:, i], rule) for i in range(30)]
        np.testing.assert_array_equal(result.steps_used, expected)
        assert min(expected) < 40
        for i, stop in enumerate(expected):
            after = np.maximum.accumulate(np.minimum(np.arange(40), stop - 1))
            np.testing.assert_allclose(
                result.readouts["out"][:, i], whole.readouts["out"][after, i], rtol=1e-6
            )

    def test_only_spikes_before_the_stop_are_counted(self):
        graph, x, rule = float_network(dyadic=True), images(30), EarlyExit(margin=0.05, patience=3)
        result = simulate(graph, x, 40, early_exit=rule)
        spikes = {name: np.zeros(40) for name in result.spikes}
        synops = np.zeros(40)
        for i, stop in enumerate(result.steps_used):
            alone = simulate(graph, x[i : i + 1], int(stop))
            synops[:stop] += alone.synops
            for name, train in alone.spikes.items():
                spikes[name][:stop] += train
        for name, train in spikes.items():
            np.testing.assert_array_equal(result.spikes[name], train)
        np.testing.assert_array_equal(result.synops, synops)

    def test_tiles_and_blocks_change_nothing(self):
        graph, x = float_network("poisson", dyadic=True), images(30)
        rule = EarlyExit(margin=0.1, patience=2)
        one = simulate(graph, x, 30, early_exit=rule, tile=30, block=2, threads=1)
        two = simulate(graph, x, 30, early_exit=rule, tile=8, block=7, threads=2)
        assert_same(one, two)
        np.testing.assert_array_equal(one.steps_used, two.steps_used)

    @pytest.mark.parametrize("options", [{"margin": 1.5}, {"margin": 0.1, "patience": 0}])
    def test_a_rule_without_sense_is_refused(self, options):
        with pytest.raises(UsageError):
            EarlyExit(**options)

    def test_a_readout_without_classes_is_refused(self):
        graph = float_network()
        map_out = g.Readout(name="map", shape=(8, 12, 12), inputs=("p1",))
        graph = replace(graph, nodes=(*graph.nodes[:3], map_out))
        with pytest.raises(UsageError, match="score per class"):
            simulate(graph, images(2), 3, early_exit=EarlyExit(margin=0.1))


def naive_exit(answers, rule):
    """The rule of ``EarlyExit``, from its definition, for one sample."""
    for t in range(rule.patience, len(answers) + 1):
        recent = answers[t - rule.patience : t]
        tops = {int(a.argmax()) for a in recent}
        leads = [np.sort(a)[-1] - np.sort(a)[-2] for a in recent]
        needed = [rule.margin * (a.max() - a.min()) for a in recent]
        if len(tops) == 1 and all(
            lead >= need and lead > 0 for lead, need in zip(leads, needed, strict=True)
        ):
            return t
    return len(answers)


@dataclass(frozen=True, eq=False, kw_only=True)
class SlowNeuron(Neuron):
    """A model the engine does not know: fires in every third step, with a state it replaces."""

    name = "slow"
    v_threshold: np.ndarray
    lag: int = 0
    levels: int = 1000  # at most this many spikes in a step

    def initial_state(self, batch, shape, dtype):
        return {"v": np.zeros((batch, *shape), dtype), "t": np.zeros((), np.int64)}

    def step(self, state, current, spikes, may_fire=True, position=0, steps=1):
        state["t"] = state["t"] + 1
        state["v"] = state["v"] + current
        spikes[...] = 0
        if state["t"] % 3 == 0 and may_fire:
            spikes[...] = np.floor(state["v"] / self.v_threshold)
            state["v"] = state["v"] - spikes * self.v_threshold

    coding = "rate"

    def reach(self, steps):
        return self.levels * steps

    def _traits(self):
        yield "levels"


def test_any_neuron_model_with_a_state_and_a_step_runs(engines):
    if engines == "torch":
        pytest.skip("it refuses models without a layer: tests/runtime/neurons/test_contract.py")
    theta = np.float32(0.5)
    graph = g.SpikingGraph(
        nodes=(
            g.Input(name="x", shape=(2, 3, 4)),
            g.Population(
                name="p", shape=(2, 3, 4), inputs=("x",), neuron=SlowNeuron(v_threshold=theta)
            ),
            g.Readout(name="out", shape=(2, 3, 4), inputs=("p",)),
        )
    )
    x = np.random.default_rng(0).integers(-8, 300, (6, 2, 3, 4)).astype(np.float32) / 4
    for tile in (6, 4):
        out = simulate(graph, x, 7, tile=tile, block=2).readouts["out"]
        np.testing.assert_allclose(out[5] * 6, np.floor(6 * x / theta), rtol=1e-6)
        np.testing.assert_array_equal(out[1], 0 * x)


def test_graded_spikes_above_the_small_integers_are_exact():
    one = np.ones((), np.float32)
    neuron = NeuronParams(v_threshold=one, v_init=0 * one, levels=1000)
    graph = g.SpikingGraph(
        nodes=(
            g.Input(name="x", shape=(3,)),
            g.Population(name="p", shape=(3,), inputs=("x",), neuron=neuron),
            g.Readout(name="out", shape=(3,), inputs=("p",)),
        )
    )
    x = np.array([[5.0, 200.0, 1500.0]], np.float32)
    out = simulate(graph, x, 1).readouts["out"][0]
    np.testing.assert_array_equal(out, [[5.0, 200.0, 1000.0]])
