"""Peak resident memory of a simulation against the number of steps and the batch.

    python benchmarks/memory.py --shared FOLDER --peers ENVIRONMENT_FOLDER

Every measurement is a process of its own: the peak of its resident memory, the same before the
simulation began (interpreter, libraries, network and samples), and what the process it forked has
for itself (the rest it shares with the first). Peaks are the kernel's VmHWM, which begins with the
program; getrusage's ru_maxrss would begin with what started it, here a larger one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import onnx2snn

USUAL = 32  # steps for the other batches, and for the peer


def status(path: str, *names: str) -> int:
    """Bytes: the sum of these lines of a file of /proc that counts kilobytes."""
    lines = (line.split() for line in Path(path).read_text().splitlines())
    return sum(int(line[1]) * 1024 for line in lines if line[0].rstrip(":") in names)


def peak_bytes() -> int:
    return status("/proc/self/status", "VmHWM")


def children() -> list[str]:
    """The processes that simulate beside this one, which stay until the simulator is gone."""
    tasks = Path("/proc/self/task").glob("*/children")
    return [pid for task in tasks for pid in task.read_text().split()]


def own_bytes(pid: str) -> int:
    """What a process shares with no other; its buffers stay as they are between two runs."""
    return status(f"/proc/{pid}/smaps_rollup", "Private_Clean", "Private_Dirty")


def child(network: str, samples: str, steps: int, engine: str) -> None:
    """Simulate, and print the peaks as JSON."""
    from engines import simulator

    graph, x = onnx2snn.load(network), np.load(samples)
    made = simulator(graph, engine)
    before = peak_bytes()
    made.run(x, steps)
    forked = sum(own_bytes(pid) for pid in children())
    print(json.dumps({"before": before, "peak": peak_bytes(), "forked": forked}))


def ours(network: str, samples: str, steps: int, engine: str) -> dict:
    command = [sys.executable, __file__, "--child", network, samples, str(steps), engine]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def main() -> None:
    import networks
    from engines import ENGINES
    from peers import Peer, environment

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--network", default="")
    parser.add_argument("--steps", default="8,32,128,1024")
    parser.add_argument("--batches", default="25,100,400", help="the first with all --steps")
    parser.add_argument("--engines", help="comma-separated; default: all")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    name = options.network or ("resnet20" if options.shared else "resnet20_random")
    steps = [int(t) for t in options.steps.split(",")]
    batches = [int(b) for b in options.batches.split(",")]
    rows = []
    for batch in batches:
        network = networks.load(name, batch, options.shared)
        with tempfile.TemporaryDirectory() as folder:
            path, samples = f"{folder}/net.snn.onnx", f"{folder}/x.npy"
            onnx2snn.save(network.graph, path)
            np.save(samples, network.x)
            for engine in options.engines.split(",") if options.engines else ENGINES:
                for t in steps if batch == batches[0] else [USUAL]:
                    row = {"engine": engine, "T": t, "batch": batch}
                    rows.append(row | ours(path, samples, t, engine))
                    print(show(rows[-1]), flush=True)
        if options.peers:
            peer = Peer(environment(options.peers), "spikingjelly", network.graph, network.x, 2)
            row = {"engine": "spikingjelly", "T": USUAL, "batch": batch}
            row["before"] = peer.run(0)["peak_bytes"]
            rows.append(row | {"peak": peer.run(USUAL)["peak_bytes"]})
            print(show(rows[-1]), flush=True)
            peer.close()
        if options.output:
            document = {"schema": 1, "network": name, "results": rows}
            options.output.write_text(json.dumps(document, indent=1))


def show(row: dict) -> str:
    peak, before = row["peak"] / 2**20, row["before"] / 2**20
    where = f"{row['engine']} T={row['T']} batch={row['batch']}"
    forked = row.get("forked", 0) / 2**20
    parts = f"peak {peak:.0f} MiB (before {before:.0f}), forked {forked:.0f} MiB"
    return f"{where}: {parts}: {peak + forked:.0f} MiB"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
    else:
        main()
