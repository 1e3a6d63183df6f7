"""NeuroBench's own harness on the PyTorch module that ``export --to torch`` wrote, beside the
``neurobench.json`` that ``run --neurobench`` wrote of the same samples.

    onnx2snn export NET.snn.onnx --to torch -o net.py
    onnx2snn run NET.snn.onnx --data DATA.npz:x,y --neurobench -o out/
    python benchmarks/neurobench_harness.py net.py out/neurobench.json SAMPLES.npz

in an environment with ``neurobench==2.3.0`` (and torch); onnx2snn need not be there. SAMPLES.npz
has ``x``, as preprocessed, and ``y``. Exit status 1 where a number differs by more than 0.1 %.

Two things of the harness are made to know the module: our neurons are named as activation layers
with a membrane, and inputs that are computed in double precision are given to it in single.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from neurobench.benchmarks import Benchmark
from neurobench.metrics.static import ConnectionSparsity, Footprint
from neurobench.metrics.workload import (
    ActivationSparsity,
    ActivationSparsityByLayer,
    ClassificationAccuracy,
    MembraneUpdates,
    SynapticOperations,
)
from neurobench.models import TorchModel
from torch.utils.data import DataLoader, TensorDataset

NEAR = 1e-3
BATCH = 100
STATIC = [Footprint, ConnectionSparsity]
WORKLOAD = [
    ClassificationAccuracy,
    ActivationSparsity,
    ActivationSparsityByLayer,
    SynapticOperations,
    MembraneUpdates,
]
POTENTIALS = ("v", "charge")


class Model(TorchModel):
    """The module's last answers; its neurons have a membrane that the harness can watch."""

    def __init__(self, net: Any, neurons: tuple[type, ...]) -> None:
        super().__init__(net)
        for kind in neurons:
            kind.mem = property(_potential)
            kind.init_hidden, kind.output = True, False
            self.add_activation_module(kind)

    def register_hooks(self) -> None:
        super().register_hooks()
        for hook in self.activation_hooks:
            hook.spiking = True

    def __call__(self, batch: Any) -> Any:
        with torch.no_grad():
            answers = self.net(batch)[-1]
        for hook in self.connection_hooks:
            hook.inputs = [tuple(x.float() for x in given) for given in hook.inputs]
        return answers


def _potential(layer: Any) -> Any:
    state = layer.state
    if not isinstance(state, dict):
        return state
    return next(state[name] for name in POTENTIALS if name in state)


def harness(module: Path, samples: Path) -> dict[str, Any]:
    names = runpy.run_path(str(module))
    net = names["load"](module.with_suffix(".npz"))
    with np.load(samples) as arrays:
        x, y = torch.from_numpy(arrays["x"].astype(np.float32)), torch.from_numpy(arrays["y"])
    kinds = {type(layer) for layer in net.modules() if isinstance(layer, names["Population"])}
    loader = DataLoader(TensorDataset(x, y.long()), batch_size=BATCH)
    bench = Benchmark(
        Model(net, tuple(kinds)),
        loader,
        [],
        [lambda answers: answers.argmax(-1)],
        [STATIC, WORKLOAD],
    )
    return dict(bench.run(quiet=True))


def compared(ours: Any, theirs: Any, name: str = "") -> int:
    """Prints both sides of every number; how many are further apart than ``NEAR``."""
    if isinstance(theirs, dict):
        return sum(compared(ours[key], theirs[key], f"{name}{key} ") for key in theirs)
    apart = abs(ours - theirs) / max(abs(theirs), 1e-12)
    print(f"{name:45} {ours:16.6g} {float(theirs):16.6g} {100 * apart:8.4f} %")
    return int(apart > NEAR)


def main() -> int:
    module, metrics, samples = map(Path, sys.argv[1:])
    print(f"{'metric':45} {'onnx2snn':>16} {'NeuroBench':>16} {'apart':>10}")
    return int(compared(json.loads(metrics.read_text()), harness(module, samples)) > 0)


if __name__ == "__main__":
    sys.exit(main())
