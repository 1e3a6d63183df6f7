"""What a conversion costs, before and after: processor seconds on one core and peak memory.

    python benchmarks/cost_of_conversion.py --shared FOLDER --before PYTHON --after PYTHON
        [--networks efficientnet,resnet56,resnet20] [-T 32] [--samples 128] [--rounds 1]

PYTHON is an interpreter with a version of onnx2snn installed. Every conversion is a process of its
own on one core, the two versions in turn, so that a busy machine slows both; the least of the
rounds counts, of processor time and of the peak (the kernel's VmHWM, the interpreter and its
libraries included). ``resnet56`` has random weights: only its cost means something.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

RESNET56 = [16, *["R16"] * 9, "S32", *["R32"] * 8, "S64", *["R64"] * 8, "P8"]
IMAGENET = "efficientnet", "efficientnet_lite0.onnx", "imagenet_sample.npz"
CIFAR = "resnet20", "resnet20.onnx", "cifar10.npz"


def child(name: str, shared: Path, steps: int, samples: int) -> None:
    """Converts in this process; prints what it took as JSON."""
    from time import process_time

    import onnx2snn
    from onnx2snn import Preprocessing

    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    pixels = Preprocessing(scale=255, mean=mean, std=std, layout="NHWC")
    if name == "resnet56":
        file, data = shared / "resnet56.onnx", shared / "resnet56.npy"
        model = onnx2snn.load_onnx(file)
        calibration = onnx2snn.load_samples(str(data), model, limit=samples)
    else:
        _, weights, images = next(one for one in (IMAGENET, CIFAR) if one[0] == name)
        model, data = onnx2snn.load_onnx(shared / "models" / weights), shared / "data" / images
        calibration = onnx2snn.load_samples(f"{data}:x_calib", model, pixels, limit=samples)
    begun = process_time()
    network = onnx2snn.convert(model, calibration, steps=steps)
    took = process_time() - begun
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
    used = network.meta["calibration"]["used"]
    print(json.dumps({"seconds": took, "MiB": peak, "samples": used}))


def random_resnet(folder: Path, samples: int) -> None:
    import numpy as np
    import onnx
    from networks import random_network

    onnx.save(random_network(RESNET56), folder / "resnet56.onnx")
    x = np.random.default_rng(1).normal(size=(samples, 3, 32, 32)).astype(np.float32)
    np.save(folder / "resnet56.npy", x)


def measured(python: Path, name: str, shared: Path, given: argparse.Namespace) -> dict:
    command = [str(python), __file__, "--child", name, "--shared", str(shared)]
    command += ["-T", str(given.steps), "--samples", str(given.samples)]
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    core = {min(os.sched_getaffinity(0))}
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | threads,
        preexec_fn=lambda: os.sched_setaffinity(0, core),
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--after", type=Path, default=Path(sys.executable))
    parser.add_argument("--networks", default="efficientnet,resnet56,resnet20")
    parser.add_argument("-T", "--steps", type=int, default=32)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child, given.shared, given.steps, given.samples)
        return
    with tempfile.TemporaryDirectory() as folder:
        random_resnet(Path(folder), given.samples)
        for name in given.networks.split(","):
            shared = Path(folder) if name == "resnet56" else given.shared
            pythons = [p for p in (given.before, given.after) if p is not None]
            found: dict[Path, list[dict]] = {python: [] for python in pythons}
            for _ in range(given.rounds):
                for python in pythons:
                    found[python].append(measured(python, name, shared, given))
            for python, runs in found.items():
                seconds, peak = (min(run[key] for run in runs) for key in ("seconds", "MiB"))
                which = "before" if python == given.before else "after"
                line = f"{seconds:7.1f} s {peak:7.0f} MiB, {runs[0]['samples']} samples in the loop"
                print(f"{name:<14} T={given.steps:<4} {which:<7}{line}", flush=True)


if __name__ == "__main__":
    main()
