"""The integer run: against Lava's recorded bit-accurate neuron, and against plain loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnx2snn.hwtargets.integers import cuba_step

RECORDED = Path(__file__).with_name("lava_lif.npz")
CASES = ("if", "bias", "cuba", "leaky_negative", "wrap")


@pytest.mark.parametrize("case", CASES)
def test_the_neuron_update_equals_lavas_fixed_point_lif(case: str) -> None:
    with np.load(RECORDED) as recorded:
        data = {k.split(".")[1]: recorded[k] for k in recorded.files if k.startswith(case + ".")}
    du, dv, threshold, exponent = (int(n) for n in data["params"])
    u = v = np.zeros(5, np.int64)
    bias = data["bias"].astype(np.int64) << exponent
    weights, spikes = (data[k].astype(np.int64) for k in ("weights", "spikes_in"))
    for t in range(data["u"].shape[0]):
        # Lava's Dense sends what it got one step before
        activation = weights @ spikes[:, t - 1] if t else np.zeros(5, np.int64)
        u, v, _ = cuba_step(u, v, activation, du=du, dv=dv, bias=bias, threshold=threshold)
        np.testing.assert_array_equal(u, data["u"][t], err_msg=f"u at step {t}")
        np.testing.assert_array_equal(v, data["v"][t], err_msg=f"v at step {t}")
