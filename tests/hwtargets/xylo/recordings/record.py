"""Record the vendor's simulator for the default tests.

Needs xylosim 0.1.3 beside onnx2snn (it is built from source, with pybind11, wheel and setuptools
installed first and without build isolation). Run from the tests/hwtargets folder:

    python xylo_recordings/record.py

Writes random.npz (configurations that use every register to its end) and mapped.npz (emitted
configurations of perceptrons with random weights, in the sizes of the spoken-digit networks). Keys
are ``case/field``: the fields of XyloConfig, ``trains``, and the vendor's records of every step.
"""

# ruff: noqa: E402
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from hwtargets.chip_nets import map_graph
from hwtargets.xylo.networks import perceptron, random_config, random_trains
from hwtargets.xylo.vendor import vendor_run

from onnx2snn.hwtargets.placement import load_target
from onnx2snn.hwtargets.xylo import file as xylo_file


def save(name: str, cases: dict[str, tuple[object, np.ndarray]]) -> None:
    arrays = {}
    for case, (config, trains) in cases.items():
        values = {field: getattr(config, field) for field in config.__dataclass_fields__}
        values |= {"trains": trains} | {
            f"vendor_{k}": v for k, v in vendor_run(config, trains).items()
        }
        for field, value in values.items():
            array = np.asarray(value)
            arrays[f"{case}/{field}"] = array.astype(np.min_scalar_type(-int(np.abs(array).max())))
    np.savez_compressed(HERE / f"{name}.npz", **arrays)


def mapped(chip: str, *sizes: int) -> tuple[object, np.ndarray]:
    target = load_target(chip)
    x = np.random.default_rng(1).random((64, sizes[0]))
    outcome = map_graph(perceptron(*sizes), target, steps=24, calib=x)
    file = xylo_file.parse(outcome.files[f"{chip}.json"])
    return file.config, file.coding.encode(x[:2])


def main() -> None:
    rng = np.random.default_rng(2026)
    cases = {}
    for k in range(12):
        config = random_config(rng)
        cases[f"random{k}"] = (config, random_trains(rng, 2, 20, config.inputs))
    save("random", cases)
    save(
        "mapped",
        {
            "audio2": mapped("xylo-audio2", 16, 63, 63, 8),
            "audio3": mapped("xylo-audio3", 16, 63, 10),
        },
    )


if __name__ == "__main__":
    main()
