"""Loads a network that `onnx2snn place` wrote, with its places, into SANA-FE's Loihi, and runs it.

    python load_sanafe.py loihi1.npz SAMPLE.npy OUT.npz

Prints SANA-FE's energy and time; OUT gets `spikes/LAYER`, (steps, neurons), in its own window.
A core at (x, y) of our 16 x 8 grid is core (x % 2) 2 + y % 2 of tile (x // 2, y // 2). What begins
a window (initial potentials) and what is the same in all its steps (biases, and the first layer's
current, which is not binary) come from input neurons: a spike takes a step from layer to layer.
Spikes are equal where neurons do not leak and no exponent is below 0 (SANA-FE adds up fractions
that the chip cuts off); otherwise a note says so. Needs sanafe 2.2.9 and numpy.
"""

import json
import sys

import numpy as np
import sanafe

UNITS = {"soma_hw_name": "loihi_lif", "default_dendrite_hw_name": "loihi_dendrites",
         "default_synapse_hw_name": "loihi_dense_synapse"}  # fmt: skip


def read(path):
    arrays = dict(np.load(path, allow_pickle=False))
    header = json.loads(arrays.pop("header").tobytes())
    assert (header["format"], header["version"]) == ("onnx2snn-cores", 1), "another format"
    assert header["input"]["mode"] in ("graded", "bias"), "the input is encoded on the chip"
    return arrays, header


def check(layer):
    kept = {"model": "if", "levels": 1, "signed": False, "lag": 0, "refractory": 0, "leak": 0}
    wrong = [k for k, v in kept.items() if layer["neuron"] and layer["neuron"].get(k, v) != v]
    if wrong or layer["floor"] or layer["reset_to"] or layer["begins"]:
        raise SystemExit(f"SANA-FE's Loihi has no neurons as of '{layer['name']}': {wrong}")


def synapses(arrays, p):
    kind, at = "host" if p["host"] else "synapse", slice(p["first"], p["first"] + p["count"])
    return [arrays[f"{kind}_{end}"][at] for end in ("target", "source", "weight")]


def register(wanted, held):
    """What a bias's register holds: a mantissa, shifted left as little as can be."""
    least = np.ceil(np.log2(np.maximum(np.abs(wanted) / held["mantissa"], 1)))
    shift = 2.0 ** np.minimum(least, held["exponent"])
    return np.clip(np.round(wanted / shift), -held["mantissa"], held["mantissa"]) * shift


def current(arrays, header, layer, x):
    """What the input adds to a layer's biases in every step, in steps of the membrane."""
    given, total = header["input"], np.zeros(layer["count"])
    graded = np.clip(np.round(x / given["unit"]), -given["max"], given["max"])
    for p in header["projections"]:
        if (p["target"], p["source"]) == (layer["name"], given["name"]):
            target, source, weight = synapses(arrays, p)
            value = weight * (x if p["host"] else graded)[source]
            found = np.bincount(target, value, layer["count"])
            cut = np.floor(found * 2.0 ** p["exponent"]) * 2 ** layer["shift"]
            total += np.round(found) if p["host"] else cut
    return total


def group(net, arch, arrays, layer):
    """A layer's neurons, each on its core; an output's cannot fire."""
    check(layer)
    at = slice(layer["first"], layer["first"] + layer["count"])
    model = {"leak_decay": 1.0, "input_decay": 0.0, "reverse_reset_mode": "none", "reset": 0.0,
             "force_update": True}  # fmt: skip
    soft = layer["neuron"] and layer["neuron"]["reset"] == "subtract"
    model["reset_mode"] = "soft" if soft else "hard"
    made = net.create_neuron_group(
        layer["name"], layer["count"], log_spikes=True, model_attributes=model, **UNITS
    )
    for i, core in enumerate(arrays["core"][at]):
        theta = float(arrays["threshold"][at][i]) if layer["neuron"] else 1e12
        made[i].set_attributes(model_attributes={"threshold": theta})
        x, y = int(arrays["core_x"][core]), int(arrays["core_y"][core])
        made[i].map_to_core(arch.tiles[x // 2 * 4 + y // 2].cores[x % 2 * 2 + y % 2])
    return made


def sender(net, arch, trains):
    """Input neurons with these spikes, on the last core."""
    made = net.create_neuron_group("given", len(trains))
    for i, spikes in enumerate(trains):
        name = f"loihi_inputs[{i}]"
        made[i].set_attributes(soma_hw_name=name, model_attributes={"spikes": spikes})
        made[i].map_to_core(arch.cores()[-1])
    return made


def main(path, sample, out):
    arrays, header = read(path)
    x, steps = np.load(sample).reshape(-1).astype(float), header["steps"]
    layers, depth = {la["name"]: la for la in header["layers"]}, {header["input"]["name"]: -1}
    for p in header["projections"]:
        depth.setdefault(p["target"], depth[p["source"]] + 1)
        assert depth[p["target"]] == depth[p["source"]] + 1, "layers of several depths are read"
    last = max(depth.values())
    arch, net = sanafe.load_loihi(), sanafe.Network()
    made = {name: group(net, arch, arrays, la) for name, la in layers.items()}
    waits = [[0] * d for d in range(last + 1)]
    given = sender(net, arch, [w + t for w in waits for t in ([1], [1] * steps)])
    for name, la in layers.items():
        at = slice(la["first"], la["first"] + la["count"])
        drive = arrays["bias"][at] + current(arrays, header, la, x)
        if header["input"]["mode"] == "bias" and header["input"]["register"] and not depth[name]:
            drive = register(drive, header["input"]["register"])
        for kind, values in enumerate((arrays["v_init"][at], drive)):
            pairs = [(2 * depth[name] + kind, i) for i in range(la["count"])]
            weights = {"weight": values.astype(float).tolist()}
            given.connect_neurons_sparse(made[name], weights, pairs)
    for p in header["projections"]:
        if p["source"] in made:
            target, source, weight = synapses(arrays, p)
            scaled = weight * 2.0 ** (p["exponent"] + layers[p["target"]]["shift"])
            pairs = list(zip(source.tolist(), target.tolist(), strict=True))
            weights = {"weight": scaled.tolist()}
            made[p["source"]].connect_neurons_sparse(made[p["target"]], weights, pairs)
            if p["exponent"] < 0:
                print(f"note: fractions of '{p['target']}' are not cut off", file=sys.stderr)
    chip = sanafe.SpikingChip(arch)
    chip.load(net)
    result = chip.sim(steps + last + 1, spike_trace=True)
    spikes = {name: np.zeros((steps, la["count"]), bool) for name, la in layers.items()}
    for t, fired in enumerate(result["spike_trace"]):
        for name, _, i in (str(each).rpartition(".") for each in fired):
            if name in spikes and 0 <= t - depth[name] - 1 < steps:
                spikes[name][t - depth[name] - 1, int(i)] = True
    np.savez(out, **{f"spikes/{name}": found for name, found in spikes.items()})
    print(json.dumps({k: result[k] for k in ("energy", "sim_time", "packets_sent")}))


if __name__ == "__main__":
    main(*sys.argv[1:4])
