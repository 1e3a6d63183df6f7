"""Many mutants through the command line: ``python tests/hostile/campaign.py --count 1000``.

Prints every run that ended as none may, then how many ended how, by verb. ``--keep FOLDER`` keeps
the files of those.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from places import FIXTURES

from hostile.mutants import mutant
from hostile.workers import End, run

SMALL = 16_000  # bytes of a base model


def bases(folder: Path = FIXTURES) -> list[bytes]:
    """Small models of many kinds."""
    files = sorted(p for p in folder.glob("*.onnx") if p.stem != "external_data")
    return [p.read_bytes() for p in files if p.stat().st_size < SMALL]


def arguments(verb: str, data: str, output: str) -> list[str]:
    """The command line of a ``verb`` on the mutant ``data``."""
    match verb:
        case "convert":
            return ["convert", data, "--calib", "none", "-T", "4", "-o", output, "--force"]
        case "convert-data":
            return ["convert", data, "--calib", "x.npy", "-T", "4", "-o", output, "--force"]
        case _:
            return [verb, data]


def ends(
    seeds: Sequence[int], verbs: Sequence[str], folder: Path
) -> Iterator[tuple[int, str, End]]:
    """Each verb on each mutant, in ``folder``."""
    files = bases()
    for seed in seeds:
        (folder / "m.onnx").write_bytes(mutant(seed, files))
        for verb in verbs:
            yield seed, verb, run(arguments(verb, "m.onnx", "o.snn.onnx"), folder)


def campaign(first: int, count: int, verbs: Sequence[str], keep: Path | None) -> None:
    import onnxruntime  # noqa: F401 - before the forks, which share it
    import onnxscript.rewriter  # noqa: F401

    import onnx2snn.cli  # noqa: F401

    totals: Counter[tuple[str, str]] = Counter()
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed, verb, end in ends(range(first, first + count), verbs, folder):
            totals[verb, end.code or str(end.status)] += 1
            totals[verb, "runs"] += 1
            for fault in end.faults:
                totals[verb, f"FAULT {fault}"] += 1
                print(
                    f"{seed} {verb} {fault}: {end.seconds:.1f} s, {end.peak >> 20} MiB: {end.said}",
                    flush=True,
                )
                if keep is not None:
                    shutil.copy(folder / "m.onnx", keep / f"m{seed}.onnx")
    for (verb, how), number in sorted(totals.items()):
        print(f"{verb} {how}: {number}")


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    parser = argparse.ArgumentParser()
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--verbs", default="check,verify,convert")
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    campaign(given.first, given.count, given.verbs.split(","), given.keep)
