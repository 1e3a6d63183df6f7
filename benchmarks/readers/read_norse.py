"""A NIR file in Norse: as Norse reads it, then with one declared convention after the other."""

from __future__ import annotations

import nir
import norse
import torch
from common import asked, in_order, report, rounded, told
from norse.torch.functional.iaf import IAFFeedForwardState, iaf_feed_forward_step
from norse.torch.functional.reset import reset_subtract
from norse.torch.module.iaf import IAFCell

STEPS = [
    *("flatten", "soft reset", "v_init", "v >= threshold", "rounding", "double precision"),
    "order",
]


def run(graph, x, steps, conventions):
    for node in graph.nodes.values():  # nn.Flatten counts the batch axis, NIR has none
        if "flatten" in conventions and isinstance(node, nir.Flatten) and node.start_dim == 0:
            node.start_dim = 1
    module = norse.torch.from_nir(graph, ignore_warnings=True)
    if "double precision" in conventions:
        module, x = module.double(), x.double()
    if "order" in conventions:
        in_order(module, graph)
    counts = {}

    def listen(name):
        def add(layer, given, out):
            counts[name] = counts.get(name, 0) + out[0].double()

        return add

    for name, layer in module.named_children():
        node = graph.nodes[name]
        if "rounding" in conventions and isinstance(node, nir.Conv2d | nir.Affine):
            rounded(layer, told(graph, name, "grid"))
        if isinstance(layer, IAFCell):
            layer.register_forward_hook(listen(name))
            change(layer, node, told(graph, name, "v_init"), conventions)
    state = None
    with torch.no_grad():
        for _ in range(steps):
            _, state = module(x, state)
    return counts


def change(cell, node, start, conventions):
    threshold = torch.as_tensor(node.v_threshold)
    start = start if "v_init" in conventions else torch.zeros(())

    def begin(x):
        return IAFFeedForwardState(v=start.expand(x.shape).to(x.dtype))

    def step(x, state, p, dt):
        if "soft reset" not in conventions:
            return iaf_feed_forward_step(x, state, p, dt)
        v = state.v + x
        z = (v - threshold >= 0) if "v >= threshold" in conventions else (v - threshold > 0)
        z = z.to(x.dtype)
        return z, IAFFeedForwardState(v=reset_subtract(z, v, p.v_reset, threshold))

    cell.state_fallback, cell.activation = begin, step


for count in range(1, len(STEPS) + 1):
    graph, x, steps, wanted = asked()
    how = STEPS[:count]
    report(f"norse {norse.__version__}", how, run(graph, x, steps, how), wanted)
