"""The vendor's simulator (xylosim 0.1.3, core v2) behind the same call as ours; needs xylosim."""

from __future__ import annotations

from typing import Any

import numpy as np


def vendor_run(config: Any, spikes: np.ndarray) -> dict[str, np.ndarray]:
    """Run ``spikes`` (samples, steps, inputs) through xylosim, sample by sample, from rest."""
    from xylosim.v2 import XyloLayer, XyloSynapse

    def synapses(weights: np.ndarray) -> list[list[Any]]:
        return [[XyloSynapse(int(j), 0, int(w[j])) for j in np.flatnonzero(w)] for w in weights]

    hidden = config.weights_rec.shape[0]
    # xylosim keeps raw pointers into these lists: they must outlive the layer
    alive = [synapses(getattr(config, f"weights_{block}")) for block in ("in", "rec", "out")]
    layer = XyloLayer(
        synapses_in=alive[0],
        synapses_rec=alive[1],
        synapses_out=alive[2],
        aliases=[[]] * hidden,
        threshold=config.threshold.tolist(),
        threshold_out=config.threshold_out.tolist(),
        has_bias=True,
        bias=config.bias.tolist(),
        bias_out=config.bias_out.tolist(),
        weight_shift_inp=int(config.weight_shift_in),
        weight_shift_rec=int(config.weight_shift_rec),
        weight_shift_out=int(config.weight_shift_out),
        dash_mem=config.dash_mem.tolist(),
        dash_mem_out=config.dash_mem_out.tolist(),
        dash_syns=[[int(d), 0] for d in config.dash_syn],
        dash_syns_out=[[int(d)] for d in config.dash_syn_out],
        name="test",
    )
    runs = []
    for sample in spikes:
        layer.reset_all()
        output = np.array(layer.evolve(sample.astype(int).tolist()))
        runs.append(
            {
                "output": output,
                "spikes": np.array(layer.rec_recurrent_spikes),
                "v_mem": np.array(layer.rec_v_mem).T,
                "i_syn": np.array(layer.rec_i_syn).T,
                "v_mem_out": np.array(layer.rec_v_mem_out).T,
                "i_syn_out": np.array(layer.rec_i_syn_out).T,
            }
        )
    return {name: np.stack([run[name] for run in runs]) for name in runs[0]}
