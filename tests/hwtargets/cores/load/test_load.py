"""Work of cores and groups of spikes, against a loop over every synapse."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from hwtargets.chip_nets import SMALL, build
from onnx2snn.hwtargets import chip_view, load_target
from onnx2snn.hwtargets.cores.load.multicast import multicast
from onnx2snn.hwtargets.cores.load.work import work
from onnx2snn.hwtargets.cores.mapping import CORES
from onnx2snn.hwtargets.cores.partition import Tiling, partition
from onnx2snn.hwtargets.cores.traffic import traffic
from onnx2snn.hwtargets.view.network import ChipNetwork

NETS = {
    "residual": SMALL,
    "depthwise": (
        (4, 6, 7), [("dw", 3, 1, 1), ("conv", 6, 1), ("pool", 2), ("conv", 4, 2, 2), ("out", 3)]
    ),
    "global": ((2, 6, 6), [("conv", 6, 3, 2, 1), ("gap",), ("fc", 9), ("out", 4)]),
}  # fmt: skip


@pytest.fixture(params=NETS, scope="module")
def cut(request: pytest.FixtureRequest) -> tuple[ChipNetwork, tuple[Tiling, ...]]:
    """Layers on several cores each, cut along channels too."""
    network = chip_view(build(*NETS[request.param], seed=1))
    target = load_target("loihi2")
    caps = {layer.name: max(1, layer.neurons // 5) for layer in network.layers}
    model = CORES.request(target).options.memory
    return network, partition(network, target, model, True, caps)[0]


def rates_of(tilings: tuple[Tiling, ...]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {t.name: rng.random(t.shape) * (rng.random(t.shape) < 0.7) for t in tilings}


@pytest.mark.parametrize("measured", [True, False])
def test_synaptic_operations_of_every_core_are_those_of_a_loop_over_synapses(
    cut: tuple[ChipNetwork, tuple[Tiling, ...]], measured: bool
) -> None:
    network, tilings = cut
    target = load_target("loihi2")
    model = CORES.request(target).options.memory
    rates = rates_of(tilings) if measured else None
    found = work(network, target, model, tilings, rates, rate=0.2, sent=0.5)
    inputs = {node.name for node in network.inputs}
    synops = np.zeros(sum(t.cores for t in tilings))
    lists: Counter[tuple[int, str, int, int]] = Counter()
    for t in tilings:
        core = t.core_of()
        layer = network.find(t.name)
        for p in () if layer is None else layer.projections:
            rate = np.full(p.source_shape, 0.5 if p.source in inputs else 0.2)
            spikes = (rate if rates is None else rates[p.source]).reshape(-1)
            size = int(np.prod(t.shape[1:]))
            for row, col in zip(p.matrix.rows, p.matrix.cols, strict=True):
                synops[core[row]] += spikes[col]
                place = -1 if p.kind == "dense" else int(row) % size
                lists[int(core[row]), p.source, int(col), place] += 1
    np.testing.assert_allclose(found.synops, synops)
    np.testing.assert_array_equal(found.updates, np.concatenate([t.neurons() for t in tilings]))
    assert (found.reads <= found.synops + 1e-9).all()  # a word holds a weight or more
    assert found.reads.sum() > 0.2 * found.synops.sum() / model.word_bits * model.weight_bits
    assert len(lists) > 0


def test_groups_are_neurons_with_the_same_destinations(
    cut: tuple[ChipNetwork, tuple[Tiling, ...]],
) -> None:
    network, tilings = cut
    rates = rates_of(tilings)
    reached: dict[tuple[str, int], set[int]] = {}
    for t in tilings:
        layer = network.find(t.name)
        for p in () if layer is None else layer.projections:
            for row, col in zip(p.matrix.rows, p.matrix.cols, strict=True):
                reached.setdefault((p.source, int(col)), set()).add(int(t.core_of()[row]))
    expected: Counter[tuple[int, frozenset[int]]] = Counter()
    for t in tilings:
        core, spikes = t.core_of(), rates[t.name].reshape(-1)
        for neuron in range(len(core)):
            away = frozenset(reached.get((t.name, neuron), set()) - {int(core[neuron])})
            if away and spikes[neuron]:
                expected[int(core[neuron]), away] += spikes[neuron]
    found = multicast(network, tilings, rates, 0.1)
    groups = {
        (int(found.source[g]), frozenset(found.core[found.group == g].tolist())): found.weight[g]
        for g in range(len(found.source))
    }
    assert groups.keys() == expected.keys() and len(groups) == len(found.source)
    assert all(groups[key] == pytest.approx(value) for key, value in expected.items())
    flows = traffic(network, tilings, None, 0.1)
    assumed = multicast(network, tilings, None, 0.1)
    away = flows.source != flows.destination
    assert assumed.weight[assumed.group].sum() >= flows.weight[away].sum() - 1e-9
