"""The mapping of chips made of cores with neurons and synapse memory (Loihi, a user's own).

``LIMITS`` is what it reads of a target; ``CoresOptions`` what can be chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from ...errors import UsageError
from ...runtime.graph import MaxPool
from ...runtime.ops import Array
from ...spelling import spelled
from .. import rules
from ..energy.bounds import TIMES
from ..energy.constants import ENERGY
from ..kinds import Choice, Flag, Whole
from ..mapping import PLACEMENT, ChipMapping, ChipRun, Cores, Least, Mapped, Request
from ..options import Options, Table, option
from ..target import UNBOUNDED, HardwareTarget, Known, Violation
from ..view.network import ChipNetwork, chip_view
from . import file
from .fit import Runner
from .integer.network import with_one_exponent_each
from .integers import graded
from .least import least_cores
from .load.cut import fitted, rebalanced
from .load.multicast import multicast
from .load.work import work
from .memory import MemoryModel
from .partition import Tiling, hard_limits
from .pools import with_any_spike_pools
from .traffic import traffic
from .variants import as_others_state, would_fit

WAYS = ("graded", "bias", "population")  # in which an analog input may enter

LIMITS: Mapping[str, Known] = {
    **PLACEMENT,
    **rules.LIMITS,
    "neurons_per_core": Known(help="neurons of a core, as allocated", unstated=UNBOUNDED),
    "in_axons_per_core": Known(help="distinct inputs that a core reads", unstated=UNBOUNDED),
    "out_axons_per_core": Known(
        help="pairs of a source neuron and a destination core", unstated=UNBOUNDED
    ),
    "synapse_memory": Known(
        help="synapse storage of a core", unit="words of [options.memory]", unstated=UNBOUNDED
    ),
    "dense_memory": Known(
        help="dense layers with their input axons", unit="words", unstated=UNBOUNDED
    ),
    "dense_row_words": Known(
        help="the longest list of one axon in a dense layer", unit="words", unstated=UNBOUNDED
    ),
    "core_memory": Known(help="all of a core's memory", unit="words", unstated=UNBOUNDED),
    "convolution_width": Known(
        help="width of a map that a convolution reads, above which a note is given",
        unstated=UNBOUNDED,
    ),
    "weight_bits": Known(help="a weight, sign included", unit="bits", unstated=UNBOUNDED),
    "weight_exponent": Known(help="largest right shift of a summed input", unstated=UNBOUNDED),
    "threshold_bits": Known(help="a threshold, without sign", unit="bits", unstated=UNBOUNDED),
    "thresholds_per_core": Known(
        help="different thresholds on a core, where `threshold_per` is group", unstated=UNBOUNDED
    ),
    "synapse_formats": Known(
        help="formats of a core's lists of weights: exponents of all connections together",
        unstated=UNBOUNDED,
    ),
    "bias_bits": Known(help="a bias's mantissa, sign included", unit="bits", unstated=UNBOUNDED),
    "bias_exponent": Known(help="largest left shift of a bias's mantissa", unstated=UNBOUNDED),
    "state_bits": Known(help="the membrane, sign included", unit="bits", unstated=UNBOUNDED),
    "state_shift": Known(help="left shift of summed inputs and thresholds", unstated=0),
    "input_bits": Known(help="a graded input value, without sign", unit="bits", unstated=UNBOUNDED),
}


@dataclass(frozen=True, kw_only=True)
class CrossbarOptions(Options):
    """What can be chosen on crossbars; on cores too."""

    input: Literal["graded", "bias", "population"] | None = option(
        None, Choice(WAYS), "how an analog input enters; the default is the first way that the "
        "chip states", code="E507",
    )  # fmt: skip
    tune: bool = option(
        True, Flag(), "choose steps of weights, and biases, by the error of the integer run on "
        "calibration data; false: plain rounding",
    )  # fmt: skip
    emit: int = option(
        4_000_000, Whole(least=0), "most synapses that the file of the network lists; larger "
        "networks are not written",
    )  # fmt: skip
    maxpool: Literal["refuse", "or"] = option(
        "refuse", Choice(("refuse", "or")), "or: a max pool of binary spikes becomes neurons that "
        "fire when any input does (approximate)",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CoresOptions(CrossbarOptions):
    """See ``CrossbarOptions``; and how a core's memory holds synapses."""

    tiles: Literal["fewest", "balanced"] = option(
        "fewest", Choice(("fewest", "balanced")), "fewest: the vendor's tiles; balanced: on no "
        "more cores, cut so that the busiest has as few synaptic operations as can be",
    )  # fmt: skip
    memory: MemoryModel = option(  # noqa: RUF009 - a frozen record
        MemoryModel(), Table(MemoryModel), "the memory model", code="E501", in_file=True
    )


def map_cores(
    network: ChipNetwork, target: HardwareTarget, request: Request[CoresOptions]
) -> Mapped:
    """Partition, quantize, count traffic; see ``mapping``."""
    suggest = partial(would_fit, network, target, request, map_cores)
    mode = _input_mode(network, target, request.options.input)
    if mode == "spikes":
        network = network.with_host()
    before = network
    if request.options.maxpool == "or" and "zero" in target.can("reset"):
        network = chip_view(with_any_spike_pools(network.graph))
        network = network.with_host() if mode == "spikes" else network
    tilings, over = fitted(network, target, request.options.memory, mode == "population")
    broken = (*kinds(network, target), *over)
    runner = None if broken or request.dry else _runner(network, target, mode, request)
    measured = _measured(runner, request)
    rates, sent = measured.rates if measured else None, _sent(mode, request, runner)
    level = float(np.mean(sent))  # of all values together
    if request.options.tiles == "balanced" and not over:
        memory, rate = request.options.memory, request.rate
        tilings = rebalanced(network, target, memory, tilings, rates, rate=rate, sent=level)
    flows = traffic(network, tilings, rates, request.rate)
    routes = None if request.dry else multicast(network, tilings, rates, request.rate)
    placed = {t.name: t for t in tilings}
    return Mapped(
        cores=_cores(tilings, target),
        traffic=replace(flows, multicast=routes),
        work=work(
            network, target, request.options.memory, tilings, rates, rate=request.rate, sent=level
        ),
        violations=broken,
        run=runner,
        ideal=None if runner is None else runner.ideal,
        core_of=lambda name: placed[name].core_of(),
        placed=None
        if runner is None
        else partial(
            file.emitted,
            network=network,
            target=target,
            ints=with_one_exponent_each(runner.quantized),
            tilings=tilings,
            steps=request.steps,
            most=request.options.emit,
        ),
        would_fit=suggest,
        otherwise=partial(as_others_state, network, target, request, map_cores),
        input_mode=mode,
        sent=sent,
        encoders=_size(network) if mode == "population" else 0,
        hosted=network.hosted,
        tiles={t.name: t.tile for t in tilings},
        facts=_facts(network, tilings, mode),
        notes=(
            *_notes(network, target, mode),
            *_negative_notes(target, mode, request),
            *_pool_notes(before, after=network),
            *(() if runner is None else runner.notes()),
            *(() if runner is None else file.notes(network, request.options.emit)),
        ),
    )


def least(network: ChipNetwork, target: HardwareTarget, options: CoresOptions) -> Least:
    """See ``least.least_cores``."""
    return least_cores(network, target, options.memory)


def kinds(network: ChipNetwork, target: HardwareTarget) -> tuple[Violation, ...]:
    """The common rules; for a max pool the option that replaces it is named."""
    pools = {node.name for node in network.graph.of(MaxPool)}
    can_replace = "zero" in target.can("reset")
    return tuple(
        _with_option(v, network) if can_replace and v.node in pools else v
        for v in rules.violations(network, target)
    )


def _with_option(pool: Violation, network: ChipNetwork) -> Violation:
    if pool.rule != rules.ANALOG:
        return pool
    other = spelled("options", {"maxpool": "or"})
    more = (
        f" Approximate, without converting again: {other}, one neuron per window that fires when "
        f"any of its inputs does: {network[pool.node].neurons:,} neurons; the report has its "
        "accuracy."
    )
    return replace(pool, remedy=pool.remedy + more)


def _input_mode(network: ChipNetwork, target: HardwareTarget, wanted: str | None) -> str:
    """One of ``WAYS``, or "spikes" where the network itself says how its input is encoded: always,
    or, where neurons of its own encode it, unless another way is ``wanted``."""
    if network.inputs and all(n.encoding != "constant" for n in network.inputs):
        return "spikes"
    if network.coders and wanted is None:
        return "spikes"
    known = target.can("input")
    mode = known[0] if wanted is None else wanted
    if mode not in known:
        raise UsageError(
            f"'{target.name}' has no input mode '{mode}'",
            remedy=f"Use one of {', '.join(known)}.",
            code="E507",
        )
    return str(mode)


def _sent(mode: str, request: Request[Any], runner: Runner | None) -> float | Array:
    """Share of the input's values that are sent in every step, where no run has measured it; of
    graded samples that of each value, as the chip rounds them."""
    x, spikes = request.x, request.rate
    if mode == "graded" and x is not None and runner is not None:
        return np.asarray(np.mean(graded(runner.quantized, x) != 0, axis=0))
    return {"graded": 1.0, "spikes": spikes, "bias": 0.0, "population": spikes}[mode]


def _size(network: ChipNetwork) -> int:
    """Values of all inputs together."""
    return sum(int(np.prod(node.shape)) for node in network.inputs)


def _runner(
    network: ChipNetwork, target: HardwareTarget, mode: str, request: Request[CoresOptions]
) -> Runner | None:
    return (
        Runner(network, target, mode, request, tune=request.options.tune)
        if len(network.inputs) == 1
        else None
    )


def _measured(runner: Runner | None, request: Request[Any]) -> ChipRun | None:
    if runner is None or request.x is None:
        return None
    return runner(request.x, request.steps)


def _cores(tilings: tuple[Tiling, ...], target: HardwareTarget) -> Cores:
    """Per core: the full tile's use, neurons counted as they are."""
    layer = np.repeat(np.arange(len(tilings)), [t.cores for t in tilings])
    used: dict[str, Array] = {}
    for name in hard_limits(target):
        values = [np.full(t.cores, t.cost.used()[name]) for t in tilings]
        used[name] = np.concatenate(values) if values else np.zeros(0)
    neurons = [t.neurons() for t in tilings]
    return Cores(
        layer=layer,
        layers=tuple(t.name for t in tilings),
        neurons=np.concatenate(neurons) if neurons else np.zeros(0, np.int64),
        used=used,
    )


def _facts(network: ChipNetwork, tilings: tuple[Tiling, ...], mode: str) -> Mapping[str, object]:
    size = _size(network)
    if network.hosted:
        size = sum(int(np.prod(network.graph[name].shape)) for name in network.hosted)
    messages = {"graded": size, "spikes": size, "population": 0, "bias": 0}[mode]
    first = sum(
        layer.neurons
        for layer in network.layers
        if any(p.source in {n.name for n in network.inputs} for p in layer.projections)
    )
    return {
        "input": {
            "mode": mode,
            "host_messages_per_step_at_most": messages,
            "host_writes_per_sample": {"bias": first, "population": size, "graded": 0, "spikes": 0}[
                mode
            ],
        },
        "binding": {t.name: t.binding for t in tilings},
    }


def _notes(network: ChipNetwork, target: HardwareTarget, mode: str) -> tuple[str, ...]:
    notes = [
        *(["Networks with several inputs are not run in integers."] * (len(network.inputs) != 1)),
        {
            "graded": "The input enters as graded spikes, all values in every step.",
            "bias": "The host computes the first layer's current and writes it as biases; these "
            "operations are not counted as the chip's.",
            "population": "A population of encoding neurons on the chip turns the input into "
            "spikes; its quantization in time is part of the chip's accuracy.",
            "spikes": "The host sends the input as spikes.",
        }[mode],
        *_host_notes(network, target),
    ]
    width = target.limit("convolution_width")
    wide = (
        p.target
        for p in network.projections
        if p.kind == "conv" and max(p.source_shape[1:], default=0) > width
    )
    notes.extend(
        f"'{name}' reads a map wider than {width:g}: {target.limits['convolution_width'].source}."
        for name in dict.fromkeys(wide)
    )
    return tuple(notes)


def _host_notes(network: ChipNetwork, target: HardwareTarget) -> Iterator[str]:
    """What a host does that sends the spikes of neurons which code the input."""
    if network.hosted:
        count = sum(int(np.prod(network.graph[name].shape)) for name in network.hosted)
        other = spelled("options", {"input": str(target.can("input")[0])})
        yield (
            f"These are the spikes of {count:,} neurons that code the input: "
            f"{', '.join(sorted(network.hosted))}. They depend on its values alone, so the host "
            "sends them from the first step on; they take no cores and are in none of the chip's "
            f"counts. {other} puts the neurons on cores."
        )


def _negative_notes(target: HardwareTarget, mode: str, request: Request[Any]) -> tuple[str, ...]:
    samples = request.x if request.x is not None else request.calib
    if mode != "population" or target.can("signed") or samples is None or np.min(samples) >= 0:
        return ()
    return (
        "The input has negative values, and the chip no negative spikes: each value takes a second "
        "encoding neuron, which is run, but counted neither in cores nor in energy.",
    )


def _pool_notes(before: ChipNetwork, *, after: ChipNetwork) -> tuple[str, ...]:
    names = [f"'{la.name}'" for la in before.layers if la.analog and not after[la.name].analog]
    if not names:
        return ()
    return (f"Max pooling is approximate, a window fires when any input does: {', '.join(names)}.",)


CORES: ChipMapping[CoresOptions] = ChipMapping(
    name="cores",
    options=CoresOptions,
    limits=LIMITS,
    energy=ENERGY,
    inputs=WAYS,
    kinds=kinds,
    least=least,
    step=map_cores,
    times=TIMES,
    emits=".npz",
)
