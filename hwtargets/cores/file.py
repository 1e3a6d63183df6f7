"""The emitted network: every integer, where each neuron is, and who sends to which core.

``onnx2snn-cores`` version 1 is an NPZ archive (no pickle) of flat arrays and ``header``, JSON in
UTF-8; docs/placement.md lists them. Neurons are numbered through all layers, in the order of
``header["layers"]``, each in C order; the input's elements count from 0 of their own. A step of a
plain neuron is

    I = sum over its projections p of  floor(2^exponent_p  sum of weights x spikes)  2^shift
    v <- v - ceil(|v| leak / 4096) sign(v);  v <- v + I + bias, >= floor, clipped to +-state_max
    fires where v > threshold (``strict``) or v >= threshold;  v <- v - threshold, or v <- reset_to

The current of a step has its bias, and what the host computes, only in the T steps of the window
that the layer reads: from the latest of its sources' begins plus delays on. Neurons fire in the T
steps from ``begins`` on, and integrate before. Paced neurons and those of one number per window
weigh the steps of the window they read (docs/placement.md has their equations).

A projection with ``host`` has real weights, rounds its sum and is not shifted: the host computes it
once per sample, and writes it with the bias to the register of the neuron's bias. It holds (where
``input.register`` is given) mantissa 2^e, of the least e in 0..exponent whose mantissa is at most
``mantissa``; what is larger is cut. Where the input's ``mode`` is "graded", round(x / unit), cut to
+-max, is sent in every step; docs/placement.md has the other modes. Later versions may add arrays
and keys.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from math import isfinite, prod
from typing import Any

import numpy as np

from ...runtime.neurons import Neuron
from ...runtime.ops import Array, LinearOp, Shape
from ..target import HardwareTarget, Violation
from ..view import sparse
from ..view.coders import Coder
from ..view.network import ChipNetwork
from .integer.network import IntLayer, IntNetwork, IntProjection
from .partition import Tiling

FORMAT = "onnx2snn-cores"
VERSION = 1


@dataclass(frozen=True, eq=False)
class _Synapses:
    """Of one projection, in coordinates: neurons of the target layer, elements of the source."""

    target: Array
    source: Array
    weight: Array


def dump(
    network: ChipNetwork,
    ints: IntNetwork,
    tilings: tuple[Tiling, ...],
    *,
    chip: Array,
    xy: Array,
    steps: int,
    name: str,
) -> bytes:
    """The file's bytes. ``chip`` (cores,), ``xy`` (cores, 2): where the cores are, on the joint
    grid of all chips; ``steps``: T; ``name``: of the target."""
    layers = ints.layers
    first = dict(
        zip([la.name for la in layers], np.cumsum([0, *map(_size, layers)]).tolist(), strict=False)
    )
    lists = [
        (la, p, _synapses(p, _source_shape(network, la, p)))
        for la in layers
        for p in la.projections
    ]
    placed = {t.name: t for t in tilings}
    core = np.concatenate([placed[la.name].core_of() for la in layers])
    arrays: dict[str, Array] = {
        "core": core.astype(np.int32),
        "input_core": _of_input(network, placed),
        "core_chip": chip.astype(np.int32),
        "core_x": xy[:, 0].astype(np.int32),
        "core_y": xy[:, 1].astype(np.int32),
        **{key: _joined(layers, key) for key in ("threshold", "bias", "v_init")},
        "synapse_target": _ends(lists, "target", host=False),
        "synapse_source": _ends(lists, "source", host=False),
        "synapse_weight": _ends(lists, "weight", host=False),
        "host_target": _ends(lists, "target", host=True),
        "host_source": _ends(lists, "source", host=True),
        "host_weight": _ends(lists, "weight", host=True),
    }
    arrays |= _routes(lists, first, core)
    header = {
        "format": FORMAT, "version": VERSION, "target": name, "steps": steps,
        "strict": ints.strict, "state_max": ints.state_max if isfinite(ints.state_max) else None,
        "input": {
            "name": network.inputs[0].name, "shape": list(network.inputs[0].shape),
            "mode": ints.input_mode, "encoding": network.inputs[0].encoding,
            "unit": ints.input_unit, "max": ints.input_max, "register": _register(ints),
        },
        "host": [_hosted(network, name) for name in sorted(network.hosted)],
        "layers": [_layer(network, la, first[la.name]) for la in layers],
        "projections": list(_projections(lists)),
    }  # fmt: skip
    arrays["header"] = np.frombuffer(json.dumps(header, allow_nan=False).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _of_input(network: ChipNetwork, placed: Mapping[str, Tiling]) -> Array:
    """The core of every encoding neuron; empty where there are none on the chip."""
    found = placed.get(network.inputs[0].name)
    return np.zeros(0, np.int32) if found is None else found.core_of().astype(np.int32)


def emitted(
    chip: Array,
    xy: Array,
    *,
    network: ChipNetwork,
    target: HardwareTarget,
    ints: IntNetwork,
    tilings: tuple[Tiling, ...],
    steps: int,
    most: int,
) -> tuple[Mapping[str, bytes], tuple[Violation, ...]]:
    """See ``mapping.Placed``; nothing of a network with more than ``most`` synapses."""
    if synapses(network) > most:
        return {}, ()
    data = dump(network, ints, tilings, chip=chip, xy=xy, steps=steps, name=target.name)
    return {f"{target.name}.npz": data}, ()


def notes(network: ChipNetwork, most: int) -> tuple[str, ...]:
    """That there is no file, and why."""
    count = synapses(network)
    raises = f"option emit raises the limit of {most:,}"
    said = f"{count:,} synapses: no file of the network was written ({raises})."
    return (said,) if count > most else ()


def synapses(network: ChipNetwork) -> int:
    """How many there are to list."""
    return sum(p.synapses for p in network.projections)


def _size(layer: IntLayer) -> int:
    return prod(layer.shape)


def _source_shape(network: ChipNetwork, layer: IntLayer, p: IntProjection) -> Shape:
    sources = {q.source: q.source_shape for q in network[layer.name].projections}
    return sources[p.source]


def _synapses(p: IntProjection, shape: Shape) -> _Synapses:
    links: list[tuple[LinearOp, int, tuple[Shape, ...]]] = []
    size = prod(shape)
    for op in p.ops:
        links.append((op, 0, (shape,)))
        shape = op.output_shape(shape)
    found = sparse.of_chain(links, size)
    kind = np.float64 if p.host else np.int32
    return _Synapses(
        found.rows.astype(np.int32), found.cols.astype(np.int32), found.values.astype(kind)
    )


Lists = list[tuple[IntLayer, IntProjection, _Synapses]]


def _ends(lists: Lists, what: str, *, host: bool) -> Array:
    kind = np.float64 if host and what == "weight" else np.int32
    parts = [getattr(s, what) for _, p, s in lists if p.host is host]
    return np.concatenate([np.zeros(0, kind), *parts]).astype(kind)


def _joined(layers: tuple[IntLayer, ...], key: str) -> Array:
    """One number per neuron, in steps of the membrane; of readouts, which have none, 0."""
    values = ((la, getattr(la, key)) for la in layers)
    full = [np.broadcast_to(0.0 if v is None else v, la.shape).reshape(-1) for la, v in values]
    return np.rint(np.concatenate(full)).astype(np.int64)


def _projections(lists: Lists) -> Iterator[dict[str, Any]]:
    """``first``, ``count``: of the synapses in ``synapse_*``, or in ``host_*``."""
    at = {False: 0, True: 0}
    for layer, p, found in lists:
        count = len(found.weight)
        yield {
            "source": p.source, "target": layer.name, "exponent": p.exponent, "delay": p.delay,
            "host": p.host, "first": at[p.host], "count": count,
        }  # fmt: skip
        at[p.host] += count


def _layer(network: ChipNetwork, layer: IntLayer, first: int) -> dict[str, Any]:
    floor = None if layer.v_min is None else _one_each(layer, layer.v_min)
    return {
        "name": layer.name, "shape": list(layer.shape), "first": first, "count": _size(layer),
        "begins": network.facts.onsets[layer.name], "shift": layer.shift,
        "coding": layer.coding, "unit": _one_each(layer, layer.unit), "floor": floor,
        "reset_to": _one_each(layer, layer.v_reset),
        "neuron": None if layer.neuron is None else _neuron(layer.neuron),
    }  # fmt: skip


def _one_each(layer: IntLayer, value: Any) -> float | list[float]:
    """A number, or where a layer's differ one per neuron."""
    values = np.asarray(value, np.float64)
    if values.size == 1:
        return float(values.reshape(-1)[0])
    return [float(v) for v in np.broadcast_to(values, layer.shape).reshape(-1)]


def _register(ints: IntNetwork) -> dict[str, int | None] | None:
    """What holds biases, with the host's current; None where it is not limited."""
    held = ints.register
    if not isfinite(held.mantissa):
        return None
    exponent = int(held.exponent) if isfinite(held.exponent) else None
    return {"mantissa": int(held.mantissa), "exponent": exponent}


def _hosted(network: ChipNetwork, name: str) -> dict[str, Any]:
    """The neurons that a host has in the chip's stead, whose spikes it sends."""
    coder = Coder(network.facts, name)
    return {
        "name": name, "shape": list(coder.node.shape), "begins": network.facts.onsets[name],
        "neuron": _neuron(coder.node.neuron), **coder.document(),
    }  # fmt: skip


def _neuron(neuron: Neuron) -> dict[str, Any]:
    """Model and plain parameters; thresholds and potentials are arrays of the file."""
    plain = (bool, int, float, str)
    named = ((f.name, getattr(neuron, f.name)) for f in fields(neuron))
    return {"model": neuron.name, **{k: v for k, v in named if isinstance(v, plain)}}


def _routes(lists: Lists, first: Mapping[str, int], core: Array) -> dict[str, Array]:
    """Every (neuron, core) to which its spikes are sent; inputs count from -1 downwards: element e
    of the input is neuron -1 - e."""
    pairs = [np.zeros((0, 2), np.int64)]
    for layer, p, found in lists:
        if p.host:
            continue
        source = found.source + first[p.source] if p.source in first else -1 - found.source
        to = core[found.target + first[layer.name]]
        pairs.append(np.unique(np.stack([source, to], axis=1).astype(np.int64), axis=0))
    routes = np.unique(np.concatenate(pairs), axis=0).astype(np.int32)
    return {"route_neuron": routes[:, 0], "route_core": routes[:, 1]}
