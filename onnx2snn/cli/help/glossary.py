"""What the words of reports mean, for `onnx2snn explain` and docs/glossary.md: one short text each,
for people without a spiking background."""

from __future__ import annotations

from collections.abc import Mapping

TERMS: Mapping[str, str] = {
    "agreement": "Share of samples for which the spiking network names the same class as the "
    "trained network (ANN), right or wrong. It needs no labels. Where outputs are values it is "
    "their concordance instead.",
    "analog island": "A part of the network without a spiking form (a softmax between layers, a "
    "SiLU, a layer norm). It is computed on running means in every time step, as the ANN does it; "
    "a chip for spikes cannot run it.",
    "ANN": "The trained network that was converted, as ONNX Runtime computes it.",
    "bias": "A constant current that flows into a neuron in every time step.",
    "calibration": "Choosing thresholds, initial potentials, biases and small corrections of "
    "weights on samples without labels, so that spikes say what the ANN's activations say.",
    "clipping": "What is lost because a neuron cannot say more than one spike per step: "
    "activations above its threshold.",
    "concordance": "Lin's: 1 where two series of values are equal; it falls with noise, with a "
    "shift and with another scale.",
    "copies": "Several neurons for one value, their thresholds staggered: population coding. They "
    "say together in T steps what one neuron says in more.",
    "core": "The unit of a chip that holds neurons and the weights of their inputs.",
    "error": "Size of the difference between the spiking network's outputs and the ANN's, relative "
    "to the size of the ANN's outputs (their norms over all samples).",
    "graded spike": "A spike that carries a number, so that a synapse must multiply by it.",
    "held back": "Calibration samples to which nothing was fitted, so that what is measured on "
    "them is not flattered.",
    "hop": "A spike's way from one router of a chip to the next.",
    "inherited": "The part of a layer's error that it got from the layers before it.",
    "integrate-and-fire": "The plain spiking neuron: its membrane potential adds up what comes in; "
    "at the threshold it sends a spike and the threshold is subtracted.",
    "knee": "The smallest T from which on accuracy stays near the ANN's.",
    "lag": "Time steps in which a layer only adds up before it may fire. It sends fewer wrong "
    "spikes; every layer adds the lag to the latency.",
    "latency": "Time steps from the beginning of an input to its answer: T, and the lags of the "
    "layers on the way.",
    "level": "One of the different values that a neuron can say: T of them with T binary spikes.",
    "MAC": "Multiply-accumulate: a multiplication and an addition. In a spiking network only what "
    "is done on analog values needs it, such as the first layer on the input's values.",
    "membrane potential": "What a neuron has added up and not yet sent.",
    "paired difference": "The difference of two networks on the same samples, sample by sample: "
    "what both have right, or both wrong, says nothing of which is better. Its interval is "
    "narrower than that from two accuracies alone.",
    "population coding": "One value by several neurons; see copies, and --encoding population:N.",
    "quantization": "What is lost because T spikes can only say T levels.",
    "rate coding": "A value is how many spikes come in T steps, whenever they come.",
    "readout": "Where the network's outputs are read: the mean of what arrived so far.",
    "soft reset": "After a spike the threshold is subtracted, and what was above it is kept. With "
    "a hard reset it is lost.",
    "spikes per neuron": "Mean number of spikes that a neuron sends for one sample, summed over "
    "the T steps of the answer.",
    "synop": "Synaptic operation: one spike over one weight that is not zero, an addition. "
    "synops/ANN is their number relative to the ANN's multiply-accumulates.",
    "T": "How many time steps a layer sends for one answer. More steps say more levels and cost "
    "more spikes and time.",
    "threshold": "The potential at which a neuron fires: what one spike is worth. A value of T "
    "thresholds is the most that it can say in T steps, one per step.",
    "time coding": "A value is when its spike comes, or which digit a spike's step stands for "
    "(recipes ttfs and few-spike): few spikes, one answer per window.",
    "unevenness": "What is lost because spikes come in bursts: neurons fire although, over all "
    "steps, their input does not call for it, and cannot take a spike back.",
    "window": "The T steps in which a layer sends the answer to one input.",
}


def meant(word: str) -> str | None:
    """The term that ``word`` is, whatever its case, or a plural of; None for none."""
    names = {name.lower(): name for name in TERMS}
    plain = word.strip().lower()
    for form in (plain, plain.removesuffix("s"), plain.replace("-", " "), plain.replace(" ", "-")):
        if form in names:
            return names[form]
    return None


def page() -> str:
    """docs/glossary.md."""
    lines = [f"- **{name}**: {text}" for name, text in TERMS.items()]
    head = "# Glossary\n\nWhat the words of reports mean; `onnx2snn explain WORD` says it too.\n\n"
    return head + "\n".join(lines) + "\n"
