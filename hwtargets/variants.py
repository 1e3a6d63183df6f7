"""What would fit: the partition is really run again on changed networks and options.

A variant with fewer channels keeps inputs, readouts and structure; every population has the given
share of its channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import ceil
from typing import Any

from ..runtime import graph as g
from ..runtime.ops import Shape
from .layers import ChipLayer, ChipNetwork, Projection
from .mapping import Request, Step
from .target import HardwareTarget

COUNTING = ("cores", "crossbar")  # mapping steps that know the option "count_only"
SHARES = (0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125)


def would_fit(
    network: ChipNetwork, target: HardwareTarget, request: Request, step: Step, chips: int
) -> tuple[Mapping[str, Any], ...]:
    """Variants that were tried: {change, fits, cores, chips}; the first of each kind that fits."""
    if target.mapping not in COUNTING:
        return ()
    dry = replace(request, x=None, y=None, options={**request.options, "count_only": True})
    found = [
        *_first_fit(_narrower(network), target, dry, step, chips),
        *_first_fit(_input_modes(network, target, dry), target, dry, step, chips),
    ]
    return tuple(found)


def _narrower(network: ChipNetwork) -> Iterator[tuple[str, ChipNetwork, Mapping[str, Any]]]:
    if any(layer.analog for layer in network.layers):
        return
    if any(p.geometry is None for p in network.projections):
        return
    for share in SHARES:
        yield f"{share:g} times the channels of every hidden layer", narrow(network, share), {}


def _input_modes(
    network: ChipNetwork, target: HardwareTarget, request: Request
) -> Iterator[tuple[str, ChipNetwork, Mapping[str, Any]]]:
    now = request.option(target, "input", target.can("input")[0])
    for mode in target.can("input"):
        if mode != now:
            yield f"the input enters as '{mode}'", network, {"input": mode}


def _first_fit(
    variants: Iterator[tuple[str, ChipNetwork, Mapping[str, Any]]],
    target: HardwareTarget,
    request: Request,
    step: Step,
    chips: int,
) -> Iterator[Mapping[str, Any]]:
    last: Mapping[str, Any] | None = None
    for change, network, options in variants:
        tried = replace(request, options={**request.options, **options})
        mapped = step(network, target, tried)
        needed = ceil(mapped.cores.count / target.limit("cores_per_chip"))
        fits = not mapped.violations and needed <= chips
        last = {"change": change, "fits": fits, "cores": mapped.cores.count, "chips": needed}
        if mapped.violations:
            last["still"] = sorted({v.rule for v in mapped.violations})
        if fits:
            break
    if last is not None:
        yield last


def narrow(network: ChipNetwork, share: float) -> ChipNetwork:
    """The network's shapes with fewer channels; for counting only (weights are not changed)."""
    kept = {n.name for n in network.inputs}
    kept |= {la.name for la in network.layers if isinstance(la.node, g.Readout)}

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
    return ChipNetwork(graph=network.graph, inputs=network.inputs, layers=layers)


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
