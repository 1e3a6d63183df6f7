"""A whole sweep as a user runs it: conversion, simulation of T = 1..64 and report, timed.

python benchmarks/sweep.py --shared FOLDER
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

MEAN, STD = "0.485,0.456,0.406", "0.229,0.224,0.225"


def sweep(shared: Path, samples: int, steps: int, engine: str) -> dict:
    """Seconds and peak memory of the command, and what it found at the last step."""
    data = shared / "data" / "cifar10.npz"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-P", "-m", "onnx2snn", "sweep"]
        command += [str(shared / "models/resnet20.onnx")]
        command += ["--data", f"{data}:x_test,y_test", "--calib", f"{data}:x_calib"]
        command += ["--scale", "255", "--mean", MEAN, "--std", STD, "--layout", "NHWC"]
        command += ["--recipe", "binary", "--samples", str(samples), "-T", f"1:{steps}"]
        command += ["--engine", engine, "-o", f"{folder}/out", "--json"]
        start = perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        taken = perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        document = json.loads(done.stdout)
    last = document["runs"][0]["points"][-1]
    return {
        "engine": engine,
        "samples": samples,
        "T": steps,
        "seconds": taken,
        "peak_mib": peak,
        "ann_accuracy": document["ann"]["accuracy"],
        "accuracy": last["accuracy"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--engines", default="fast")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    results: dict = {"schema": 1, "runs": []}
    for engine in options.engines.split(","):
        found = sweep(options.shared, options.samples, options.steps, engine)
        results["runs"].append(found)
        print(found, flush=True)
        if options.output:
            options.output.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
