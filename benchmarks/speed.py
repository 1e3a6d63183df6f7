"""Simulation speed, against the ANN in ONNX Runtime (times T: the floor of a dense simulator) and
against SpikingJelly and sinabs on torch, on the same weights, thresholds and images. Both engines
run without and with the extra ``fast`` (layers driven by their spikes where that is cheaper).

    python benchmarks/speed.py --shared FOLDER --peers ENVIRONMENT_FOLDER
    python benchmarks/speed.py --networks vgg16_random --steps 8,32
    python benchmarks/speed.py --networks resnet20_random --recipes signed,graded,differential,lag
    python benchmarks/speed.py --networks resnet20_random --steps 8 --copies

Every repetition runs all simulators in turn, the ANN before and after each of them (T inferences,
or as many as take a second); each ratio is taken to the mean of the two. Before each there is a
pause, in which the threads of the last one fall asleep. Medians of the repetitions are printed and,
with --output, written as JSON after every row. With --copies: what a step costs with the copies
that a conversion makes, against one neuron per value.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from importlib.metadata import version
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter, process_time, sleep
from typing import Any

import networks
import numpy as np
from engines import ENGINES, simulator
from peers import Peer, environment
from threadpoolctl import threadpool_info

from onnx2snn.runtime.engine.fast.events.choice import available
from onnx2snn.runtime.onnx_runtime import onnx_runtime
from onnx2snn.runtime.parallel.threads import available_threads

ort = onnx_runtime()
PEER_MODES = ("spikingjelly", "spikingjelly-multi", "spikingjelly-compiled", "sinabs")
MODE_LIMIT = 32  # the peers' other modes are measured up to this many steps
WARM_STEPS = 8  # before the first measured run: plans are made, kernels compiled or loaded
FLOOR_SECONDS = 1.0  # the ANN is run T times, or for about this long where that is less
# Threads that are done wait for more work in a loop, on a core that the next simulator needs: ONNX
# Runtime's for 40 ms of processor time (measured), OpenMP's for up to 200 ms.
PAUSE_SECONDS = 0.25


class Ann:
    """The ANN in ONNX Runtime on all threads."""

    def __init__(self, network: networks.Network, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = ort.InferenceSession(
            str(network.model), options, providers=["CPUExecutionProvider"]
        )
        self.feed = {self.session.get_inputs()[0].name: network.x}

    def seconds(self, steps: int) -> float:
        """Seconds of ``steps`` inferences, from as many or from about a second's worth."""
        taken, times = 0.0, 0
        while times < steps and taken < FLOOR_SECONDS:
            start = perf_counter()
            self.session.run(None, self.feed)
            taken, times = taken + perf_counter() - start, times + 1
        return taken / times * steps

    def guesses(self) -> np.ndarray:
        return self.session.run(None, self.feed)[0].argmax(-1)


class Ours:
    """Our simulator behind the same interface as ``Peer``."""

    def __init__(self, network: networks.Network, threads: int | None, engine: str) -> None:
        self.simulator = simulator(network.graph, engine, threads=threads)
        self.x = network.x
        start = perf_counter()
        self.simulator.run(self.x, WARM_STEPS)
        self.first_seconds = perf_counter() - start

    def run(self, steps: int) -> dict:
        start = perf_counter()
        result = self.simulator.run(self.x, steps)
        seconds = perf_counter() - start
        answers = next(iter(result.readouts.values()))[-1]
        spikes = float(result.spikes_per_neuron[-1]) / steps
        return {"seconds": seconds, "guesses": answers.argmax(-1).tolist(), "rate": spikes}


def simulators(network: networks.Network, threads: int | None, python: Path | None, modes) -> dict:
    made: dict = {e: Ours(network, threads, e) for e in ENGINES if available() or "+" not in e}
    for mode in modes if python else ():
        try:
            peer = Peer(python, mode, network.graph, network.x, threads or available_threads())
            peer.run(2)
        except (RuntimeError, BrokenPipeError) as error:
            print(f"  {mode}: {error}")
            continue
        made[mode] = peer
    return made


def rested(measured: Callable[[int], Any], steps: int) -> Any:
    sleep(PAUSE_SECONDS)
    return measured(steps)


def measure(network, ann: Ann, runs: dict, steps: int, repeats: int) -> dict:
    """Medians for one network and number of steps."""
    names = [n for n in runs if steps <= MODE_LIMIT or n not in PEER_MODES[1:]]
    ratios: dict[str, list[float]] = {name: [] for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in ("ann", *names)}
    last: dict[str, dict] = {}
    ann.seconds(2)
    for _ in range(repeats):
        before = rested(ann.seconds, steps)
        for name in names:
            last[name] = rested(runs[name].run, steps)
            after = rested(ann.seconds, steps)
            floor, before = (before + after) / 2, after
            ratios[name].append(last[name]["seconds"] / floor)
            seconds[name].append(last[name]["seconds"])
            seconds["ann"].append(floor)
    labels = network.labels if network.labels is not None else ann.guesses()
    return {
        "network": network.name,
        "T": steps,
        "batch": len(network.x),
        "ms_per_image_and_step": {
            name: median(s) / steps / len(network.x) * 1e3 for name, s in seconds.items()
        },
        "ratio_to_T_times_ann": {name: median(r) for name, r in ratios.items()},
        "all_ratios": ratios,
        "accuracy": {n: float((np.array(r["guesses"]) == labels).mean()) for n, r in last.items()},
        "ann_accuracy": float((ann.guesses() == labels).mean()),
        "spikes_per_neuron_and_step": last["fast"]["rate"],
        "first_seconds": {n: r.first_seconds for n, r in runs.items() if isinstance(r, Ours)},
        "driven_by_spikes": {
            n: len(r.simulator._layers or {}) for n, r in runs.items() if isinstance(r, Ours)
        },
        "repeats": repeats,
    }


def cost_of_copies(name: str, shared: Path | None, *, batch: int, steps: int, repeats: int) -> dict:
    """Processor time on one thread, the network with its copies and the one without in turn."""
    found = {
        kind: networks.load(name, batch, shared, steps=steps, copies=copies)
        for kind, copies in (("copies", None), ("none", 1))
    }
    runs = {kind: simulator(n.graph, "fast+numba", threads=1) for kind, n in found.items()}
    seconds: dict[str, list[float]] = {kind: [] for kind in runs}
    for kind, run in runs.items():
        run.run(found[kind].x, steps)
    for kind in [*runs] * repeats:
        start = process_time()
        runs[kind].run(found[kind].x, steps)
        seconds[kind].append(process_time() - start)
    pairs = zip(seconds["copies"], seconds["none"], strict=True)
    return {
        "network": name,
        "T": steps,
        "batch": batch,
        "ms_per_image_and_step": {
            kind: median(s) / steps / batch * 1e3 for kind, s in seconds.items()
        },
        "ratio": median(a / b for a, b in pairs),
        "driven_by_spikes": {kind: len(run._layers or {}) for kind, run in runs.items()},
    }


def versions(runs: dict) -> dict:
    blas = [f"{i.get('internal_api')} {i.get('architecture')}" for i in threadpool_info()]
    found = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onnxruntime": ort.__version__,
        "onnx2snn": version("onnx2snn"),
        **({"numba": version("numba")} if available() else {}),
        "blas": sorted(set(blas)),
        "cores": available_threads(),
    }
    for run in runs.values():
        found |= getattr(run, "versions", {})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, help="folder with models/ and data/")
    parser.add_argument("--peers", type=Path, help="environment for the peers, made if missing")
    parser.add_argument("--modes", default=",".join(PEER_MODES))
    parser.add_argument("--networks", help="comma-separated; default: all available")
    parser.add_argument("--recipes", default="binary", help="'lag': binary with a lag of T/2")
    parser.add_argument("--steps", default="8,32,128")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--copies", action="store_true", help="measure what copies cost, only")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    threads = options.threads or available_threads()
    python = environment(options.peers) if options.peers else None
    names = options.networks.split(",") if options.networks else networks.available(options.shared)
    if options.copies:
        for name, steps in product(names, map(int, options.steps.split(","))):
            sizes = {"batch": options.batch, "steps": steps, "repeats": options.repeats}
            print(json.dumps(cost_of_copies(name, options.shared, **sizes)), flush=True)
        return
    rows, used = [], {}
    for name, recipe in product(names, options.recipes.split(",")):
        recipe = {"recipe": recipe} if recipe != "lag" else {"lag": networks.STEPS // 2}
        network = networks.load(name, options.batch, options.shared, **recipe)
        ann = Ann(network, threads)
        plain = recipe == {"recipe": "binary"}  # what the peers run
        modes = options.modes.split(",") if plain else ()
        runs = simulators(network, options.threads, python, modes)
        used |= versions(runs)
        for steps in map(int, options.steps.split(",")):
            rows.append(measure(network, ann, runs, steps, options.repeats) | recipe)
            show(rows[-1])
            if options.output:
                document = {"schema": 1, "threads": threads, "versions": used, "results": rows}
                options.output.write_text(json.dumps(document, indent=1))
        for run in runs.values():
            if isinstance(run, Peer):
                run.close()


def show(row: dict) -> None:
    ratios = "  ".join(f"{n} {r:.2f}" for n, r in row["ratio_to_T_times_ann"].items())
    accuracy = "  ".join(f"{n} {a:.3f}" for n, a in row["accuracy"].items())
    floor = row["ms_per_image_and_step"]["ann"]
    recipe = row.get("recipe", f"lag {row.get('lag')}")
    print(
        f"{row['network']} {recipe} T={row['T']} (ANN {floor:.4f} ms/image): {ratios}", flush=True
    )
    print(f"  accuracy: {accuracy}", flush=True)


if __name__ == "__main__":
    main()
