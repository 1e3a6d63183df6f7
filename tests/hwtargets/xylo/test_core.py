"""The integer core of Xylo, against recordings of the vendor's simulator, that simulator itself
where it is installed, and a plain loop."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwtargets.xylo.naive import naive_run
from hwtargets.xylo.networks import random_config, random_trains
from hwtargets.xylo.vendor import vendor_run
from onnx2snn.errors import TargetError
from onnx2snn.hwtargets.xylo.core import XyloConfig, simulate_core
from onnx2snn.hwtargets.xylo.quantize import charge, gain

RECORDINGS = Path(__file__).parent / "recordings"


def recorded() -> dict[str, dict[str, Any]]:
    """All committed runs of the vendor's simulator: case -> field -> array."""
    cases: dict[str, dict[str, Any]] = {}
    for path in sorted(RECORDINGS.glob("*.npz")):
        with np.load(path) as archive:
            for key in archive.files:
                case, field = key.split("/")
                cases.setdefault(case, {})[field] = archive[key]
    return cases


CASES = recorded()


def config_of(case: dict[str, Any]) -> XyloConfig:
    names = [field.name for field in dataclasses.fields(XyloConfig)]
    values = {n: case[n].astype(np.int64) for n in names if not n.startswith("weight_shift")}
    shifts = {n: int(case[n]) for n in names if n.startswith("weight_shift")}
    return XyloConfig(**values, **shifts)


def assert_same(config: XyloConfig, trains: np.ndarray, expected: dict[str, np.ndarray]) -> None:
    ours = simulate_core(config, trains, record=True)
    for name, value in expected.items():
        np.testing.assert_array_equal(getattr(ours, name), value, err_msg=name)


@pytest.mark.parametrize("name", CASES)
def test_every_spike_and_state_of_a_recorded_vendor_run_is_reproduced(name: str) -> None:
    case = CASES[name]
    expected = {k.removeprefix("vendor_"): v for k, v in case.items() if k.startswith("vendor_")}
    assert set(expected) == {"output", "spikes", "v_mem", "i_syn", "v_mem_out", "i_syn_out"}
    assert_same(config_of(case), case["trains"], expected)


def test_recordings_exercise_saturation_multiple_spikes_and_every_decay() -> None:
    currents = [np.abs(c["vendor_i_syn"].astype(int)).max() for c in CASES.values()]
    spikes = [c["vendor_spikes"].max() for c in CASES.values()]
    decays = np.unique(np.concatenate([c["dash_mem"] for c in CASES.values()]))
    assert max(currents) >= 32000
    assert max(spikes) == 31
    assert set(range(16)) <= set(decays.tolist())
    saturated = [
        simulate_core(config_of(c), c["trains"]).saturated["current"].sum() for c in CASES.values()
    ]
    assert sum(n > 0 for n in saturated) >= 6


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_numpy_core_equals_a_loop_over_single_spikes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    config = random_config(rng, most=5)
    trains = random_trains(rng, 2, 8, config.inputs)
    assert_same(config, trains, naive_run(config, trains))


def test_numpy_core_equals_the_installed_vendor_simulator() -> None:
    pytest.importorskip("xylosim")
    rng = np.random.default_rng(7)
    for _ in range(60):
        config = random_config(rng)
        trains = random_trains(rng, 2, 15, config.inputs)
        assert_same(config, trains, vendor_run(config, trains))


def test_charge_of_a_spike_is_what_the_membrane_collects() -> None:
    """One spike on each of 15 x 16 synapses, summed over the currents that the core integrates."""
    weights = np.array([-128, -127, -100, -3, -2, -1, 0, 1, 2, 3, 5, 40, 64, 99, 126, 127])
    dash, weight = (a.ravel() for a in np.meshgrid(np.arange(1, 16), weights))
    hidden = len(weight)
    config = XyloConfig(
        weights_in=weight[None, :],
        weight_shift_in=3,
        weights_rec=np.zeros((hidden, hidden), int),
        weights_out=np.zeros((hidden, 1), int),
        dash_syn=dash,
        dash_mem=np.full(hidden, 15),
        threshold=np.full(hidden, 32767),
        bias=np.zeros(hidden, int),
        dash_syn_out=np.array([15]),
        dash_mem_out=np.array([15]),
        threshold_out=np.array([32767]),
        bias_out=np.array([0]),
    )
    trains = np.zeros((1, 1100, 1), int)
    trains[0, 0, 0] = 1
    currents = simulate_core(config, trains, record=True).i_syn
    assert currents is not None and not currents[0, -1].any()
    expected = [charge(int(w) << 3, dash=int(d)) for w, d in zip(weight, dash, strict=True)]
    np.testing.assert_array_equal(currents[0].sum(axis=0, dtype=np.int64), expected)


def test_gain_is_close_to_two_to_the_dash_minus_one() -> None:
    weights = np.array([[100, -90], [0, 127]]) << 4
    for dash in (1, 2, 3):
        assert gain(weights, dash) == pytest.approx(2**dash - 1, rel=0.02)


def test_values_beyond_the_registers_are_all_reported() -> None:
    good = random_config(np.random.default_rng(0))
    with pytest.raises(TargetError) as caught:
        dataclasses.replace(
            good,
            weights_in=good.weights_in * 0 + 200,
            threshold=good.threshold * 0,
            bias=good.bias[:-1],
            weight_shift_out=9,
        )
    message = str(caught.value)
    assert "bias has shape" in message
    assert "weights_in goes from 200 to 200, the chip from -128 to 127" in message
    assert "threshold goes from 0 to 0, the chip from 1 to 32767" in message
    assert "weight_shift_out goes from 9" in message


def test_spike_trains_of_the_wrong_shape_are_refused() -> None:
    config = random_config(np.random.default_rng(0))
    with pytest.raises(TargetError, match="input spikes must be"):
        simulate_core(config, np.zeros((1, 5, config.inputs + 1), int))
    with pytest.raises(TargetError, match="input spikes must be"):
        simulate_core(config, np.full((1, 5, config.inputs), -1))
