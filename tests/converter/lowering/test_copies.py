"""Copies of the first layer's neurons: what they send together, what they cost, what they bring."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.digits_nets import ann, answers, converted, logit_error, lowered, samples
from converter.lowering.test_lag import inputs, made
from onnx2snn.converter import convert as conversion
from onnx2snn.converter.auto import KINDS, choose
from onnx2snn.converter.lowering import copies as copies_module
from onnx2snn.converter.lowering.copies import front, gathered, in_a_row
from onnx2snn.converter.recipes.options import Options
from onnx2snn.diagnosis.measure import measure
from onnx2snn.diagnosis.run import SpikingRun
from onnx2snn.diagnosis.trials import Trial, try_remedies
from onnx2snn.errors import UsageError
from onnx2snn.runtime import file as onnxfile
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.neurons import FewSpikeParams, NeuronParams, TtfsParams
from onnx2snn.runtime.semantics.analog import run_analog

T = 8
STEPS = {"binary": T, "signed": T, "few-spike": 3, "ttfs": 6}  # of recipes with copies
FIRST = "/stem/stem.2/Relu"
LAST = "/tail/tail.2/Relu"


def trains(neuron: NeuronParams, currents: np.ndarray) -> np.ndarray:
    """Spikes (steps, n) of n neurons that get ``currents`` (steps, n)."""
    state = neuron.initial_state(1, currents.shape[1:], np.dtype(np.float32))
    spikes = np.zeros((1, *currents.shape[1:]), np.float32)
    out = []
    for current in currents:
        neuron.step(state, current[np.newaxis], spikes)
        out.append(spikes[0].copy())
    return np.array(out)


@settings(max_examples=60, deadline=None)
@given(count=st.integers(2, 5), seed=st.integers(0, 2**32 - 1), initial=st.integers(-20, 20))
def test_copies_send_what_one_neuron_with_more_levels_sends(count, seed, initial):
    """In every step and for any current, in integers, where nothing is rounded."""
    currents = np.random.default_rng(seed).integers(-15, 25, (20, 30)).astype(np.float32)
    fine = np.float32(4)
    one = NeuronParams(v_threshold=fine, v_init=np.float32(initial), levels=count)
    wanted = trains(one, currents)
    copies = [
        NeuronParams(v_threshold=count * fine, v_init=np.float32(initial) + i * fine)
        for i in range(count)
    ]
    assert np.array_equal(sum(trains(copy, currents) for copy in copies), wanted)
    assert wanted.max() > 1  # more than one neuron could send


@pytest.mark.parametrize("model", [FewSpikeParams, TtfsParams])
@pytest.mark.parametrize("count", [2, 3])
def test_windowed_copies_send_what_one_neuron_with_more_levels_sends(model, count):
    """In every step, for charges below the first level to above the last."""
    steps, fine = 4, np.float32(4)
    charges = np.arange(-9, 4 * (count * 15 + 3), dtype=np.float32)

    def sent(neuron: FewSpikeParams | TtfsParams) -> np.ndarray:
        state = neuron.initial_state(1, charges.shape, np.dtype(np.float32))
        spikes, out = np.zeros((1, len(charges)), np.float32), []
        for position in range(-steps, steps):  # the last step of the window counts 1
            current = charges * (position == -1)
            neuron.step(state, current[np.newaxis], spikes, position=position, steps=steps)
            out.append(spikes[0].copy())
        return np.array(out[steps:])

    one = model(v_threshold=fine, v_init=fine / 2, lag=steps, levels=count)
    copies = [
        model(v_threshold=count * fine, v_init=fine / 2 + i * fine, lag=steps) for i in range(count)
    ]
    wanted = sum(sent(copy) for copy in copies)
    assert np.array_equal(sent(one), wanted)
    assert wanted.max() > 1
    numbers = np.clip(np.floor((charges + fine / 2) / fine), 0, one.most(steps)).astype(int)
    assert np.array_equal(one.code(steps)[numbers].T, wanted)
    weights = one.weight(np.arange(steps), steps)
    assert np.array_equal(weights @ wanted, numbers)


@pytest.mark.parametrize(
    ("recipe", "copies"),
    [
        *((recipe, 2) for recipe in STEPS),
        ("few-spike", 3),
        *(pytest.param(r, 3, marks=pytest.mark.slow) for r in STEPS if r != "few-spike"),
    ],
)
def test_the_network_is_still_the_ann_and_gathers_to_one_layer(recipe, copies):
    network = converted(recipe=recipe, steps=STEPS[recipe], copies=copies).graph
    names = [p.name for p in network.of(snn.Population)]
    assert names[:copies] == [FIRST, *(f"{FIRST}/copy{i}" for i in range(2, copies + 1))]
    assert len(names) == len(lowered().of(snn.Population)) + copies - 1
    x = samples("x_test")[:40]
    analog = next(iter(run_analog(network, x).values()))
    wanted = next(iter(run_analog(lowered(), x).values()))
    assert np.abs(analog - wanted).max() < 1e-4 * np.ptp(wanted)

    whole, counts = gathered(network)
    assert counts == {FIRST: copies}
    assert [p.name for p in whole.of(snn.Population)] == [
        p.name for p in lowered().of(snn.Population)
    ]
    assert gathered(whole)[1] == {}


def test_spikes_of_copies_are_those_of_the_layer_that_they_gather_to():
    """But for the few at a tie that grids decide: they move initial potentials by 1e-4 thresholds
    or less."""
    network = converted(steps=T, copies=2).graph
    x = {network.of(snn.Input)[0].name: samples("x_test")[:60]}
    each, one = (SpikingRun(g, x, T).measure().emitted for g in (network, gathered(network)[0]))
    together = each[FIRST] + each[f"{FIRST}/copy2"]
    assert np.abs(together - one[FIRST]).max() <= 1
    assert (together != one[FIRST]).mean() < 1e-3 < one[FIRST].mean()


def test_the_first_layer_is_twice_as_fine():
    """Its own error, against the ANN's activations and by a plain loop over its steps, halves."""
    x = samples("x_test")[:60]
    stats = {}
    ann_values = {}
    run_analog(lowered(), x, observe=lambda node, pre, out: ann_values.setdefault(node.name, out))
    for copies in (1, 2, 4):
        network = converted(steps=T, copies=copies, tune=False).graph
        nodes = network.by_name()
        group = [FIRST, *(f"{FIRST}/copy{i}" for i in range(2, copies + 1))]
        population = nodes[FIRST]
        assert isinstance(population, snn.Population)
        synapse = nodes[population.inputs[0]]
        assert isinstance(synapse, snn.Synapse)
        current = synapse.op.apply(x) + population.bias
        total = np.zeros_like(current)
        for name in group:
            node = nodes[name]
            assert isinstance(node, snn.Population)
            v = np.broadcast_to(node.neuron.v_init, current.shape).astype(np.float64)
            for _ in range(T):
                v = v + current
                fired = v >= node.neuron.v_threshold
                v = v - fired * node.neuron.v_threshold
                total += fired * node.neuron.v_threshold / (T * copies)
        stats[copies] = float(np.sqrt(((total - ann_values[FIRST]) ** 2).mean()))
    assert stats[2] < 0.65 * stats[1]
    assert stats[4] < 0.65 * stats[2]


@pytest.mark.parametrize("recipe", STEPS)
def test_outputs_come_nearer_to_the_ann(recipe):
    errors = [logit_error(recipe=recipe, steps=STEPS[recipe], copies=c) for c in (1, 2)]
    assert errors[1] < 0.9 * errors[0]


def test_stock_onnx_runtime_runs_the_file(tmp_path: Path):
    network = converted(steps=T, copies=2).graph
    onnxfile.save(network, tmp_path / "net.snn.onnx")
    assert gathered(onnxfile.load(tmp_path / "net.snn.onnx"))[1] == {FIRST: 2}
    x = samples("x_test")[:20]
    session = ort.InferenceSession(str(tmp_path / "net.snn.onnx"))
    out = session.run(None, {session.get_inputs()[0].name: x, "steps": np.array([T], np.int64)})[0]
    wanted = next(iter(simulate(network, x, T).readouts.values()))
    # The file computes the constant current in single precision before it rounds.
    same = np.isclose(out, wanted, atol=1e-3 * np.ptp(wanted)).all(axis=(0, 2))
    assert same.mean() >= 0.95


def test_diagnosis_shows_one_layer_with_all_neurons():
    network = converted(steps=T, copies=2).graph
    x = samples("x_test")[:40]
    name = network.of(snn.Input)[0].name
    found = measure(lowered=lowered(), net=network, batches=[{name: x}], steps=T, total=len(x))
    plain = measure(
        lowered=lowered(),
        net=converted(steps=T, copies=1).graph,
        batches=[{name: x}],
        steps=T,
        total=len(x),
    )
    assert [layer.name for layer in found.layers] == [layer.name for layer in plain.layers]
    assert not found.unmatched and not [f for f in found.findings if f.kind != "calibrated"]
    first, before = found.layers[0], plain.layers[0]
    assert first.neurons == 2 * before.neurons
    assert first.quantization is not None and before.quantization is not None
    assert first.quantization < 0.65 * before.quantization
    events = simulate(network, x, T)
    neurons = sum(layer.neurons for layer in found.layers if layer.spikes_per_neuron is not None)
    counted = sum(
        layer.spikes_per_neuron * layer.neurons
        for layer in found.layers
        if layer.spikes_per_neuron is not None
    )
    assert counted / neurons == pytest.approx(
        float(np.ravel(events.spikes_per_neuron)[-1]), rel=1e-3
    )


@pytest.mark.parametrize(
    "recipe", ["binary", pytest.param("signed", marks=pytest.mark.slow), "few-spike"]
)
def test_diagnosis_advises_more_of_them_where_they_help(recipe):
    """What is tried on the first layer alone is what a conversion with as many copies has."""
    x, steps = samples("x_test")[:40], STEPS[recipe]

    def own(copies: int) -> tuple[float, dict[str, Trial]]:
        network = gathered(converted(recipe=recipe, steps=steps, copies=copies).graph)[0]
        name = network.of(snn.Input)[0].name
        both = {"lowered": lowered(), "net": network, "steps": steps}
        found = measure(**both, batches=[{name: x}], total=len(x))
        trials = try_remedies(
            lowered=lowered(), net=network, batches=[{name: x}], steps=steps, name=FIRST
        )
        assert not [
            t
            for t in try_remedies(
                lowered=lowered(), net=network, batches=[{name: x}], steps=steps, name=LAST
            )
            if t.family == "copies"
        ]
        return found.layers[0].own, {t.family: t for t in trials}

    one, tried = own(1)
    two, next_tried = own(2)
    assert (tried["copies"].value, next_tried["copies"].value) == (2, 4)
    assert tried["copies"].before == pytest.approx(one, rel=0.02)
    assert tried["copies"].after == pytest.approx(two, rel=0.25)
    assert "copies" not in own(8)[1]
    graded = converted(recipe="graded", steps=T).graph
    trials = try_remedies(
        lowered=lowered(),
        net=graded,
        batches=[{graded.of(snn.Input)[0].name: x}],
        steps=T,
        name=FIRST,
    )
    assert "copies" not in {t.family for t in trials}


def test_by_itself_only_deep_networks_at_few_steps(monkeypatch):
    """The digits' first layer has 27 % of the neurons, so it gets none; were it less, it would."""
    assert converted(steps=T).graph.meta["copies"] == 1
    monkeypatch.setattr(copies_module, "SMALL_SHARE", 0.3)

    def copies(**options: object) -> object:
        given = Options(tune=False, **options)  # type: ignore[arg-type]
        return conversion.convert(ann(), samples()[:8], given).graph.meta["copies"]

    assert copies(steps=32) == copies(steps=4, recipe="signed") == 2
    assert copies(steps=33) == copies(steps=8, lag=4) == copies(steps=8, recipe="graded") == 1
    assert copies(steps=8, leak=0.1) == copies(steps=8, encoding="poisson") == 1
    assert copies(steps=8, copies=1) == 1
    windows = ("few-spike", 5), ("ttfs", 32)  # 31 and 32 levels
    assert [copies(recipe=recipe, steps=steps) for recipe, steps in windows] == [2, 2]
    assert [copies(recipe=recipe, steps=steps + 1) for recipe, steps in windows] == [1, 1]
    assert copies(recipe="ttfs", steps=8, encoding="ttfs") == 1


def test_none_before_a_max_pool_unless_asked_for(monkeypatch):
    """A chip can take the maximum of neurons, not of sums of neurons."""
    monkeypatch.setattr(copies_module, "SMALL_SHARE", 1.0)
    assert made("skip").graph.meta["copies"] == 2
    assert made("relu, pool").graph.meta["copies"] == 1
    assert made("relu, pool", copies=2).graph.meta["copies"] == 2


def test_reports_say_what_they_cost():
    meta = converted(steps=T, copies=3, tune=False).graph.meta
    assert any(f"3 neurons for each value of {FIRST}" in note for note in meta["notes"])
    assert any("2,048 neurons and their spikes on top" in note for note in meta["notes"])
    assert not any("for each value" in note for note in converted(steps=T).graph.meta["notes"])


@pytest.mark.parametrize(
    "options",
    [{"lag": 4}, {"recipe": "graded"}, {"recipe": "differential"}, {"recipe": "synchronous"},
     {"leak": 0.1}, {"reset": "zero"}, {"encoding": "rate"}, {"refractory": 1}],
)  # fmt: skip
def test_refused_where_they_would_be_something_else(options):
    with pytest.raises(UsageError) as refused:
        Options(copies=2, **options)
    assert refused.value.code == "E114"


def test_auto_uses_them_for_the_candidates_that_can():
    options = Options(recipe="auto", steps=8, copies=2, max_drop=100, prefer="steps")
    chosen = choose(ann(), samples()[:32], options, kinds=KINDS[:3])
    assert chosen.conversion.graph.meta["copies"] in (1, 2)


@pytest.mark.parametrize("recipe", ["binary", "few-spike"])
@pytest.mark.parametrize("kind", ["pool", "relu, pool", "skip", "concat", "island"])
def test_every_kind_of_reader(kind, recipe):
    """Max pools, sums, joins and islands behind the copies."""
    results = {}
    steps = {"binary": 16, "few-spike": 4}[recipe]
    for copies in (1, 2):
        done = made(kind, copies=copies, steps=steps, recipe=recipe)
        there = bool(front(done.lowered))
        got = next(iter(simulate(done.graph, inputs(), steps).readouts.values()))[-1]
        wanted = next(iter(run_analog(done.lowered, inputs()).values()))
        results[copies] = float(((got - wanted) ** 2).mean() / wanted.var())
        assert done.graph.meta["copies"] == (copies if there else 1)
        said = any("no layer reads the input only" in note for note in done.graph.meta["notes"])
        assert said == (copies > 1 and not there)
    assert results[2] < 1.3 * results[1]  # both are small: 0.02 % here, and as the search draws


@pytest.mark.parametrize(("steps", "there"), [(5, True), (6, False)])
def test_the_last_layers_have_them_in_deep_networks_with_few_steps(monkeypatch, steps, there):
    """The digits have five layers in a row, and would be deep; the last three have 34 % of the
    neurons."""
    options = Options(steps=steps)
    assert set(gathered(converted(steps=steps).graph)[1]) == set()
    monkeypatch.setattr(copies_module, "DEEP", 5)
    network = conversion.convert(ann(), samples()[:64], options).graph
    assert in_a_row(lowered()) == 5
    counts = gathered(network)[1]
    if not there:
        assert not counts
        return
    assert counts == {"/block/Relu": 2, "/block/Relu_1": 2, LAST: 2}
    (said,) = [note for note in network.meta["notes"] if "for each value" in note]
    assert "of the last 3 layers with neurons" in said and "1,280 neurons and their spikes" in said

    def error(graph: snn.SpikingGraph) -> float:
        found = simulate(graph, samples("x_test"), steps, at=[steps]).readouts
        return float(((next(iter(found.values()))[-1] - answers("digits_cnn")) ** 2).mean())

    assert error(network) < 0.9 * error(converted(steps=steps).graph)
    x = samples("x_test")[:16]
    fast, plain = (simulate(network, x, steps, engine=name) for name in ("fast", "numpy"))
    assert {p: s.tolist() for p, s in fast.spikes.items()} == {
        p: s.tolist() for p, s in plain.spikes.items()
    }
    assert np.array_equal(*(next(iter(r.readouts.values())) for r in (fast, plain)))
