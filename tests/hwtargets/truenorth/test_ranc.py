"""Recorded runs of RANC, an independent TrueNorth emulator, on crossbars that onnx2snn emitted.

Each recording holds an emitted file, the input spikes of one sample, and the output bus of RANC's
C++ simulator (github.com/UA-RCL/RANC, commit 08ae4bd of 2024-01-23, asymmetric reset) tick by tick
for the same cores. RANC saw no second spike on any axon.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from hwtargets.truenorth import simulator as truenorth_simulator
from onnx2snn.hwtargets.truenorth.file import parse

RECORDINGS = sorted((Path(__file__).parent / "recordings").glob("*.npz"))


def test_there_are_recordings_of_every_structure():
    names = {path.stem for path in RECORDINGS}
    assert names == {"dense", "max_pool", "long_skip", "branches"}


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda p: p.stem)
def test_the_event_simulator_spikes_as_ranc_does(path):
    with np.load(path) as recorded:
        chip, raster, ranc = (recorded[k] for k in ("chip", "raster", "ranc"))
    found = truenorth_simulator.run(io.BytesIO(chip.tobytes()), [raster], len(ranc))
    ours = np.zeros_like(ranc)
    for tick, line in found.spikes:
        ours[tick, line] = 1
    np.testing.assert_array_equal(ours, ranc)
    assert found.merged == 0 and ranc.sum() > 10
    assert parse(chip.tobytes()).cores >= 3
