"""The emitted file: read-back, refusals, and the limits that are checked on it."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest

from hwtargets.truenorth import nets
from onnx2snn.errors import DataError
from onnx2snn.hwtargets.truenorth.compile import compile_network
from onnx2snn.hwtargets.truenorth.file import ARRAYS, DTYPES, dump, parse, too_far, violations

TARGET = nets.small_target(64, 64)


@pytest.fixture(scope="module")
def box():
    graph = nets.conv_net(0)
    samples = {"x": nets.samples(graph, 8)}
    return compile_network(graph, TARGET, samples, steps=4, fit_steps=4).crossbars


def test_the_file_reads_back_without_loss(box):
    again = parse(dump(box))
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(again, name), getattr(box, name), err_msg=name)
        assert getattr(again, name).dtype == DTYPES[name]
    assert again.header == box.header
    assert again.header["steps"] == 4 and again.header["inputs"][0]["shape"] == [2, 6, 6]


def test_reading_needs_no_pickle_and_no_onnx2snn(box):
    with np.load(io.BytesIO(dump(box)), allow_pickle=False) as archive:
        assert set(archive.files) == {*ARRAYS, "header"}


@pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\x03\x04broken"])
def test_other_files_are_refused(data):
    with pytest.raises(DataError, match=r"x\.npz.*not a onnx2snn-truenorth file"):
        parse(data, where="x.npz")


def test_a_newer_version_is_refused_with_the_remedy(box, monkeypatch):
    monkeypatch.setattr("onnx2snn.hwtargets.truenorth.file.VERSION", 3)
    data = dump(box)
    monkeypatch.undo()
    with pytest.raises(DataError, match=r"version 1 or 2.*Read it with the onnx2snn version"):
        parse(data)


def test_missing_arrays_are_named(box):
    with np.load(io.BytesIO(dump(box))) as archive:
        kept = {n: archive[n] for n in archive.files if n not in ("leak", "delay")}
    buffer = io.BytesIO()
    np.savez(buffer, **kept)
    with pytest.raises(DataError, match="missing in the file: leak, delay"):
        parse(buffer.getvalue())


def test_version_1_without_places_of_cores_is_still_read(box, monkeypatch):
    monkeypatch.setattr("onnx2snn.hwtargets.truenorth.file.VERSION", 1)
    with np.load(io.BytesIO(dump(box))) as archive:
        old = {n: archive[n] for n in archive.files if not n.startswith("core_")}
    buffer = io.BytesIO()
    np.savez(buffer, **old)
    again = parse(buffer.getvalue())
    assert again.core_x.tolist() == [-1] * box.cores
    np.testing.assert_array_equal(again.synapses, box.synapses)


def test_packets_that_cannot_reach_are_found():
    xy = np.array([[0, 0], [255, 3], [256, 3]])
    source, near, far = np.array([0]), np.array([1]), np.array([2])
    assert not list(too_far(source, destination=near, xy=xy, target=TARGET))
    (found,) = too_far(source, destination=far, xy=xy, target=TARGET)
    assert (found.rule, found.used, found.limit) == ("packet offset (hop_max)", 256, 255)


def _changed(array, value):
    out = array.copy()
    out.reshape(-1)[0] = value
    return out


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("weights", 256, "weight within weight_max"),
        ("leak", -256, "leak within leak_max"),
        ("threshold", 1 << 18, "threshold within threshold_max"),
        ("floor", 1 << 18, "negative threshold within threshold_max"),
        ("potential", -(1 << 19), "initial potential within potential_max"),
        ("axon_types", 4, "axon types within axon_types"),
    ],
)
def test_each_number_out_of_range_is_found(box, name, value, rule):
    assert not list(violations(box, TARGET))
    broken = replace(box, **{name: _changed(getattr(box, name), value)})
    assert rule in {v.rule for v in violations(broken, TARGET)}


def test_delays_shared_axons_and_lost_spikes_are_found(box):
    sends = np.flatnonzero(box.target_core >= 0)
    first, second = sends[:2]

    def put(name, at, value):
        out = getattr(box, name).copy()
        out[at] = value
        return replace(box, **{name: out})

    late = put("delay", first, 16)
    assert "delay within delay_max" in {v.rule for v in violations(late, TARGET)}
    merged = replace(
        put("target_core", first, box.target_core[second]),
        target_axon=put("target_axon", first, box.target_axon[second]).target_axon,
    )
    rules = {v.rule for v in violations(merged, TARGET)}
    assert "sources on one axon within targets_per_neuron" in rules
    types = box.axon_types.copy()
    types[box.target_core[first], box.target_axon[first]] = 255
    lost = replace(box, axon_types=types)
    assert any(v.rule.startswith("spikes without an axon") for v in violations(lost, TARGET))


def test_too_many_neurons_or_axons_on_a_core_are_found(box):
    smaller = nets.small_target(8, 8)
    rules = {v.rule for v in violations(box, smaller)}
    assert {"neurons per core within neurons", "axons per core within axons"} <= rules
