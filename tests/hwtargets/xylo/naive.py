"""The Xylo core as a plain loop over neurons and spikes, for comparison with the NumPy core.

Written from the description in words: one spike after the other, every addition saturating.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def saturate(value: int) -> int:
    return max(-32768, min(32767, value))


def decayed(value: int, dash: int) -> int:
    loss = value // 2**dash
    if loss == 0 and value != 0:
        loss = 1 if value > 0 else -1
    return loss


def receive(currents: list[int], counts: Any, most: int, weights: Any, shift: int) -> None:
    for source, count in enumerate(counts):
        for target in range(len(currents)):
            for _ in range(min(int(count), most)):
                added = int(weights[source, target]) * 2**shift
                currents[target] = saturate(currents[target] + added)


def integrate(
    v: list[int], i: list[int], dash_syn: Any, dash_mem: Any, threshold: Any, bias: Any, most: int
) -> list[int]:
    spikes = []
    for n in range(len(v)):
        i[n] -= decayed(i[n], int(dash_syn[n]))
        loss = -decayed(v[n], int(dash_mem[n]))
        loss = -32768 if loss == 32768 else loss  # 16-bit registers cannot negate -32768
        change = saturate(saturate(loss + i[n]) + int(bias[n]))
        v[n] = saturate(v[n] + change)
        count = 0
        while v[n] >= threshold[n] and count < most:
            v[n] -= int(threshold[n])
            count += 1
        spikes.append(count)
    return spikes


def naive_run(c: Any, trains: np.ndarray) -> dict[str, np.ndarray]:
    """The records of ``vendor_run``, computed by loops; trains (samples, steps, inputs)."""
    names = ("output", "spikes", "v_mem", "i_syn", "v_mem_out", "i_syn_out")
    records: dict[str, list[Any]] = {name: [] for name in names}
    hidden, outputs = len(c.threshold), len(c.threshold_out)
    for sample in trains:
        v, i, v_out, i_out = [0] * hidden, [0] * hidden, [0] * outputs, [0] * outputs
        before = [0] * hidden
        steps: dict[str, list[Any]] = {name: [] for name in names}
        for counts in sample:
            receive(i, counts, 15, c.weights_in, c.weight_shift_in)
            receive(i, before, 31, c.weights_rec, c.weight_shift_rec)
            receive(i_out, before, 31, c.weights_out, c.weight_shift_out)
            before = integrate(v, i, c.dash_syn, c.dash_mem, c.threshold, c.bias, 31)
            fired = integrate(
                v_out, i_out, c.dash_syn_out, c.dash_mem_out, c.threshold_out, c.bias_out, 1
            )
            now = (fired, before, list(v), list(i), list(v_out), list(i_out))
            for name, value in zip(names, now, strict=True):
                steps[name].append(value)
        for name in names:
            records[name].append(steps[name])
    return {name: np.array(value) for name, value in records.items()}
