"""A network as a PyTorch module in memory: the source that is exported, run, with its numbers.

A module made here has the members of every exported one (``step``, ``reset``, ``forward``) and

``names``    node -> name: of the submodule of a population or max pool, and of every readout
``places``   name of a parameter or buffer -> its ``Place`` in the network

Every array of the network stands in ``places`` once, but for the threshold of a readout that counts
spikes, which its neurons hold and its mean (the same number). Not in ``places``: grids of constant
currents, which are made of the thresholds of their readers, and biases of analog islands, which no
gradient passes (ONNX Runtime computes islands). Parameters (weights, scales, biases) ask for
gradients; thresholds and initial potentials are buffers.
"""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from ....errors import UsageError
from ...graph import Analog, SpikingGraph
from ...semantics.islands import run_model
from .source import source_of


def needed() -> Any:
    """The package ``torch``. Raises UsageError where it is not installed."""
    try:
        import torch
    except ImportError:
        raise UsageError(
            "PyTorch is not installed", remedy="Install it: pip install 'onnx2snn[torch]'."
        ) from None
    return torch


def module_of(network: SpikingGraph, *, steps: int) -> Any:
    """``network`` as a ``torch.nn.Module`` that runs for ``steps`` steps unless told otherwise, on
    the CPU, in single precision; see the module.

    Raises UsageError without PyTorch, GraphError E420 for what has no entry in the tables.
    """
    torch = needed()
    made = source_of(network, steps, "A spiking network.")
    scope: dict[str, Any] = {"__name__": f"{__name__}.made"}
    exec(compile(made.text, "<network>", "exec"), scope)
    with torch.device("meta"):  # no memory, and no random numbers, for what is replaced
        module = scope["Network"]()
    numbers = {name: torch.from_numpy(np.array(array)) for name, array in made.arrays.items()}
    module.load_state_dict(numbers, assign=True)
    for node in network.of(Analog):
        island = module.get_submodule(made.names[node.name])
        island.function = partial(run_model, node.model, node.output)
    module.names = MappingProxyType(dict(made.names))
    module.places = MappingProxyType(dict(made.places))
    return module.eval()
