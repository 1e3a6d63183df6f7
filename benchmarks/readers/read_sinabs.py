"""A NIR file in sinabs: as sinabs reads it, then with one declared convention after the other."""

from __future__ import annotations

import nir
import sinabs
import sinabs.layers as sl
import torch
from common import asked, in_order, report, rounded, told
from sinabs.activation import SingleSpike

STEPS = [
    *("as read", "single spike", "no lowest potential", "v_init", "rounding", "double precision"),
    "order",
]


def run(graph, x, steps, conventions):
    count = len(x)
    for node in graph.nodes.values():
        if isinstance(node, nir.IF):
            node.v_threshold = torch.as_tensor(node.v_threshold)
    module = sinabs.nir.from_nir(graph, batch_size=count)
    counts = {}

    def listen(name):
        def add(layer, given, out):
            counts[name] = out.double().reshape(count, steps, *out.shape[1:]).sum(1)

        return add

    for name, layer in module.named_children():
        node = graph.nodes[name]
        if "rounding" in conventions and isinstance(node, nir.Conv2d | nir.Affine):
            rounded(layer, told(graph, name, "grid"))
        if isinstance(layer, sl.IAF):
            layer.register_forward_hook(listen(name))
            if "single spike" in conventions:
                layer.spike_fn = SingleSpike
            if "no lowest potential" in conventions:
                layer.min_v_mem = None
            if "v_init" in conventions:
                shape = (count, *node.v_threshold.shape)
                layer.init_state_with_shape(shape)
                layer.v_mem = told(graph, name, "v_init").expand(shape).clone()
    if "order" in conventions:
        in_order(module, graph)
    if "double precision" in conventions:  # sinabs' spikes are single in any case
        module, x = module.double(), x.double()
        for layer in module.children():
            layer.register_forward_pre_hook(lambda layer, given: (given[0].double(),))
    with torch.no_grad():
        module(x.repeat_interleave(steps, 0))
    return counts


for upto in range(1, len(STEPS) + 1):
    graph, x, steps, wanted = asked()
    how = STEPS[:upto]
    report(f"sinabs {sinabs.__version__}", how, run(graph, x, steps, how), wanted)
