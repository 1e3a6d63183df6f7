"""The event simulator itself, on chips written by hand."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from hwtargets.truenorth import simulator as truenorth_simulator


def chip(axons, delays, **changes):
    """Core 0: two neurons, each driven by an input pin, that send to ``axons`` of core 1 with
    ``delays``; core 1: one neuron that reads axons 0 and 1 with weight 3, threshold 6."""
    synapses = np.zeros((3, 256), bool)
    synapses[[0, 1, 2, 2], [0, 1, 0, 1]] = True
    types = np.full((2, 256), 255, np.uint8)
    types[:, :2] = 0
    header = {"format": "onnx2snn-truenorth", "version": 2}
    arrays = {
        "axon_types": types,
        "core": [0, 0, 1],
        "neuron": [0, 1, 0],
        "synapses": np.packbits(synapses, axis=1),
        "weights": [[1, 0, 0, 0], [1, 0, 0, 0], [3, 0, 0, 0]],
        "leak": [0, 0, 0],
        "threshold": [1, 1, 6],
        "floor": [9, 9, 9],
        "reset": [1, 1, 1],
        "reset_potential": [0, 0, 0],
        "potential": [0, 0, 0],
        "target_core": [1, 1, -1],
        "target_axon": [*axons, -1],
        "delay": [*delays, 0],
        "output": [-1, -1, 0],
        "pin_input": [0, 0],
        "pin_element": [0, 1],
        "pin_core": [0, 0],
        "pin_axon": [0, 1],
        "pin_delay": [0, 0],
        "header": np.frombuffer(json.dumps(header).encode(), np.uint8),
    }
    file = io.BytesIO()
    np.savez(file, **{k: np.asarray(v) for k, v in (arrays | changes).items()})
    file.seek(0)
    return file


BOTH = np.array([[1, 1]])


@pytest.mark.parametrize("delay", [1, 2, 15])
def test_spikes_arrive_after_their_delay(delay):
    found = truenorth_simulator.run(chip((0, 1), (delay, delay)), [BOTH], 20)
    assert (found.spikes, found.merged) == ([(delay, 0)], 0)


def test_two_spikes_on_one_axon_in_a_tick_are_one():
    found = truenorth_simulator.run(chip((0, 0), (4, 4)), [BOTH], 20)
    assert (found.spikes, found.merged) == ([], 1)
    assert found.highest == 3


def test_two_spikes_on_one_axon_in_two_ticks_are_two():
    found = truenorth_simulator.run(chip((0, 0), (4, 5)), [BOTH], 20)
    assert (found.spikes, found.merged) == ([(5, 0)], 0)


def test_linear_reset_subtracts_and_absolute_reset_sets():
    weights = [[1, 0, 0, 0], [1, 0, 0, 0], [8, 0, 0, 0]]  # 16 arrives: 6 is passed more than twice
    linear = truenorth_simulator.run(chip((0, 1), (1, 1), weights=weights), [BOTH], 6)
    assert linear.spikes == [(1, 0), (2, 0)]  # 16, 10, 4
    to = {"weights": weights, "reset": [1, 1, 0], "reset_potential": [0, 0, 2]}
    absolute = truenorth_simulator.run(chip((0, 1), (1, 1), **to), [BOTH], 6)
    assert absolute.spikes == [(1, 0)]


def test_the_negative_threshold_saturates_without_a_spike():
    weights = [[1, 0, 0, 0], [1, 0, 0, 0], [-8, 0, 0, 0]]
    rasters = [np.array([[1, 1], [0, 0], [0, 0], [1, 1]])]
    found = truenorth_simulator.run(
        chip((0, 1), (1, 1), weights=weights, floor=[9, 9, 4]), rasters, 8
    )
    assert found.spikes == [] and found.lowest == -20  # -16, back to -4, and 16 less once more
