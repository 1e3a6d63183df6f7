"""A sweep on a Dask cluster of this machine beside the same without one.

    python benchmarks/cluster.py [--workers 2] [--samples 4000] [--runs 5]

The bundled CNN on the bundled digits, repeated: two recipes, two T, a conversion for each. Both
ways take turns, after one of each that does not count: what workers import and plan once is not in
it, what every sweep sends them is. It prints the seconds of each run and the processor's of all
processes together (on a machine that others use too, these tell more), the medians and their
quotients, and whether the numbers were the same.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import psutil

import onnx2snn

MODELS = Path(__file__).parent.parent / "models"


@contextmanager
def cluster(workers: int, folder: Path) -> Iterator[str]:
    """The address of a scheduler with so many workers, each on one thread."""
    file = folder / "scheduler.json"

    def started(verb: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{verb}", "--no-dashboard"]
        process = subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        return process

    with ExitStack() as stack:
        started("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
        while not file.exists() or not file.read_text():
            time.sleep(0.05)
        address = str(json.loads(file.read_text())["address"])
        for _ in range(workers):
            started("worker", address, "--nthreads", "1")
        yield address


def processor_seconds() -> float:
    """Of this process and all below it, those that ended too."""
    own = psutil.Process()
    return sum(sum(each.cpu_times()[:4]) for each in (own, *own.children(recursive=True)))


def swept(data: Path, **more: str) -> tuple[float, float, str]:
    """Seconds, the processor's seconds, and all numbers."""
    began, used = time.perf_counter(), processor_seconds()
    found = onnx2snn.sweep(
        MODELS / "digits_cnn.onnx",
        data=f"{data}:x,y",
        calibration=f"{data}:c",
        preprocessing=onnx2snn.Preprocessing(scale=16, layout="NHWC"),
        steps=[16, 32],
        recipes=("binary", "graded"),
        convert_each=True,
        **more,
    )
    seconds = time.perf_counter() - began
    document = found.to_dict()
    for run in document["runs"]:
        del run["seconds"]
    del found
    gc.collect()  # ends what the engine forked
    used = processor_seconds() - used
    return seconds, used, json.dumps(document)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        data = Path(name, "d.npz")
        with np.load(MODELS / "digits.npz") as stored:
            which = np.arange(given.samples) % len(stored["x_test"])
            x, y = stored["x_test"][which], stored["y_test"][which]
            np.savez(data, x=x, y=y, c=stored["x_calib"])
        address = stack.enter_context(cluster(given.workers, Path(name)))
        taken: dict[str, list[tuple[float, float]]] = {"here": [], "cluster": []}
        said = set()
        for run in range(given.runs + 1):
            for where, seconds in taken.items():
                more = {"scheduler": address} if where == "cluster" else {}
                took, used, numbers = swept(data, **more)
                said.add(numbers)
                if run:
                    seconds.append((took, used))
                    print(f"{where}: {took:.1f} s, processor {used:.1f} s", flush=True)
    for name, at in (("seconds", 0), ("processor's seconds", 1)):
        here, there = (statistics.median(each[at] for each in t) for t in taken.values())
        print(f"{name}: here {here:.1f}, {given.workers} workers {there:.1f}: {there / here:.2f}")
    print("the same numbers" if len(said) == 1 else "OTHER NUMBERS")


if __name__ == "__main__":
    main()
