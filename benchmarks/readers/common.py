"""What the readers share. Runs where onnx2snn is not: needs nir, numpy and torch alone."""

from __future__ import annotations

import json
import sys

import nir
import numpy as np
import torch


def asked():
    """The file, samples (count, *shape), steps, and what every neuron must send, by node."""
    path, given = sys.argv[1:3]
    try:
        graph = nir.read(path, type_check=False)  # which takes kernels for square, and no groups
    except TypeError:  # versions that do not check
        graph = nir.read(path)
    with np.load(given) as arrays:
        x, steps = torch.from_numpy(arrays["x"]), int(arrays["steps"])
        wanted = {
            k.partition("/")[2]: torch.from_numpy(arrays[k])
            for k in arrays.files
            if k.startswith("spikes/")
        }
    return graph, x, steps, wanted


def told(graph, name, key):
    """An array that the graph's metadata has of a node, or None."""
    value = graph.metadata.get(f"onnx2snn.{key}.{name}")
    return None if value is None else torch.as_tensor(value)


def rounded(module, grid):
    """The convention "grid": a constant current on whole multiples of it, before the bias."""
    if grid is None:
        return

    def on_grid(layer, given, y):
        bias = layer.bias.reshape(-1, *(1,) * (y.ndim - 2))
        return (((y - bias) / grid).round() * grid + bias).to(y.dtype)

    module.register_forward_hook(on_grid)


def in_order(module, graph):
    """Runs nodes after those they read; nirtorch 2.0 goes breadth first, and what comes too late
    is read in the next step."""
    names, left = [], dict(graph.nodes)
    while left:
        ready = [n for n in left if not any(b == n and a in left for a, b in graph.edges)]
        names += ready
        for name in ready:
            del left[name]
    module.execution_order.sort(key=lambda node: names.index(node.name))


def report(tool, how, found, wanted):
    """One line of JSON: how many neurons sent another number of spikes, and by how much."""
    apart = {name: (found[name] != spikes) for name, spikes in wanted.items()}
    off = {name: (found[name] - spikes).abs().sum() for name, spikes in wanted.items()}
    total = sum(spikes.abs().sum() for spikes in wanted.values())
    first = next((name for name, x in apart.items() if x.any()), None)
    line = {
        "tool": tool,
        "how": how,
        "neurons": sum(x.numel() for x in apart.values()),
        "differ": int(sum(x.sum() for x in apart.values())),
        "spikes": int(total),
        "spikes_apart": int(sum(off.values())),
        "first_population_that_differs": first,
    }
    print(json.dumps(line), flush=True)
