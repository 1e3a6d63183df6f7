"""The emitted specification in the vendor's own tools; needs rockpool 3.1.0 (and torch), else
skipped. On the spoken-digit networks: ``test_xylo_digits.py``."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from hwtargets.xylo.networks import CHIPS, place, samples
from hwtargets.xylo.networks import perceptron as network
from hwtargets.xylo.rockpool import CYCLES, DEVICES, device, hardware_configuration
from onnx2snn.hwtargets.placement import load_target
from onnx2snn.hwtargets.xylo import core as xylo_core
from onnx2snn.hwtargets.xylo import file as xylo_file
from onnx2snn.hwtargets.xylo.power import Activity, cycles, power, shape_of

pytest.importorskip("rockpool")

SIZES = {
    "xylo-audio2": (16, 63, 64, 40, 8),
    "xylo-audio3": (16, 100, 120, 20),
    "xylo-imu": (12, 128, 70, 60, 16),
}


def emitted(chip: str) -> tuple[xylo_file.XyloFile, dict[str, Any]]:
    """The file of a perceptron with more hidden neurons than the newer chips' inputs reach and
    outputs read, and its specification as arrays."""
    content = place(network(*SIZES[chip]), chip, steps=24).files[f"{chip}.json"]
    spec = json.loads(content)["specification"]
    arrays = {
        k: np.array(v) if k != "aliases" and isinstance(v, list) else v for k, v in spec.items()
    }
    return xylo_file.parse(content), arrays


@pytest.mark.parametrize("chip", ["xylo-audio2", "xylo-imu"])  # it has none for Audio 3
def test_the_vendors_simulator_takes_the_specification_and_spikes_as_ours(chip: str) -> None:
    pytest.importorskip("xylosim")
    file, spec = emitted(chip)
    simulator = device(DEVICES[chip], "xylo_sim").XyloSim.from_specification(**spec, dt=1e-3)
    trains = file.coding.encode(samples(4, SIZES[chip][0]))
    ours = xylo_core.simulate_core(file.config, trains, record=True)
    for k, sample in enumerate(trains):
        simulator.reset_state()
        out, _, record = simulator.evolve(sample, record=True)
        np.testing.assert_array_equal(out, ours.output[k])
        np.testing.assert_array_equal(record["Spikes"], ours.spikes[k])
        np.testing.assert_array_equal(record["Vmem_out"], ours.v_mem_out[k])


# its warning says that weights are cut to 128 hidden neurons: those that are lost are all 0
@pytest.mark.filterwarnings("ignore:More than 128")
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("renamed", ["by hand", "by arguments"])
def test_the_vendors_configuration_holds_every_number_of_the_file(chip: str, renamed: str) -> None:
    """Nothing is lost to the 128 hidden neurons that the newer chips' inputs reach and outputs
    read, to the shape of the weights, or to the name of the bias."""
    file, spec = emitted(chip)
    given = (
        xylo_file.arguments(file.config, hardware=True)
        if renamed == "by arguments"
        else {**spec, "bias_hidden": spec["bias"]}
    )
    found, config = hardware_configuration(chip, given), file.config
    block = found.reservoir if chip == "xylo-audio2" else found.hidden
    reach = found.input.weights.shape[1]
    np.testing.assert_array_equal(found.input.weights, config.weights_in[:, :reach])
    assert not config.weights_in[:, reach:].any()
    read = len(found.readout.weights)
    np.testing.assert_array_equal(found.readout.weights, config.weights_out[-read:])
    assert not config.weights_out[:-read].any()
    np.testing.assert_array_equal(block.weights, config.weights_rec)
    for neurons, suffix in ((block.neurons, ""), (found.readout.neurons, "_out")):
        for ours, theirs in (
            ("dash_syn", "i_syn_decay"),
            ("dash_mem", "v_mem_decay"),
            ("threshold", "threshold"),
            ("bias", "v_mem_bias"),
        ):
            values = [int(getattr(n, theirs)) for n in neurons]
            np.testing.assert_array_equal(values, getattr(config, ours + suffix), err_msg=ours)
    shifts = [int(b.weight_bit_shift) for b in (found.input, block, found.readout)]
    assert shifts == [config.weight_shift_in, config.weight_shift_rec, config.weight_shift_out]
    assert found.bias_enable


@pytest.mark.filterwarnings("ignore:More than 128")
@pytest.mark.parametrize("chip", CHIPS)
def test_cycles_and_clock_are_those_of_the_vendors_model(chip: str) -> None:
    file, _ = emitted(chip)
    target = load_target(chip)
    found = hardware_configuration(chip, xylo_file.arguments(file.config, hardware=True))
    model = device(CYCLES[chip], "power_cycles_model")
    shape = shape_of(file.config, expansion="input_expansion" in target.limits)
    for inputs, hidden in ((1.0, 1.0), (0.4, 0.15), (0.0, 0.0)):
        theirs = model.cycles_model(found, input_sp=inputs, hidden_sp=hidden)
        theirs = theirs[0] + theirs[1] if isinstance(theirs, tuple) else theirs
        assert cycles(shape, Activity(inputs=inputs, hidden=hidden)) == pytest.approx(theirs)
    estimate = power(file.config, target, 24, Activity(), 0.01)
    assert estimate.clock_mhz * 1e6 == pytest.approx(model.est_clock_freq(found, 0.01))
