"""Peak resident memory of a sweep against the number of samples, which lie in a mapped file.

    python benchmarks/memory_of_sweep.py [--samples 2000,50000] [--side 28] [-T 64]

A small dense network on random pictures, which is all that a sweep needs to keep books. Every
sweep is a process of its own, from the command line to the written pages; the peak is the kernel's
VmHWM of it, pages of the mapped file included. It prints a line for each, and the last divided by
the first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from memory import peak_bytes
from onnx import TensorProto, helper, numpy_helper, save

CLASSES, HIDDEN = 10, 32


def network(path: Path, side: int) -> None:
    """A picture of side x side numbers -> a hidden layer -> classes."""
    rng = np.random.default_rng(0)
    sizes = {"w": (side * side, HIDDEN), "v": (HIDDEN, CLASSES)}
    tensors = [
        numpy_helper.from_array((rng.normal(size=s) / s[0] ** 0.5).astype(np.float32), name)
        for name, s in sizes.items()
    ]
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, side, side])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", CLASSES])
    opset = [helper.make_opsetid("", 17)]
    graph = helper.make_graph(nodes, "small", [x], [y], tensors)
    save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)


def pictures(path: Path, count: int, side: int) -> None:
    """Random bytes, written a part at a time."""
    rng, shape = np.random.default_rng(1), (count, 1, side, side)
    stored = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    for start in range(0, count, 1000):
        part = stored[start : start + 1000]
        part[:] = rng.integers(0, 256, part.shape, np.uint8)
    stored.flush()


def child(folder: str, steps: int) -> None:
    """Sweep, and print the peak."""
    from onnx2snn.cli import main

    given = ["--data", f"{folder}/x.npy", "--calib", f"{folder}/calib.npy", "--scale", "255"]
    command = ["sweep", f"{folder}/net.onnx", *given, "-T", str(steps), "-o", f"{folder}/out"]
    sys.stdout = sys.stderr
    main([*command, "--seed", "0"], standalone_mode=False)
    print(json.dumps({"peak": peak_bytes()}), file=sys.__stdout__)


def measured(count: int, side: int, steps: int) -> int:
    """Bytes at the peak of a sweep over ``count`` samples."""
    with tempfile.TemporaryDirectory() as folder:
        network(Path(folder, "net.onnx"), side)
        pictures(Path(folder, "x.npy"), count, side)
        pictures(Path(folder, "calib.npy"), 200, side)
        command = [sys.executable, __file__, "--child", folder, "-T", str(steps)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return int(json.loads(done.stdout)["peak"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", default="2000,50000")
    parser.add_argument("--side", type=int, default=28)
    parser.add_argument("-T", "--steps", type=int, default=64)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child, given.steps)
        return
    peaks = []
    for count in map(int, given.samples.split(",")):
        peaks.append(measured(count, given.side, given.steps))
        what = f"{count:6,} samples of {given.side**2} bytes, T={given.steps}"
        print(f"{what}: {peaks[-1] / 2**20:.0f} MiB")
    print(f"last / first: {peaks[-1] / peaks[0]:.3f}")


if __name__ == "__main__":
    main()
