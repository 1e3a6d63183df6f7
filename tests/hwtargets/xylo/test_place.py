"""Mapping of spiking graphs to Xylo: equality, limits, calibration, the emitted file."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwtargets.chip_nets import map_graph
from hwtargets.xylo.naive import naive_run
from hwtargets.xylo.networks import CHIPS, chain, emitted, perceptron, place, samples, skip_network
from hwtargets.xylo.vendor import vendor_run
from onnx2snn.errors import DataError, UsageError
from onnx2snn.hwtargets.placement import load_target
from onnx2snn.hwtargets.target import Limit
from onnx2snn.hwtargets.view.network import chip_view
from onnx2snn.hwtargets.xylo import core as xylo_core
from onnx2snn.hwtargets.xylo import file as xylo_file
from onnx2snn.hwtargets.xylo.mapping import usage_of_config
from onnx2snn.hwtargets.xylo.network import analog, of_view
from onnx2snn.hwtargets.xylo.rules import over
from onnx2snn.runtime.graph import Population

# ---------------------------------------------------------------- the network in activations


def test_matrices_in_activations_give_what_the_relu_network_gives() -> None:
    rng = np.random.default_rng(0)
    w = [rng.normal(size=(5, 4)), rng.normal(size=(6, 5)), rng.normal(size=(3, 6))]
    b = [rng.normal(size=n).astype(np.float32) for n in (5, 6, 3)]
    x = rng.random((7, 4))
    net = of_view(chip_view(chain(w, b, thresholds=0.37)))
    expected = x
    for k in range(3):
        expected = expected @ w[k].T + b[k]
        expected = np.maximum(expected, 0) if k < 2 else expected
    np.testing.assert_allclose(analog(net, x).out, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("chip", CHIPS)
def test_skip_connections_map_and_agree_with_the_network(chip: str) -> None:
    graph, x = skip_network(), samples(150, 6)
    mapped = place(graph, chip, x=samples(128, 6, seed=1), steps=64)
    assert not mapped.violations and mapped.run is not None
    chosen = mapped.run(x, 64).readout[-1].argmax(1)
    wanted = analog(of_view(chip_view(graph)), x).out.argmax(1)
    assert np.mean(chosen == wanted) > 0.9


# ---------------------------------------------------------------- the emitted file is what ran


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    sizes=st.lists(st.integers(1, 6), min_size=3, max_size=5),
    chip=st.sampled_from(CHIPS),
    density=st.sampled_from([0.3, 1.0]),
    dash_syn=st.integers(1, 3),
    spikes=st.sampled_from([1, 2, 12]),
)
def test_emitted_file_run_by_a_plain_loop_equals_the_chip_run(
    seed: int, sizes: list[int], chip: str, density: float, dash_syn: int, spikes: int
) -> None:
    graph = perceptron(*sizes, seed=seed, density=density)
    mapped = place(graph, chip, steps=6, dash_syn=dash_syn, spikes=spikes, rounds=1)
    assert mapped.run is not None and not mapped.violations
    file, x = emitted(mapped), samples(2, sizes[0], seed)
    expected = naive_run(file.config, file.coding.encode(x))
    run = mapped.run(x, 6)
    count = np.cumsum(expected["output"], axis=1).transpose(1, 0, 2)
    steps = np.maximum(np.arange(1, 7) - file.coding.out_delay, 1)[:, None, None]
    span = file.coding.out_high - file.coding.out_low
    np.testing.assert_allclose(run.readout, file.coding.out_low + span * count / steps)
    for name, at in file.hidden.items():
        assert run.spikes[name] == expected["spikes"][:, :, at].sum()
    assert list(over(usage_of_config(file.config), load_target(chip), chip_view(graph))) == []


@pytest.mark.parametrize("chip", CHIPS)
def test_emitted_file_run_by_the_installed_vendor_simulator_equals_the_chip_run(chip: str) -> None:
    pytest.importorskip("xylosim")
    file = emitted(place(perceptron(16, 63, 40, 8), chip, steps=32))
    trains = file.coding.encode(samples(6, 16))
    ours = xylo_core.simulate_core(file.config, trains, record=True)
    for name, value in vendor_run(file.config, trains).items():
        np.testing.assert_array_equal(getattr(ours, name), value, err_msg=name)


def test_every_synapse_is_in_the_file_where_its_layers_neurons_lie_and_no_other() -> None:
    graph = skip_network()
    mapped = place(graph, "xylo-imu", rounds=0, window="full")
    file, net = emitted(mapped), of_view(chip_view(graph))
    assert sorted(np.concatenate(list(file.hidden.values()))) == list(range(21))
    at = np.concatenate([file.hidden[block.name] for block in net.blocks])
    config = file.config
    for emitted_weights, wanted in (
        (config.weights_in[:, at], net.w_in),
        (config.weights_rec[np.ix_(at, at)], net.w_rec),
        (config.weights_out[at], net.w_out),
    ):  # a weight may only be lost by rounding to 0
        signs = np.sign(emitted_weights)
        assert np.all((signs == np.sign(wanted)) | (signs == 0))
        assert np.all(signs[np.abs(wanted) > 0.1 * np.abs(wanted).max()] != 0)


def test_file_has_the_vendor_arguments_as_integers() -> None:
    mapped = place(perceptron(4, 5, 3))
    (content,) = mapped.files.values()
    raw = json.loads(content)
    spec = raw["specification"]
    assert (raw["format"], raw["version"], raw["chip"]) == ("onnx2snn-xylo", 2, "xylo-audio2")
    assert set(spec) == {
        *("weights_in", "weights_rec", "weights_out", "dash_mem", "dash_mem_out", "dash_syn"),
        *("dash_syn_2", "dash_syn_out", "threshold", "threshold_out", "bias", "bias_out"),
        *("weight_shift_in", "weight_shift_rec", "weight_shift_out", "aliases"),
    }
    assert np.array(spec["weights_rec"]).shape == (5, 5, 1)
    assert all(isinstance(w, int) for row in spec["weights_in"] for (w,) in row)
    hardware = xylo_file.arguments(emitted(mapped).config, hardware=True)
    assert "bias" not in hardware and hardware["bias_hidden"].tolist() == spec["bias"]


def test_file_reads_back_without_loss() -> None:
    mapped = place(perceptron(4, 5, 3))
    (content,) = mapped.files.values()
    assert xylo_file.dump(xylo_file.parse(content)) == content


def test_version_1_with_weights_as_matrices_is_still_read() -> None:
    (content,) = place(perceptron(4, 5, 3)).files.values()
    raw = json.loads(content)
    for name in ("weights_in", "weights_rec"):
        raw["specification"][name] = np.array(raw["specification"][name])[:, :, 0].tolist()
    old = json.dumps(raw | {"version": 1}).encode()
    assert xylo_file.dump(xylo_file.parse(old)) == content


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw | {"format": "other"}, "format is not 'onnx2snn-xylo'"),
        (lambda raw: raw | {"version": 3}, r"version is 3, not one of \(1, 2\)"),
        (
            lambda raw: raw | {"specification": raw["specification"] | {"weights_in": [[[1, 2]]]}},
            "'weights_in' has 2 synapses per neuron, not 1",
        ),
        (lambda raw: {k: v for k, v in raw.items() if k != "coding"}, "lacks 'coding'"),
        (
            lambda raw: raw | {"specification": raw["specification"] | {"bias": [0.5] * 5}},
            "'bias' holds something other than integers",
        ),
    ],
)
def test_a_damaged_file_is_refused_with_the_reason(damage: Any, message: str) -> None:
    (content,) = place(perceptron(4, 5, 3)).files.values()
    with pytest.raises(DataError, match=message) as caught:
        xylo_file.parse(json.dumps(damage(json.loads(content))).encode(), where="net.json")
    assert caught.value.code == "E208" and caught.value.where == "net.json"


def test_bytes_that_are_not_json_are_refused() -> None:
    with pytest.raises(DataError, match="not a readable Xylo specification"):
        xylo_file.parse(b"\x00\x01")


# ---------------------------------------------------------------- accuracy on the chip's integers


@pytest.mark.parametrize("readout", ["count", "charge"])
def test_chip_agrees_with_the_relu_network(readout: str) -> None:
    graph, x = perceptron(16, 40, 30, 8, seed=5), samples(300, 16)
    mapped = place(graph, x=samples(200, 16, seed=2), steps=64, readout=readout)
    assert mapped.run is not None
    chosen = mapped.run(x, 64).readout[-1].argmax(1)
    wanted = analog(of_view(chip_view(graph)), x).out.argmax(1)
    assert np.mean(chosen == wanted) > 0.93


def test_calibration_in_the_integer_loop_lowers_the_count_error_of_every_layer() -> None:
    report = place(perceptron(16, 40, 30, 8), steps=32).facts["calibration"]
    assert report["layers"] == ("relu0", "relu1", "outputs")
    for before, after in zip(report["before"], report["after"], strict=True):
        assert after < 0.8 * before


def test_calibration_never_sees_labels() -> None:
    graph, x = perceptron(8, 12, 4), samples(60, 8)
    target = load_target("xylo-audio2")
    files = [
        map_graph(graph, target, calib=x, x=x, y=y).files
        for y in (np.zeros(60, int), np.arange(60) % 4)
    ]
    assert files[0] == files[1]


def test_features_may_be_negative_and_of_any_range() -> None:
    rng = np.random.default_rng(1)
    graph = perceptron(8, 30, 5, seed=3)
    x = rng.normal(0, 3, (400, 8))
    mapped = place(graph, x=x[:200], steps=64)
    assert mapped.run is not None and emitted(mapped).coding.low < 0
    wanted = analog(of_view(chip_view(graph)), x[200:]).out.argmax(1)
    assert np.mean(mapped.run(x[200:], 64).readout[-1].argmax(1) == wanted) > 0.9


def test_a_ceiling_cuts_the_activation_at_the_chips_limit_of_spikes() -> None:
    graph = chain([np.full((1, 1), 4.0), np.ones((1, 1))], [np.zeros(1, np.float32)] * 2)
    node = graph["relu0"]
    assert isinstance(node, Population)
    graph = graph.with_nodes([replace(node, ceiling=1.5)])
    x = np.linspace(0, 1, 50)[:, None]
    mapped = place(graph, x=x, steps=64, readout="charge")
    assert mapped.run is not None
    got = mapped.run(x, 64).readout[-1, :, 0]
    np.testing.assert_allclose(got, np.minimum(4 * x[:, 0], 1.5), atol=0.12)


@pytest.mark.parametrize(("common", "said"), [(40.0, True), (0.0, None)])
def test_what_all_outputs_have_in_common_takes_no_room(common: float, said: bool | None) -> None:
    rng = np.random.default_rng(5)
    last = rng.normal(0, 0.4, (6, 20)) + common
    weights = [rng.normal(0, 0.5, (20, 8)), last]
    graph = chain(weights, [np.zeros(20, np.float32), np.zeros(6, np.float32)])
    x, calib = samples(150, 8), samples(150, 8, seed=1)
    wanted = analog(of_view(chip_view(graph)), x).out.argmax(1)
    mapped = place(graph, x=calib, steps=32)
    assert mapped.run is not None
    assert np.mean(mapped.run(x, 32).readout[-1].argmax(1) == wanted) > 0.85
    noted = any("have in common" in note for note in mapped.notes)
    assert said is None or noted is said
    values = place(graph, x=calib, steps=32, window="full")
    assert not any("have in common" in note for note in values.notes)


def test_what_a_ceiling_costs_is_said_and_it_is_left_out_where_that_costs_less() -> None:
    graph = perceptron(8, 20, 6, seed=3)
    node = graph["relu0"]
    assert isinstance(node, Population)
    graph = graph.with_nodes([replace(node, ceiling=1.5)])
    mapped = place(graph, x=samples(150, 8), steps=32)
    (note,) = [n for n in mapped.notes if n.startswith("A ceiling")]
    start, now = (float(p.removesuffix("%")) for p in note.split() if p.replace(".", "").isdigit())
    assert now >= start
    assert (now > start) >= any(n.startswith("Ceilings") for n in mapped.notes)


def test_encoded_trains_are_even_and_their_counts_within_one_of_the_rate() -> None:
    coding = emitted(place(perceptron(3, 4, 2))).coding
    x = samples(20, 3)
    trains = coding.encode(x)
    counts = np.cumsum(trains, axis=1)
    wanted = coding.rates(x)[:, None, :] * np.arange(1, coding.steps + 1)[:, None]
    assert np.abs(counts - wanted).max() <= 0.5 + 1e-9
    assert trains.max() <= 15
    with pytest.raises(DataError, match="not a finite number"):
        coding.encode(np.full((1, 3), np.nan))


# ---------------------------------------------------------------- options and reports


def test_no_emitted_bias_exceeds_the_register() -> None:
    target = load_target("xylo-audio2")
    graph = perceptron(8, 20, 4, seed=1)
    for bits in (4, 8, 16):
        limit = Limit(name="bias_bits", value=bits, source="test", verified=True)
        narrow = replace(target, limits={**target.limits, "bias_bits": limit})
        config = emitted(map_graph(graph, narrow, calib=samples(50, 8))).config
        for bias in (config.bias, config.bias_out):
            assert -(2 ** (bits - 1)) <= bias.min() and bias.max() < 2 ** (bits - 1)


def test_the_full_window_reads_every_output_as_a_value() -> None:
    graph, x = perceptron(6, 30, 3, seed=2), samples(120, 6)
    mapped = place(graph, x=samples(200, 6, seed=3), steps=200, window="full", readout="charge")
    assert mapped.run is not None
    wanted = analog(of_view(chip_view(graph)), x).out
    error = mapped.run(x, 200).readout[-1] - wanted
    assert np.abs(error).mean() < 0.05 * np.ptp(wanted)


def test_options_may_be_text_as_the_command_line_gives_them() -> None:
    graph = perceptron(4, 5, 3)
    as_text = place(graph, input_spikes="3", spikes="1.5", dt="0.02")
    assert as_text.files == place(graph, input_spikes=3, spikes=1.5, dt=0.02).files


def test_options_out_of_range_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="spikes must be a number from 1 to 31, got 'many'"):
        place(perceptron(4, 5, 3), spikes="many")
    with pytest.raises(UsageError, match="dt must be a positive number"):
        place(perceptron(4, 5, 3), dt=0)
    with pytest.raises(UsageError, match="window must be winner or full, got 'none'"):
        place(perceptron(4, 5, 3), window="none")
    with pytest.raises(UsageError, match="input_spikes must be a whole number from 1 to 15"):
        place(perceptron(4, 5, 3), input_spikes=16)
    with pytest.raises(UsageError, match="readout must be count or charge, got 'rank'"):
        place(perceptron(4, 5, 3), readout="rank")


def test_a_time_step_too_short_for_the_clock_is_a_violation_with_the_shortest_that_works() -> None:
    graph = perceptron(16, 63, 63, 8)
    (violation,) = place(graph, dt=1e-4, rounds=0).violations
    assert (violation.rule, violation.limit) == ("clock_mhz", 50)
    shortest = float(violation.remedy.split()[5])
    assert 1e-4 < shortest < 2e-3
    assert place(graph, dt=shortest * 1.01, rounds=0).violations == ()


def test_notes_say_what_was_calibrated_on() -> None:
    target, graph = load_target("xylo-audio2"), perceptron(4, 5, 3)
    x = samples(40, 4)
    for asked, origin in (
        ({"calib": x}, "calibration data"),
        ({"x": x}, "the evaluation samples, without labels"),
        ({}, "uniform random samples in [0, 1] (no data given)"),
    ):
        found = map_graph(graph, target, **asked)
        assert found.facts["calibrated_on"] == origin
        assert any(origin in note for note in found.notes)


def test_resources_of_the_report_are_the_usage_of_the_emitted_integers() -> None:
    mapped = place(perceptron(16, 20, 30, 8), "xylo-imu")
    usage = asdict(usage_of_config(emitted(mapped).config))
    assert {name: used.tolist() for name, used in mapped.cores.used.items()} == {
        name: [value] for name, value in usage.items()
    }
    assert mapped.cores.count == 1 and mapped.cores.neurons.tolist() == [58]
    assert mapped.core_of is not None and mapped.core_of("relu1").tolist() == [0] * 30
