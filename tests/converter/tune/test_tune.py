"""Calibration in the spiking loop: against the engine, against plain least squares, by effect."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.digits_nets import answers, converted, logit_error, lowered, samples
from onnx2snn.converter.lowering.fold_thresholds import set_thresholds
from onnx2snn.converter.recipes import recipe_named
from onnx2snn.converter.recipes.notes import tuning_notes
from onnx2snn.converter.recipes.options import Options
from onnx2snn.converter.statistics.measure import calibrate
from onnx2snn.converter.statistics.thresholds import thresholds
from onnx2snn.converter.tune import NEURON, Tuned, Tuning, tune
from onnx2snn.converter.tune import weights as tune_weights
from onnx2snn.converter.tune.memory import at_work, of_fits
from onnx2snn.converter.tune.plan import planned
from onnx2snn.converter.tune.rates import Drive, decoded_rates
from onnx2snn.converter.tune.replay import Replay, sources
from onnx2snn.converter.tune.search import Search, _shrunk, choose
from onnx2snn.converter.tune.stream import Firing
from onnx2snn.converter.tune.trains import Train
from onnx2snn.converter.tune.weights import correct, correctable, fit_bytes, fits, residual
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime import ops
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.neurons import NeuronParams
from onnx2snn.runtime.semantics.analog import run_analog

T = 6


def data_neurons(graph: snn.SpikingGraph, **params: object) -> dict[str, NeuronParams]:
    stats = calibrate(graph, samples()[:64])
    theta = thresholds(stats, steps=T)
    out = {}
    for p in graph.of(snn.Population):
        v = stats[p.name].broadcast(theta[p.name], len(p.shape))
        out[p.name] = NeuronParams(v_threshold=v, v_init=v / 2, **params)  # type: ignore[arg-type]
    return out


@pytest.mark.parametrize("params", [{}, {"lag": 3}, {"signed": True}, {"levels": 3}])
def test_the_loop_sees_the_spikes_that_the_engine_emits(params: dict[str, object]) -> None:
    # The error the loop reports for the last population is that of the engine's run of its result.
    graph, x = lowered(), samples()[:32]
    tuned = tune(graph, x, data_neurons(graph, **params), T, Tuning(samples=32))
    network = set_thresholds(tuned.graph, tuned.neurons)
    result = simulate(network, x, T)
    replay = Replay(graph, {"input": x}, T, tuned.neurons)
    for name in tuned.neurons:
        assert result.spikes[name].sum() > 0
    last = graph.of(snn.Readout)[0]
    got = result.readouts[last.name][-1]
    mean_error = np.abs((got - run_analog(graph, x)[last.name]).mean(axis=0)).max()
    # The readout's bias was fitted to these spikes, but for those that the rounding of the first
    # layer's constant current moves (runtime.semantics.constants).
    assert mean_error < 0.02
    assert replay.onset[last.name] == result.latency


def test_a_corrected_network_still_computes_the_ann_in_analog_mode() -> None:
    network = converted(steps=4).graph
    got = next(iter(run_analog(network, samples("x_test")).values()))
    np.testing.assert_allclose(got, answers("digits_cnn"), atol=1e-4)
    assert any(s.ann_op is not None for s in network.of(snn.Synapse))


@pytest.mark.parametrize("steps", [2, 4, 8])
def test_calibration_in_the_loop_at_least_halves_the_error_at_few_steps(steps: int) -> None:
    plain = logit_error(steps=steps, tune=False)
    assert logit_error(steps=steps) < 0.5 * plain


def test_the_same_seed_gives_the_same_network() -> None:
    graph, x = lowered("digits_mlp"), samples()[:48]
    first, second = (tune(graph, x, data_neurons(graph), T) for _ in range(2))
    for name, neuron in first.neurons.items():
        np.testing.assert_array_equal(neuron.v_threshold, second.neurons[name].v_threshold)
        np.testing.assert_array_equal(first.graph[name].bias, second.graph[name].bias)


def test_of_more_samples_than_are_used_those_spread_over_all_are_taken() -> None:
    graph, neurons, x = lowered("digits_mlp"), data_neurons(lowered("digits_mlp")), samples()[:41]
    found = tune(graph, x, neurons, 4, Tuning(samples=5))
    alone = tune(graph, x[[0, 10, 20, 30, 40]], neurons, 4, Tuning(samples=5))
    assert found.samples == alone.samples == 5
    assert found.errors == alone.errors


def test_one_calibration_sample_is_enough_to_run() -> None:
    graph = lowered()
    tuned = tune(graph, samples()[:1], data_neurons(graph), T)
    assert tuned.samples == 1
    out = simulate(set_thresholds(tuned.graph, tuned.neurons), samples("x_test")[:8], T)
    assert np.isfinite(next(iter(out.readouts.values()))).all()


@pytest.mark.parametrize("count", [150, 300])
def test_fits_look_at_as_much_however_many_samples_there_are(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Spikes of a 16 x 16 map: 150 samples have 38,400 positions, 300 have 76,800.
    most = 32768
    weight = np.random.default_rng(0).normal(size=(2, 3, 1, 1)).astype(np.float32)
    conv = ops.Conv(weight=weight, strides=(1, 1), dilations=(1, 1), pads=(0,) * 4)
    graph = snn.SpikingGraph(
        nodes=(
            snn.Input(name="x", shape=(3, 16, 16)),
            snn.Synapse(name="s", shape=(2, 16, 16), inputs=("x",), op=conv),
            snn.Population(name="p", shape=(2, 16, 16), inputs=("s",), neuron=unit_neuron()),
            snn.Readout(name="y", shape=(2, 16, 16), inputs=("p",)),
        )
    )
    x = np.random.default_rng(1).random((count, 3, 16, 16), np.float32)
    rows: list[int] = []
    choose_rows = tune_weights._choose

    def counted(total: int, *, count: int, rng: np.random.Generator) -> np.ndarray:
        rows.append(len(choose_rows(total, count=count, rng=rng)))
        return choose_rows(total, count=count, rng=rng)

    monkeypatch.setattr(tune_weights, "_choose", counted)
    tune(graph, x, {"p": unit_neuron()}, T)
    assert most <= sum(rows) <= most + count  # rounded up for every sample


def unit_neuron() -> NeuronParams:
    return NeuronParams(v_threshold=np.ones((), np.float32), v_init=np.full((), 0.5, np.float32))


def arrays(tuned: Tuned) -> dict[str, np.ndarray]:
    """All that calibration decides."""
    out = {}
    for node in tuned.graph.nodes:
        if isinstance(node, snn.Synapse) and isinstance(node.op, ops.WeightedOp):
            out[f"{node.name}.weight"] = node.op.weight
        if isinstance(node, snn.Population | snn.Readout):
            out[f"{node.name}.bias"] = node.bias
    for name, neuron in tuned.neurons.items():
        out |= {f"{name}.threshold": neuron.v_threshold, f"{name}.start": neuron.v_init}
    return out


@pytest.mark.parametrize("params", [{}, {"lag": 3}, {"signed": True, "levels": 3}])
def test_neither_memory_nor_threads_nor_blocks_change_the_result(
    params: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    # However little there is, spikes that are not kept are made again, as they were; all that may
    # differ is the order in which BLAS adds up the rows of a product of other height.
    graph, neurons, x = lowered(), data_neurons(lowered(), **params), samples()[:48]
    usual = tune(graph, x, neurons, T, Tuning(threads=1))
    monkeypatch.setattr("onnx2snn.converter.tune.plan.FEWEST_BYTES", 1)
    sizes = {"steps": T, "samples": 48}
    room = planned(graph, neurons, memory=1 << 30, **sizes).peak
    small = room * 15 // 100
    tight = planned(graph, neurons, memory=small, **sizes)
    assert tight.samples == 48 and tight.again and tight.peak <= small
    monkeypatch.setattr("onnx2snn.converter.tune.stream.BLOCK", 1 << 14)
    monkeypatch.setattr("onnx2snn.converter.tune.stream.PIECE", 100)
    replay = Replay(graph, {"input": x}, T, neurons, threads=2)
    memory = small + at_work(replay, weights=True) + max(of_fits(replay).values())
    other = tune(graph, x, neurons, T, Tuning(memory=memory, threads=2))
    assert other.samples == usual.samples == 48
    for name, array in arrays(usual).items():
        np.testing.assert_allclose(arrays(other)[name], array, rtol=1e-4, atol=1e-5, err_msg=name)


def test_samples_give_way_only_where_firing_again_is_not_enough() -> None:
    graph, neurons = lowered(), data_neurons(lowered())
    few = planned(graph, neurons, steps=T, samples=1000, memory=1)
    assert few.peak <= 1 << 20 and 1 < few.samples < 1000
    assert planned(graph, neurons, steps=T, samples=1000, memory=1 << 30).samples == 1000


@pytest.mark.slow
def test_memory_does_not_grow_with_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    def peak(steps: int) -> int:
        tracemalloc.start()
        tune(graph, samples()[:64], neurons, steps, Tuning(memory=limit, threads=1))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    graph, neurons = lowered(), data_neurons(lowered())
    monkeypatch.setattr("onnx2snn.converter.tune.replay.TILE_BYTES", 1 << 20)
    replay = Replay(graph, {"input": samples()[:64]}, 128, neurons, threads=1)
    limit = at_work(replay, weights=True) + max(of_fits(replay).values()) + (1 << 20)
    assert peak(128) < 1.5 * peak(32)


@pytest.mark.parametrize("bits", [0, 1, 2])
def test_spikes_are_kept_as_they_are(bits: int) -> None:
    rng = np.random.default_rng(0)
    spikes = rng.integers(0, 2 if bits == 1 else 4, (11, 3, 4))
    threshold = rng.uniform(0.5, 1.5, 4).astype(np.float32)
    for worth in (np.full(11, 1 / 11, np.float32), rng.random(11, np.float32)):
        train = Train(threshold=threshold, worth=worth, bits=bits)
        room = train.empty((3, 4), np.dtype(np.int8))
        for at, step in enumerate(spikes):
            for where in (slice(0, 1), slice(1, 4)):
                train.put(room, at, where=(slice(None), where), spikes=step[:, where])
        train.spikes[0] = room
        assert room.nbytes == 12 * {0: 11, 1: 2, 2: 3}[bits]
        expected = np.einsum("t,tbn->bn", worth, spikes) * threshold
        np.testing.assert_allclose(train.mean(slice(0, 3)), expected, rtol=1e-6)
        np.testing.assert_array_equal(
            train.decoded(slice(0, 3), first=3, count=6), spikes[3:9].astype(np.float32) * threshold
        )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), signed=st.booleans(), levels=st.integers(1, 3))
def test_candidates_are_simulated_as_the_neuron_model_says(
    seed: int, signed: bool, levels: int
) -> None:
    rng = np.random.default_rng(seed)
    current = rng.normal(0.3, 0.5, (T, 2, 5)).astype(np.float32)
    theta = rng.uniform(0.5, 1.5, (3, 2, 1)).astype(np.float32)
    bias = rng.normal(0, 0.2, (3, 2, 1)).astype(np.float32)
    neuron = NeuronParams(v_threshold=theta, v_init=theta / 4, signed=signed, levels=levels)
    drive = Drive(
        current=current, target=np.zeros((2, 5), np.float32), first=0, begin=0, fire=0, steps=T
    )
    rates, *_ = decoded_rates(neuron, bias, drive)
    for k in range(3):
        for c in range(2):
            for i in range(5):
                v, sent = float(theta[k, c, 0]) / 4, 0
                for t in range(T):
                    v += float(current[t, c, i]) + float(bias[k, c, 0])
                    low = -min(sent, levels) if signed else 0
                    n = int(np.clip(np.floor(np.float32(v) / theta[k, c, 0]), low, levels))
                    v -= n * float(theta[k, c, 0])
                    sent += n
                assert rates[k, c, i] == pytest.approx(sent * theta[k, c, 0] / T, abs=1e-5)


def test_the_chosen_candidate_has_the_smallest_error_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("onnx2snn.converter.tune.search.PRIOR", 0.0)
    rng = np.random.default_rng(1)
    target = rng.gamma(1.0, 0.4, (3, 200)).astype(np.float32)
    current = target + rng.normal(0, 0.8, (T, 3, 200)).astype(np.float32)
    drive = Drive(current=current, target=target, first=0, begin=0, fire=0, steps=T)
    theta = np.ones(3, np.float32)
    unit = NeuronParams(v_threshold=np.ones(()), v_init=np.zeros(()))
    search = Search(scales=(0.7, 1.0, 1.4), v_inits=(0.5, 0.0, -0.5), rounds=2)
    choice = choose(unit, theta, drive, search)

    def error(threshold: np.ndarray, v_init: np.ndarray, bias: np.ndarray) -> np.ndarray:
        shape = (1, 3, 1)
        model = replace(unit, v_threshold=threshold.reshape(shape), v_init=v_init.reshape(shape))
        rates, *_ = decoded_rates(model, bias.reshape(shape).astype(np.float32), drive)
        rate = rates[0]
        return ((rate - target) ** 2).mean(axis=1) + (rate.mean(axis=1) - target.mean(axis=1)) ** 2

    best = error(choice.threshold, choice.v_init, choice.bias)
    for scale in search.scales:
        for fraction in search.v_inits:
            plain = theta * np.float32(scale)
            start = plain * np.float32(fraction)
            lacking = (plain / 2 - start) / T  # what a round's bias begins with
            assert (best <= error(plain, start, lacking) + 1e-6).all()


@pytest.mark.parametrize("lag", [0, 3])
def test_unevenness_is_what_was_sent_against_that_part_of_the_target(
    monkeypatch: pytest.MonkeyPatch, lag: int
) -> None:
    monkeypatch.setattr("onnx2snn.converter.tune.rates.MOMENTS", 5)
    rng, steps = np.random.default_rng(5), 10
    current = rng.normal(0.4, 0.6, (steps, 2, 30)).astype(np.float32)
    target = rng.gamma(1.0, 0.4, (2, 30)).astype(np.float32)
    theta = np.array([0.8, 1.1], np.float32).reshape(1, 2, 1)
    neuron = NeuronParams(v_threshold=theta, v_init=theta / 2, lag=lag)
    drive = Drive(current=current, target=target, first=0, begin=0, fire=lag, steps=steps)
    rates, uneven, _ = decoded_rates(neuron, np.zeros((1, 2, 1), np.float32), drive, uneven=True)
    v, spikes = np.broadcast_to(theta[0] / 2, target.shape), []
    for t in range(lag + steps):
        v = v + (current[t] if t < steps else 0)
        spikes.append(np.where((v >= theta[0]) & (t >= lag), 1, 0))
        v = v - spikes[-1] * theta[0]
    spikes = np.array(spikes[lag:])
    np.testing.assert_allclose(rates[0], spikes.sum(axis=0) * theta[0] / steps, rtol=1e-5)
    sent = np.cumsum(spikes, axis=0) * theta[0] / steps
    late = [((sent[t - 1] - target * t / steps) ** 2).mean(axis=1) for t in (2, 4, 6, 8, 10)]
    np.testing.assert_allclose(uneven[0], np.mean(late, axis=0), rtol=1e-4)


def test_spikes_are_held_back_less_where_evenness_counts() -> None:
    rng = np.random.default_rng(2)
    target = np.maximum(rng.normal(0.2, 0.5, (4, 300)), 0).astype(np.float32)
    current = np.repeat(target[np.newaxis], 8, axis=0)
    drive = Drive(current=current, target=target, first=0, begin=0, fire=0, steps=8)
    unit = NeuronParams(v_threshold=np.ones(()), v_init=np.zeros(()))
    found = []
    for evenness in (0.0, 0.5):
        search = Search(scales=(1.0,), v_inits=(0.5, 0.0, -1.0, -3.0), evenness=evenness)
        choice = choose(unit, np.ones(4, np.float32), drive, search)
        shape = (1, 4, 1)
        neuron = replace(
            unit,
            v_threshold=choice.threshold.reshape(shape),
            v_init=choice.v_init.reshape(shape),
        )
        bias = choice.bias.reshape(shape).astype(np.float32)
        found.append((choice.v_init, decoded_rates(neuron, bias, drive, uneven=True)[1].mean()))
    assert (found[0][0] <= found[1][0]).all() and (found[0][0] < found[1][0]).any()
    assert found[1][1] < found[0][1]


def test_few_neurons_of_a_channel_do_not_outvote_all_channels() -> None:
    """One of 40 channels seems better off with another threshold, by chance or not: on 20 neurons
    that is not believed, on 100,000 it is."""
    error = np.ones((2, 40), np.float32)
    error[1] = 1.3
    error[1, 7] = 0.8
    few, many = (_shrunk(error, n, 1000.0).argmin(axis=0) for n in (20, 100_000))
    assert few.tolist() == [0] * 40
    assert many.tolist() == [int(c == 7) for c in range(40)]


@pytest.mark.parametrize("block", [1, 3, 6])
def test_a_late_window_fires_late_and_integrates_what_came_before(block: int) -> None:
    neuron = NeuronParams(v_threshold=np.ones(()), v_init=np.zeros(()), lag=2)
    graph = snn.SpikingGraph(
        nodes=(
            snn.Input(name="x", shape=(1,)),
            snn.Population(name="p", inputs=("x",), shape=(1,), neuron=neuron),
            snn.Readout(name="y", inputs=("p",), shape=(1,)),
        )
    )
    replay = Replay(graph, {"x": np.full((1, 1), 0.5, np.float32)}, 4, {"p": neuron})
    firing, spikes = Firing(replay, "p", 1), np.zeros(4)

    def take(at: int, where: tuple[slice, ...], found: np.ndarray) -> None:
        spikes[at] = found[0, 0]

    for t0 in range(0, 6, block):
        current = np.array([0.5 if t < 4 else 0 for t in range(t0, t0 + block)], np.float32)
        firing.run(current.reshape(-1, 1, 1), t0, block, take)
    # Charge 0.5 per step for 4 steps: one spike each in steps 2 and 3, none after.
    assert spikes.tolist() == [1, 1, 0, 0]


def _replay_of_one_conv(rng: np.random.Generator, groups: int) -> tuple[Replay, snn.Synapse]:
    weight = rng.normal(size=(4, 4 // groups, 3, 3)).astype(np.float32)
    op = ops.Conv(weight=weight, strides=(1, 1), dilations=(1, 1), pads=(1, 1, 1, 1), groups=groups)
    source = snn.Input(name="x", shape=(4, 5, 5))
    conv = snn.Synapse(name="c", inputs=("x",), shape=(4, 5, 5), op=op)
    unit = NeuronParams(v_threshold=np.ones(()), v_init=np.zeros(()))
    pop = snn.Population(name="p", inputs=("c",), shape=(4, 5, 5), neuron=unit)
    out = snn.Readout(name="y", inputs=("p",), shape=(4, 5, 5))
    graph = snn.SpikingGraph(nodes=(source, conv, pop, out))
    x = rng.normal(size=(24, 4, 5, 5)).astype(np.float32)
    return Replay(graph, {"x": x}, T, {"p": unit}, tile=4), conv


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_weight_error_is_found_exactly(groups: int) -> None:
    rng = np.random.default_rng(groups)
    replay, conv = _replay_of_one_conv(rng, groups)
    assert isinstance(conv.op, ops.Conv)
    delta = 0.1 * rng.normal(size=conv.op.weight.shape).astype(np.float32)
    shift = np.array([0.3, -0.2, 0.0, 0.5], np.float32)
    missing = replace(conv.op, weight=delta).apply(replay.inputs["x"])
    missing += shift.reshape(-1, 1, 1)
    new, bias = correct(replay, conv, lambda part, means: missing[part], rng)
    assert isinstance(new.op, ops.Conv)
    assert new.change is not None and new.change.step is not None
    off = np.abs(new.op.weight - conv.op.weight - delta)
    assert (off < 0.01 + np.abs(new.change.step) / 2).all()  # rounded
    np.testing.assert_allclose(bias, shift, atol=0.02)


def test_noise_that_inputs_do_not_explain_changes_no_weight_much() -> None:
    rng = np.random.default_rng(3)
    replay, conv = _replay_of_one_conv(rng, 1)
    missing = rng.normal(size=(24, 4, 5, 5)).astype(np.float32)
    new, _ = correct(replay, conv, lambda part, means: missing[part], rng)
    assert isinstance(new.op, ops.Conv) and isinstance(conv.op, ops.Conv)
    assert np.abs(new.op.weight - conv.op.weight).max() < 0.2


def test_silent_on_both_sides_asks_for_nothing() -> None:
    z = np.array([-3.0, -1.0, 2.0, 0.5])
    mean = np.array([-1.0, 0.5, 1.0, -0.5])
    assert residual(z, mean=mean, spiking=True).tolist() == [0.0, -0.5, 1.0, 1.0]
    assert residual(z, mean=mean, spiking=False).tolist() == [-2.0, -1.5, 1.0, 1.0]


def test_only_synapses_that_one_population_reads_are_corrected() -> None:
    graph = lowered()
    replay = Replay(graph, {"input": samples()[:2]}, T, data_neurons(graph))
    consumers = graph.consumers()
    for population in graph.of(snn.Population):
        for synapse in correctable(replay, population.name):
            assert len(consumers[synapse.name]) == 1
            assert isinstance(synapse.op, ops.Conv | ops.Linear)
        assert population.name not in sources(graph, population.name)


def test_a_layer_whose_fit_takes_too_much_memory_keeps_its_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = lowered("digits_mlp")
    replay = Replay(graph, {graph.of(snn.Input)[0].name: samples()[:4]}, T, data_neurons(graph))
    name = graph.of(snn.Readout)[0].name
    (synapse,) = correctable(replay, name)
    assert isinstance(synapse.op, ops.Linear)
    needed = fit_bytes(synapse)
    out, features = synapse.op.weight.shape
    sums = 2 * (features + 1) * (features + 1 + out)  # of the rows fitted, and of those held out
    assert needed > 8 * sums
    monkeypatch.setattr("onnx2snn.converter.tune.weights.FIT_BYTES", needed)
    assert fits(synapse)
    monkeypatch.setattr("onnx2snn.converter.tune.weights.FIT_BYTES", needed - 1)
    assert not fits(synapse)
    tuned = tune(graph, samples()[:4], data_neurons(graph), T)
    assert tuned.untouched[synapse.name] == needed
    assert tuned.graph[synapse.name] is graph[synapse.name]
    said = tuning_notes(recipe_named("binary"), Options(), samples=4, untouched=tuned.untouched)
    assert "layers too large for a fit of weights" in [*said][1]


def test_fewer_samples_of_a_large_network_are_owned_up_to(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = lowered("digits_mlp")
    weights = [s.op.weight.size for s in graph.of(snn.Synapse) if isinstance(s.op, ops.Linear)]
    neurons = sum(int(np.prod(p.shape)) for p in graph.of(snn.Population))
    each = sum(weights) + NEURON * neurons
    monkeypatch.setattr("onnx2snn.converter.tune.CONNECTIONS", 40 * T * each)
    for count, used in ((64, 40), (40, 40), (16, 16)):
        tuned = tune(graph, samples()[:count], data_neurons(graph), T)
        assert tuned.samples == used
        assert tuned.affordable == (40 if count > 40 else None)
        assert tuned.fitting is None
    said = tuning_notes(recipe_named("binary"), Options(), samples=40, affordable=40)
    assert "the size of the network decided how many samples" in [*said][1]
