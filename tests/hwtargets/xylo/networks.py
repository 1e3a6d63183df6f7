"""Small networks and random configurations for the Xylo tests."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from hwtargets.chip_nets import map_graph
from onnx2snn.hwtargets.mapping import Mapped
from onnx2snn.hwtargets.placement import load_target
from onnx2snn.hwtargets.xylo import file as xylo_file
from onnx2snn.hwtargets.xylo.core import XyloConfig
from onnx2snn.runtime import ops
from onnx2snn.runtime.graph import Input, Node, Population, Readout, SpikingGraph, Synapse
from onnx2snn.runtime.neurons import NeuronParams

CHIPS = ("xylo-audio2", "xylo-audio3", "xylo-imu")


def neuron(threshold: Any = 1.0, **changes: Any) -> NeuronParams:
    theta = np.asarray(threshold, np.float32)
    return NeuronParams(v_threshold=theta, v_init=theta / 2, **changes)


def chain(
    weights: list[np.ndarray], biases: list[np.ndarray], thresholds: Any = 1.0, **changes: Any
) -> SpikingGraph:
    """A multilayer perceptron; weights[i] is (out, in) per unit of activation."""
    nodes: list[Node] = [Input(name="x", shape=(weights[0].shape[1],))]
    last, scale = "x", np.float32(1)
    for k, (w, b) in enumerate(zip(weights, biases, strict=True)):
        shape = (len(b),)
        op = ops.Linear(weight=(w * scale).astype(np.float32))
        nodes.append(Synapse(name=f"fc{k}", inputs=(last,), shape=shape, op=op))
        if k == len(weights) - 1:
            nodes.append(Readout(name="out", inputs=(f"fc{k}",), shape=shape, bias=b))
            break
        params = neuron(thresholds, **changes)
        nodes.append(
            Population(name=f"relu{k}", inputs=(f"fc{k}",), shape=shape, bias=b, neuron=params)
        )
        last, scale = f"relu{k}", params.v_threshold
    return SpikingGraph(nodes=tuple(nodes))


def perceptron(
    *sizes: int, seed: int = 0, density: float = 1.0, thresholds: Any = 1.0, **changes: Any
) -> SpikingGraph:
    """Random weights (He) with biases; ``sizes``: inputs, hidden layers, outputs."""
    rng = np.random.default_rng(seed)
    weights = [
        rng.normal(0, np.sqrt(2 / a), (b, a)) * (rng.random((b, a)) < density)
        for a, b in pairwise(sizes)
    ]
    biases = [rng.normal(0, 0.2, w.shape[0]).astype(np.float32) for w in weights]
    return chain(weights, biases, thresholds, **changes)


def random_config(rng: np.random.Generator, *, most: int = 12) -> XyloConfig:
    """Anything the registers hold: saturating weights, all decays, large and small thresholds."""
    inputs, hidden, outputs = (int(n) for n in rng.integers(1, most + 1, 3))
    size = rng.random() ** 3

    def weights(a: int, b: int) -> np.ndarray:
        return rng.integers(-128, 128, (a, b)) * (rng.random((a, b)) < rng.random())

    def per_neuron(low: int, high: int) -> dict[str, np.ndarray]:
        return {"": rng.integers(low, high, hidden), "_out": rng.integers(low, high, outputs)}

    values: dict[str, Any] = {}
    for name, low, high in (
        ("dash_mem", 0, 16),
        ("dash_syn", 0, 16),
        ("threshold", 1, int(2 + 32766 * size)),
        ("bias", -int(1 + 32767 * size), int(1 + 32767 * size)),
    ):
        values |= {name + suffix: v for suffix, v in per_neuron(low, high).items()}
    for block in ("in", "rec", "out"):
        values[f"weight_shift_{block}"] = int(rng.integers(0, 8))
    return XyloConfig(
        weights_in=weights(inputs, hidden),
        weights_rec=weights(hidden, hidden),
        weights_out=weights(hidden, outputs),
        **values,
    )


def random_trains(rng: np.random.Generator, samples: int, steps: int, inputs: int) -> np.ndarray:
    """Spike counts with silent stretches, some beyond the 15 that the chip takes."""
    shape = (samples, steps, inputs)
    return rng.integers(0, 18, shape) * (rng.random(shape) < rng.random())


def skip_network() -> SpikingGraph:
    """Input -> a; a -> b; input and b -> c (a sum); a and c -> readout."""
    rng = np.random.default_rng(4)

    def dense(name: str, source: str, size: int, into: int) -> Synapse:
        weight = rng.normal(0, 0.5, (into, size)).astype(np.float32)
        return Synapse(name=name, inputs=(source,), shape=(into,), op=ops.Linear(weight=weight))

    def population(name: str, source: str, size: int) -> Population:
        return Population(name=name, inputs=(source,), shape=(size,), neuron=neuron(0.8))

    def add(name: str, *sources: str, size: int) -> Synapse:
        return Synapse(name=name, inputs=sources, shape=(size,), op=ops.Add())

    return SpikingGraph(
        nodes=(
            Input(name="x", shape=(6,)),
            dense("xa", "x", 6, 9),
            population("a", "xa", 9),
            dense("ab", "a", 9, 7),
            population("b", "ab", 7),
            dense("xc", "x", 6, 5),
            dense("bc", "b", 7, 5),
            add("sum_c", "xc", "bc", size=5),
            population("c", "sum_c", 5),
            dense("ao", "a", 9, 4),
            dense("co", "c", 5, 4),
            add("sum_o", "ao", "co", size=4),
            Readout(name="out", inputs=("sum_o",), shape=(4,)),
        )
    )


def place(
    graph: SpikingGraph,
    chip: str = "xylo-audio2",
    *,
    x: Any = None,
    steps: int = 16,
    **options: Any,
) -> Mapped:
    target = load_target(chip)
    size = sum(int(np.prod(node.shape)) for node in graph.of(Input))
    calib = np.random.default_rng(3).random((96, size)) if x is None else x
    return map_graph(graph, target, options, steps=steps, calib=calib)


def emitted(mapped: Mapped) -> xylo_file.XyloFile:
    (content,) = mapped.files.values()
    return xylo_file.parse(content)


def samples(count: int, size: int, seed: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).random((count, size))
