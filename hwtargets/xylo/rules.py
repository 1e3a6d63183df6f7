"""Xylo's limits, all checked at once, and what would fit.

The vendor's own design rule check only warns about inputs and outputs, and leaves fan-out, totals,
register ranges and the expansion limits of the newer chips to a closed tool (or truncates). Here
every limit of the target's table is a violation with the amount and a computed remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from math import ceil, floor
from typing import Any

import numpy as np

from ...runtime import graph as g
from ...runtime.neurons import Neuron, NeuronParams, PacedParams
from ..mapping import SHARES
from ..rules import learning
from ..target import HardwareTarget, Violation
from ..view.network import ChipLayer, ChipNetwork
from ..view.pools import as_tree, is_max_pool
from .core import HIDDEN_SPIKES
from .network import is_hidden, is_output
from .usage import Usage, reaches, read_by_output, sizes_of, usage_of, wiring_of, with_copies

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
    usage = sizes_of(view) if foreign else usage_on(view, target)
    far = out_of_reach(usage, target)
    if far:
        found = [replace(v, remedy=far) for v in found]
    return found + list(over(usage, target, view))


def usage_on(view: ChipNetwork, target: HardwareTarget) -> Usage:
    """What a network takes of a chip, with copies of the neurons that have more targets there than
    a neuron may have, unless the copies break a limit themselves."""
    usage, fan_out = usage_of(view), target.limit("fan_out")
    if usage.fan_out <= fan_out or usage.hidden_neurons > target.limit("hidden_neurons"):
        return usage
    shared = with_copies(view, usage, fan_out=fan_out)
    return shared if broken_by(shared, target) <= broken_by(usage, target) else usage


def broken_by(usage: Usage, target: HardwareTarget) -> set[str]:
    """Names of the resources above their limit."""
    return {name for name, _, _ in exceeded(usage, target)}


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


# How many times a limit may be exceeded where a smaller network is suggested: a share of SHARES of
# every layer's width, which synapses fall with twice; features merged likewise; half of the classes
# left out. Nothing says that less of a network does what the whole does.
LEAST_SHARE = SHARES[-1]
REACH = {
    "inputs": 1 / LEAST_SHARE,
    "hidden_neurons": 1 / LEAST_SHARE,
    "outputs": 2,
    "input_expansion": 1 / LEAST_SHARE,
    "output_expansion": 1 / LEAST_SHARE,
    "fan_out": np.inf,  # copies have fewer each
    "hidden_synapses": 1 / LEAST_SHARE**2,
}

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
    for the name of the resource, where computing it would take too long). Where one is out of
    reach, so is the network, and no remedy of another would help."""
    far = out_of_reach(usage, target)
    for name, used, limit in exceeded(usage, target):
        said = far or (remedy(name) if remedy else _remedy(name, used, limit, target, view))
        yield Violation(node=_culprit(name, view), rule=name, used=used, limit=limit, remedy=said)


def out_of_reach(usage: Usage, target: HardwareTarget) -> str:
    """Why no smaller network of the kind is known to fit, "" where one may."""
    far = [
        f"{_WHAT[name]} {used / limit:,.0f} times" if limit else _WHAT[name]
        for name, used, limit in exceeded(usage, target)
        if used > REACH[name] * limit
    ]
    if not far:
        return ""
    return (
        f"No remedy is known: the network is out of this chip's reach ({', '.join(far)} the "
        "limit). `onnx2snn check` names the chips that may hold it."
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
    what = f"Too many {_WHAT[name]}, by {used - most:,}"
    if name == "fan_out":
        what += ", and no room for copies of such neurons that share the targets"
    widths = fitting_widths(view, target)
    if widths is None:
        return f"{what}; hidden layers of {LEAST_SHARE:g} times the width would not fit either."
    return f"{what}: hidden layers of {'-'.join(str(w) for w in widths)} neurons would fit."


def fitting_widths(view: ChipNetwork, target: HardwareTarget) -> tuple[int, ...] | None:
    """The widest hidden layers, all shrunk by one factor (those over a limit of their own cut to
    it), that meet every limit on hidden neurons, with copies where neurons have too many targets;
    None if ``LEAST_SHARE`` of each does not. Connections between two layers shrink with both
    widths."""
    layers = [la for la in view.layers if is_hidden(la)]
    if not layers:
        return None
    names = {node.name for node in view.inputs}
    caps = []
    for layer in layers:
        cap = np.inf
        if any(p.source in names for p in layer.projections):
            cap = min(cap, target.limit("input_expansion"))
        if read_by_output(view, layer):
            cap = min(cap, target.limit("output_expansion"))
        caps.append(cap)

    def shrunk(factor: float) -> list[int]:
        return [
            la.neurons if la.name in view.answers else max(1, floor(min(la.neurons * factor, cap)))
            for la, cap in zip(layers, caps, strict=True)
        ]

    least = [max(1, floor(la.neurons * LEAST_SHARE)) for la in layers]
    low, high = LEAST_SHARE, 1.0
    if _fits(shrunk(high), layers, view, target):
        low = high
    elif not _fits(shrunk(low), layers, view, target):
        return None
    for _ in range(40 if low < high else 0):  # to a factor that no width can tell from the largest
        middle = (low + high) / 2
        low, high = (middle, high) if _fits(shrunk(middle), layers, view, target) else (low, middle)
    if any(width < few for width, few in zip(shrunk(low), least, strict=True)):
        return None
    widths = dict(zip((la.name for la in layers), shrunk(low), strict=True))
    return tuple(width for name, width in widths.items() if name not in view.answers) or None


def _fits(
    widths: list[int], layers: list[ChipLayer], view: ChipNetwork, target: HardwareTarget
) -> bool:
    """Whether layers of these widths meet the limits; a neuron has the same share of the targets
    as there are of them."""
    share = {la.name: w / la.neurons for la, w in zip(layers, widths, strict=True)}
    copies: dict[str, int] = {}
    synapses = 0.0
    for layer in reversed(layers):  # copies of targets are targets too
        onward = [p for p in view.readers(layer.name) if p.target in share]
        targets = sum(p.fan_out * share[p.target] * copies[p.target] for p in onward)
        copies[layer.name] = max(1, ceil(round(targets, 6) / target.limit("fan_out")))
        synapses += sum(
            p.synapses * share[p.source] * share[p.target] * copies[p.target] for p in onward
        )
    neurons = sum(w * copies[la.name] for w, la in zip(widths, layers, strict=True))
    if neurons > target.limit("hidden_neurons") or synapses > target.limit("hidden_synapses"):
        return False
    reach = _reach(widths, layers, view, copies)
    return reach[0] <= target.limit("input_expansion") and reach[1] <= target.limit(
        "output_expansion"
    )


def _reach(
    widths: list[int], layers: list[ChipLayer], view: ChipNetwork, copies: Mapping[str, int]
) -> tuple[int, int]:
    """Input and output expansion of layers of these widths and copies, of which outputs read the
    first."""
    names = {node.name for node in view.inputs}
    sizes = np.array([[w, w * (copies[la.name] - 1)] for w, la in zip(widths, layers, strict=True)])
    reading = [[any(p.source in names for p in la.projections)] * 2 for la in layers]
    being_read = [[read_by_output(view, la), False] for la in layers]  # the first copies, others
    reads, is_read = (np.repeat(np.ravel(of), sizes.ravel()) for of in (reading, being_read))
    return reaches(reads, is_read=is_read)
