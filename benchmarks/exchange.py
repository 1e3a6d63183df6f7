"""What Norse and sinabs do with an exported NIR file, as they read it and with its conventions.

    python benchmarks/exchange.py NET.snn.onnx DATA [--samples 4] --python ENV/bin/python
    python benchmarks/exchange.py --make ENV    # an environment with both (PyTorch: some gigabytes)

For each tool, line by line: one more of the declared conventions set in it, and how many neurons
then send another number of spikes than onnx2snn's. Exit status 1 unless the last line of each is 0.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import venv
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import onnx2snn
from onnx2snn.exchange.counts import count, window
from onnx2snn.runtime.facts import Identifiers

READERS = ("read_norse.py", "read_sinabs.py")
PACKAGES = ("norse", "sinabs")


def make(folder: str) -> None:
    venv.create(folder, with_pip=True)
    pip = [str(Path(folder) / "bin" / "python"), "-m", "pip", "install", "-q", *PACKAGES]
    subprocess.run(pip, check=True)


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
    asked = parser.parse_args()
    if asked.make:
        make(asked.make)
    else:
        sys.exit(not compare(asked.network, asked.data, asked.samples, asked.python))
