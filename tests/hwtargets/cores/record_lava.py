"""Records Lava's bit-accurate LIF and Dense into lava_lif.npz (run once; not part of the tests).

Needs Python 3.10 and: pip install numpy==1.26.4 scipy==1.13.1 networkx==2.8.7 asteval==0.9.33;
pip install --no-deps lava-nc==0.10.0.  Usage: python3.10 record_lava.py OUT.npz
"""

from __future__ import annotations

import sys

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.dense.process import Dense
from lava.proc.io.source import RingBuffer
from lava.proc.lif.process import LIF

STEPS = 24
# name: du, dv, vth, bias_mant, bias_exp
CASES = {
    "if": (4095, 0, 100, 0, 0),
    "bias": (4095, 0, 300, 77, 6),
    "cuba": (1024, 200, 900, 5, 7),
    "leaky_negative": (3000, 800, 50, -40, 5),
    "wrap": (0, 0, 131071, 4000, 7),
}


def main(path: str) -> None:
    rng = np.random.default_rng(7)
    out = {}
    for name, (du, dv, vth, mant, exp) in CASES.items():
        spikes = (rng.random((6, STEPS)) < 0.5).astype(int)
        weights = rng.integers(-127, 128, (5, 6)) * 2
        bias = mant + rng.integers(-5, 6, 5)
        source = RingBuffer(data=spikes)
        dense = Dense(weights=weights, num_weight_bits=8, weight_exp=0)
        lif = LIF(shape=(5,), du=du, dv=dv, vth=vth, bias_mant=bias, bias_exp=exp)
        source.s_out.connect(dense.s_in)
        dense.a_out.connect(lif.a_in)
        us, vs = [], []
        config = Loihi2SimCfg(select_tag="fixed_pt")
        for _ in range(STEPS):
            lif.run(RunSteps(1), config)
            us.append(lif.u.get().copy())
            vs.append(lif.v.get().copy())
        lif.stop()
        out[f"{name}.spikes_in"] = spikes.astype(np.int8)
        out[f"{name}.weights"] = weights.astype(np.int16)
        out[f"{name}.params"] = np.array([du, dv, vth, exp])
        out[f"{name}.bias"] = bias
        out[f"{name}.u"] = np.array(us).astype(np.int32)
        out[f"{name}.v"] = np.array(vs).astype(np.int32)
    np.savez_compressed(path, **out)


if __name__ == "__main__":
    main(sys.argv[1])
