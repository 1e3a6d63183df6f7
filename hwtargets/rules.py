"""Design rules about neurons and spikes, common to all chips; capacity rules are with the mapping.

Each rule is a predicate that yields what breaks it; ``check`` runs all of them, so that a user
sees everything at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from ..display import counted
from ..runtime.graph import PlasticSynapse
from ..runtime.neurons import Neuron, WindowedNeuron
from ..spelling import spelled
from .target import UNBOUNDED, DesignRule, HardwareTarget, Known, Violation
from .view.network import MOST_LINKS, ChipLayer, ChipNetwork
from .view.pools import as_tree, is_max_pool

ANALOG = "analog node"  # the rule of that name
ROOM, FINEST = 4, 128  # of a window's charge: for what goes below zero; steps of the finest level
RESETS = frozenset(("subtract", "zero"))
# What the rules below know of neurons: a model with any other trait is refused by its name.
KNOWN = frozenset(
    ("if", "paced", "subtract", "zero", "levels", "signed", "lag", "leak", "refractory", "floor")
) | {"stateless", "v_init", "few-spike", "ttfs"}
# What the rules read of a target.
LIMITS: Mapping[str, Known] = {
    "payload_bits": Known(
        help="bits of a graded spike, sign included", unit="bits", unstated=UNBOUNDED
    ),
    "state_bits": Known(help="bits of a potential, sign included", unit="bits", unstated=UNBOUNDED),
    "delay_max": Known(
        help="steps that a spike can wait, which skip connections need behind start lags",
        unit="steps", unstated=UNBOUNDED,
    ),
}  # fmt: skip


def _neurons(network: ChipNetwork) -> Iterator[tuple[ChipLayer, Neuron]]:
    """Layers of neurons that the rules know; ``_model`` speaks about the others."""
    for layer in network.layers:
        neuron = layer.neuron
        if neuron is not None and neuron.traits <= KNOWN:
            yield layer, neuron


def _model(network: ChipNetwork, target: HardwareTarget) -> Iterable[Violation]:
    for layer in network.layers:
        neuron = layer.neuron
        if neuron is not None and not neuron.traits <= KNOWN:
            why = "The chip is not known to have it"
            remedy = "convert with a recipe of integrate-and-fire neurons"
            if neuron.coding == "differential":
                why = "Its update needs the time since the start (a division by t)"
            if "winner-take-all" in neuron.traits:
                why, remedy = _competing(network, target, layer), "run the layer on the host"
            yield Violation(
                node=layer.name,
                rule="neuron model",
                used=neuron.name,
                limit="integrate-and-fire",
                remedy=f"{why}; {remedy}.",
            )


def _competing(network: ChipNetwork, target: HardwareTarget, layer: ChipLayer) -> str:
    """Why neurons that compete are not laid out, and whether their rule could run."""
    able = [s.rule.name for s in network.graph.of(PlasticSynapse)]
    able = [f"'{name}'" for name in able if name in target.can("learning")]
    rule = (
        f"The chip's learning engine could run the rule {', '.join(able)} (not tried), but "
        if able
        else "Of the layer "
    )
    return (
        f"{rule}at most one neuron fires in a step, which takes "
        f"{layer.neurons * (layer.neurons - 1):,} inhibitory synapses that are not laid out here"
    )


def learning(network: ChipNetwork, target: HardwareTarget) -> Iterable[Violation]:
    """Plastic synapses, on a chip that has none or none of their rule."""
    able = target.can("learning")
    for synapse in network.graph.of(PlasticSynapse):
        if synapse.rule.name not in able:
            yield Violation(
                node=synapse.name,
                rule="learning rule",
                used=synapse.rule.name,
                limit="weights that stay as they are" if "none" in able else ", ".join(able),
                remedy="The synapses cannot learn on this chip: run the layer on the host.",
            )


def _no_analog(network: ChipNetwork, target: HardwareTarget) -> Iterable[Violation]:
    for layer in network.layers:
        if layer.analog:
            host = (
                f"run this part on the host: {counted(layer.neurons, 'value')} per step "
                "would leave the chip"
            )
            yield Violation(
                node=layer.name,
                rule=ANALOG,
                used=layer.analog,
                limit="neurons and linear synapses",
                remedy=f"{as_tree(network)}. Or use average pooling, or {host}."
                if is_max_pool(layer)
                else f"Replace it in the model by a ReLU network and convert again, or {host}.",
            )


def _reset(network: ChipNetwork, target: HardwareTarget) -> Iterable[Violation]:
    allowed = target.can("reset")
    for layer, neuron in _neurons(network):
        for reset in neuron.traits & RESETS - {*allowed}:
            yield Violation(
                node=layer.name,
                rule="reset",
                used=reset,
                limit=", ".join(allowed),
                remedy=f"Convert with reset = '{allowed[0]}'.",
            )


def _levels(network: ChipNetwork, target: HardwareTarget) -> Iterable[Violation]:
    limit = int(target.can("levels"))
    limit = int(min(limit, 2 ** (target.limit("payload_bits") - 1) - 1))
    for layer, neuron in _neurons(network):
        if neuron.levels > limit:
            split = -(-neuron.levels // limit)
            yield Violation(
                node=layer.name,
                rule="graded spikes",
                used=neuron.levels,
                limit=limit,
                remedy=f"Convert with at most {counted(limit, 'level')} and about {split} times "
                f"the steps, or give each neuron {split} copies with staggered thresholds: "
                f"{(split - 1) * layer.neurons:,} more neurons.",
            )


def _signed(network: ChipNetwork, target: HardwareTarget) -> Iterable[Violation]:
    if target.can("signed"):
        return
    for layer, neuron in _neurons(network):
        if "signed" in neuron.traits:
            fan_out = sum(p.weights for p in network.readers(layer.name))
            yield Violation(
                node=layer.name,
                rule="negative spikes",
                used="signed neuron",
                limit="positive spikes",
                remedy="Convert without signed neurons, or use a pair of populations, one for "
                f"each sign: {layer.neurons:,} more neurons and {fan_out:,} more weights.",
            )


def _lag(network: ChipNetwork, target: HardwareTarget) -> Iterable[Violation]:
    if target.can("lag"):
        return
    for layer, neuron in _neurons(network):
        if neuron.lag and not isinstance(neuron, WindowedNeuron):  # theirs is in ``_windowed``
            yield Violation(
                node=layer.name,
                rule="start lag",
                used=neuron.lag,
                limit=0,
                remedy="Convert with no lag and an initial potential, or gate the population by "
                f"one inhibitory neuron per core for {counted(neuron.lag, 'step')}: "
                f"{layer.neurons:,} more synapses.",
            )


def _paced(network: ChipNetwork, target: HardwareTarget) -> Iterable[Violation]:
    if target.can("paced"):
        return
    for layer, neuron in _neurons(network):
        if "paced" in neuron.traits:
            yield Violation(
                node=layer.name,
                rule="paced neurons",
                used="spikes paced behind a start lag",
                limit="integrate-and-fire",
                remedy="No neuron of this chip is known to do so. Convert with "
                f"{spelled('pace', False)} (plain neurons behind the lag) or without a lag.",
            )


def _windowed(network: ChipNetwork, target: HardwareTarget) -> Iterable[Violation]:
    for layer, neuron in _neurons(network):
        if not isinstance(neuron, WindowedNeuron):
            continue
        if not target.can("windowed"):
            yield Violation(
                node=layer.name,
                rule="neurons with windows",
                used=neuron.name,
                limit="integrate-and-fire",
                remedy="No neuron of this chip is known to have a threshold that falls with the "
                "step of a window, and sums that weigh by it. Convert with "
                f"{spelled('recipe', 'binary')}.",
            )
            continue
        most = (2 ** (target.limit("state_bits") - 1) - 1) / (ROOM * FINEST)
        fits = next(t for t in range(neuron.lag, -1, -1) if t == 0 or neuron.most(t) <= most)
        if fits < neuron.lag:
            yield Violation(
                node=layer.name,
                rule="steps of a window",
                used=f"{neuron.lag}: {neuron.most(neuron.lag):,} levels",
                limit=f"{fits}: {neuron.most(fits):,} levels",
                remedy=f"A potential of {target.limit('state_bits'):g} bits has too few for "
                f"{FINEST} steps to each of so many levels: convert with "
                f"{spelled('steps', fits)}.",
            )


def _delays(network: ChipNetwork, target: HardwareTarget) -> Iterable[Violation]:
    most = target.limit("delay_max")
    for layer in network.layers:
        for p in layer.projections:
            if p.delay > most:
                yield Violation(
                    node=layer.name,
                    rule="delay",
                    used=f"spikes of '{p.source}' wait {counted(p.delay, 'step')}",
                    limit=most,
                    remedy=f"Convert with a shorter {_waiting(network)}: skip connections wait for "
                    "the branch.",
                )


def _waiting(network: ChipNetwork) -> str:
    """The option that skip connections wait for."""
    windows = any(isinstance(neuron, WindowedNeuron) for _, neuron in _neurons(network))
    return f"window ({spelled('steps')})" if windows else spelled("lag")


def _dynamics(network: ChipNetwork, target: HardwareTarget) -> Iterable[Violation]:
    wanted = (
        ("leak", "leak", "Convert with IF neurons (leak 0)."),
        ("refractory", "refractory", "Convert without a refractory period."),
        ("v_min", "floor", "Convert without a floor of the membrane."),
        ("v_init", "v_init", "Convert with v_init 0."),
    )
    for layer, neuron in _neurons(network):
        if "stateless" in neuron.traits:
            yield Violation(
                node=layer.name,
                rule="memory",
                used="none",
                limit="a potential that is kept",
                remedy="Run the layer on the host.",
            )
        needed = neuron.traits - (set() if np.any(neuron.v_init) else {"v_init"})
        for name, trait, remedy in wanted:
            if not target.can(name) and trait in needed:
                yield Violation(
                    node=layer.name, rule=name, used="needed", limit="not available", remedy=remedy
                )


def _biases(network: ChipNetwork, target: HardwareTarget) -> Iterable[Violation]:
    if target.can("per_neuron_bias"):
        return
    for layer in network.layers:
        if np.ptp(layer.bias) > 0:
            yield Violation(
                node=layer.name,
                rule="bias",
                used="one per neuron",
                limit="one per layer",
                remedy="Add an input that is always on, with the biases as its weights: one more "
                f"axon and {layer.neurons:,} more synapses.",
            )


def tangled(network: ChipNetwork) -> tuple[Violation, ...]:
    """Layers whose paths are too many to follow. No other rule can be asked then: what these layers
    read is not known."""
    return tuple(
        Violation(
            node=layer.name,
            rule="paths of synapses",
            used="more synapses on all paths to it",
            limit=MOST_LINKS,
            remedy="Sums of sums without neurons in between double the paths with every one: "
            "write them with one weight per term (a + a is 2 a), or put an activation between "
            "them.",
        )
        for layer in network.layers
        if layer.tangled
    )


RULES: Sequence[DesignRule] = (
    DesignRule(
        name="learning rule",
        statement="Plastic synapses have a rule that the chip could run.",
        check=learning,
    ),
    DesignRule(
        name=ANALOG,
        statement="Every node with state is a population of neurons or a readout.",
        check=_no_analog,
    ),
    DesignRule(name="neuron model", statement="Neurons integrate and fire.", check=_model),
    DesignRule(name="reset", statement="The neuron can reset as the network asks.", check=_reset),
    DesignRule(
        name="graded spikes", statement="Spikes carry no more than the payload.", check=_levels
    ),
    DesignRule(
        name="negative spikes", statement="Spikes are positive, or may be signed.", check=_signed
    ),
    DesignRule(name="start lag", statement="A start lag can be realized.", check=_lag),
    DesignRule(name="paced neurons", statement="Paced neurons can be realized.", check=_paced),
    DesignRule(
        name="neurons with windows",
        statement="Thresholds can fall, and sums weigh, by the step of a window.",
        check=_windowed,
    ),
    DesignRule(name="delay", statement="Spikes wait no longer than they can.", check=_delays),
    DesignRule(name="bias", statement="Biases may differ per neuron, or are equal.", check=_biases),
    DesignRule(
        name="dynamics",
        statement="Leak, refractory period, floor and initial potential are available.",
        check=_dynamics,
    ),
)


def violations(
    network: ChipNetwork, target: HardwareTarget, rules: Sequence[DesignRule] = RULES
) -> tuple[Violation, ...]:
    """Everything that breaks a rule."""
    return tuple(v for rule in rules for v in rule.check(network, target))
