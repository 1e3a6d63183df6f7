"""Everything docs/performance.md reports, in one run of about 20 minutes on two quiet cores.

    python benchmarks/all.py --shared FOLDER --peers ENVIRONMENT_FOLDER --output FOLDER

Every part is a process of its own and writes its JSON (and what it printed) into the output folder
as it goes; a part whose file is there already is left out, so a run can be taken up again. The most
important come first. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

HERE = Path(__file__).parent


def parts(shared: Path, peers: Path | None) -> dict[str, list[str]]:
    """Name of each part -> script and arguments."""
    place = ["--shared", str(shared)]
    both = [*place, "--peers", str(peers)] if peers else place
    some, fast = "spikingjelly,sinabs", "spikingjelly,spikingjelly-compiled,sinabs"

    def speed(networks: str, steps: str, *more: str) -> list[str]:
        return ["speed.py", *both, "--networks", networks, "--steps", steps, *more]

    return {
        "resnet20": speed("resnet20", "32,8", "--modes", fast),
        "small": speed("lenet,mlp", "32,8,128", "--modes", fast),
        "kws": speed("kws", "32,8,128", "--modes", some, "--repeats", "3"),
        "recipes": speed(
            *("resnet20", "32", "--recipes", "signed,graded,differential,lag", "--repeats", "3")
        ),
        "resnet20_T128": speed("resnet20", "128", "--modes", "spikingjelly", "--repeats", "3"),
        "layers": ["layers.py", *place],
        "vgg": speed(
            "vgg16_random", "8,32", "--batch", "20", "--modes", "spikingjelly", "--repeats", "3"
        ),
        "memory": ["memory.py", *both],
        "scaling": ["scaling.py"],
        "sparsity": ["sparsity.py", *place],
        "sweep": ["sweep.py", *place],
        "early_exit": ["early_exit.py", *place],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--parts", help="comma-separated; default: all")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    available = parts(options.shared, options.peers)
    names = options.parts.split(",") if options.parts else list(available)
    began = perf_counter()
    for name in names:
        target = options.output / f"{name}.json"
        if target.exists():
            continue
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else -1.0
        print(f"[{perf_counter() - began:.0f} s, load {load:.1f}] {name}", flush=True)
        run_part(available[name], target, load)
    (options.output / "machine.json").write_text(json.dumps(machine(), indent=1))


def run_part(arguments: list[str], target: Path, load: float) -> None:
    """The part's lines are shown; a part that fails is said and does not stop the others. Its file
    only takes its final name when it is done."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "out.json"
        command = [sys.executable, str(HERE / arguments[0]), *arguments[1:]]
        started = perf_counter()
        done = subprocess.run([*command, "--output", str(made)], check=False)
        if made.exists():
            document = json.loads(made.read_text())
            document |= {"load_before": load, "seconds": perf_counter() - started}
            document["complete"] = done.returncode == 0
            suffix = "" if done.returncode == 0 else ".partial"
            target.with_name(target.name + suffix).write_text(json.dumps(document, indent=1))
        if done.returncode:
            print(f"  {arguments[0]} ended with {done.returncode}", flush=True)


def machine() -> dict:
    """The processor, its caches, and the system."""
    names = ("model name", "cache size", "flags")
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    found = {k.strip(): v.strip() for k, v in pairs if k.strip() in names}
    vector = [f for f in found.pop("flags", "").split() if f.startswith(("avx", "amx"))]
    return {**found, "vector": vector, "system": platform.platform(), "cores": os.cpu_count()}


if __name__ == "__main__":
    main()
