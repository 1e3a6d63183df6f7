"""NeuroBench's own harness on an exported PyTorch module, for comparison with our results.

python read_neurobench.py NET.py GIVEN.npz    # GIVEN: x (samples, *shape), y, or no y
"""

from __future__ import annotations

import importlib.util
import json
import sys

import numpy as np
import torch
from neurobench.metrics.static.connection_sparsity import ConnectionSparsity
from neurobench.metrics.static.footprint import Footprint
from neurobench.metrics.workload import (
    ActivationSparsity,
    ActivationSparsityByLayer,
    ClassificationAccuracy,
    SynapticOperations,
)
from neurobench.models.torch_model import TorchModel


def main(path, given):
    spec = importlib.util.spec_from_file_location("net", path)
    net = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(net)
    network = net.load(path.removesuffix(".py") + ".npz")
    static = TorchModel(network)
    found = {
        "Footprint": Footprint()(static),
        "ConnectionSparsity": ConnectionSparsity()(static),
    }
    model = TorchModel(network)
    for kind in ("IF", "Paced", "FewSpike", "TimeToFirstSpike", "Differential"):
        if hasattr(net, kind):
            model.add_activation_module(getattr(net, kind))
    model.register_hooks()
    with np.load(given) as arrays:
        x = torch.from_numpy(arrays["x"])
        y = torch.from_numpy(arrays["y"]) if "y" in arrays.files else torch.zeros(len(x))
    with torch.no_grad():
        answers = model(x)[-1]
        said = answers.argmax(-1)
        for hook in model.connection_hooks:  # constant currents are computed in double precision
            hook.inputs = [tuple(value.float() for value in given) for given in hook.inputs]
        for metric in (
            ActivationSparsity(),
            ActivationSparsityByLayer(),
            ClassificationAccuracy(),
            SynapticOperations(),
        ):
            value = metric(model, said, (x, y))
            if isinstance(value, dict):
                value = {k: float(v) for k, v in value.items()}
            found[type(metric).__name__] = value if isinstance(value, dict) else float(value)
    print(json.dumps(found))


main(*sys.argv[1:3])
