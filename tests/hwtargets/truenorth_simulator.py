"""An event simulator of TrueNorth cores that knows nothing of onnx2snn.

It reads the documented NPZ file and nothing else: axon types, signed weights per type, binary
synapses, leak, thresholds, reset mode, and one target per neuron. Plain loops over events.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass

import numpy as np


@dataclass
class Result:
    """spikes: (tick, output line) in order; merged: events lost because a second spike met an
    axon that was already set in that tick; potentials: largest and smallest V ever seen."""

    spikes: list[tuple[int, int]]
    merged: int
    highest: int
    lowest: int


def run(file, rasters, ticks):
    """``file``: path or file object of the NPZ; ``rasters``: per input (steps, elements) of 0/1."""
    chip = dict(np.load(file, allow_pickle=False).items())
    header = json.loads(chip["header"].tobytes())
    assert header["format"] == "onnx2snn-truenorth" and header["version"] in (1, 2)
    events = defaultdict(set)  # tick -> {(core, axon)}
    merged = 0
    for i, element, core, axon, delay in zip(
        *(chip[f"pin_{k}"].tolist() for k in ("input", "element", "core", "axon", "delay")),
        strict=True,
    ):
        for step in np.flatnonzero(rasters[i][:, element]).tolist():
            merged += (core, axon) in events[step + delay]
            events[step + delay].add((core, axon))
    neurons_of = defaultdict(list)
    for n, core in enumerate(chip["core"].tolist()):
        neurons_of[core].append(n)
    bits = np.unpackbits(chip["synapses"], axis=1)
    v = chip["potential"].astype(np.int64)
    spikes, highest, lowest = [], 0, 0
    for tick in range(ticks):
        for core, axon in events.pop(tick, ()):
            kind = int(chip["axon_types"][core, axon])
            assert kind < 4, f"a spike arrived at unused axon {axon} of core {core}"
            for n in neurons_of[core]:
                if bits[n, axon]:
                    v[n] += int(chip["weights"][n, kind])
        v += chip["leak"]
        highest, lowest = max(highest, int(v.max())), min(lowest, int(v.min()))
        fires = v >= chip["threshold"]
        under = ~fires & (v < -chip["floor"])
        v = np.where(under, -chip["floor"], v)
        after = np.where(chip["reset"] == 1, v - chip["threshold"], chip["reset_potential"])
        v = np.where(fires, after, v)
        for n in np.flatnonzero(fires).tolist():
            if chip["output"][n] >= 0:
                spikes.append((tick, int(chip["output"][n])))
            if chip["target_core"][n] >= 0:
                at = tick + int(chip["delay"][n])
                where = (int(chip["target_core"][n]), int(chip["target_axon"][n]))
                merged += where in events[at]
                events[at].add(where)
    return Result(spikes, merged, highest, lowest)
