"""The partition: against what the vendor's compiler printed, and against the list of synapses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import TESTS

from hwtargets.chip_nets import MNIST, OXFORD, PILOTNET, Net, build
from onnx2snn.hwtargets import HardwareTarget, chip_view, load_target
from onnx2snn.hwtargets.cores.mapping import CORES
from onnx2snn.hwtargets.cores.memory import tile_cost
from onnx2snn.hwtargets.cores.partition import Tiling, partition
from onnx2snn.hwtargets.placement import mapping_of
from onnx2snn.runtime.graph import SpikingGraph

TARGETS = TESTS / "hwtargets" / "placement" / "targets"

# Printed by Intel's compiler in the lava-dl tutorials (netx/mnist, oxford, pilotnet_snn,
# pilotnet_sdnn, yolo_kp): cores per layer in execution order.
PILOTNET_CORES = [25, 13, 3, 3, 2, 12, 1, 1, 1]
YOLO_CORES = [224, 112, 56, 28, 56, 16, 32, 14, 32, 4]
YOLO = (
    (3, 448, 448),
    [("conv", 16, 3, 2, 1), ("conv", 32, 3, 2, 1), ("conv", 64, 3, 2, 1), ("conv", 128, 3, 2, 1),
     ("conv", 256, 3, 1, 1), ("conv", 256, 3, 2, 1), ("conv", 512, 3, 1, 1), ("conv", 256, 1),
     ("conv", 512, 3, 1, 1), ("conv", 48, 1)],
)  # fmt: skip
PRINTED = {
    "mnist": (MNIST, False, [3, 1, 1]),
    "oxford": (OXFORD, False, [3, 2]),
    "pilotnet_sdnn": (PILOTNET, False, PILOTNET_CORES),
    "pilotnet_snn": (PILOTNET, True, [13, *PILOTNET_CORES]),
    "yolo_kp": (YOLO, False, YOLO_CORES),
}


def tilings(graph: SpikingGraph, target: HardwareTarget, inputs: bool = False) -> list[Tiling]:
    model = CORES.request(target).options.memory
    found, broken = partition(chip_view(graph), target, model, inputs)
    assert not broken
    return list(found)


@pytest.mark.parametrize("name", PRINTED)
def test_core_counts_equal_the_vendors_within_one_per_layer_and_five_percent(name: str) -> None:
    net, inputs, printed = PRINTED[name]
    found = [t.cores for t in tilings(build(*net, cheap=True), load_target("loihi2"), inputs)]
    assert len(found) == len(printed)
    assert all(abs(a - b) <= 1 for a, b in zip(found, printed, strict=True)), found
    assert abs(sum(found) - sum(printed)) <= 0.05 * sum(printed)


def test_yolo_is_cut_into_exactly_the_vendors_number_of_cores_with_its_memory() -> None:
    found = tilings(build(*YOLO, cheap=True), load_target("loihi2"))
    assert [t.cores for t in found] == YOLO_CORES
    # Synapses column of the log in words (percent of 16000); these layers use 10-bit entries
    logged = {0: 54, 2: 1728, 3: 6336, 4: 12672, 6: 13824, 7: 10752, 8: 13824}
    assert {i: found[i].cost.synapses for i in logged} == logged


def test_larger_networks_take_plausible_numbers_of_cores() -> None:
    stages = [("block", 64)] * 2 + [
        layer for c in (128, 256, 512) for layer in (("block", c, 2), ("block", c))
    ]
    resnet18 = ((3, 224, 224), [("conv", 64, 7, 2, 3), ("pool", 2), *stages, ("gap",), ("out", 10)])
    found = tilings(build(*resnet18, cheap=True), load_target("loihi2"))
    for t in found:
        lowest = np.prod(t.shape) / 4095
        assert lowest <= t.cores <= max(4 * lowest, 300), (t.name, t.cores)


def test_lists_of_weights_take_the_words_that_nengo_loihi_counts() -> None:
    """Loihi 1: blocks of at most 64 weights of 8 bits, 10 bits of header, rounded up to 64."""
    model = CORES.request(load_target("loihi1")).options.memory
    assert [model.row(n) for n in (1, 6, 7, 64, 65, 100, 128)] == [1, 1, 2, 9, 10, 14, 18]


@pytest.mark.parametrize(
    ("shape", "conv", "bits", "axons"),
    [
        ((2, 10, 10), ("conv", 4, 3), 10688, 100),
        ((3, 12, 12), ("conv", 5, 3, 2), 5888, 121),
        ((64, 10, 10), ("conv", 8, 3), 15552 * 64, 100),  # more than 256 neurons from here on
        ((16, 10, 10), ("conv", 16, 3), 10260 * 64, 100),
        ((8, 18, 10), ("conv", 8, 3), 3078 * 64, 180),
    ],
)
def test_convolutions_on_loihi_1_take_the_bits_that_nengo_loihi_counts(
    shape: tuple[int, ...], conv: tuple, bits: int, axons: int
) -> None:
    """Recorded from nengo-loihi 1.1.0, Block.utilization() of a population-axon convolution (it
    reserves axons for the unread last row and column of the second map too: 144)."""
    (layer,) = chip_view(build(shape, [conv])).layers
    cost = tile_cost(
        layer, CORES.request(load_target("loihi1")).options.memory, layer.shape, layer.neurons
    )
    assert cost.used()["synapse_memory"] * 64 == bits
    assert cost.in_axons == axons


@st.composite
def networks(draw: st.DrawFn) -> SpikingGraph:
    """Small random networks: convolutions, pools, residual blocks, dense layers."""
    net = Net((draw(st.integers(1, 3)), draw(st.integers(5, 9)), draw(st.integers(5, 9))))
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["conv", "block", "dw", "pool"]))
        if kind == "conv":
            net.add([("conv", draw(st.integers(1, 6)), 3, draw(st.integers(1, 2)), 1)])
        elif kind == "block":
            net.add([("conv", 4, 1), ("block", draw(st.sampled_from([4, 6])))])
        elif kind == "dw":
            net.add([("dw", 3, 1, 1)])
        elif min(net.shape[1:]) >= 2:
            net.add([("pool", 2), ("conv", 3, 1)])
    net.add([("fc", draw(st.integers(1, 30))), ("out", 3)])
    return net.graph


def small(name: str) -> HardwareTarget:
    return load_target(name if name.startswith("loihi") else TARGETS / f"{name}.toml")


@settings(max_examples=25, deadline=None)
@given(graph=networks(), name=st.sampled_from(["loihi1", "loihi2", "plain", "crossbar"]))
def test_every_neuron_and_synapse_is_placed_once_within_every_limit(
    graph: SpikingGraph, name: str
) -> None:
    target, network = small(name), chip_view(graph)
    mapped = mapping_of(target).step(network, target, mapping_of(target).request(target, rate=0.5))
    assert not mapped.violations, mapped.violations
    assert mapped.core_of is not None
    held = np.zeros(mapped.cores.count, int)
    flows: dict[tuple[int, int], float] = {}
    core_of = {name: mapped.core_of(name) for name in mapped.cores.layers}
    for index, layer_name in enumerate(mapped.cores.layers):
        layer, at = network.find(layer_name), core_of[layer_name]
        assert at.shape == (np.prod(graph[layer_name].shape),)
        assert set(mapped.cores.layer[at]) == {index}
        held += np.bincount(at, minlength=mapped.cores.count)
        if layer is None:  # an input, encoded on the chip
            continue
        for source in {p.source for p in layer.projections} & set(core_of):
            pairs = {
                (int(c), int(at[r]))
                for p in layer.projections
                if p.source == source
                for r, c in zip(p.matrix.rows, p.matrix.cols, strict=True)
            }
            assert len({r for _, r in pairs}) <= mapped.cores.count
            for neuron, core in pairs:
                key = (int(core_of[source][neuron]), core)
                flows[key] = flows.get(key, 0) + 0.5
        if target.options.get("memory", {}).get("axons", "neuron") == "neuron":
            _within_axons(layer, at, mapped.cores.used["in_axons_per_core"])
    np.testing.assert_array_equal(held, mapped.cores.neurons)
    for resource, used in mapped.cores.used.items():
        assert used.max() <= target.limits[resource].value, resource
    t = mapped.traffic
    found = {}
    for a, b, w in zip(t.source, t.destination, t.weight, strict=True):
        found[int(a), int(b)] = found.get((int(a), int(b)), 0) + w
    assert found.keys() == flows.keys()
    for key, weight in flows.items():
        assert found[key] == pytest.approx(weight)


def _within_axons(layer, at: np.ndarray, used: np.ndarray) -> None:  # type: ignore[no-untyped-def]
    """The source neurons that each core really reads are no more than the mapping said."""
    per_core: dict[int, set[tuple[str, int]]] = {}
    for p in layer.projections:
        for r, c in zip(p.matrix.rows, p.matrix.cols, strict=True):
            per_core.setdefault(int(at[r]), set()).add((p.source, int(c)))
    for core, axons in per_core.items():
        assert len(axons) <= used[core]
