"""``mem_limit`` bounds what a conversion adds to the process, by the kernel's own count."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

LIMIT = 112 << 20
# Prints the most that was resident while it converts above what was before, for a limit each.
CHILD = """
import os
import sys
from pathlib import Path
import numpy as np
import onnx2snn

os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])  # every thread works on tiles of its own

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))

model = onnx2snn.load_onnx(sys.argv[1])
x = np.random.default_rng(0).random((256, 3, 32, 32), np.float32)
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before = status("VmRSS")
made = onnx2snn.convert(model, x, steps=32, mem_limit=int(sys.argv[2]))
print(status("VmHWM") - before, made.meta["calibration"]["used"])
"""


def network(path: Path) -> None:
    """Three convolutions of 16 channels on 32 x 32, and their mean."""
    rng, nodes, tensors, x, channels = np.random.default_rng(0), [], [], "x", 3
    for number in range(3):
        weight = rng.normal(0, (2 / (9 * channels)) ** 0.5, (16, channels, 3, 3))
        tensors.append(numpy_helper.from_array(weight.astype(np.float32), f"w{number}"))
        pads = {"pads": [1, 1, 1, 1]}
        nodes.append(helper.make_node("Conv", [x, f"w{number}"], [f"z{number}"], **pads))
        nodes.append(helper.make_node("Relu", [f"z{number}"], [f"h{number}"]))
        x, channels = f"h{number}", 16
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["y"]))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", ["n", 3, 32, 32]), ("y", ["n", 16, 1, 1]))
    ]
    graph = helper.make_graph(nodes, "stack", ends[:1], ends[1:], tensors)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_a_conversion_adds_no_more_than_its_limit_to_the_process(tmp_path: Path) -> None:
    network(tmp_path / "net.onnx")

    def added(limit: int) -> tuple[int, int]:
        command = [sys.executable, "-c", CHILD, str(tmp_path / "net.onnx"), str(limit)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        most, samples = done.stdout.split()
        print(limit >> 20, int(most) >> 20, samples)
        return int(most), int(samples)

    free, samples = added(1 << 30)
    bounded, _ = added(LIMIT)
    assert samples == 256
    assert bounded < 1.1 * LIMIT
    assert bounded < free
