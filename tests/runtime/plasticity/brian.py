"""The rule `stdp` in Brian 2, a simulator of its own: spikes equal, weights to 1e-6.

Not part of the test suite: Brian 2 lives in an environment of its own, without onnx2snn.

    python tests/runtime/plasticity/brian.py record stdp.npz    # onnx2snn's environment
    python -m venv brian && brian/bin/pip install brian2 "numpy<2"
    brian/bin/python tests/runtime/plasticity/brian.py compare stdp.npz

30 inputs, 20 neurons, 40 samples of 25 steps. Brian does what happens in a step: traces, potentials
and their leak, who is at the threshold, inhibition, both pathways of the plastic synapses, adaptive
thresholds. That one of several at the threshold fires, and the scaling between samples, are lines
of Python here. What Brian gives is compared with what onnx2snn has recorded; nothing of it is kept.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

INPUTS, NEURONS, STEPS, SAMPLES = 30, 20, 25, 40
SETTINGS = {
    "threshold": 1.5,
    "total": 6.0,
    "rise": 0.2,
    "recovery": 0.01,
    "leak": 0.05,
    "depression": 0.05,
}


def stimuli() -> np.ndarray:
    """(SAMPLES, STEPS, INPUTS): five kinds of samples."""
    rng = np.random.default_rng(11)
    rates = [np.roll([0.5] * 6 + [0.05] * 24, 6 * (n % 5)) for n in range(SAMPLES)]
    return (rng.random((SAMPLES, STEPS, INPUTS)) < np.array(rates)[:, None]).astype(float)


def record(path: Path) -> None:
    from onnx2snn.runtime.plasticity import NO_LABEL, StdpRule

    rule = StdpRule(**SETTINGS)
    state = rule.initial_state(inputs=INPUTS, neurons=NEURONS, seed=5)
    first, spikes = state.copy(), np.zeros((SAMPLES, STEPS, NEURONS))
    for sample, sent in zip(stimuli(), spikes, strict=True):
        rule.present(state, sample, NO_LABEL, sent=sent)
    np.savez(
        path,
        first=first.weight,
        weight=state.weight,
        threshold=state.threshold,
        spikes=spikes,
        **{f"rule_{name}": value for name, value in asdict(rule).items()},
    )
    print(f"recorded {int(spikes.sum())} spikes of {NEURONS} neurons in {path}")


def compare(path: Path) -> None:
    with np.load(path) as found:
        recorded = dict(found)
    rule = {k.removeprefix("rule_"): float(v) for k, v in recorded.items() if k.startswith("rule_")}
    spikes, weight, threshold = in_brian(rule, recorded["first"])
    equal = np.array_equal(spikes, recorded["spikes"])
    apart = float(np.abs(weight - recorded["weight"]).max())
    limits = float(np.abs(threshold - recorded["threshold"]).max())
    print(
        f"Brian 2: {int(spikes.sum())} spikes, {'equal' if equal else 'NOT EQUAL'}; weights moved "
        f"by up to {np.abs(weight - recorded['first']).max():.3f} differ by {apart:.1e}, "
        f"thresholds by {limits:.1e}"
    )
    sys.exit(not (equal and apart <= 1e-6 and limits <= 1e-6 and spikes.sum() > SAMPLES))


def in_brian(rule: dict[str, float], first: np.ndarray):
    """Spikes (SAMPLES, STEPS, NEURONS), weights and thresholds at the end."""
    import brian2 as b

    b.prefs.codegen.target = "numpy"
    b.defaultclock.dt = 1 * b.ms
    group = b.NeuronGroup(
        NEURONS,
        "v : 1\nlimit : 1\nfirst : 1",
        threshold="first > 0.5",
        reset="v = 0\nlimit += rise",
        namespace=rule,
    )
    group.run_regularly("v *= 1 - leak", when="start")
    group.limit = rule["threshold"]
    at = [np.nonzero(sample) for sample in stimuli()]
    times = np.concatenate([STEPS * n + t for n, (t, _) in enumerate(at)]) * b.ms
    inputs = b.SpikeGeneratorGroup(INPUTS, np.concatenate([i for _, i in at]), times, when="start")
    plastic = b.Synapses(
        inputs,
        group,
        "w : 1\nx : 1\ny : 1",
        on_pre="v_post += w\nw *= clip(1 - depression * y, 0, 1)\nx += 1",
        on_post="w += potentiation * (x * (1 - w) - offset * w)\ny += 1",
        namespace=rule,
    )
    plastic.connect()
    plastic.run_regularly("x *= 1 - x_decay\ny *= 1 - y_decay", when="start")
    plastic.w = first[plastic.i, plastic.j]
    plastic.post.when = "resets"
    lateral = b.Synapses(group, group, on_pre="v_post = 0")
    lateral.connect("i != j")
    lateral.pre.when = "resets"

    @b.network_operation(when="before_thresholds")
    def compete() -> None:
        above = group.v[:] - group.limit[:]
        group.first[:] = 0
        if above.max() >= 0:
            group.first[int(above.argmax())] = 1

    monitor = b.SpikeMonitor(group)
    network = b.Network(group, inputs, plastic, lateral, compete, monitor)
    network.schedule = ["start", "groups", "synapses", "thresholds", "resets", "end"]
    spikes = np.zeros((SAMPLES, STEPS, NEURONS))
    for n in range(SAMPLES):
        before = len(monitor.i)
        network.run(STEPS * b.ms, namespace={})
        steps = np.rint(monitor.t[before:] / b.ms).astype(int) - STEPS * n
        spikes[n, steps, monitor.i[before:]] = 1
        w = np.zeros((INPUTS, NEURONS))
        w[plastic.i[:], plastic.j[:]] = plastic.w[:]
        fired = spikes[n].any(axis=0)
        w[:, fired] *= rule["total"] / w[:, fired].sum(axis=0)
        plastic.w[:] = w[plastic.i[:], plastic.j[:]]
        limit = group.limit[:]
        group.limit[:] = limit - rule["recovery"] * (limit - rule["threshold"])
        group.v[:], plastic.x[:], plastic.y[:] = 0, 0, 0
    return spikes, w, np.array(group.limit[:])


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("record", "compare"):
        sys.exit(__doc__)
    {"record": record, "compare": compare}[sys.argv[1]](Path(sys.argv[2]))
