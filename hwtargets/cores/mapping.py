"""The mapping step of chips made of cores with neurons and synapse memory (Loihi, a user's own).

Limits read: cores_per_chip, neurons_per_core, in_axons_per_core, out_axons_per_core,
synapse_memory, dense_memory, dense_row_words, core_memory (all optional but cores_per_chip);
weight_bits, threshold_bits, bias_bits, bias_exponent, weight_exponent, state_bits, state_shift,
input_bits. Options: ``[options.memory]`` (see ``memory.MemoryModel``) and ``input`` ("graded",
"bias" or "population": how an analog input enters), "maxpool" ("refuse" or "or", see
``pools``), "count_only" (no integers, for variants).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ...errors import UsageError
from ...runtime.ops import Array
from .. import rules
from ..mapping import ChipRun, Cores, Mapped, Request
from ..target import HardwareTarget, Violation
from ..view.network import ChipNetwork, chip_view
from .integers import run
from .memory import memory_model
from .partition import Tiling, hard_limits, partition
from .pools import with_any_spike_pools
from .quantize import quantize
from .traffic import traffic


def map_cores(network: ChipNetwork, target: HardwareTarget, request: Request) -> Mapped:
    """Partition, quantize, count traffic; see ``mapping``."""
    mode = _input_mode(network, target, request)
    before, pools = network, request.option(target, "maxpool", "refuse")
    if pools == "or" and "zero" in target.can("reset"):
        network = chip_view(with_any_spike_pools(network.graph))
    tilings, over = _fitted(network, target, mode == "population")
    broken = (*rules.check(network, target), *over)
    dry = broken or request.options.get("count_only")
    runner = None if dry else _runner(network, target, mode, request)
    measured = _measured(runner, request)
    flows = traffic(network, tilings, measured.rates if measured else None, request.rate)
    placed = {t.name: t for t in tilings}
    return Mapped(
        cores=_cores(tilings, target),
        traffic=flows,
        violations=broken,
        run=runner,
        ideal=None if runner is None else runner.ideal,
        core_of=lambda name: placed[name].core_of(),
        facts=_facts(network, tilings, mode, target),
        notes=(*_notes(network, target, mode), *_pool_notes(before, network)),
    )


def _input_mode(network: ChipNetwork, target: HardwareTarget, request: Request) -> str:
    if network.inputs and all(n.encoding != "constant" for n in network.inputs):
        return "spikes"
    known = target.can("input")
    mode = str(request.option(target, "input", known[0]))
    if mode not in known:
        raise UsageError(
            f"'{target.name}' has no input mode '{mode}'",
            remedy=f"Use one of {', '.join(known)}.",
            code="E507",
        )
    return mode


class _Runner:
    """Runs the quantized network; a run on the request's samples is kept, not repeated."""

    def __init__(
        self, network: ChipNetwork, target: HardwareTarget, mode: str, request: Request
    ) -> None:
        samples = request.x if request.x is not None else request.calib
        largest = 1.0 if samples is None else float(np.abs(samples).max())
        self.network, self.target, self.largest = network, target, largest
        self.quantized = quantize(network, target, mode, largest, request.steps)
        self._last: tuple[Array, int, ChipRun] | None = None

    def ideal(self, x: Array, steps: int) -> ChipRun:
        """The same weights with unlimited states, and the input sent as integers: what is left is
        the loss by quantized weights, thresholds and biases alone."""
        found = self(x, steps)
        population = self.quantized.input_mode == "population"
        if not population and not any(found.saturations.values()):
            return found
        mode = "graded" if population else self.quantized.input_mode
        free = quantize(self.network, self.target, mode, self.largest, steps)
        return run(self.network, replace(free, state_max=float("inf")), x, steps)

    def __call__(self, x: Array, steps: int) -> ChipRun:
        if self._last is None or self._last[0] is not x or self._last[1] != steps:
            self._last = (x, steps, run(self.network, self.quantized, x, steps))
        return self._last[2]


def _runner(
    network: ChipNetwork, target: HardwareTarget, mode: str, request: Request
) -> _Runner | None:
    return _Runner(network, target, mode, request) if len(network.inputs) == 1 else None


def _measured(runner: _Runner | None, request: Request) -> ChipRun | None:
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


def _fitted(
    network: ChipNetwork, target: HardwareTarget, inputs: bool
) -> tuple[tuple[Tiling, ...], tuple[Violation, ...]]:
    """The partition; where output axons (one per source neuron and destination core, known only
    when both ends are cut) exceed their limit, that layer is cut smaller and all is done again."""
    model = memory_model(target.options, target.path)
    limit = target.bound("out_axons_per_core")
    caps: dict[str, int] = {}
    while True:
        tilings, over = partition(network, target, model, inputs, caps)
        fan = _out_axons(network, tilings) if np.isfinite(limit) else {}
        excess = {t: n for t, n in fan.items() if n > limit}
        if over or not excess:
            return tilings, over
        sizes = {t.name: int(t.neurons().max()) for t in tilings}
        stuck = [name for name in excess if sizes[name] == 1]
        if stuck:
            return tilings, tuple(_too_far(name, excess[name], limit) for name in stuck)
        for name, used in excess.items():
            caps[name] = max(1, min(sizes[name] - 1, int(sizes[name] * limit / used)))


def _out_axons(network: ChipNetwork, tilings: tuple[Tiling, ...]) -> dict[str, int]:
    """Per layer, the most (source neuron, destination core) pairs of one of its cores."""
    flows = traffic(network, tilings, None, 1.0)
    total = sum(t.cores for t in tilings)
    fan = np.bincount(flows.source, weights=flows.weight, minlength=total)
    return {t.name: round(fan[t.first : t.first + t.cores].max(initial=0)) for t in tilings}


def _too_far(name: str, used: int, limit: float) -> Violation:
    return Violation(
        node=name,
        rule="out_axons_per_core",
        used=used,
        limit=limit,
        remedy="One neuron alone reaches more cores than a core has output axons: fewer output "
        "channels in the layers that read it.",
    )


def _facts(
    network: ChipNetwork, tilings: tuple[Tiling, ...], mode: str, target: HardwareTarget
) -> Mapping[str, object]:
    size = sum(int(np.prod(n.shape)) for n in network.inputs)
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
            "host_writes_per_sample": {"bias": first, "population": size}.get(mode, 0),
        },
        "tiles": {t.name: list(t.tile) for t in tilings},
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
    ]
    width = target.bound("convolution_width")
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


def _pool_notes(before: ChipNetwork, after: ChipNetwork) -> tuple[str, ...]:
    names = [f"'{la.name}'" for la in before.layers if la.analog and not after[la.name].analog]
    if not names:
        return ()
    return (f"Max pooling is approximate, a window fires when any input does: {', '.join(names)}.",)
