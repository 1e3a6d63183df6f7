"""Real networks on TrueNorth: cores and accuracy of the emitted integers, both codings.

Slow: needs the models and data beside the repository (or where ONNX2SNN_SHARED points)."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from places import SHARED

import onnx2snn
from hwtargets.truenorth.test_equality import chip_spikes
from onnx2snn.hwtargets import load_target
from onnx2snn.hwtargets.truenorth.compile import compile_network
from onnx2snn.hwtargets.truenorth.file import violations
from onnx2snn.hwtargets.truenorth.run import source_spikes

STEPS, SAMPLES = 64, 500

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (SHARED / "models").is_dir(), reason=f"no models in {SHARED}"),
]


def data(model):
    """Test samples, labels, calibration samples."""
    name = {"fsdd_cnn": "fsdd_logmel16x32", "resnet20": "cifar10"}.get(model, "mnist")
    with np.load(SHARED / "data" / f"{name}.npz") as d:
        arrays = {key: d[key] for key in d.files}
    x, y, calib = arrays["x_test"][:SAMPLES], arrays["y_test"][:SAMPLES], arrays["x_calib"]
    if name != "fsdd_logmel16x32":
        x, calib = (np.moveaxis(a.astype(np.float32) / 255, -1, 1) for a in (x, calib))
    if name == "cifar10":
        mean, std = (arrays[k].astype(np.float32).reshape(3, 1, 1) for k in ("mean", "std"))
        x, calib = (x - mean) / std, (calib - mean) / std
    return x, y, calib


@cache
def converted(model, steps):
    """The spiking network and the ANN's answers to the test samples."""
    x, _, calib = data(model)
    loaded = onnx2snn.load_onnx(SHARED / "models" / f"{model}.onnx")
    graph = onnx2snn.convert(loaded, calib[:256], steps=steps)
    (scores,) = onnx2snn.onnx_ann(loaded, graph)({"input": x}).values()
    return graph, scores.argmax(1)


def mapped(model, coding, steps, fitted=256, **options):
    x, y, calib = data(model)
    graph, answers = converted(model, steps)
    target, samples = load_target("truenorth"), {"input": calib[:fitted]}
    net = compile_network(graph, target, samples, steps=steps, coding=coding, **options)
    assert net.crossbars is not None and not list(violations(net.crossbars, target))
    return net, x, y, float(np.mean(answers == y))


def accuracy(net, x, y, steps, tuned=True):
    """Of the emitted integers. Few potentials meet the negative threshold once codes are fitted."""
    right = floored = 0
    for i in range(0, len(x), 50):
        run = net.run({"input": x[i : i + 50]}, steps)
        right += (next(iter(run.readouts.values()))[-1].argmax(1) == y[i : i + 50]).sum()
        floored += sum(run.floored.values())
    assert not tuned or floored <= 0.1 * len(x)
    return right / len(x)


def assert_emitted_cores_spike_so(net, sample, steps):
    """The event simulator, on the emitted file, gives the integers' output spikes."""
    reading, x = net.lowered.readings[0], {"input": sample[np.newaxis]}
    trains = source_spikes(net.lowered.sources, x, steps).trains[0]
    own = net.run(x, steps, keep=(reading.unit,)).trains[reading.unit][:, 0]
    np.testing.assert_array_equal(chip_spikes(net, [trains[:, 0]]), own)


@pytest.mark.parametrize("coding", ["ternary", "axons4"])
@pytest.mark.parametrize("model", ["mnist_mlp", "mnist_lenet_avgpool", "mnist_lenet_maxpool"])
def test_mnist_networks_stay_within_one_and_a_half_points_of_their_ann(model, coding):
    net, x, y, ann = mapped(model, coding, STEPS)
    assert net.routed.core_count < 4096
    assert net.copies.number == 2  # they fit the chip that one neuron per partial sum needs too
    assert accuracy(net, x, y, STEPS) >= ann - 0.015
    assert_emitted_cores_spike_so(net, x[0], STEPS)


@pytest.mark.parametrize(("coding", "loss"), [("ternary", 0.1), ("axons4", 0.02)])
def test_the_spoken_digits_network_fits_one_chip(coding, loss):
    net, x, y, ann = mapped("fsdd_cnn", coding, 2 * STEPS)
    assert net.routed.core_count < 4096
    assert accuracy(net, x, y, 2 * STEPS) >= ann - loss
    assert_emitted_cores_spike_so(net, x[0], 2 * STEPS)


@pytest.mark.parametrize("coding", ["ternary", "axons4"])
def test_fitting_the_codes_recovers_what_plain_rounding_loses(coding):
    accuracies = {}
    for tune in (True, False):
        net, x, y, _ = mapped("mnist_mlp", coding, STEPS, tune=tune)
        accuracies[tune] = accuracy(net, x, y, STEPS, tuned=tune)
    assert accuracies[True] - accuracies[False] >= (0.04 if coding == "ternary" else -0.01)


def test_resnet_20_takes_several_chips_and_keeps_most_of_its_answers():
    """A subset of 40 samples; docs/truenorth.md has 500."""
    steps = 2 * STEPS
    net, x, _, _ = mapped("resnet20", "axons4", steps, fitted=64, emit_cores=1 << 15)
    assert 4096 < net.routed.core_count < 16 * 4096
    found = [net.run({"input": x[i : i + 10]}, steps) for i in range(0, 40, 10)]
    answers = np.concatenate([f.readouts["logits"][-1].argmax(1) for f in found])
    assert np.mean(answers == converted("resnet20", steps)[1][:40]) >= 0.8
    assert_emitted_cores_spike_so(net, x[0], steps)
