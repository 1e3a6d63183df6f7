"""Numbers to spikes and back, at Xylo's rim: what the host does before and after the chip.

Input: channel i gives, in step t, floor((t+1) r + 1/2) - floor(t r + 1/2) spikes, with
r = input_spikes (x_i - low) / (high - low), cut to [0, input_spikes]: an even train whose count
is within one of t r for every t.

Output: neuron o emits at most one spike per step, so its rate codes the window
[out_low, out_high] of z_o, common to all outputs: z_o = out_low + (out_high - out_low) count / n.
The chip reads counts. Adding the charge that is still in the membrane, V / threshold spikes,
resolves what counting cannot ("charge"; the chip's membrane potentials can be read in its manual
mode only).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import DataError
from ...runtime.ops import Array
from .core import XyloConfig, XyloRun


@dataclass(frozen=True, kw_only=True)
class XyloCoding:
    """Constants of both codes; see the module.

    Attributes:
        steps: how long one sample is presented, T.
        input_spikes: spikes per step of a feature at ``high``, at most 15.
        low, high: range of the features (clipped outside).
        out_low, out_high: outputs at rate 0 and at one spike per step.
        out_delay: steps before an output neuron receives the full current; counts are divided by
            steps - out_delay.
    """

    steps: int
    input_spikes: int
    low: float
    high: float
    out_low: float = 0.0
    out_high: float = 1.0
    out_delay: int = 0

    def rates(self, x: Array) -> Array:
        """Spikes per step of every feature of x (samples, inputs)."""
        unit = (x.reshape(len(x), -1).astype(np.float64) - self.low) / (self.high - self.low)
        return np.asarray(self.input_spikes * np.clip(unit, 0, 1))

    def encode(self, x: Array) -> Array:
        """Spike counts (samples, steps, inputs), uint8, of samples x.

        Raises:
            DataError: E215 where a feature is not finite.
        """
        if not np.all(np.isfinite(x)):
            raise DataError(
                "a feature is not a finite number",
                remedy="Xylo's inputs are spike counts: clean the data first.",
                code="E215",
            )
        times = np.arange(self.steps + 1)[:, None]
        return np.diff(np.floor(self.rates(x)[:, None, :] * times + 0.5), axis=1).astype(np.uint8)

    def decode(self, config: XyloConfig, run: XyloRun, readout: str = "count") -> Array:
        """Outputs in the ANN's unit after every step: (samples, steps, outputs)."""
        count = np.cumsum(run.output, axis=1, dtype=np.float64)
        if readout == "charge":
            count += run.v_mem_out / config.threshold_out
        window = np.maximum(np.arange(1, count.shape[1] + 1) - self.out_delay, 1)
        return self.out_low + (self.out_high - self.out_low) * count / window[:, None]

    @property
    def window(self) -> int:
        """Steps of a whole run that count for an output neuron."""
        return max(self.steps - self.out_delay, 1)
