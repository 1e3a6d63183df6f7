"""What cannot be fine-tuned, by the names of its nodes."""

from __future__ import annotations

from collections.abc import Iterator

from ...display import counted
from ...errors import GraphError
from ...runtime import graph as snn
from ...runtime.facts import GraphFacts
from ...runtime.neurons import NeuronParams, PacedParams, windowed

TRAINED = (NeuronParams, PacedParams)  # keys of ``spikes.FIRING``, which needs PyTorch
SHOWN = 5


def refuse(network: snn.SpikingGraph) -> None:
    """Raise GraphError (E421) for a network that gradients do not pass."""
    found = list(_found(network))
    if not found:
        return
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    listed = "; ".join(f"'{name}': {why}" for name, why in found[:SHOWN])
    raise GraphError(
        f"{counted(len(found), 'node')} cannot be fine-tuned: {listed}{more}",
        remedy="Convert with recipe binary, signed, graded, synchronous, few-spike or ttfs, "
        "without analog islands (`onnx2snn check` names them).",
        code="E421",
    )


def _found(network: snn.SpikingGraph) -> Iterator[tuple[str, str]]:
    whole = GraphFacts(network).windowed
    for node in network.nodes:
        if isinstance(node, snn.Analog):
            yield node.name, f"an analog island ({'+'.join(node.ops)})"
        elif isinstance(node, snn.PlasticSynapse):
            yield node.name, f"a layer that learned by the rule '{node.rule.name}'"
        elif isinstance(node, snn.Population | snn.Readout) and node.neuron is not None:
            neuron = node.neuron
            if windowed(neuron) and not whole:
                yield node.name, f"'{neuron.name}' neurons beside others"
            elif not windowed(neuron) and type(neuron) not in TRAINED:
                yield node.name, f"neurons of the model '{neuron.name}'"
        elif isinstance(node, snn.MaxPool) and not whole and node.coding != "rate":
            yield node.name, f"max pooling of the code '{node.coding}'"
