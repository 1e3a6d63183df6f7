"""A network for SANA-FE's Loihi model: its spikes in every layer's window, energy and time.

python read_sanafe.py NET.yaml GIVEN.npz     # GIVEN: steps, spikes/GROUP (samples, neurons...)
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import sanafe


def depths(path):
    """The depth of every layer: one more than that of the layers that it reads."""
    found = {}
    with open(path) as file:
        for source, target in re.findall(r"^    - (\S+)\.\d+ -> (\S+)\.\d+:", file.read(), re.M):
            inputs = source in ("start", "drive")
            found[target] = found.get(target, 0) if inputs else found[source] + 1
    return found


def main(path, given):
    arch = sanafe.load_loihi()
    chip = sanafe.SpikingChip(arch)
    with redirect_stdout(StringIO()):
        chip.load(sanafe.load_net(path, arch))
    depth = depths(path)
    with np.load(given) as arrays:
        steps = int(arrays["steps"])
        wanted = {k[7:]: arrays[k][0].ravel() for k in arrays.files if k.startswith("spikes/")}
    total = steps + max(depth.values()) + 1
    result = chip.sim(total, spike_trace=True)
    counts = Counter()
    for t, spikes in enumerate(result["spike_trace"], 1):
        for spike in map(str, spikes):
            group = spike.rpartition(".")[0]
            if group in depth and depth[group] + 2 <= t <= depth[group] + 1 + steps:
                counts[spike] += 1
    differ = sum(
        int(np.sum([counts[f"{name}.{i}"] != n for i, n in enumerate(sent)]))
        for name, sent in wanted.items()
    )
    line = {
        "tool": "SANA-FE",
        "neurons": sum(map(len, wanted.values())),
        "spikes": int(sum(sent.sum() for sent in wanted.values())),
        "differ": differ,
        "steps": total,
        "energy": result["energy"],
        "sim_time": result["sim_time"],
        "neurons_updated": result["neurons_updated"],
        "packets_sent": result["packets_sent"],
    }
    print(json.dumps(line))


main(*sys.argv[1:3])
