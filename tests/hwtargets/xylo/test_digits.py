"""The two spoken-digit networks on Xylo: accuracy on the chip's integers, vendor equality.

Slow: needs the models and data beside the repository (or where ONNX2SNN_SHARED points)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from places import SHARED

import onnx2snn
from hwtargets.chip_nets import map_graph
from hwtargets.xylo.rockpool import device as rockpool_device
from hwtargets.xylo.vendor import vendor_run
from onnx2snn.hwtargets.mapping import Mapped
from onnx2snn.hwtargets.placement import load_target
from onnx2snn.hwtargets.xylo import core as xylo_core
from onnx2snn.hwtargets.xylo import file as xylo_file

STEPS = 32
EIGHT, TEN = "fsdd_mlp16_63x2_8cls", "fsdd_mlp16_63"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (SHARED / "models").is_dir(), reason=f"no models in {SHARED}"),
]


def data(classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Test samples, labels and calibration samples of the first ``classes`` digits."""
    with np.load(SHARED / "data" / "fsdd_band16.npz") as d:
        test, calib = d["y_test"] < classes, d["y_calib"] < classes
        return d["x_test"][test], d["y_test"][test], d["x_calib"][calib]


def placed(model: str, chip: str, **options: Any) -> tuple[Mapped, np.ndarray, np.ndarray, float]:
    """The mapping, test samples and labels, and the ANN's accuracy."""
    x, y, calib = data(8 if model == EIGHT else 10)
    loaded = onnx2snn.load_onnx(SHARED / "models" / f"{model}.onnx")
    graph = onnx2snn.convert(loaded, calib, steps=STEPS)
    (scores,) = onnx2snn.onnx_ann(loaded, graph)({"input": x}).values()
    target = load_target(chip)
    mapped = map_graph(graph, target, options, steps=STEPS, calib=calib)
    return mapped, x, y, float(np.mean(scores.argmax(1) == y))


@pytest.mark.parametrize(
    ("model", "chip"),
    [(EIGHT, "xylo-audio2"), (TEN, "xylo-audio3"), (TEN, "xylo-imu")],
)
@pytest.mark.parametrize("options", [{}, {"input_spikes": 15, "spikes": 8, "readout": "charge"}])
def test_accuracy_on_the_chips_integers_is_within_two_points_of_the_ann(
    model: str, chip: str, options: dict[str, Any]
) -> None:
    mapped, x, y, ann = placed(model, chip, **options)
    assert mapped.violations == () and mapped.run is not None
    chip_accuracy = float(np.mean(mapped.run(x, STEPS).readout[-1].argmax(1) == y))
    assert chip_accuracy >= ann - 0.02


@pytest.mark.parametrize(
    ("model", "chip"), [(EIGHT, "xylo-audio2"), (TEN, "xylo-audio3"), (TEN, "xylo-imu")]
)
def test_every_spike_and_state_of_every_test_sample_equals_the_vendor_simulator(
    model: str, chip: str
) -> None:
    pytest.importorskip("xylosim")
    mapped, x, _, _ = placed(model, chip)
    file = xylo_file.parse(mapped.files[f"{chip}.json"])
    trains = file.coding.encode(x)
    ours = xylo_core.simulate_core(file.config, trains, record=True)
    for name, value in vendor_run(file.config, trains).items():
        np.testing.assert_array_equal(getattr(ours, name), value, err_msg=name)


@pytest.mark.parametrize(
    ("model", "chip", "device"),
    [(EIGHT, "xylo-audio2", "syns61201"), (TEN, "xylo-imu", "syns63300")],
)
def test_the_emitted_specification_runs_in_the_vendors_own_tool(
    model: str, chip: str, device: str
) -> None:
    """rockpool's ``XyloSim.from_specification`` takes the file's ``specification`` as it is."""
    pytest.importorskip("rockpool")
    simulator = rockpool_device(device, "xylo_sim").XyloSim
    mapped, x, _, _ = placed(model, chip)
    content = mapped.files[f"{chip}.json"]
    spec = json.loads(content)["specification"]
    given = {
        k: np.array(v) if k != "aliases" and isinstance(v, list) else v for k, v in spec.items()
    }
    device_run = simulator.from_specification(**given, dt=1e-3)
    file = xylo_file.parse(content)
    trains = file.coding.encode(x[:40])
    ours = xylo_core.simulate_core(file.config, trains)
    for k, sample in enumerate(trains):
        device_run.reset_state()
        out, _, record = device_run.evolve(sample, record=True)
        np.testing.assert_array_equal(out, ours.output[k])
        np.testing.assert_array_equal(record["Spikes"], ours.spikes[k])
        np.testing.assert_array_equal(record["Vmem_out"], ours.v_mem_out[k])


def test_ten_classes_do_not_fit_audio_2_and_the_report_says_why() -> None:
    mapped, *_ = placed(TEN, "xylo-audio2")
    (violation,) = mapped.violations
    assert (violation.rule, violation.used, violation.limit) == ("outputs", 10, 8)
