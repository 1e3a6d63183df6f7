"""What the words of reports mean, for `onnx2snn explain` and docs/glossary.md: one short text each,
for people without a spiking background."""

from __future__ import annotations

from collections.abc import Mapping

TERMS: Mapping[str, str] = {
    "adds": "The error that a layer adds itself, what it inherited left out.",
    "agreement": "Share of samples for which the spiking network names the same class as the "
    "trained network (ANN), right or wrong. It needs no labels. Where outputs are values it is "
    "their concordance instead.",
    "analog island": "A part of the network without a spiking form (a softmax between layers, a "
    "SiLU, a layer norm). It is computed on running means in every time step, as the ANN does it; "
    "a chip for spikes cannot run it.",
    "ANN": "The trained network that was converted, as ONNX Runtime computes it.",
    "axon": "An input line of a core: the spikes of one neuron of another core or of the host "
    "arrive on it and go to every synapse that reads them.",
    "bias": "A constant current that flows into a neuron in every time step.",
    "binding limit": "The number of a chip that a placement uses most of, relative to what the "
    "chip has: what would be exceeded first if the network grew.",
    "calibration": "Choosing thresholds, initial potentials, biases and small corrections of "
    "weights on samples without labels, so that spikes say what the ANN's activations say.",
    "chip accuracy": "Accuracy in the chip's own integers, simulated: weights, thresholds and "
    "potentials as the chip has them.",
    "clipping": "What is lost because a neuron cannot say more than one spike per step: "
    "activations above its threshold.",
    "concordance": "Lin's: 1 where two series of values are equal; it falls with noise, with a "
    "shift and with another scale.",
    "copies": "Several neurons for one value, their thresholds staggered: population coding. They "
    "say together in T steps what one neuron says in more.",
    "core": "The unit of a chip that holds neurons and the weights of their inputs.",
    "drop": "Points (of 100) by which a spiking network answers right less often than the ANN on "
    "the same samples; without labels, by which it agrees with it less often. Expected drop: the "
    "same drawn towards none where few samples were measured.",
    "dynamic energy": "Energy of what happens on a chip: synaptic operations, updates of neurons "
    "and hops of spikes, counted and multiplied by published prices.",
    "encoding": "How a sample enters the network: as a constant current, or as spikes of neurons "
    "that code its values.",
    "energy": "What an answer costs by counted events and published prices; nothing is measured. "
    "energy/ANN is relative to the same network as an ANN in the same technology; below 1 the "
    "spiking network needs less.",
    "error": "Size of the difference between the spiking network's outputs and the ANN's, "
    "relative to the size of the ANN's outputs (their norms over all samples).",
    "fan-in": "How many inputs one neuron reads.",
    "few-spike": "A recipe: a value's binary digits in a window of T steps, the largest first.",
    "fine-tuning": "Training a converted network further, spikes and all (`onnx2snn finetune`): it "
    "wins back what few time steps lose, or sends fewer spikes.",
    "graded spike": "A spike that carries a number, so that a synapse must multiply by it.",
    "held back": "Calibration samples to which nothing was fitted, so that what is measured on "
    "them is not flattered.",
    "held out": "Samples that nothing was learned from: they judge, and choose when training "
    "stops. Others, which chose nothing, judge better still.",
    "hop": "A spike's way from one router of a chip to the next.",
    "inherited": "The part of a layer's error that it got from the layers before it.",
    "integrate-and-fire": "The plain spiking neuron: its membrane potential adds up what comes "
    "in; at the threshold it sends a spike and the threshold is subtracted.",
    "knee": "The smallest T from which on accuracy stays near the ANN's.",
    "lag": "Time steps in which a layer only adds up before it may fire. It sends fewer wrong "
    "spikes; every layer adds the lag to the latency.",
    "latency": "Time steps from the beginning of an input to its answer: T, and the lags of the "
    "layers on the way.",
    "level": "One of the different values that a neuron can say: T of them with T binary spikes.",
    "MAC": "Multiply-accumulate: a multiplication and an addition. In a spiking network only what "
    "is done on analog values needs it, such as the first layer on the input's values.",
    "membrane potential": "What a neuron has added up and not yet sent.",
    "not verified": "A number of a chip without a public source that confirms it; reports that "
    "rest on one say so.",
    "paired difference": "The difference of two networks on the same samples, sample by sample: "
    "what both have right, or both wrong, says nothing of which is better. Its interval is "
    "narrower than that from two accuracies alone.",
    "plastic synapse": "A synapse whose weight changes while the network runs, by a rule that "
    "uses what the synapse has at hand: spikes before and behind it, and at most a reward.",
    "population": "The neurons of one layer, which share their neuron model.",
    "population coding": "One value by several neurons; see copies, and --encoding population:N.",
    "prototype": "What a neuron holds of its class: weights that resemble the spikes of its "
    "samples. A new one is made where no neuron knows a sample.",
    "quantization": "What is lost because T spikes can only say T levels.",
    "rate coding": "A value is how many spikes come in T steps, whenever they come.",
    "readout": "Where the network's outputs are read: the mean of what arrived so far.",
    "recipe": "A way to convert a network: the neuron model, what a spike carries and what is "
    "calibrated. `onnx2snn convert --help` lists them; auto chooses one.",
    "saturated": "Share of neurons, over samples, that spiked as often as they can: they cannot "
    "say more.",
    "silent": "Share of neurons, over samples, that never spiked though the ANN's activation is "
    "more than half a level.",
    "SNN": "The spiking network: neurons that keep a potential and send spikes, in time steps.",
    "soft reset": "After a spike the threshold is subtracted, and what was above it is kept. With "
    "a hard reset it is lost.",
    "spike": "What a neuron sends when its potential reaches the threshold: an event, by itself "
    "without a value.",
    "spikes per neuron": "Mean number of spikes that a neuron sends for one sample, summed over "
    "the T steps of the answer.",
    "static energy": "What a chip takes while an answer is computed whether anything happens or "
    "not: its idle power times the latency.",
    "STDP": "Spike-timing-dependent plasticity: a synapse grows when its spike comes before one "
    "of its neuron, and shrinks when it comes after.",
    "structure": "How far a layer is from the ANN's layer when both are given the ANN's own "
    "values: weights or a bias changed on purpose by calibration, or a fault.",
    "surrogate gradient": "What stands for the derivative of a spike while a network is trained: a "
    "neuron's step has none, so a bump around the threshold takes its place, going backwards only.",
    "synop": "Synaptic operation: one spike over one weight that is not zero, an addition. "
    "synops/ANN is their number relative to the ANN's multiply-accumulates.",
    "T": "How many time steps a layer sends for one answer. More steps say more levels and cost "
    "more spikes and time.",
    "threshold": "The potential at which a neuron fires: what one spike is worth. A value of T "
    "thresholds is the most that it can say in T steps, one per step.",
    "time coding": "A value is when its spike comes, or which digit a spike's step stands for "
    "(recipes ttfs and few-spike): few spikes, one answer per window.",
    "to ANN": "The accuracy less that of the ANN on the same samples, in points (of 100): below 0 "
    "the spiking network is worse.",
    "ttfs": "A recipe, time to first spike: one spike per neuron and answer, and early is large.",
    "undivided energy": "Dynamic and static energy in one published figure, which nobody has "
    "divided.",
    "unevenness": "What is lost because spikes come in bursts: neurons fire although, over all "
    "steps, their input does not call for it, and cannot take a spike back.",
    "window": "The T steps in which a layer sends the answer to one input.",
    "winner-take-all": "Neurons that compete: the one farthest above its threshold fires and "
    "inhibits the others.",
}

# What tables have as headings, in lower case -> the term.
HEADINGS: Mapping[str, str] = {
    "bits/spike": "graded spike",
    "chip accuracy": "chip accuracy",
    "energy/ann": "energy",
    "expected": "drop",
    "graded": "graded spike",
    "island": "analog island",
    "macs/ann": "MAC",
    "macs/sample": "MAC",
    "nj/sample": "energy",
    "spikes/neuron": "spikes per neuron",
    "synops/ann": "synop",
    "synops/sample": "synop",
    "time step": "T",
    "to ann": "to ANN",
    "unverified": "not verified",
}


def meant(word: str) -> str | None:
    """The term that ``word`` is, whatever its case, a plural of, or heads a column for; None for
    none."""
    names = {**{name.lower(): name for name in TERMS}, **HEADINGS}
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
