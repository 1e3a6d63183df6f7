"""Many mutants through the command line: ``python tests/hostile/campaign.py --count 1000``.

``--kind grafts``: models put together of two; ``--kind networks``: converted files by run, place
and diagnose; ``--kind chips``: target files by place. Prints every run that ended as none may, then
how many ended how, by verb, after Ctrl-C too. ``--keep FOLDER`` keeps the files of those.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from places import FIXTURES, ROOT

from hostile.edits import edited_chip, edited_network
from hostile.grafts import graft
from hostile.mutants import mutant
from hostile.workers import End, run

SMALL = 16_000  # bytes of a base model


def bases(folder: Path = FIXTURES) -> list[bytes]:
    """Small models of many kinds."""
    files = sorted(p for p in folder.glob("*.onnx") if p.stem != "external_data")
    return [p.read_bytes() for p in files if p.stat().st_size < SMALL]


VERBS = {
    "models": "check,verify,convert",
    "grafts": "check,verify,convert",
    "networks": "run,place,diagnose",
    "chips": "place-chip",
}
NAMES = {"models": "m.onnx", "grafts": "m.onnx", "networks": "m.snn.onnx", "chips": "m.toml"}


def arguments(verb: str, data: str, output: str) -> list[str]:
    """The command line of a ``verb`` on the mutant ``data``."""
    few = ["--data", "x.npy", "--samples", "3", "-T", "4"]
    match verb:
        case "run":
            return ["run", data, *few]
        case "place":
            return ["place", data, "--target", "loihi2", "--seconds", "0.1"]
        case "diagnose":
            return ["diagnose", "good.onnx", data, *few]
        case "place-chip":
            return ["place", "good.snn.onnx", "--target", data, "--seconds", "0.1"]
        case "convert":
            return ["convert", data, "--calib", "none", "-T", "4", "-o", output, "--force"]
        case "convert-data":
            return ["convert", data, "--calib", "x.npy", "-T", "4", "-o", output, "--force"]
        case _:
            return [verb, data]


def ends(
    seeds: Sequence[int], verbs: Sequence[str], folder: Path, kind: str = "models"
) -> Iterator[tuple[int, str, End]]:
    """Each verb on each mutant of a ``kind``, in ``folder``."""
    makes = _mutants(kind, folder)
    for seed in seeds:
        (folder / NAMES[kind]).write_bytes(makes(seed))
        for verb in verbs:
            yield seed, verb, run(arguments(verb, NAMES[kind], "o.snn.onnx"), folder)


def _mutants(kind: str, folder: Path) -> Callable[[int], bytes]:
    """What makes mutants from seeds; ``folder`` gets what the verbs read beside them."""
    files = bases()
    if kind == "models":
        return lambda seed: mutant(seed, files)
    if kind == "grafts":
        return lambda seed: graft(seed, files)
    networks = _converted(folder)
    if kind == "networks":
        return lambda seed: edited_network(seed, networks)
    chips = [p.read_text() for p in sorted((ROOT / "hwtargets").rglob("*.toml"))]
    return lambda seed: edited_chip(seed, chips)


def _converted(folder: Path) -> list[bytes]:
    """Small networks of several recipes, the model of the first, and samples for it."""
    from onnx2snn import convert, load_onnx
    from onnx2snn.runtime.file import to_bytes

    source = ROOT / "models" / "digits_cnn.onnx"
    shutil.copy(source, folder / "good.onnx")
    np.save(folder / "x.npy", np.random.default_rng(0).random((3, 1, 8, 8), np.float32))
    recipes = ("binary", "signed", "graded", "differential", "synchronous")
    made = [to_bytes(convert(load_onnx(source), None, steps=4, recipe=r)) for r in recipes]
    small = convert(load_onnx(ROOT / "models" / "digits_mlp.onnx"), None, steps=4)
    (folder / "good.snn.onnx").write_bytes(to_bytes(small))
    return made


def campaign(kind: str, *, first: int, count: int, verbs: Sequence[str], keep: Path | None) -> None:
    import onnxruntime  # noqa: F401 - before the forks, which share it
    import onnxscript.rewriter  # noqa: F401

    import onnx2snn.cli  # noqa: F401

    totals: Counter[tuple[str, str]] = Counter()
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    with suppress(KeyboardInterrupt), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed, verb, end in ends(range(first, first + count), verbs, folder, kind):
            totals[verb, end.code or str(end.status)] += 1
            totals[verb, "runs"] += 1
            for fault in end.faults:
                totals[verb, f"FAULT {fault}"] += 1
                print(
                    f"{seed} {verb} {fault}: {end.seconds:.1f} s, {end.peak >> 20} MiB: {end.said}",
                    flush=True,
                )
                if keep is not None:
                    name = Path(NAMES[kind])
                    shutil.copy(folder / name, keep / f"m{seed}{''.join(name.suffixes)}")
    for (verb, how), number in sorted(totals.items()):
        print(f"{verb} {how}: {number}")


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    parser = argparse.ArgumentParser()
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--verbs", help="those of the kind")
    parser.add_argument("--kind", choices=VERBS, default="models")
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    verbs = (given.verbs or VERBS[given.kind]).split(",")
    campaign(given.kind, first=given.first, count=given.count, verbs=verbs, keep=given.keep)
