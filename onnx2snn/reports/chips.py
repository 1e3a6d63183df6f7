"""Several chips in one CSV table: the numbers behind ``placement.render_comparison``."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from ..hwtargets.energy.constants import Span
from ..hwtargets.placement.report import PlacementReport
from .energy.chips import KINDS, SHORT
from .placement import Alike
from .text import csv_name

# By which ``marks`` knows a file of this kind.
HEAD = ("target", "fits", "cores", "chips", "input")


def chips_csv(reports: Sequence[PlacementReport], alike: Alike) -> str:
    """One row per chip; energies in joules by kind, each with its range and whether all constants
    in it were verified, after the input and accuracy that they go with. "n/a": nothing was
    published; empty: the chip does not hold the network, or nothing was run. Last come synaptic
    operations with the same input as the energies (counted where the chip's energy is known) and
    multiply-accumulates on analog values with the chip's own, also relative to the ANN's."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    energies = [
        f"{label}_{part}" for label in KINDS.values() for part in ("j", "low", "high", "verified")
    ]
    latency = ["latency_s", "latency_low", "latency_high"]
    work = ["synops_per_sample", "macs_per_sample", "macs_to_ann"]
    accuracy = ["chip_accuracy", "float_snn_accuracy", "ann_accuracy"]
    with_energy = ["energy_input", "energy_chip_accuracy"]
    writer.writerow([*HEAD, "T", *accuracy, *with_energy, *energies, *latency, *work])
    for r in reports:
        same = alike.get(r.target, r)
        numbers: list[object] = [SHORT[same.input_mode], same.accuracy.get("chip")]
        for kind in same.energy.kinds.values():
            known = "n/a" if kind is None else kind.verified
            numbers += [*_span(kind, fits=same.fits), known if same.fits else ""]
        numbers += _span(same.latency.seconds, fits=same.fits)
        numbers.append(same.energy.counts.get("synop", "") if same.fits else "")
        numbers += [r.analog.get(key) for key in work[1:]]
        kept = [r.accuracy.get(key) for key in ("chip", "float_snn", "ann")]
        counts = [r.fits, r.cores, r.chips, r.input_mode]
        writer.writerow([csv_name(r.target), *counts, r.accuracy.get("T"), *kept, *numbers])
    return out.getvalue()


def _span(found: Span | None, *, fits: bool) -> list[object]:
    if not fits:
        return [""] * 3
    return (
        ["n/a"] * 3 if found is None else [f"{x:.6g}" for x in (found.value, found.low, found.high)]
    )
