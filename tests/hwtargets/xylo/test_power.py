"""The vendor's cycle model and the power estimate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwtargets.xylo.networks import random_config
from onnx2snn.hwtargets.placement import load_target
from onnx2snn.hwtargets.xylo.power import Activity, Shape, cycles, power, shape_of


def test_cycles_of_the_vendors_published_example_are_reproduced() -> None:
    """rockpool, docs/devices/xylo-imu/xylo-imu-intro.ipynb: 15 inputs, two layers of 4 (the second
    recurrent and residual, so the first has aliases), 2 outputs: 757 cycles per step, and 0.18 MHz
    for steps of 1/200 s."""
    shape = Shape(
        inputs=15, hidden=8, outputs=2, expansion_in=4, expansion_out=4, fan_out=4, aliases=4
    )
    assert cycles(shape) == 757.0
    assert round(cycles(shape) * 1.2 * 200 / 1e6, 2) == 0.18


def test_each_silent_part_saves_its_cycles() -> None:
    shape = Shape(inputs=16, hidden=126, outputs=8, expansion_in=63, expansion_out=63, fan_out=31.5)
    worst = cycles(shape)
    quiet_inputs = cycles(shape, Activity(inputs=0, hidden=1))
    quiet = cycles(shape, Activity(inputs=0, hidden=0))
    assert worst - quiet_inputs == 16 * 63 * 3.5
    assert quiet_inputs - quiet == pytest.approx(126 * (31.5 * 7 + 3) + 63 * (1 + 8 * 8))
    assert quiet == 16 + 126 * (3 + 19) + 12 * 8


def test_audio_2_spends_cycles_on_all_hidden_neurons_the_others_on_their_expansion() -> None:
    config = random_config(np.random.default_rng(5))
    weights = config.weights_in.copy()
    weights[:, 0] = 0
    config = replace(config, weights_in=weights)
    assert shape_of(config, expansion=False).expansion_in == config.hidden
    reached = np.count_nonzero(np.any(config.weights_in != 0, axis=0))
    assert shape_of(config, expansion=True).expansion_in == reached < config.hidden


@pytest.mark.parametrize("chip", ["xylo-audio2", "xylo-audio3", "xylo-imu"])
def test_power_scales_with_the_needed_clock_and_names_its_source(chip: str) -> None:
    config, target = random_config(np.random.default_rng(5)), load_target(chip)
    slow = power(config, target, 32, Activity(inputs=0.5, hidden=0.1), 0.01)
    fast = power(config, target, 32, Activity(inputs=0.5, hidden=0.1), 0.001)
    assert fast.clock_mhz == pytest.approx(10 * slow.clock_mhz)
    assert fast.power_uw == pytest.approx(10 * slow.power_uw)
    assert fast.energy_uj == pytest.approx(slow.energy_uj)
    assert slow.power_uw_low < slow.power_uw < slow.power_uw_high
    assert slow.cycles_typical < slow.cycles_worst
    at_limit = power(config, target, 32, Activity(), slow.dt_least)
    assert at_limit.clock_mhz == pytest.approx(target.limit("clock_mhz"))
    assert (
        "power_cycles_model" in slow.source and target.energy["core_power_uw"].source in slow.source
    )
    assert slow.verified is (chip != "xylo-audio2")
