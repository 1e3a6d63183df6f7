"""Where a plastic layer is put, what reaches it, and that the network with it is one as any."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

from onnx2snn.converter.learning.cut import before, cut_at, needed, plastic_synapse, spike_trains
from onnx2snn.converter.learning.layer import Head, with_head
from onnx2snn.converter.learning.learn import learn_from, named_by
from onnx2snn.errors import GraphError, ModelError, UsageError
from onnx2snn.runtime import file as snnfile
from onnx2snn.runtime import graph as g
from onnx2snn.runtime import ops
from onnx2snn.runtime.engine import make_engine, simulate
from onnx2snn.runtime.facts import GraphFacts
from onnx2snn.runtime.neurons import NeuronParams, PacedParams
from onnx2snn.runtime.plasticity import RULES, LayerState, PrototypeRule, StdpRule
from onnx2snn.runtime.semantics.analog import run_analog
from onnx2snn.runtime.semantics.spiking import SpikingRules

T = 6
RULE = {
    "stdp": StdpRule(threshold=1.0, total=2.0, rise=0.25),
    "prototype": PrototypeRule(threshold=0.5, inhibition=0.25),
}


def network(neuron: g.Neuron | None = None, *, lag: int = 0) -> g.SpikingGraph:
    """(2, 2) inputs, four neurons on a map, three more, and an output of two scores."""
    rng = np.random.default_rng(1)
    first = NeuronParams(v_threshold=np.float32(1), v_init=np.float32(0.5), lag=lag)
    wide = (rng.integers(-2, 8, (5, 4)) / 8).astype(np.float32)
    last = (rng.integers(-8, 8, (2, 5)) / 8).astype(np.float32)
    return g.SpikingGraph(
        nodes=(
            g.Input(name="x", shape=(1, 2, 2)),
            g.Population(name="map", inputs=("x",), shape=(1, 2, 2), neuron=first),
            g.Synapse(name="flat", inputs=("map",), shape=(4,), op=ops.Reshape(shape=(4,))),
            g.Synapse(name="w", inputs=("flat",), shape=(5,), op=ops.Linear(weight=wide)),
            g.Population(name="hidden", inputs=("w",), shape=(5,), neuron=neuron or first),
            g.Synapse(name="v", inputs=("hidden",), shape=(2,), op=ops.Linear(weight=last)),
            g.Readout(name="out", inputs=("v",), shape=(2,)),
        ),
        meta={"T": T},
    )


def samples(count: int = 12) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.integers(0, 16, (count, 1, 2, 2)) / 16).astype(np.float32)


def trains(graph: g.SpikingGraph, name: str, x: np.ndarray) -> np.ndarray:
    return spike_trains(graph, name, [(0, {"x": x})], T, engine=make_engine())


@pytest.mark.parametrize("lag", [0, 2])
@pytest.mark.parametrize("levels", [1, 3])
def test_spike_trains_are_what_the_population_sends_in_its_window(lag: int, levels: int) -> None:
    neuron = NeuronParams(
        v_threshold=np.float32(0.5), v_init=np.float32(0.25), levels=levels, lag=lag
    )
    graph, x, seen = network(neuron, lag=lag), samples(), {}

    class Seen(SpikingRules):
        def population(self, node, xs):
            seen[node.name] = super().population(node, xs)
            return seen[node.name]

    total = T + 2 * lag
    Seen(GraphFacts(graph), {"x": x}, T).run(total, block=total)
    expected = np.moveaxis(seen["hidden"][2 * lag :], 0, 1)
    np.testing.assert_array_equal(trains(graph, "hidden", x), expected)
    assert expected.max() == levels


@pytest.mark.parametrize("lag", [0, 2])
@pytest.mark.parametrize("at", ["hidden", "map"])
@pytest.mark.parametrize("rule", RULE.values(), ids=RULE)
def test_a_learned_network_runs_everywhere_and_is_read_back(rule, at, lag, tmp_path) -> None:
    graph, x = network(lag=lag), samples()
    spikes, labels = trains(graph, at, x), np.arange(len(x)) % 3
    state = rule.initial_state(inputs=spikes.shape[2], neurons=5, seed=0)
    head = Head(rule=rule, state=state, classes=3, steps=T, largest=1)
    done = learn_from(head, spikes, labels=labels, passes=2, seed=0)
    learned = with_head(graph, at, done.head)
    assert not state.labels.max(initial=-1) >= 0 and done.events.spikes_out > 0

    ours = simulate(learned, x, T).readouts["out"]
    numpy = simulate(learned, x, T, engine="numpy").readouts["out"]
    path = tmp_path / "n.snn.onnx"
    snnfile.save(learned, path)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    stock = session.run(["out"], {"x": x, "steps": np.array([T], np.int64)})[0]
    np.testing.assert_array_equal(ours, numpy)
    np.testing.assert_array_equal(ours, stock)
    assert ours.shape == (T, len(x), 3) and ours.any()
    assert done.right == (ours[-1].argmax(axis=1) == labels).mean()
    assert run_analog(learned, x)["out"].shape == (len(x), 3)

    back = plastic_synapse(snnfile.load(path))
    assert back is not None and back.rule.__dict__ == rule.__dict__
    for name in ("weight", "threshold", "labels"):
        np.testing.assert_array_equal(
            getattr(back.state, name), getattr(done.head.state, name), strict=True
        )


@pytest.mark.parametrize("rule", RULE.values(), ids=RULE)
def test_learning_in_two_parts_is_learning_in_one(rule) -> None:
    """A layer that was saved goes on as if nothing had been in between."""
    graph, x = network(), samples()
    spikes, labels = trains(graph, "hidden", x), np.arange(len(x)) % 3
    state = rule.initial_state(inputs=5, neurons=4, seed=0)
    head = Head(rule=rule, state=state, classes=3, steps=T, largest=1)
    order = [np.random.default_rng((7, 0)).permutation(n) for n in (5, 7)]
    at_once = state.copy()
    for i in (*order[0], *(5 + order[1])):
        rule.present(at_once, spikes[i].astype(float), int(labels[i]))
    first = learn_from(head, spikes[:5], labels=labels[:5], passes=1, seed=7)
    kept = plastic_synapse(with_head(graph, "hidden", first.head))
    assert kept is not None
    again = Head(rule=rule, state=kept.state, classes=3, steps=T, largest=1)
    second = learn_from(again, spikes[5:], labels=labels[5:], passes=1, seed=7)
    np.testing.assert_array_equal(second.head.state.weight, at_once.weight)
    np.testing.assert_array_equal(second.head.state.threshold, at_once.threshold)


def test_an_input_that_is_read_behind_the_cut_alone_goes_with_what_reads_it() -> None:
    graph, x = network(), samples()
    other = g.Input(name="other", shape=(2,))
    both = g.Synapse(name="sum", inputs=("v", "other"), shape=(2,), op=ops.Add())
    out = g.Readout(name="out", inputs=("sum",), shape=(2,))
    wide = g.SpikingGraph(nodes=(other, *graph.nodes[:-1], both, out), meta=graph.meta)
    given = {"x": x, "other": np.ones((len(x), 2), np.float32)}
    spikes = spike_trains(wide, "hidden", [(0, given)], T, engine=make_engine())
    np.testing.assert_array_equal(spikes, trains(graph, "hidden", x))
    rule = RULE["prototype"]
    state = rule.initial_state(inputs=5, neurons=4, seed=0)
    head = Head(rule=rule, state=state, classes=2, steps=T, largest=1)
    learned = with_head(wide, "hidden", head)
    assert [*needed(learned, given)] == ["x"]
    simulate(learned, needed(learned, given), T)


def test_neurons_are_named_by_the_class_they_fire_most_for_and_silent_ones_keep_theirs() -> None:
    sent = np.array([[3, 0, 0], [1, 1, 0], [0, 2, 0], [0, 0, 0]])
    labels = np.array([2, 2, 1, 0])
    named = named_by(sent, labels=labels, before=np.array([0, 0, 5]), classes=6)
    assert named.tolist() == [2, 1, 5]


def test_the_last_hidden_population_is_taken_where_nobody_names_one() -> None:
    graph = network()
    assert cut_at(graph).name == "hidden" and cut_at(graph, "map").name == "map"
    assert [node.name for node in before(graph, "map")] == ["x", "map"]


@pytest.mark.parametrize(
    ("change", "at", "said"),
    [
        (None, "hiden", "'hiden' is not in the network. Did you mean 'hidden'"),
        (None, "w", "'w' is no population of neurons. Choose one of: map, hidden"),
        ({"signed": True}, None, "'hidden' \\(if\\) send negative spikes"),
        ({}, None, "'hidden' \\(paced\\) send a code of its own"),
    ],
)
def test_what_cannot_be_learned_from_is_refused_by_name(change, at, said) -> None:
    neuron = None
    if change is not None:
        model = NeuronParams if change else PacedParams
        neuron = model(v_threshold=np.float32(1), v_init=np.float32(0.5), **change)
    with pytest.raises(UsageError, match=said) as e:
        cut_at(network(neuron), at)
    assert e.value.code == "E132"


def test_a_network_without_hidden_neurons_or_with_a_layer_has_no_place_for_one() -> None:
    x = g.Input(name="x", shape=(3,))
    plain = g.SpikingGraph(nodes=(x, g.Readout(name="out", inputs=("x",), shape=(3,))))
    with pytest.raises(UsageError, match="no hidden population"):
        cut_at(plain)
    rule = PrototypeRule()
    state = rule.initial_state(inputs=5, neurons=4, seed=0)
    learned = with_head(
        network(), "hidden", Head(rule=rule, state=state, classes=2, steps=T, largest=1)
    )
    with pytest.raises(UsageError, match="has a plastic layer"):
        cut_at(learned)


def test_a_state_that_does_not_fit_the_weights_is_refused(tmp_path) -> None:
    rule = RULES["stdp"]()
    state = rule.initial_state(inputs=5, neurons=4, seed=0)
    head = Head(rule=rule, state=state, classes=2, steps=T, largest=1)
    node = plastic_synapse(with_head(network(), "hidden", head))
    assert node is not None
    for change, said in (
        ({"threshold": state.threshold[:2]}, "does not have the shape"),
        ({"threshold": 0 * state.threshold}, "thresholds of 0"),
        ({"weight": np.nan * state.weight}, "has no numbers"),
    ):
        wrong = LayerState(**{**state.__dict__, **change})
        with pytest.raises(GraphError, match=said):
            g.PlasticSynapse(**{**node.__dict__, "state": wrong})
    path = tmp_path / "n.snn.onnx"
    snnfile.save(with_head(network(), "hidden", head), path)
    path.write_bytes(path.read_bytes().replace(b'"rise": 0.3', b'"rose": 0.3'))
    with pytest.raises(ModelError, match="'rose'"):
        snnfile.load(path)
