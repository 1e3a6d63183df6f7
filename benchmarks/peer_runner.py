"""Runs in the peers' environment (no onnx2snn there): a spiking network on torch, its neurons
SpikingJelly's or sinabs's. Reads a number of steps per line, answers with one JSON line.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812


class Network(torch.nn.Module):
    """One step (or all steps as one batch) of the synapses, with the peer's neuron layers."""

    def __init__(self, path: str, make_neuron) -> None:
        super().__init__()
        with open(f"{path}.json") as file:
            self.rows = json.load(file)["nodes"]
        arrays = {k: torch.from_numpy(v) for k, v in np.load(f"{path}.npz").items()}
        self.neurons = torch.nn.ModuleDict()
        self.weights = dict(arrays.items())
        self.bias_of: dict[str, torch.Tensor] = {}
        by_name = {r["name"]: r for r in self.rows}
        for i, row in enumerate(self.rows):
            row["key"] = f"n{i}"
            if row["kind"] == "Population":
                v_init = arrays[f"{row['name']}:v_init"]
                self.neurons[row["key"]] = make_neuron(v_init, row["shape"])
            if f"{row['name']}:bias" in arrays:
                self._place_bias(row, arrays[f"{row['name']}:bias"], by_name)

    def _place_bias(self, row, bias, by_name) -> None:
        """Into the convolution or linear layer before it, which adds it for free."""
        source = by_name[row["inputs"][0]]
        while source.get("op") == "Add":
            source = by_name[source["inputs"][0]]
        size = source["shape"][0]
        per_channel = bias.numel() in (1, size) and source.get("op") in ("Conv", "Linear")
        if per_channel and source["name"] not in self.bias_of:
            self.bias_of[source["name"]] = bias.flatten().expand(size).contiguous()
        else:
            row["bias"] = bias

    def forward(self, x):
        values, result = {}, None
        for row in self.rows:
            before = [values[i] for i in row["inputs"]]
            if row["kind"] == "Input":
                values[row["name"]] = x
                continue
            if row["kind"] == "Synapse":
                values[row["name"]] = self.synapse(row, before)
                continue
            current = before[0] + row["bias"] if "bias" in row else before[0]
            if row["kind"] == "Population":
                values[row["name"]] = self.neurons[row["key"]](current)
            elif row["kind"] == "Readout":
                result = current
            else:
                raise SystemExit(f"the peers do not run {row['kind']}")
        return result

    def synapse(self, row, xs):
        x, name, op = xs[0], row["name"], row["op"]
        weight = self.weights.get(f"{name}:weight")
        if op == "Linear":
            return F.linear(x, weight, self.bias_of.get(name))
        if op == "Conv":
            return self.conv(row, x, weight)
        if op == "Scale":
            return x * self.weights[f"{name}:scale"]
        if op == "Add":
            return xs[0] + xs[1]
        if op == "SumPool":
            return F.avg_pool2d(x, row["kernel"], row["strides"], divisor_override=1)
        if op == "Reshape":
            return x.reshape(x.shape[0], *row["shape"])
        if op == "ReduceSum":
            return x.sum(dim=[a + 1 for a in row["axes"]], keepdim=row["keepdims"])
        if op == "Slice":
            parts = zip(row["starts"], row["stops"], row["steps"], strict=False)
            return x[(slice(None), *(slice(a, b, s) for a, b, s in parts))]
        if op == "Pad":
            half = len(row["pads"]) // 2
            pairs = list(zip(row["pads"][:half], row["pads"][half:], strict=False))
            return F.pad(x, [n for pair in reversed(pairs) for n in pair])
        if op == "Transpose":
            return x.permute(0, *(p + 1 for p in row["perm"]))
        raise SystemExit(f"the peers do not run {op}")

    def conv(self, row, x, weight):
        pads, half = row["pads"], len(row["pads"]) // 2
        if pads[:half] != pads[half:]:
            pairs = list(zip(pads[:half], pads[half:], strict=False))
            x = F.pad(x, [n for pair in reversed(pairs) for n in pair])
            pads = [0] * len(pads)
        conv = F.conv1d if half == 1 else F.conv2d
        return conv(
            x,
            weight,
            self.bias_of.get(row["name"]),
            row["strides"],
            pads[:half],
            row["dilations"],
            row["groups"],
        )


def spikingjelly_runner(path: str, x, mode: str):
    from spikingjelly.activation_based import functional, neuron

    starts: list[tuple] = []

    def make(v_init, shape):
        multi = mode.endswith("multi")
        node = neuron.IFNode(v_threshold=1.0, v_reset=None, step_mode="m" if multi else "s")
        starts.append((node, v_init.expand(len(x), *shape)))
        return node

    net = Network(path, make).eval()
    step = torch.compile(net) if mode.endswith("compiled") else net

    def reset() -> None:
        functional.reset_net(net)
        for node, v_init in starts:
            node.v = v_init.clone()

    def run(steps: int):
        reset()
        total = 0.0
        for _ in range(steps):
            total = total + step(x)
        return total

    def run_multi(steps: int):
        reset()
        total = 0.0
        for t0 in range(0, steps, 8):
            n = min(8, steps - t0)
            total = total + multi_step(net, x, n).sum(0)
        return total

    return run_multi if mode.endswith("multi") else run


def multi_step(net: Network, x, n: int):
    """n steps at once: synapses on (n x batch), neurons on (n, batch)."""
    for node in net.neurons.values():
        if not hasattr(node, "_single"):
            node._single = node.forward
        node.forward = lambda c, f=node._single: f(c.unflatten(0, (n, -1))).flatten(0, 1)
    return net(x.repeat(n, *(1,) * (x.ndim - 1))).unflatten(0, (n, -1))


def sinabs_runner(path: str, x):
    import sinabs.activation as sa
    import sinabs.layers as sl

    starts: list[tuple] = []

    def make(v_init, shape):
        layer = sl.IAFSqueeze(
            batch_size=len(x),
            spike_threshold=torch.tensor(1.0),
            spike_fn=sa.SingleSpike,
            reset_fn=sa.MembraneSubtract(),
            min_v_mem=None,
        )
        starts.append((layer, v_init, shape))
        return layer

    net = Network(path, make).eval()

    def run(steps: int):
        for layer, v_init, shape in starts:
            layer.init_state_with_shape((len(x), *shape))
            layer.v_mem.copy_(v_init.expand(len(x), *shape))
        total = 0.0
        for t0 in range(0, steps, 8):
            n = min(8, steps - t0)
            batch = x.repeat_interleave(n, dim=0)  # (batch, time) flattened, batch first
            total = total + net(batch).unflatten(0, (-1, n)).sum(1)
        return total

    return run


def peak_bytes() -> int:
    """As in ``memory.py``, from the start of this program on."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))


def main() -> None:
    mode, path, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(threads)
    x = torch.from_numpy(np.load(f"{path}.x.npy"))
    package = mode.split("-")[0]
    with torch.inference_mode():
        is_sinabs = package == "sinabs"
        run = sinabs_runner(path, x) if is_sinabs else spikingjelly_runner(path, x, mode)
        versions = {"torch": torch.__version__, package: version(package)}
        print(json.dumps(versions), flush=True)
        for line in sys.stdin:
            start = perf_counter()
            answer = run(int(line))
            seconds = perf_counter() - start
            peak = peak_bytes()
            guesses = answer.argmax(1).tolist() if torch.is_tensor(answer) else []
            result = {"seconds": seconds, "guesses": guesses, "peak_bytes": peak}
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
