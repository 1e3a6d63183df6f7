"""Xylo's limits, all checked at once, and what would fit.

The vendor's own design rule check only warns about inputs and outputs, and leaves fan-out, totals,
register ranges and the expansion limits of the newer chips to a closed tool (or truncates). Here
every limit of the target's table is a violation with the amount and a computed remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import floor
from typing import Any

import numpy as np

from ...runtime import graph as g
from ...runtime.neurons import Neuron, NeuronParams, PacedParams
from ..rules import learning
from ..target import HardwareTarget, Violation
from ..view.network import ChipLayer, ChipNetwork
from ..view.pools import as_tree, is_max_pool
from .core import HIDDEN_SPIKES
from .network import is_hidden, is_output
from .usage import Usage, others_before, read_by_output, sizes_of, usage_of, wiring_of

# Rules about how a network codes its activations, which the mapping chooses anew in any case.
RECODABLE = ("signed_spikes", "graded_spikes", "reset", "refractory", "lag", "floor")
FOREIGN = ("analog", "structure")  # rules after which a network has no wiring to speak of


def kinds(view: ChipNetwork, target: HardwareTarget) -> tuple[Violation, ...]:
    """Neurons and structures that the chip does not have, whatever their size."""
    found = (v for layer in view.layers for v in _neuron(layer, view))
    return (*learning(view, target), *found, *_structure(view))


def violations(view: ChipNetwork, target: HardwareTarget) -> list[Violation]:
    """Everything in the network that the chip cannot hold or do, before quantization."""
    found = list(kinds(view, target))
    foreign = any(v.rule in FOREIGN for v in found)
    usage = sizes_of(view) if foreign else usage_of(view)
    return found + list(over(usage, target, view))


def _neuron(layer: ChipLayer, view: ChipNetwork) -> Iterator[Violation]:
    """Neuron models that the chip does not have."""
    if layer.analog:
        yield Violation(
            node=layer.name,
            rule="analog",
            used=layer.analog,
            limit="integrate-and-fire neurons",
            remedy=f"{as_tree(view)}. Or use average pooling or a strided layer."
            if is_max_pool(layer)
            else "Replace islands by affine and ReLU layers before converting.",
        )
        return
    if not isinstance(layer.node, g.Population):
        return
    neuron = layer.node.neuron
    rule = NEURONS.get(type(neuron))
    yield from (_foreign(layer.name, neuron),) if rule is None else rule(layer, neuron)


def _integrate_and_fire(layer: ChipLayer, neuron: NeuronParams) -> Iterator[Violation]:
    """Parameters that the chip's neurons do not have."""
    wrong: dict[str, tuple[bool, float | str, float | str, str]] = {
        "signed_spikes": (
            neuron.signed,
            "signed",
            "spikes without sign",
            f"Convert without signed neurons; a pair of neurons per neuron would take "
            f"{layer.neurons} more hidden neurons and twice the fan-out into them.",
        ),
        "graded_spikes": (
            neuron.levels > HIDDEN_SPIKES,
            neuron.levels,
            HIDDEN_SPIKES,
            f"Convert with at most {HIDDEN_SPIKES} levels.",
        ),
        "reset": (neuron.reset != "subtract", neuron.reset, "subtract", "Convert with soft reset."),
        "refractory": (
            neuron.refractory > 0,
            neuron.refractory,
            0,
            "Convert without a refractory period.",
        ),
        "lag": (
            neuron.lag > 0,
            neuron.lag,
            0,
            "Convert without a start lag: the chip has no gate, and calibration in the integer "
            "loop takes the lag's place.",
        ),
        "memory": (
            "stateless" in neuron.traits,
            "none",
            "at most half of a potential is lost per step",
            "Convert with a smaller leak.",
        ),
        "floor": (
            neuron.v_min is not None,
            str(neuron.v_min),
            "none but -32768",
            "Convert without a floor of the membrane potential.",
        ),
    }
    for rule, (broken, used, limit, remedy) in wrong.items():
        if broken:
            remedy += " Or give option recode=true: rates are coded anew, at no cost in neurons."
            yield Violation(node=layer.name, rule=rule, used=used, limit=limit, remedy=remedy)


# What is checked of a model whose rates can be coded anew; a model that is not here is refused.
NEURONS: dict[type[Neuron], Callable[[ChipLayer, Any], Iterator[Violation]]] = {
    NeuronParams: _integrate_and_fire,
    PacedParams: _integrate_and_fire,
}


def _foreign(name: str, neuron: Neuron) -> Violation:
    """A neuron whose spikes may be worth less and less, or less the more there are."""
    return Violation(
        node=name,
        rule="neuron_model",
        used=neuron.name,
        limit="integrate-and-fire",
        remedy="Convert with a recipe of integrate-and-fire neurons.",
    )


def _structure(view: ChipNetwork) -> Iterator[Violation]:
    """The chip is channels -> hidden -> outputs, without a direct way."""
    inputs = {node.name for node in view.inputs}
    if not any(is_hidden(layer) for layer in view.layers):
        yield Violation(
            node=view.layers[0].name if view.layers else "network",
            rule="structure",
            used="no hidden neurons",
            limit="at least one hidden layer",
            remedy="Input channels reach outputs through hidden neurons only: add a ReLU layer.",
        )
        return
    for layer in view.layers:
        direct = [p.source for p in layer.projections if is_output(layer) and p.source in inputs]
        if direct:
            yield Violation(
                node=layer.name,
                rule="structure",
                used=f"reads input {direct[0]} directly",
                limit="outputs read hidden neurons only",
                remedy="Route it through a ReLU layer (one hidden neuron per channel).",
            )


_WHAT = {
    "inputs": "input channels",
    "hidden_neurons": "hidden neurons",
    "outputs": "output neurons",
    "input_expansion": "hidden neurons within reach of the inputs",
    "output_expansion": "hidden neurons within reach of the outputs",
    "fan_out": "hidden targets of one neuron",
    "hidden_synapses": "synapses between hidden neurons",
}


def over(
    usage: Usage,
    target: HardwareTarget,
    view: ChipNetwork,
    *,
    remedy: Callable[[str], str] | None = None,
) -> Iterator[Violation]:
    """A violation for every resource above its limit, with what would fit (or another ``remedy``
    for the name of the resource, where computing it would take too long)."""
    for name, used, limit in exceeded(usage, target):
        yield Violation(
            node=_culprit(name, view),
            rule=name,
            used=used,
            limit=limit,
            remedy=remedy(name) if remedy else _remedy(name, used, limit, target, view),
        )


def exceeded(usage: Usage, target: HardwareTarget) -> Iterator[tuple[str, int, float]]:
    """Every resource above its limit, with both; ``over`` finds the node to blame, too."""
    for name in _WHAT:
        used, limit = getattr(usage, name), target.limit(name)
        if used > limit:
            yield name, used, limit


def _culprit(name: str, view: ChipNetwork) -> str:
    """The node that takes most of a resource."""
    hidden = [layer for layer in view.layers if not is_output(layer)]
    names = {node.name for node in view.inputs}
    if name == "inputs":
        return max(view.inputs, key=lambda n: int(np.prod(n.shape, dtype=int))).name
    if name == "outputs":
        return max((la for la in view.layers if is_output(la)), key=lambda la: la.neurons).name
    if name == "fan_out":
        return max(hidden, key=lambda la: wiring_of(view, la)[0]).name
    if name == "hidden_synapses":
        return max(hidden, key=lambda la: wiring_of(view, la)[1]).name
    if name == "input_expansion":
        hidden = [la for la in hidden if any(p.source in names for p in la.projections)]
    if name == "output_expansion":
        hidden = [la for la in hidden if read_by_output(view, la)]
    return max(hidden, key=lambda la: la.neurons).name


def _remedy(name: str, used: int, limit: float, target: HardwareTarget, view: ChipNetwork) -> str:
    most = int(limit)
    if name == "inputs":
        return (
            f"{used - most} {'channel' if used - most == 1 else 'channels'} too many: merge "
            f"features {-(-used // most)} to one, or select {most} of them, and retrain."
        )
    if name == "outputs":
        return f"At most {most} classes: drop {used - most}, or use a chip with more outputs."
    widths = fitting_widths(view, target)
    if widths is None:
        return f"Too many {_WHAT[name]}, by {used - most:,}; no narrower layers would help."
    listed = "-".join(str(w) for w in widths)
    return (
        f"Too many {_WHAT[name]}, by {used - most:,}: hidden layers of {listed} neurons would fit."
    )


def fitting_widths(view: ChipNetwork, target: HardwareTarget) -> tuple[int, ...] | None:
    """The widest hidden layers, all shrunk by one factor (those over a limit of their own cut to
    it), that meet every limit on hidden neurons; None if not even one neuron each does. Connections
    between two layers shrink with both widths."""
    layers = [la for la in view.layers if is_hidden(la)]
    if not layers:
        return None
    names = {node.name for node in view.inputs}
    caps = []
    for layer in layers:
        sources = [view[p.source] for p in layer.projections if p.source not in names]
        cap = target.limit("fan_out") if any(map(is_hidden, sources)) else np.inf
        if any(p.source in names for p in layer.projections):
            cap = min(cap, target.limit("input_expansion"))
        if read_by_output(view, layer):
            cap = min(cap, target.limit("output_expansion"))
        caps.append(cap)

    def shrunk(factor: float) -> list[int]:
        return [
            max(1, floor(min(la.neurons * factor, cap)))
            for la, cap in zip(layers, caps, strict=True)
        ]

    low, high = 0.0, 1.0
    if _fits(shrunk(high), layers, view, target):
        return tuple(shrunk(high))
    for _ in range(40):  # to a factor that no width can tell from the largest
        middle = (low + high) / 2
        low, high = (middle, high) if _fits(shrunk(middle), layers, view, target) else (low, middle)
    return tuple(shrunk(low)) if _fits(shrunk(low), layers, view, target) else None


def _fits(
    widths: list[int], layers: list[ChipLayer], view: ChipNetwork, target: HardwareTarget
) -> bool:
    share = {la.name: w / la.neurons for la, w in zip(layers, widths, strict=True)}
    synapses = 0.0
    for layer in layers:
        for p in layer.projections:
            if p.source in share:
                synapses += p.synapses * share[p.source] * share[layer.name]
    reach = _reach(widths, layers, view)
    return (
        sum(widths) <= target.limit("hidden_neurons")
        and synapses <= target.limit("hidden_synapses")
        and reach[0] <= target.limit("input_expansion")
        and reach[1] <= target.limit("output_expansion")
    )


def _reach(widths: list[int], layers: list[ChipLayer], view: ChipNetwork) -> tuple[int, int]:
    """Input and output expansion of layers of these widths, in the order of ``order``."""
    names = {node.name for node in view.inputs}
    size = {(a, b): 0 for a in (False, True) for b in (False, True)}
    for width, layer in zip(widths, layers, strict=True):
        reads = any(p.source in names for p in layer.projections)
        size[reads, read_by_output(view, layer)] += width
    first, both, last, rest = (
        size[True, False],
        size[True, True],
        size[False, True],
        size[False, False],
    )
    gap = others_before(first, both=both, last=last, rest=rest)
    inputs = first + gap + both if both else first
    outputs = both + rest - gap + last if both else last
    return inputs, outputs
