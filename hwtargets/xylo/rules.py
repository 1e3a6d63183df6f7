"""Xylo's limits, all checked at once, and what would fit.

The vendor's own design rule check only warns about inputs and outputs, and leaves fan-out, totals,
register ranges and the expansion limits of the newer chips to a closed tool (or truncates). Here
every limit of the target's table is a violation with the amount and a computed remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import floor
from typing import Any

import numpy as np

from ...runtime import graph as g
from ...runtime.neurons import Neuron, NeuronParams, PacedParams
from ...runtime.ops import Array
from ..target import HardwareTarget, Violation
from ..view.network import ChipLayer, ChipNetwork
from ..view.pools import as_tree, is_max_pool
from .core import HIDDEN_SPIKES
from .network import is_hidden, is_output

LOOK_AT = 300_000  # synapses of a projection up to which zero weights are told apart
# Rules about how a network codes its activations, which the mapping chooses anew in any case.
RECODABLE = ("signed_spikes", "graded_spikes", "reset", "refractory", "lag", "floor")
FOREIGN = ("analog", "structure")  # rules after which a network has no wiring to speak of


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a network takes of each resource; the names are those of the target's limits."""

    inputs: int
    hidden_neurons: int
    outputs: int
    input_expansion: int
    output_expansion: int
    fan_out: int
    hidden_synapses: int


def kinds(view: ChipNetwork, target: HardwareTarget) -> tuple[Violation, ...]:
    """Neurons and structures that the chip does not have, whatever their size."""
    found = (v for layer in view.layers for v in _neuron(layer, view))
    return (*found, *_structure(view))


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


def _counts(view: ChipNetwork) -> tuple[int, int, int]:
    """Input channels, hidden neurons, outputs."""
    hidden = sum(layer.neurons for layer in view.layers if not is_output(layer))
    outputs = sum(layer.neurons for layer in view.layers if is_output(layer))
    return sum(int(np.prod(node.shape, dtype=int)) for node in view.inputs), hidden, outputs


def sizes_of(view: ChipNetwork) -> Usage:
    """Channels and neurons alone, of a network whose wiring the chip does not have."""
    inputs, hidden, outputs = _counts(view)
    return Usage(
        inputs=inputs,
        hidden_neurons=hidden,
        outputs=outputs,
        input_expansion=0,
        output_expansion=0,
        fan_out=0,
        hidden_synapses=0,
    )


def usage_of(view: ChipNetwork) -> Usage:
    """Resources of a network of populations and readouts, counting every non-zero synapse."""
    wiring = [_wiring(view, layer) for layer in view.layers if is_hidden(layer)]
    return replace(
        unwired(view),
        fan_out=max((fan for fan, _ in wiring), default=0),
        hidden_synapses=sum(total for _, total in wiring),
    )


def unwired(view: ChipNetwork) -> Usage:
    """What does not depend on the weights: channels, neurons, and how far the first and last of
    them have to reach."""
    _, hidden, _ = _counts(view)
    names = {node.name for node in view.inputs}
    expansion = {
        "in": [la for la in view.layers if any(p.source in names for p in la.projections)],
        "out": [la for la in view.layers if _read_by_output(view, la)],
    }
    first = order(view)
    at = np.empty(hidden, np.int64)
    at[first] = np.arange(hidden)
    spans = _spans(view)
    reached = [int(at[spans[la.name]].max()) + 1 for la in expansion["in"]]
    read = [hidden - int(at[spans[la.name]].min()) for la in expansion["out"] if is_hidden(la)]
    return replace(
        sizes_of(view),
        input_expansion=max(reached, default=0),
        output_expansion=max(read, default=0),
    )


def _spans(view: ChipNetwork) -> dict[str, Array]:
    """Numbers of each population's neurons in execution order."""
    out, at = {}, 0
    for layer in filter(is_hidden, view.layers):
        out[layer.name] = np.arange(at, at + layer.neurons)
        at += layer.neurons
    return out


def order(view: ChipNetwork) -> Array:
    """Physical order of the hidden neurons: entry k is the network's number of the chip's neuron k.

    The newer chips project inputs to the first 128 hidden neurons only and outputs from the last
    128: layers that read inputs come first, layers that outputs read last, and those that do both
    in between, with the others where they fit (see ``_gap``).
    """
    names = {node.name for node in view.inputs}
    spans = _spans(view)
    groups: dict[tuple[bool, bool], list[Array]] = {}
    for layer in filter(is_hidden, view.layers):
        reads = any(p.source in names for p in layer.projections)
        is_read = any(is_output(view[p.target]) for p in view.readers(layer.name))
        groups.setdefault((reads, is_read), []).append(spans[layer.name])

    def take(reads: bool, *, is_read: bool) -> Array:
        parts = groups.get((reads, is_read), [])
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    first, both, last = (
        take(True, is_read=False),
        take(True, is_read=True),
        take(False, is_read=True),
    )
    rest = take(False, is_read=False)
    gap = _gap(len(first), both=len(both), last=len(last), rest=len(rest))
    return np.concatenate([first, rest[:gap], both, rest[gap:], last])


def _gap(first: int, *, both: int, last: int, rest: int) -> int:
    """How many of the others go before the neurons that do both: those push the reach of the
    inputs, the ones behind push that of the outputs; as even as possible."""
    if not both:
        return rest
    return min(max((last + rest - first) // 2, 0), rest)


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
        return max(hidden, key=lambda la: _wiring(view, la)[0]).name
    if name == "hidden_synapses":
        return max(hidden, key=lambda la: _wiring(view, la)[1]).name
    if name == "input_expansion":
        hidden = [la for la in hidden if any(p.source in names for p in la.projections)]
    if name == "output_expansion":
        hidden = [la for la in hidden if _read_by_output(view, la)]
    return max(hidden, key=lambda la: la.neurons).name


def _read_by_output(view: ChipNetwork, layer: ChipLayer) -> bool:
    return any(is_output(view[p.target]) for p in view.readers(layer.name))


def _wiring(view: ChipNetwork, layer: ChipLayer) -> tuple[int, int]:
    """Largest fan-out of the layer's neurons to hidden neurons, and their synapses in all. Zero
    weights take no place; they are counted only where the matrix is too large to look at."""
    fan_out: Array | int = 0
    total = 0
    for p in view.readers(layer.name):
        if not is_hidden(view[p.target]):
            continue
        small = p.synapses <= LOOK_AT
        fan_out = fan_out + (p.matrix.fan_out() if small else p.fan_out)
        total += len(p.matrix.values) if small else p.synapses
    return int(np.max(fan_out)), total


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
        if _read_by_output(view, layer):
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
        size[reads, _read_by_output(view, layer)] += width
    first, both, last, rest = (
        size[True, False],
        size[True, True],
        size[False, True],
        size[False, False],
    )
    gap = _gap(first, both=both, last=last, rest=rest)
    inputs = first + gap + both if both else first
    outputs = both + rest - gap + last if both else last
    return inputs, outputs
