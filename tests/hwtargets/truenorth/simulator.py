"""An event simulator of TrueNorth cores that knows nothing of onnx2snn.

It reads the documented NPZ file and nothing else: axon types, signed weights per type, binary
synapses, leak, thresholds, reset mode, and one target per neuron. Loops over ticks, cores
and spikes.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass

import numpy as np


@dataclass
class Result:
    """spikes: (tick, output line) in order; merged: events lost because a second spike met an
    axon that was already set in that tick; potentials: largest and smallest V ever seen; events:
    how many spikes reached a neuron over a synapse, by (tick, core)."""

    spikes: list[tuple[int, int]]
    merged: int
    highest: int
    lowest: int
    events: dict[tuple[int, int], int]


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
    ends = np.searchsorted(chip["core"], np.arange(len(chip["axon_types"]) + 1))
    bits = np.unpackbits(chip["synapses"], axis=1)
    v, weights = chip["potential"].astype(np.int64), chip["weights"].astype(np.int32)
    spikes, highest, lowest, reached = [], 0, 0, {}
    for tick in range(ticks):
        arrived = defaultdict(list)
        for core, axon in events.pop(tick, ()):
            arrived[core].append(axon)
        for core, axons in arrived.items():
            kinds = chip["axon_types"][core, axons]
            assert kinds.max() < 4, f"a spike arrived at an unused axon of core {core}"
            own = slice(ends[core], ends[core + 1])  # neurons are sorted by core
            reached[tick, core] = int(bits[own][:, axons].sum())
            v[own] += (bits[own][:, axons] * weights[own][:, kinds]).sum(axis=1)
        v += chip["leak"]
        highest, lowest = max(highest, int(v.max())), min(lowest, int(v.min()))
        fires = v >= chip["threshold"]
        under = ~fires & (v < -chip["floor"])
        v = np.where(under, -chip["floor"], v)
        after = np.where(chip["reset"] == 1, v - chip["threshold"], chip["reset_potential"])
        v = np.where(fires, after, v)
        at = np.flatnonzero(fires)
        sent = (chip[k][at].tolist() for k in ("output", "target_core", "target_axon", "delay"))
        for line, core, axon, delay in zip(*sent, strict=True):
            if line >= 0:
                spikes.append((tick, line))
            if core >= 0:
                merged += (core, axon) in events[tick + delay]
                events[tick + delay].add((core, axon))
    return Result(spikes, merged, highest, lowest, reached)
