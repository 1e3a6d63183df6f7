"""Loads a network that `onnx2snn place` wrote into Lava's Dense and fixed-point LIF, and runs it.

    python load_lava.py loihi2.npz SAMPLE.npy OUT.npz

OUT gets `spikes/LAYER` and `v/LAYER`, (steps, neurons), each in the layer's own window.
Neurons that reset to zero (`convert --reset zero`) are Lava's, bit for bit; others are refused.
Lava's Dense hands on what it got one step before, so a layer of depth d begins d + 1 steps late;
its bias and potential are set then. Needs lava-nc 0.10.0 (Python 3.10) and numpy 1.
"""

import json
import sys

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.dense.process import Dense
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source
from lava.proc.lif.process import LIF


def read(path):
    arrays = dict(np.load(path, allow_pickle=False))
    header = json.loads(arrays.pop("header").tobytes())
    assert (header["format"], header["version"]) == ("onnx2snn-cores", 1), "another format"
    assert header["strict"] and header["input"]["mode"] == "graded", "place on loihi2, input=graded"
    return arrays, header


def of(arrays, layer, name):
    return arrays[name][layer["first"] : layer["first"] + layer["count"]]


def check(layer, threshold):
    neuron = layer["neuron"]
    kept = {"model": "if", "reset": "zero", "levels": 1, "signed": False, "lag": 0, "refractory": 0}
    wrong = [k for k, v in kept.items() if neuron and neuron.get(k, v) != v]
    wrong += [] if layer["shift"] == 6 and not layer["floor"] else ["shift, floor"]
    wrong += [] if layer["reset_to"] == 0 and layer["begins"] == 0 else ["reset_to, begins"]
    wrong += [] if len(set(threshold.tolist())) == 1 else ["thresholds"]
    if wrong:
        raise SystemExit(f"Lava's LIF has no neurons as of '{layer['name']}': {', '.join(wrong)}")


def lif(arrays, layer):
    """A layer, and its bias (mantissas); an output is a LIF that cannot fire."""
    threshold, bias = of(arrays, layer, "threshold"), of(arrays, layer, "bias")
    check(layer, threshold)
    exponent = 0
    while np.abs(bias).max() > 4095 << exponent:
        exponent += 1
    mantissa = bias >> exponent
    assert (mantissa << exponent == bias).all(), "a bias of more than 13 bits"
    leak = round(layer["neuron"]["leak"] * 4096) if layer["neuron"] else 0
    vth = int(threshold[0]) >> 6 if layer["neuron"] else 2**17 - 1
    still = np.zeros(layer["count"], int)
    made = LIF(shape=still.shape, du=4095, dv=leak, vth=vth, bias_exp=exponent, bias_mant=still)
    return made, mantissa


def dense(arrays, p, shape):
    """A projection; Lava's weights of both signs are even, ours twice, and half as many shifts."""
    at = slice(p["first"], p["first"] + p["count"])
    weights = np.zeros(shape, int)
    ends = arrays["synapse_target"][at], arrays["synapse_source"][at]
    np.add.at(weights, ends, arrays["synapse_weight"][at])
    return Dense(weights=2 * weights, num_weight_bits=8, weight_exp=p["exponent"] - 1,
                 num_message_bits=24)  # fmt: skip


def main(path, sample, out):
    arrays, header = read(path)
    given, steps = header["input"], header["steps"]
    x = np.load(sample).reshape(-1)
    sent = np.clip(np.round(x / given["unit"]), -given["max"], given["max"]).astype(int)
    layers = {la["name"]: la for la in header["layers"]}
    made = {name: lif(arrays, la) for name, la in layers.items()}
    total = 1 + steps + len(layers)
    source = Source(data=np.repeat(sent[:, None], total, axis=1))
    ports, sizes = {given["name"]: source.s_out}, {given["name"]: len(sent)}
    depth = {given["name"]: -1}
    for p in header["projections"]:
        name, read_by = p["target"], depth[p["source"]] + 1
        assert depth.setdefault(name, read_by) == read_by and not p["delay"], "Dense has no delays"
        ports[name], sizes[name] = made[name][0].s_out, layers[name]["count"]
        synapse = dense(arrays, p, (sizes[name], sizes[p["source"]]))
        ports[p["source"]].connect(synapse.s_in)
        synapse.a_out.connect(made[name][0].a_in)
    sinks = {name: Sink(shape=(la["count"],), buffer=total) for name, la in layers.items()}
    for name, sink in sinks.items():
        made[name][0].s_out.connect(sink.a_in)
    found = {f"v/{name}": [] for name in layers}
    config, first = Loihi2SimCfg(select_tag="fixed_pt"), next(iter(made.values()))[0]
    first.run(RunSteps(1), config)  # what Dense has at the start: nothing
    for t in range(steps + max(depth.values())):
        for name, (neurons, mantissa) in made.items():
            if t == depth[name]:
                neurons.bias_mant.set(mantissa)
                neurons.v.set(of(arrays, layers[name], "v_init"))
        first.run(RunSteps(1), config)
        for name, (neurons, _) in made.items():
            if depth[name] <= t < depth[name] + steps:
                found[f"v/{name}"].append(neurons.v.get().copy())
    for name, sink in sinks.items():
        begin = 1 + depth[name]
        found[f"spikes/{name}"] = sink.data.get().T[begin : begin + steps] != 0
    first.stop()
    np.savez(out, **{key: np.array(value) for key, value in found.items()})


if __name__ == "__main__":
    main(*sys.argv[1:4])
