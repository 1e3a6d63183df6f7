"""A file without local functions in OpenVINO: how far its answers are from given ones.

    python read_openvino.py FLAT.onnx GIVEN.npz      # GIVEN: the inputs by name, and "wanted"

Runs in an environment with the packages openvino and numpy.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import openvino as ov


def main(file, given):
    with np.load(given) as arrays:
        inputs = dict(arrays)
    wanted = inputs.pop("wanted")
    core = ov.Core()
    line = {"tool": f"OpenVINO {ov.__version__}", "largest": float(np.abs(wanted).max())}
    # "f32" is asked for since bfloat16, the default where a processor has it, changes spikes.
    for precision in ("f32", "bf16"):
        net = core.compile_model(
            core.read_model(file), "CPU", {"INFERENCE_PRECISION_HINT": precision}
        )
        line[f"differ_{precision}"] = float(np.abs(net(inputs)[0] - wanted).max())
    print(json.dumps(line))


main(*sys.argv[1:3])
