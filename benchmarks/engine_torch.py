"""The engine "torch" on the CPU beside the others: seconds of a run, interleaved.

    python benchmarks/engine_torch.py --shared FOLDER [--networks lenet,kws,resnet20] [--steps 16]
        [--batch 50] [--repeats 3] [--threads 1]

Every engine runs the same network on the same samples, one after the other, as often as
``--repeats`` says; a line gives medians, and how much slower than "fast" each was in the median
round. The definition ("numpy") counts as one of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
from time import perf_counter

import networks
from engines import ENGINES, simulator


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--shared", type=Path, required=True, help="with models/ and data/")
    parser.add_argument("--networks", default="lenet,kws,resnet20")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of the engines fast and torch")
    given = parser.parse_args()
    for name in given.networks.split(","):
        network = networks.load(name, given.batch, given.shared)
        made = {
            engine: simulator(network.graph, engine, threads=given.threads) for engine in ENGINES
        }
        seconds: dict[str, list[float]] = {engine: [] for engine in made}
        for repeat in range(given.repeats + 1):  # the first one is for warming up
            for engine, one in made.items():
                start = perf_counter()
                one.run(network.x, given.steps)
                if repeat:
                    seconds[engine].append(perf_counter() - start)
        print(f"{name}, T = {given.steps}, {given.batch} samples:", flush=True)
        for engine, all_of_it in seconds.items():
            ratios = [a / b for a, b in zip(all_of_it, seconds["fast"], strict=True)]
            print(f"  {engine:12s} {median(all_of_it):8.2f} s  {median(ratios):6.2f} x fast")


if __name__ == "__main__":
    main()
