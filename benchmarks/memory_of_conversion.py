"""Peak resident memory of a conversion, stage by stage, and the size of its file.

    python benchmarks/memory_of_conversion.py [--widths 784,6144,6144,10] [--samples 256] [-T 16]
    python benchmarks/memory_of_conversion.py --model NET.onnx [--samples 128]

An MLP with random weights on random inputs, or a model of your own, in a process of its own. For
every stage it prints the most that was resident while it lasted (the kernel's VmHWM, reset before
each) above what the process had when its libraries were loaded, in MiB and divided by the weights,
and the processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
from memory import peak_bytes
from onnx import TensorProto, helper, numpy_helper, save


def network(path: Path, widths: list[int]) -> None:
    """Gemm and ReLU, as PyTorch exports them: weights (out, in). Biases keep all neurons at work,
    as those of a trained network are."""
    rng, x, nodes, tensors = np.random.default_rng(0), "x", [], []
    for number, (before, width) in enumerate(pairwise(widths)):
        weight = rng.standard_normal((width, before), np.float32) * np.float32((2 / before) ** 0.5)
        tensors.append(numpy_helper.from_array(weight, f"w{number}"))
        tensors.append(numpy_helper.from_array(np.full(width, 0.5, np.float32), f"b{number}"))
        inputs = [x, f"w{number}", f"b{number}"]
        nodes.append(helper.make_node("Gemm", inputs, [f"z{number}"], transB=1))
        x = f"z{number}"
        if number < len(widths) - 2:
            nodes.append(helper.make_node("Relu", [x], [f"h{number}"]))
            x = f"h{number}"
    ends = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
        for name, size in (("x", widths[0]), (x, widths[-1]))
    }
    graph = helper.make_graph(nodes, "mlp", [ends["x"]], [ends[x]], tensors)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def inputs(count: int, shape: tuple[int, ...]) -> np.ndarray:
    """Mixtures of a few pictures, so that there is something to fit."""
    rng = np.random.default_rng(1)
    few = rng.random((8, *shape), np.float32)
    return np.tensordot(rng.dirichlet(np.ones(8), count).astype(np.float32), few, axes=1)


def child(model: str, samples: int, steps: int, folder: str) -> None:
    """Converts, saves and reads again; prints the stages as JSON."""
    import onnx2snn
    from onnx2snn.runtime import file as onnxfile

    stages: list[tuple[str, int, float]] = []

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        begun = time.process_time()
        yield
        stages.append((name, peak_bytes() - idle, time.process_time() - begun))

    idle = peak_bytes()
    with stage("load"):
        loaded = onnx2snn.load_onnx(model)
    x = inputs(samples, loaded.inputs[0].shape)
    with stage("convert"):
        network = onnx2snn.convert(loaded, x, steps=steps)
    made = Path(folder) / "net.snn.onnx"
    del loaded
    with stage("save"):
        onnxfile.save(network, made)
    del network
    with stage("read again"):
        onnxfile.load(made)
    print(json.dumps({"stages": stages, "file": made.stat().st_size}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--widths", default="784,6144,6144,10")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("-T", "--steps", type=int, default=16)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child[0], given.samples, given.steps, given.child[1])
        return
    with tempfile.TemporaryDirectory() as folder:
        model = given.model or Path(folder) / "mlp.onnx"
        if given.model is None:
            network(model, [int(width) for width in given.widths.split(",")])
        size = model.stat().st_size
        command = [sys.executable, __file__, "--child", str(model), folder]
        command += ["--samples", str(given.samples), "-T", str(given.steps)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
        if done.returncode:
            raise SystemExit(done.stderr)
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"model: {size / 2**20:.0f} MiB")
    for name, peak, seconds in found["stages"]:
        line = f"{peak / 2**20:6.0f} MiB, {peak / size:5.2f} x the model, {seconds:6.1f} s"
        print(f"{name:<11}{line}")
    print(f"file: {found['file'] / 2**20:.0f} MiB, {found['file'] / size:.2f} x the model")


if __name__ == "__main__":
    main()
