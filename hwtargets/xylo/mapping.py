"""The mapping ``xylo``: one core that holds the whole network, or the reasons why it cannot.

Options: see ``quantize.XyloOptions``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...display import counted
from ...runtime import graph as g
from ...runtime.ops import Array
from ...runtime.parallel.stages import stage
from ..energy import activity as events
from ..energy import ann_comparison
from ..fitting.samples import fitting_samples
from ..mapping import PLACEMENT, ChipMapping, ChipRun, Cores, Mapped, Request, no_traffic
from ..target import UNBOUNDED, HardwareTarget, Known, Violation
from ..toml import load_folder
from ..view.network import ChipNetwork
from . import core as xylo_core
from . import file as xylo_file
from .calibrate import Calibration
from .coding import XyloCoding
from .copies import PARAMETERS, copied, copies_for
from .core import HIDDEN_SPIKES, INPUT_SPIKES, XyloConfig, XyloRun
from .forms import best_form
from .least import least
from .network import is_hidden, is_output, of_view
from .power import ENERGY, Activity, Power, energy_of, explained, latency_of, power
from .quantize import Quantized, XyloOptions, XyloSettings, quantize
from .rules import (
    FOREIGN,
    RECODABLE,
    broken_by,
    fitting_widths,
    kinds,
    out_of_reach,
    over,
    usage_on,
    violations,
)
from .usage import Usage, ordered, roles, sizes_of, usage_of_config

CHUNK = 128  # samples that one call of the core takes, to bound memory
SYNTHETIC = 256  # samples drawn where no data was given
WIDTHS = ("hidden_neurons", "input_expansion", "output_expansion", "fan_out", "hidden_synapses")
SIZES = ("inputs", "hidden_neurons", "outputs")  # what any network has
WIRING = ("fan_out", "hidden_synapses")  # limits that depend on how many weights are not 0


def map_xylo(network: ChipNetwork, target: HardwareTarget, request: Request[XyloOptions]) -> Mapped:
    """Check, quantize, calibrate and emit a network for a Xylo chip; see ``mapping``.

    The calibration data are those of ``samples.fitting_samples``; the notes say which.
    """
    chosen = request.options
    settings = _settings(target, request)
    broken = [v for v in violations(network, target) if not (chosen.recode and v.rule in RECODABLE)]
    if any(v.rule not in WIRING for v in broken):
        return _refused(network, target, broken)
    size = sum(int(np.prod(node.shape, dtype=int)) for node in network.inputs)
    x, origin = fitting_samples(request, (size,), drawn=SYNTHETIC, dtype=np.float64)
    net = of_view(network)
    quantized = quantize(net, x, settings)
    chip = _arranged(network, target, quantized)
    broken = list(over(usage_of_config(chip.config), target, network))  # weights may be 0 in 8 bits
    if not broken:
        quantized, report, said = best_form(net, quantized, x)
        chip = _arranged(network, target, quantized)
        broken = list(over(usage_of_config(chip.config), target, network))  # the form's own weights
    if broken:
        return _refused(network, target, broken)
    activity, rates = _activity(chip, x)
    estimate = power(chip.config, target, request.steps, activity, chosen.dt)
    facts = _facts(chip, quantized, report) | {"steps": request.steps, "readout": chosen.readout}
    facts |= {"activity": asdict(activity), "power": asdict(estimate)}
    against = ann_comparison(events(network, rates, rate=0.0), steps=request.steps, lag=0)
    return Mapped(
        cores=_cores(network, usage_of_config(chip.config)),
        traffic=no_traffic(),
        violations=tuple(_too_fast(estimate, target)),
        run=_Runner(chip, network, chosen.readout),
        core_of=lambda name: _on_the_core(network, name),
        files={f"{target.name}.json": xylo_file.dump(chip)},
        energy=energy_of(estimate, target, request.steps, against),
        latency=latency_of(estimate, request.steps),
        input_mode="spikes",
        facts=facts | {"calibrated_on": origin},
        notes=(
            *_notes(network, quantized, origin=origin, readout=chosen.readout),
            *said,
            *_copied(chip, target),
            *_recoded(network, target),
            explained(estimate, target),
        ),
    )


def _settings(target: HardwareTarget, request: Request[XyloOptions]) -> XyloSettings:
    bits = int(min(target.limit("bias_bits"), 16))
    return XyloSettings(**vars(request.options), steps=request.steps, bias_bits=bits)


def _copied(chip: xylo_file.XyloFile, target: HardwareTarget) -> tuple[str, ...]:
    """How many neurons are copies, and why."""
    if not len(chip.copies):
        return ()
    originals = counted(len(np.unique(chip.copies[:, 1])), "neuron")
    return (
        f"{originals} with more than {target.limit('fan_out'):g} hidden targets: "
        f"{len(chip.copies):,} more, with the same inputs and parameters, fire with them and take "
        "over a part of the targets; they are among the hidden neurons in use.",
    )


def _recoded(network: ChipNetwork, target: HardwareTarget) -> tuple[str, ...]:
    """What option recode has passed over; the mapping has not used it."""
    found = [v for v in violations(network, target) if v.rule in RECODABLE]
    if not found:
        return ()
    listed = ", ".join(f"{v.rule} of '{v.node}'" for v in found)
    return (f"Recoded as plain rates of the ReLU activations, without: {listed}.",)


def _refused(network: ChipNetwork, target: HardwareTarget, violations: list[Violation]) -> Mapped:
    foreign = any(v.rule in FOREIGN for v in violations)
    usage = sizes_of(network) if foreign else usage_on(network, target)
    told = SIZES if foreign else tuple(asdict(usage))  # the wiring of a foreign one is not counted
    fitting = tuple(_would_fit(network, target, violations))
    return Mapped(
        cores=_cores(network, usage, told),
        traffic=no_traffic(),
        violations=tuple(violations),
        core_of=lambda name: _on_the_core(network, name),
        would_fit=lambda chips: fitting,
        facts={"would_fit": list(fitting), "usage": {n: getattr(usage, n) for n in told}},
    )


def _on_the_core(network: ChipNetwork, name: str) -> Array:
    """The one core, for every neuron of a layer."""
    return np.zeros(network[name].neurons, np.int64)


def _would_fit(
    network: ChipNetwork, target: HardwareTarget, broken: list[Violation]
) -> Iterator[dict[str, Any]]:
    """Other chips of the family that hold the network, and narrower layers that this one holds."""
    for other in load_folder(Path(__file__).parent, {XYLO.name: XYLO}).values():
        if not violations(network, other):
            yield {"change": f"target {other.name}", "fits": True, "cores": 1, "chips": 1}
    foreign = any(v.rule in FOREIGN for v in broken)
    if out_of_reach(sizes_of(network) if foreign else usage_on(network, target), target):
        return
    rules = {v.rule for v in broken}
    rest = rules - {"inputs", "outputs"}
    widths = fitting_widths(network, target) if rest and rest <= set(WIDTHS) else None
    changes = [f"{target.limit('inputs'):g} input channels"] if "inputs" in rules else []
    if widths:
        changes.append(f"hidden layers of {'-'.join(str(w) for w in widths)} neurons")
    if "outputs" in rules:
        changes.append(f"{target.limit('outputs'):g} outputs")
    if widths or not rest:
        fit = {"change": ", ".join(changes), "fits": True, "cores": 1, "chips": 1}
        yield fit | ({"hidden_layers": widths} if widths else {})
    else:
        still = sorted(rest - {*WIDTHS})
        if still:
            change = "a network of any smaller size"
            yield {"change": change, "fits": False, "cores": 1, "chips": 1, "still": still}


def _cores(network: ChipNetwork, usage: Usage, told: tuple[str, ...] = ()) -> Cores:
    """One core with everything on it; ``told``: the resources that were counted, () for all."""
    layers = tuple(layer.name for layer in network.layers)
    neurons = usage.hidden_neurons + usage.outputs
    counts = {name: n for name, n in asdict(usage).items() if name in (told or asdict(usage))}
    used = {name: np.array([float(n)]) for name, n in counts.items()}
    return Cores(layer=np.zeros(1, np.int64), layers=layers, neurons=np.array([neurons]), used=used)


def _arranged(
    network: ChipNetwork, target: HardwareTarget, quantized: Quantized
) -> xylo_file.XyloFile:
    """The configuration with hidden neurons in the chip's order, and copies of those that have too
    many targets where the chip has room for them."""
    config, fan_out = quantized.config, target.limit("fan_out")
    plain = _placed(network, target, quantized, config, np.arange(config.hidden))
    number = copies_for(config.weights_rec != 0, fan_out=fan_out)
    if not config.hidden < number.sum() <= target.limit("hidden_neurons"):
        return plain
    shared = _placed(network, target, quantized, *copied(config, fan_out=fan_out))
    before, after = (broken_by(usage_of_config(c.config), target) for c in (plain, shared))
    return shared if after <= before else plain


def _placed(
    network: ChipNetwork,
    target: HardwareTarget,
    quantized: Quantized,
    config: XyloConfig,
    of: Array,
) -> xylo_file.XyloFile:
    """``config``, whose hidden neuron k is a copy of the network's neuron ``of[k]``, in the chip's
    order."""
    first = np.diff(of, prepend=-1) > 0
    reads, is_read = roles(network)
    at = ordered(reads[of], is_read=is_read[of] & first)
    config = replace(
        config,
        weights_in=config.weights_in[:, at],
        weights_rec=config.weights_rec[np.ix_(at, at)],
        weights_out=config.weights_out[at],
        **{name: getattr(config, name)[at] for name in PARAMETERS},
    )
    place = np.empty_like(at)
    place[at] = np.arange(len(at))
    originals = place[first]
    hidden, begin = {}, 0
    for layer in filter(is_hidden, network.layers):
        hidden[layer.name] = originals[begin : begin + layer.neurons]
        begin += layer.neurons
    return xylo_file.XyloFile(
        chip=target.name,
        config=config,
        coding=quantized.coding,
        inputs=tuple((node.name, tuple(node.shape)) for node in network.inputs),
        hidden=hidden,
        copies=np.stack([place[~first], originals[of[~first]]], axis=1),
        outputs=tuple((la.name, tuple(la.shape)) for la in network.layers if is_output(la)),
    )


@dataclass(frozen=True, eq=False)
class _Runner:
    """Runs samples on the emitted configuration; see ``mapping.Runner``."""

    chip: xylo_file.XyloFile
    network: ChipNetwork
    readout: str

    def __call__(self, x: Array, steps: int) -> ChipRun:
        coding = replace(self.chip.coding, steps=steps)
        values, spikes = [], np.zeros(self.chip.config.hidden)
        saturated = np.zeros(self.chip.config.hidden + self.chip.config.outputs)
        show = stage("running on the chip's integers")
        for first in range(0, len(x), CHUNK):
            run = run_chip(self.chip.config, coding, x[first : first + CHUNK])
            values.append(coding.decode(self.chip.config, run, self.readout))
            spikes += run.spikes.sum(axis=(0, 1))
            saturated += run.saturated["current"] + run.saturated["above"]
            show(min(first + CHUNK, len(x)), len(x))
        hidden = self.chip.hidden
        shapes = {name: self.network[name].shape for name in hidden}
        total = max(len(x) * steps, 1)
        return ChipRun(
            readout=np.concatenate(values).transpose(1, 0, 2),
            spikes={name: float(spikes[at].sum()) for name, at in hidden.items()},
            saturations={name: int(saturated[at].sum()) for name, at in hidden.items()},
            rates={n: (spikes[at] / total).reshape(shapes[n]) for n, at in hidden.items()},
        )


def run_chip(config: XyloConfig, coding: XyloCoding, x: Array) -> XyloRun:
    """Encode samples x and run them from rest."""
    return xylo_core.simulate_core(config, coding.encode(np.asarray(x)))


def _activity(chip: xylo_file.XyloFile, x: Array) -> tuple[Activity, dict[str, Array]]:
    """How often channels and hidden neurons fire at all, and the spikes per step of every layer
    and input, on calibration samples."""
    trains = chip.coding.encode(x[:CHUNK])
    spikes = xylo_core.simulate_core(chip.config, trains).spikes
    rates = {name: spikes[:, :, at].mean(axis=(0, 1)) for name, at in chip.hidden.items()}
    rates |= {name: np.asarray(trains.mean()) for name, _ in chip.inputs}
    return Activity(inputs=float(np.mean(trains > 0)), hidden=float(np.mean(spikes > 0))), rates


def _too_fast(estimate: Power, target: HardwareTarget) -> Iterator[Violation]:
    """The needed clock against the chip's."""
    if estimate.clock_mhz > target.limit("clock_mhz"):
        yield Violation(
            node="network",
            rule="clock_mhz",
            used=round(estimate.clock_mhz, 2),
            limit=target.limit("clock_mhz"),
            remedy=f"Give dt of at least {estimate.dt_least:.6f} s per step.",
        )


def _facts(chip: xylo_file.XyloFile, quantized: Quantized, report: Calibration) -> dict[str, Any]:
    config = chip.config
    names = ("bias", "bias_out", "threshold", "threshold_out")
    shifts = (config.weight_shift_in, config.weight_shift_rec, config.weight_shift_out)
    return {
        "coding": asdict(chip.coding),
        "registers": {
            "weight_shifts": list(shifts),
            "largest": {n: int(np.abs(getattr(config, n)).max(initial=0)) for n in names},
            "clipped": quantized.clipped,
        },
        "calibration": asdict(report),
    }


def _notes(
    network: ChipNetwork, quantized: Quantized, *, origin: str, readout: str
) -> tuple[str, ...]:
    """What is approximate, in sentences."""
    notes = [
        f"Ranges, thresholds and biases were calibrated on {origin}; weights are the network's, "
        "thresholds are chosen anew for the chip.",
        "Every membrane leaks at least 1 of 65536 per step, and there is no initial potential: "
        "half a threshold per run is added to the bias, calibration takes the rest out.",
    ]
    if quantized.settings.window == "winner":
        notes.append(
            "Output rates code the range of the largest output of each calibration sample; smaller "
            "outputs read as the lower end (window = full codes the range of all of them)."
        )
    if readout == "charge":
        notes.append(
            "Outputs are spike counts plus the charge left in the membrane, which the chip shows "
            "in its manual mode only."
        )
    leaky = [
        layer.name
        for layer in network.layers
        if isinstance(layer.node, g.Population) and "leak" in layer.node.neuron.traits
    ]
    if leaky:
        notes.append(f"The leak of {', '.join(leaky)} is rounded to a power of two.")
    if any(node.encoding != "constant" for node in network.inputs):
        notes.append("Inputs are coded as even spike trains, whatever the network's encoding.")
    if quantized.clipped:
        listed = ", ".join(f"{count} of {name}" for name, count in quantized.clipped.items())
        notes.append(f"At the end of their registers: {listed}.")
    return tuple(notes)


LIMITS: Mapping[str, Known] = {
    **PLACEMENT,
    "inputs": Known(help="input channels", unstated=UNBOUNDED),
    "hidden_neurons": Known(help="hidden neurons", unstated=UNBOUNDED),
    "outputs": Known(help="output neurons", unstated=UNBOUNDED),
    "input_expansion": Known(
        help="first hidden neurons, which inputs reach; not stated: inputs reach all",
        unstated=UNBOUNDED,
    ),
    "output_expansion": Known(
        help="last hidden neurons, which outputs read; not stated: outputs read all",
        unstated=UNBOUNDED,
    ),
    "fan_out": Known(help="hidden targets of one hidden neuron", unstated=UNBOUNDED),
    "hidden_synapses": Known(help="synapses between hidden neurons", unstated=UNBOUNDED),
    "bias_bits": Known(help="a bias, sign included; at most 16 are used", unit="bits", unstated=16),
    "clock_mhz": Known(help="the fastest clock", unit="MHz"),
    "weight_bits": Known(help="a weight, sign included", unit="bits", unstated=8, only=8),
    "threshold_bits": Known(help="a threshold, sign included", unit="bits", unstated=16, only=16),
    "state_bits": Known(help="currents and membranes", unit="bits", unstated=16, only=16),
    "input_spikes": Known(
        help="spikes per step of a channel", unstated=INPUT_SPIKES, only=INPUT_SPIKES
    ),
    "hidden_spikes": Known(
        help="spikes per step of a hidden neuron", unstated=HIDDEN_SPIKES, only=HIDDEN_SPIKES
    ),
    "output_spikes": Known(help="spikes per step of an output neuron", unstated=1, only=1),
}

XYLO: ChipMapping[XyloOptions] = ChipMapping(
    name="xylo",
    options=XyloOptions,
    limits=LIMITS,
    energy=ENERGY,
    inputs=("rate",),
    kinds=kinds,
    least=least,
    step=map_xylo,
    emits=".json",
)
