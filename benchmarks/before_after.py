"""Two installations side by side: processor seconds of the same networks, one thread, as ratios.

    python benchmarks/before_after.py --before PYTHON --after PYTHON --shared FOLDER
        [--networks resnet20,mlp] [--recipes binary,lag] [--steps 8,32] [--rounds 7]
        [--engines before,after] [--keep FOLDER]

PYTHON is an interpreter with a version of onnx2snn installed. The networks are converted once, by
the first, and written as files; then a process of each loads the same files and they run in turn,
so that a busy machine slows both. What is compared is the least of the rounds: of the first run of
an engine (with all it prepares) and of later ones. ``--engines`` are pairs to compare: an engine of
the one with one of the other, as "numpy:fast" (the names that each installation has; "+never"
behind a name switches layers driven by spikes off). "ann" is the ANN's analog mode in ONNX Runtime,
one inference per step.
"""

from __future__ import annotations

import argparse
import inspect
import json
import subprocess
import sys
import tempfile
from importlib import import_module
from itertools import product
from pathlib import Path
from time import process_time
from typing import Any

WIDTH = "{:12} {:13} {:>4} {:>24} {:>11} {:>11} {:>7} {:>7}"
LONGEST = 0.5  # seconds that one measurement is repeated for, at most


class Worker:
    """A process of one installation that does as it is told, one line of JSON at a time."""

    def __init__(self, python: Path) -> None:
        command = [str(python), str(Path(__file__).resolve()), "--worker"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, **question: Any) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args} ended")
        return json.loads(line)


def work() -> None:
    """The worker's side: questions from standard input, answers to standard output."""
    out, sys.stdout = sys.stdout, sys.stderr
    bench = _Bench()
    for line in sys.stdin:
        question = json.loads(line)
        answer = getattr(bench, question.pop("do"))(**question)
        print(json.dumps(answer), file=out, flush=True)


class _Bench:
    """Networks and engines of this process's installation."""

    def convert(
        self, name: str, recipe: str, steps: int, *, shared: str, batch: int, to: str
    ) -> None:
        import networks
        import numpy as np

        import onnx2snn

        options = {"lag": steps // 2} if recipe == "lag" else {"recipe": recipe}
        made = networks.load(name, batch, Path(shared), steps, copies=None, **options)
        onnx2snn.save(made.graph, to)
        np.save(f"{to}.npy", made.x)
        Path(f"{to}.ann").write_text(str(made.model))

    def load(self, path: str) -> None:
        import numpy as np

        import onnx2snn

        self.path, self.graph, self.x = path, onnx2snn.load(path), np.load(f"{path}.npy")
        self.kept: dict[str, Any] = {}

    def run(self, engine: str, steps: int, first: bool) -> float:
        """Least processor seconds of a run, one thread; ``first``: with a new engine."""
        if first or engine not in self.kept:
            start = process_time()
            self.kept[engine] = self._made(engine)
            self.kept[engine](steps)
            if first:
                return process_time() - start
        return self._least(lambda: self.kept[engine](steps))

    def _least(self, call: Any) -> float:
        taken: list[float] = []
        while not taken or sum(taken) + min(taken) < LONGEST:
            start = process_time()
            call()
            taken.append(process_time() - start)
        return min(taken)

    def _made(self, engine: str) -> Any:
        """A function of the number of steps."""
        if engine == "ann":
            return self._ann()
        from onnx2snn.runtime import engine as door

        name, _, mode = engine.partition("+")
        options: dict[str, Any] = {"threads": 1, "events": mode or "auto"}
        if "engine" in inspect.signature(door.simulate).parameters:
            made = door.make_engine(name, **options)
            return lambda steps: made.run(self.graph, self.x, steps, at=[steps])
        if name == "onnxruntime":  # before engines had names
            options["kernels"] = _models_of_before()(self.graph)
        simulator = door.Simulator(self.graph, **options)
        return lambda steps: simulator.run(self.x, steps, at=[steps])

    def _ann(self) -> Any:
        ort = _onnx_runtime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = ort.InferenceSession(Path(f"{self.path}.ann").read_text(), options)
        feed = {session.get_inputs()[0].name: self.x}
        return lambda steps: [session.run(None, feed) for _ in range(steps)]


def _models_of_before() -> Any:
    """``synapse_models``, where an older version has it."""
    for module in ("onnx2snn.runtime.engine", "onnx2snn.converter.onnxfile"):
        found = getattr(import_module(module), "synapse_models", None)
        if found is not None:
            return found
    raise SystemExit("this version has no models of synapses")


def _onnx_runtime() -> Any:
    try:
        from onnx2snn.runtime.onnx_runtime import onnx_runtime
    except ImportError:  # an older version
        return import_module("onnxruntime")
    return onnx_runtime()


def compare(
    workers: tuple[Worker, Worker], pairs: list[tuple[str, str]], steps: int, rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Per pair, "first" and "later": least seconds of the one and of the other."""
    found: dict[str, dict[str, list[float]]] = {}
    for pair in pairs:
        least: dict[str, list[float]] = {"first": [1e9, 1e9], "later": [1e9, 1e9]}
        for turn, (when, side) in product(range(rounds), product(least, range(2))):
            if when == "first" and turn > 2:
                continue
            taken = workers[side].ask(
                do="run", engine=pair[side], steps=steps, first=when == "first"
            )
            least[when][side] = min(least[when][side], taken)
        found[":".join(pair)] = least
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--before", type=Path, help="Python of the one installation")
    parser.add_argument("--after", type=Path, help="Python of the other")
    parser.add_argument("--shared", type=Path, help="folder with models/ and data/")
    parser.add_argument("--networks", default="resnet20,resnet32,lenet,mlp,kws")
    parser.add_argument("--recipes", default="binary,signed,graded,differential,lag")
    parser.add_argument("--steps", default="8,32")
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--engines", default="numpy:fast", help="pairs, as numpy:fast,fast:fast")
    parser.add_argument("--keep", type=Path, help="folder of converted networks, used again")
    parser.add_argument("--output", type=Path, help="JSON")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work()
        return
    if not (given.before and given.after and given.shared):
        parser.error("--before, --after and --shared are needed")
    folder = given.keep or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    workers = (Worker(given.before), Worker(given.after))
    pairs = [(a, b) for a, _, b in (pair.partition(":") for pair in given.engines.split(","))]
    cases = product(given.networks.split(","), given.recipes.split(","), given.steps.split(","))
    print(WIDTH.format("network", "recipe", "T", "pair", "one, ms", "other, ms", "later", "first"))
    rows = []
    for name, recipe, steps in cases:
        path = folder / f"{name}-{recipe}-{steps}-{given.batch}.onnx"
        if not path.exists():
            workers[0].ask(
                do="convert",
                name=name,
                recipe=recipe,
                steps=int(steps),
                shared=str(given.shared),
                batch=given.batch,
                to=str(path),
            )
        for worker in workers:
            worker.ask(do="load", path=str(path))
        for pair, least in compare(workers, pairs, int(steps), given.rounds).items():
            one, other = least["later"]
            ratios = [b / a for a, b in least.values()]
            times = f"{one * 1e3:.2f}", f"{other * 1e3:.2f}"
            text = f"{ratios[1]:.2f}", f"{ratios[0]:.2f}"
            print(WIDTH.format(name, recipe, steps, pair, *times, *text), flush=True)
            rows.append({"network": name, "recipe": recipe, "T": int(steps), "pair": pair} | least)
            if given.output:
                given.output.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
