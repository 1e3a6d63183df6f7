"""What would fit: the partition is really run again on changed networks and options.

A variant with fewer channels keeps inputs, outputs and structure; every hidden population has the
given share of its channels. These networks are for counting: their weights are not changed, and
they are never run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

from ...runtime.ops import Shape
from ..mapping import SHARES, Request, Step
from ..options import O
from ..rules import violations
from ..target import HardwareTarget
from ..view.geometry import Axis, Geometry
from ..view.network import ChipLayer, ChipNetwork, Projection

CAPACITY = ("in_axons_per_core", "synapse_memory", "core_memory")


@dataclass(frozen=True, eq=False, kw_only=True)
class Variant:
    """What changes, and what is mapped then: a network, with other options, on so many ``chips``
    (None: on those that there are)."""

    change: str
    network: ChipNetwork
    options: Mapping[str, Any] = field(default_factory=dict)
    chips: int | None = None


def would_fit(
    network: ChipNetwork, target: HardwareTarget, request: Request[O], step: Step[O], chips: int
) -> tuple[Mapping[str, Any], ...]:
    """Variants that were tried: {change, fits, cores, chips}; the first of each kind that fits."""
    if violations(network, target):
        return ()  # what a chip cannot do at all does not depend on sizes
    dry = replace(request, x=None, y=None, dry=True)
    groups = (
        _boards(network, target, dry, step),
        _partial_sums(network, target, dry, step),
        _narrower(network),
        _input_modes(network, target, dry),
    )
    return tuple(v for group in groups for v in _first_fit(group, target, dry, step, chips))


def as_others_state(
    network: ChipNetwork, target: HardwareTarget, request: Request[O], step: Step[O], chips: int
) -> tuple[Mapping[str, Any], ...]:
    """The network mapped again with what each other source states of the chip's limits: {by,
    limits, cores, chips, fits}."""
    if violations(network, target):
        return ()
    dry = replace(request, x=None, y=None, dry=True)
    found = []
    for by, chip in target.otherwise.items():
        mapped = step(network, chip, dry)
        needed = ceil(mapped.cores.count / chip.limit("cores_per_chip"))
        changed = {n: x.value for n, x in chip.limits.items() if x is not target.limits[n]}
        fits = not mapped.violations and needed <= chips
        found.append(
            {
                "by": by,
                "limits": changed,
                "cores": mapped.cores.count,
                "chips": needed,
                "fits": fits,
            }
        )
    return tuple(found)


def _boards(
    network: ChipNetwork, target: HardwareTarget, request: Request[O], step: Step[O]
) -> Iterator[Variant]:
    """As many chips as the network needs, where chips are all it lacks."""
    mapped = step(network, target, request)
    if not mapped.violations:
        needed = ceil(mapped.cores.count / target.limit("cores_per_chip"))
        yield Variant(change=f"a board of {needed:,} chips", network=network, chips=needed)


def _partial_sums(
    network: ChipNetwork, target: HardwareTarget, request: Request[O], step: Step[O]
) -> Iterator[Variant]:
    """Layers with too large a fan-in read populations that each sum a part of the input and
    send it on as one graded spike, one step later."""
    broken = step(network, target, request).violations
    names = {v.node for v in broken if v.rule in CAPACITY and v.node in network}
    if not names or any(v.rule not in CAPACITY for v in broken):
        return
    for parts in (2, 4, 8, 16, 32, 64):
        cut = split_fan_in(network, names, parts)
        if cut is None:
            return
        listed = ", ".join(f"'{name}'" for name in sorted(names))
        more = parts * sum(network[name].neurons for name in names)
        text = (
            f"{listed} cut into {parts} partial sums: {more:,} more neurons with graded signed "
            "spikes, one more step"
        )
        yield Variant(change=text, network=cut)


def _narrower(network: ChipNetwork) -> Iterator[Variant]:
    if any(layer.analog for layer in network.layers):
        return
    if any(p.geometry is None for p in network.projections):
        return
    for share in SHARES:
        change = f"{share:g} times the channels of every hidden layer"
        yield Variant(change=change, network=narrow(network, share))


def _input_modes(
    network: ChipNetwork, target: HardwareTarget, request: Request[Any]
) -> Iterator[Variant]:
    ways = target.can("input")
    for mode in ways:
        if mode != (request.options.input or ways[0]):
            change = f"the input enters as '{mode}'"
            yield Variant(change=change, network=network, options={"input": mode})


def _first_fit(
    variants: Iterator[Variant],
    target: HardwareTarget,
    request: Request[O],
    step: Step[O],
    chips: int,
) -> Iterator[Mapping[str, Any]]:
    last: Mapping[str, Any] | None = None
    for v in variants:
        tried = replace(request, options=replace(request.options, **v.options))
        mapped = step(v.network, target, tried)
        needed = ceil(mapped.cores.count / target.limit("cores_per_chip"))
        fits = not mapped.violations and needed <= (v.chips or chips)
        last = {"change": v.change, "fits": fits, "cores": mapped.cores.count, "chips": needed}
        if mapped.violations:
            last["still"] = sorted({broken.rule for broken in mapped.violations})
        if fits:
            break
    if last is not None:
        yield last


def narrow(network: ChipNetwork, share: float) -> ChipNetwork:
    """The network's shapes with fewer channels; for counting only (weights are not changed)."""
    kept = network.answers.union(n.name for n in network.inputs)

    def scaled(shape: Shape, name: str) -> Shape:
        if name in kept or not shape:
            return shape
        return (max(1, round(shape[0] * share)), *shape[1:])

    layers = tuple(
        ChipLayer(
            node=replace(layer.node, shape=scaled(layer.shape, layer.name)),
            projections=tuple(_scaled(p, scaled) for p in layer.projections),
        )
        for layer in network.layers
    )
    return ChipNetwork(facts=network.facts, inputs=network.inputs, layers=layers)


def _scaled(p: Projection, scaled) -> Projection:  # type: ignore[no-untyped-def]
    assert p.geometry is not None
    source, target = scaled(p.source_shape, p.source), scaled(p.target_shape, p.target)
    geometry = p.geometry
    groups = geometry.groups
    if groups == p.source_shape[0]:
        groups = min(source[0], target[0])
        while source[0] % groups or target[0] % groups:
            groups -= 1
    elif groups > 1:
        while source[0] % groups or target[0] % groups:
            groups -= 1
    rows = max(1, round(geometry.rows * source[0] / p.source_shape[0]))
    geometry = replace(geometry, groups=groups, channels=source[0], rows=rows)
    return Projection(
        source=p.source,
        target=p.target,
        names=p.names,
        chain=p.chain,
        source_shape=source,
        target_shape=target,
        geometry=geometry,
    )


def split_fan_in(network: ChipNetwork, names: set[str], parts: int) -> ChipNetwork | None:
    """The named layers behind ``parts`` populations each, which read a share of the source's
    channels; None where a layer has fewer channels to share or no geometry. For counting only."""
    layers: list[ChipLayer] = []
    for layer in network.layers:
        if layer.name not in names:
            layers.append(layer)
            continue
        pieces: list[ChipLayer] = []
        for p in layer.projections:
            if p.geometry is None or p.geometry.groups != 1 or p.source_shape[0] < parts:
                return None
            pieces.extend(_piece(layer, p, index, parts=parts) for index in range(parts))
        layers.extend(pieces)
        reads = tuple(_relay(piece.name, layer) for piece in pieces)
        layers.append(ChipLayer(node=layer.node, projections=reads))
    return ChipNetwork(facts=network.facts, inputs=network.inputs, layers=tuple(layers))


def _piece(layer: ChipLayer, p: Projection, index: int, *, parts: int) -> ChipLayer:
    assert p.geometry is not None
    channels = ceil(p.source_shape[0] / parts)
    geometry = replace(p.geometry, channels=channels, rows=ceil(p.geometry.rows / parts))
    name = f"{layer.name}/{p.source}/part{index}"
    read = Projection(
        source=p.source,
        target=name,
        names=p.names,
        chain=p.chain,
        source_shape=(channels, *p.source_shape[1:]),
        target_shape=p.target_shape,
        geometry=geometry,
    )
    return ChipLayer(node=replace(layer.node, name=name), projections=(read,))


def _relay(source: str, layer: ChipLayer) -> Projection:
    """One to one from a partial sum."""
    shape = layer.shape
    axes = tuple(Axis(target=i) for i in range(len(shape) - 1))
    geometry = Geometry(axes=axes, groups=shape[0], channels=shape[0], weighted=False)
    return Projection(
        source=source,
        target=layer.name,
        names=(),
        chain=(),
        source_shape=shape,
        target_shape=shape,
        geometry=geometry,
    )
