"""What Norse and sinabs do with an exported NIR file, as they read it and with its conventions.

    python benchmarks/exchange.py --make ENV    # an environment with both (PyTorch: some gigabytes)
    python benchmarks/exchange.py --shared FOLDER --python ENV/bin/python      # LeNet and ResNet-20
    python benchmarks/exchange.py NET.snn.onnx DATA [--samples 4] --python ENV/bin/python
    python benchmarks/exchange.py --make ENV --with openvino netron

For each tool, line by line: one more of the declared conventions set in it, and how many neurons
then send another number of spikes than onnx2snn's. Exit status 1 unless the last line of each is 0.
FOLDER has models/ and data/ (benchmarks/networks.py). The tests of tests/exchange take such an
environment's Python in ONNX2SNN_OTHERS (both tools), ONNX2SNN_OPENVINO and ONNX2SNN_NETRON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from networks import REAL

import onnx2snn
from onnx2snn.exchange.counts import count, window
from onnx2snn.runtime.facts import Identifiers

READERS = ("read_norse.py", "read_sinabs.py")
PACKAGES = ("norse", "sinabs")
SHARED, STEPS = {"lenet": 8, "resnet20": 4}, 16  # samples of each network


def make(folder: str, packages: Sequence[str]) -> None:
    venv.create(folder, with_pip=True)
    pip = [str(Path(folder) / "bin" / "python"), "-m", "pip", "install", "-q", *packages]
    subprocess.run(pip, check=True)


def of_shared(shared: str, python: str) -> bool:
    """``compare`` of the two networks of docs/exchange.md, converted as ``convert`` does."""
    same = True
    for name, samples in SHARED.items():
        model, data, preprocessing = REAL[name]
        given = f"{shared}/data/{data}"
        with TemporaryDirectory() as folder:
            ann = onnx2snn.load_onnx(f"{shared}/models/{model}")
            calibration = onnx2snn.load_samples(f"{given}:x_calib", ann, preprocessing)
            file = f"{folder}/{name}.snn.onnx"
            onnx2snn.save(onnx2snn.convert(ann, calibration, steps=STEPS), file)
            print(name, flush=True)
            same &= compare(file, f"{given}:x_test", samples, python)
    return same


def compare(network: str, data: str, samples: int, python: str) -> bool:
    """Whether both tools sent the same spikes at last."""
    net = onnx2snn.load(network)
    (x,) = onnx2snn.load_samples(data, net, limit=samples).whole().values()
    (name,) = onnx2snn.api.input_shapes(net)
    done = count(net, {name: x}, window(net))
    names = Identifiers(net, ("metadata", "input_type", "output_type")).of
    same = True
    with TemporaryDirectory() as folder:
        file, given = Path(folder) / "net.nir", Path(folder) / "given.npz"
        onnx2snn.export(net, file, to="nir", approximate=True)
        spikes = {f"spikes/{names[k]}": v for k, v in done.spikes.items()}
        np.savez(given, x=x, steps=done.steps, **spikes)
        for reader in READERS:
            script = Path(__file__).with_name("readers") / reader
            found = subprocess.run(
                [python, str(script), str(file), str(given)], capture_output=True, text=True
            )
            lines = [json.loads(line) for line in found.stdout.splitlines() if line[:1] == "{"]
            for line in lines:
                print(json.dumps(line))
            if found.returncode or not lines:
                print(found.stderr.strip().splitlines()[-1])
            same &= bool(lines) and not found.returncode and lines[-1]["differ"] == 0
    return same


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", nargs="?")
    parser.add_argument("data", nargs="?")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--make", metavar="ENV")
    parser.add_argument("--with", dest="packages", nargs="+", default=PACKAGES)
    parser.add_argument("--shared", metavar="FOLDER")
    asked = parser.parse_args()
    if asked.make:
        make(asked.make, asked.packages)
    elif asked.shared:
        sys.exit(not of_shared(asked.shared, asked.python))
    else:
        sys.exit(not compare(asked.network, asked.data, asked.samples, asked.python))
