"""Forms of a network that say the same classes, and which of them the chip holds best."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ...runtime.ops import Array
from .calibrate import SAMPLES, Calibration, calibrate
from .core import simulate_core
from .network import XyloNet, analog, centred
from .quantize import Quantized, XyloSettings, quantize

CENTRED = (
    "Output values are without what all outputs of a sample have in common, which no class "
    "decision sees: chosen on the calibration samples (window = full keeps it)."
)
UNCEILED = "Ceilings of activations are left out, which costs less than keeping them here."
CEILING = (
    "A ceiling of an activation is the chip's limit of spikes per step, which takes resolution: "
    "the ANN's class on {start} of the calibration samples with it, on {now} as mapped."
)


def best_form(
    net: XyloNet, quantized: Quantized, x: Array
) -> tuple[Quantized, Calibration, tuple[str, ...]]:
    """The network calibrated as it is, or in a form of ``_forms``: whichever says the ANN's class
    of most calibration samples; of equals one with all ceilings. With the sentences that belong
    to it."""
    best, report = calibrate(net, quantized, x)
    score = start = _agreement(net, best, x)
    notes: tuple[str, ...] = ()
    for other, said in _forms(net, quantized.settings):
        found, errors = calibrate(other, quantize(other, x, quantized.settings), x)
        share = _agreement(net, found, x)
        if share > score or (share == score and other.blocks is net.blocks):
            best, report, score, notes = found, errors, share, said
    if any(block.ceiling is not None for block in net.blocks):
        notes = (*notes, CEILING.format(start=f"{100 * start:.1f} %", now=f"{100 * score:.1f} %"))
    return best, report, notes


def _forms(net: XyloNet, settings: XyloSettings) -> Iterator[tuple[XyloNet, tuple[str, ...]]]:
    """Networks with the same classes, or nearly so, that the chip may hold better."""
    middle = centred(net) if settings.window == "winner" else None  # else outputs are values
    if middle is not None:
        yield middle, (CENTRED,)
    if middle is not None and any(block.ceiling is not None for block in net.blocks):
        open_ = tuple(replace(block, ceiling=None) for block in net.blocks)
        yield replace(net, blocks=open_), (UNCEILED,)
        yield replace(middle, blocks=open_), (CENTRED, UNCEILED)


def _agreement(net: XyloNet, quantized: Quantized, x: Array) -> float:
    """Share of samples and readouts of which the integers say the ANN's class."""
    x = x[:: max(1, len(x) // SAMPLES)][:SAMPLES]
    coding, right, first = quantized.coding, [], 0
    ran = simulate_core(quantized.config, coding.encode(x))
    said = coding.decode(quantized.config, ran, quantized.settings.readout)[:, -1]
    wanted = analog(net, x).out
    for _, size in net.outputs:
        at = slice(first, first + size)
        right.append(said[:, at].argmax(axis=1) == wanted[:, at].argmax(axis=1))
        first += size
    return float(np.mean(right))
