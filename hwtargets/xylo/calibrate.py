"""Tuning thresholds and biases in the integer loop, layer by layer, without labels.

For every neuron, over calibration samples, the count n of the integer run should equal the
target m = rate (T - delay), with the rate of the ANN's activation. A line n ~ k m + d, fitted where
the neuron is or should be active, says what is off: truncated decays, the leak, rounded weights,
the missing initial potential. The threshold takes the slope, threshold <- k threshold, the bias
the rest, bias <- bias - d threshold / T. A neuron's parameters are replaced only where its squared
error falls; the neurons of one layer do not disturb each other, so each is judged by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...runtime.ops import Array
from . import core as xylo_core
from .core import HIGH, XyloConfig
from .network import Analog, XyloNet, analog
from .quantize import Quantized, XyloSettings, register

SAMPLES = 256  # calibration samples that the integer loop uses


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Root mean square error of the spike counts, in spikes per sample, before and after, for each
    layer (populations, then outputs), on ``samples`` calibration samples."""

    samples: int
    layers: tuple[str, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]


def calibrate(net: XyloNet, quantized: Quantized, x: Array) -> tuple[Quantized, Calibration]:
    """Tune ``quantized`` on samples x (samples, inputs); its coding and weights stay."""
    x = x[:: max(1, len(x) // SAMPLES)][:SAMPLES]
    trains = quantized.coding.encode(x)
    target, target_out = targets(net, quantized, x)
    config, before, after = quantized.config, [], []
    names = [block.name for block in net.blocks] + ["outputs"]
    parts = [(block.slice, "", target[:, block.slice]) for block in net.blocks]
    parts.append((slice(0, config.outputs), "_out", target_out))
    for at, suffix, wanted in parts:
        config, errors = _tune(
            config, trains, at, suffix, wanted=wanted, settings=quantized.settings
        )
        before.append(errors[0])
        after.append(errors[1])
    report = Calibration(
        samples=len(x), layers=tuple(names), before=tuple(before), after=tuple(after)
    )
    clipped = quantized.clipped | _at_the_end(config, quantized.settings)
    return replace(quantized, config=config, clipped=clipped), report


def targets(net: XyloNet, quantized: Quantized, x: Array) -> tuple[Array, Array]:
    """Spike counts that the ANN's values on x stand for: (samples, hidden), (samples, outputs)."""
    coding = quantized.coding
    seen: Analog = analog(net, np.clip(x.reshape(len(x), -1), coding.low, coding.high))
    rates = np.minimum(seen.hidden / quantized.per_spike, xylo_core.HIDDEN_SPIKES)
    unit = (seen.out - coding.out_low) / (coding.out_high - coding.out_low)
    steps = np.maximum(coding.steps - quantized.delays, 0)
    return rates * steps, np.clip(unit, 0, 1) * coding.window


def _tune(
    config: XyloConfig,
    trains: Array,
    at: slice,
    suffix: str,
    *,
    wanted: Array,
    settings: XyloSettings,
) -> tuple[XyloConfig, tuple[float, float]]:
    """The configuration with the best threshold and bias found for the neurons ``at``, and the
    root mean square errors at the first and at the last."""
    names = (f"threshold{suffix}", f"bias{suffix}")
    current = [getattr(config, name)[at] for name in names]
    best, lowest, first = current, np.full(wanted.shape[1], np.inf), 0.0
    for attempt in range(settings.rounds + 1):
        trial = _with(config, names, at, current)
        run = xylo_core.simulate_core(trial if suffix else _upto(trial, at.stop), trains)
        counts = (run.output if suffix else run.spikes)[:, :, at].sum(axis=1, dtype=np.float64)
        error = np.mean((counts - wanted) ** 2, axis=0)
        first = first if attempt else float(np.sqrt(error.mean()))
        better = error < lowest
        best = [np.where(better, new, old) for new, old in zip(current, best, strict=True)]
        lowest = np.minimum(lowest, error)
        current = _proposal(current, counts, wanted=wanted, settings=settings)
    return _with(config, names, at, best), (first, float(np.sqrt(lowest.mean())))


def _upto(config: XyloConfig, stop: int) -> XyloConfig:
    """The first hidden neurons only: later layers do not act on earlier ones."""
    hidden = {n: getattr(config, n)[:stop] for n in ("dash_mem", "dash_syn", "threshold", "bias")}
    outputs = ("dash_mem_out", "dash_syn_out", "threshold_out", "bias_out")
    return replace(
        config,
        weights_in=config.weights_in[:, :stop],
        weights_rec=config.weights_rec[:stop, :stop],
        weights_out=config.weights_out[:stop, :0],
        **hidden,
        **{name: getattr(config, name)[:0] for name in outputs},
    )


def _with(config: XyloConfig, names: tuple[str, str], at: slice, values: list[Array]) -> XyloConfig:
    changed = {name: getattr(config, name).copy() for name in names}
    for name, value in zip(names, values, strict=True):
        changed[name][at] = value
    return replace(config, **changed)


def _proposal(
    current: list[Array], counts: Array, *, wanted: Array, settings: XyloSettings
) -> list[Array]:
    """Threshold and bias that take the fitted slope and offset out."""
    threshold, bias = (value.astype(np.float64) for value in current)
    active = (counts > 0) | (wanted > 0)
    number = np.maximum(active.sum(axis=0), 1)
    mean_n = np.where(active, counts, 0).sum(axis=0) / number
    mean_m = np.where(active, wanted, 0).sum(axis=0) / number
    dm = np.where(active, wanted - mean_m, 0)
    spread = (dm**2).sum(axis=0)
    slope = np.divide((dm * counts).sum(axis=0), spread, out=np.ones_like(spread), where=spread > 0)
    slope = np.where(number >= 8, np.clip(slope, 0.8, 1.25), 1.0)
    offset = np.where(active.any(axis=0), mean_n - slope * mean_m, 0.0)
    return [
        register("threshold", threshold * slope, (1, HIGH), {}),
        register("bias", bias - offset * threshold / settings.steps, settings.bias_range, {}),
    ]


def _at_the_end(config: XyloConfig, settings: XyloSettings) -> dict[str, int]:
    """Parameters that sit at the end of their register."""
    low, high = settings.bias_range
    ends = {"threshold": (HIGH,), "bias": (low, high)}
    found = {
        name: int(np.count_nonzero(np.isin(getattr(config, name), ends[name.split("_")[0]])))
        for name in ("threshold", "threshold_out", "bias", "bias_out")
    }
    return {name: count for name, count in found.items() if count}
