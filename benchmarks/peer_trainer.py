"""Runs in the peers' environment (no onnx2snn there): trains a spiking network with SpikingJelly.

    python peer_trainer.py FOLDER SECONDS RATE

``FOLDER`` is what ``peer_training.py`` wrote: ``start`` and ``teacher`` (networks), ``data.npz``.
The neurons are SpikingJelly's IFNode with its surrogate ATan, the loss is the Kullback-Leibler
divergence from the teacher, the optimizer AdamW with a cosine over the time that there is. Stops
after SECONDS of processor time, keeps the epoch that did best on what is held back, writes
``answers.npz``. ``state.pt`` is written after every epoch; the same command goes on from there.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from time import process_time

import numpy as np
import torch
from peer_runner import Network
from spikingjelly.activation_based import functional, neuron, surrogate
from torch.nn.functional import kl_div, log_softmax

BATCH, LARGE = 32, 100


class Spiking:
    """The network with IF neurons: what is trained, and its answers after ``steps``."""

    def __init__(self, path: str, steps: int) -> None:
        self.starts: list[tuple] = []
        self.net, self.steps = Network(path, self._neuron), steps
        net = self.net
        kinds = ("weight", "scale")
        net.weights = {k: _own(x) for k, x in net.weights.items() if k.rpartition(":")[2] in kinds}
        net.bias_of = {k: _own(x) for k, x in net.bias_of.items()}
        for row in net.rows:
            if "bias" in row:
                row["bias"] = _own(row["bias"])
        biases = [row["bias"] for row in net.rows if "bias" in row]
        self.trained = [*net.weights.values(), *net.bias_of.values(), *biases]

    def _neuron(self, v_init, shape):
        node = neuron.IFNode(1.0, None, surrogate_function=surrogate.ATan())
        self.starts.append((node, v_init.clone(), shape))
        return node

    def __call__(self, x):
        functional.reset_net(self.net)
        for node, v_init, shape in self.starts:
            node.v = v_init.expand(len(x), *shape)
        return sum(self.net(x) for _ in range(self.steps)) / self.steps


def _own(x):
    return x.detach().clone().requires_grad_()


def varied(x, rng):
    """Mirrored, and moved by up to two places; the edge is repeated."""
    x = torch.where(torch.from_numpy(rng.random(len(x)) < 0.5)[:, None, None, None], x.flip(-1), x)
    wide = torch.nn.functional.pad(x, (2, 2, 2, 2), mode="replicate")
    h, w = x.shape[-2:]
    moves = rng.integers(0, 5, (len(x), 2))
    return torch.stack(
        [one[:, a : a + h, b : b + w] for one, (a, b) in zip(wide, moves, strict=True)]
    )


def distance(mine, wanted):
    return kl_div(
        log_softmax(mine, 1), log_softmax(wanted, 1), log_target=True, reduction="batchmean"
    )


def main() -> None:
    folder, seconds, rate = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    torch.set_num_threads(1)
    data = {k: torch.from_numpy(v) for k, v in np.load(folder / "data.npz").items()}
    about = json.loads((folder / "about.json").read_text())
    spiking = Spiking(str(folder / "start"), about["steps"])
    teacher = Network(str(folder / "teacher"), lambda v_init, shape: torch.nn.ReLU())
    optimizer = torch.optim.AdamW(spiking.trained, lr=rate, weight_decay=0.0)
    state = {"epoch": 0, "used": 0.0, "best": None, "history": []}
    if (folder / "state.pt").exists():
        state = torch.load(folder / "state.pt", weights_only=False)
        optimizer.load_state_dict(state["optimizer"])
        _set(spiking, state["values"])

    def answers(x):
        with torch.no_grad():
            return torch.cat([spiking(part) for part in x.split(LARGE)])

    def judged():
        with torch.no_grad():
            wanted = torch.cat([teacher(part) for part in data["held"].split(LARGE)])
        mine = answers(data["held"])
        return float(distance(mine, wanted)), float(
            (mine.argmax(1) == wanted.argmax(1)).float().mean()
        )

    if not state["history"]:
        state["history"].append(judged())
        state["before"] = answers(data["test"])
        state["best"] = [x.detach().clone() for x in spiking.trained]
    while state["used"] < seconds:
        rng, began = np.random.default_rng(state["epoch"]), process_time()
        for at in np.array_split(rng.permutation(len(data["learn"])), len(data["learn"]) // BATCH):
            used = state["used"] + process_time() - began
            for group in optimizer.param_groups:
                group["lr"] = rate * (1 + math.cos(math.pi * min(used / seconds, 1))) / 2
            x = varied(data["learn"][at], rng) if about["images"] else data["learn"][at]
            with torch.no_grad():
                wanted = teacher(x)
            optimizer.zero_grad()
            torch.autograd.backward(distance(spiking(x), wanted))
            optimizer.step()
        state["used"] += process_time() - began
        state["epoch"] += 1
        state["history"].append(judged())
        if state["history"][-1][0] == min(h[0] for h in state["history"]):
            state["best"] = [x.detach().clone() for x in spiking.trained]
        state["values"] = [x.detach().clone() for x in spiking.trained]
        state["optimizer"] = optimizer.state_dict()
        torch.save(state, folder / "state.pt")
        print(state["epoch"], round(state["used"]), state["history"][-1], flush=True)
    _set(spiking, state["best"])
    after = answers(data["test"])
    ann = torch.cat([teacher(part).detach() for part in data["test"].split(LARGE)])
    np.savez(folder / "answers.npz", before=state["before"], after=after, ann=ann)
    (folder / "history.json").write_text(json.dumps(state["history"]))


def _set(spiking: Spiking, values) -> None:
    with torch.no_grad():
        for x, value in zip(spiking.trained, values, strict=True):
            x.copy_(value)


if __name__ == "__main__":
    main()
