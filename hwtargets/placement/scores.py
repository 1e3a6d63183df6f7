"""What a placed network gets right: classes, on the chip's integers too; or values."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...runtime.graph import SpikingGraph
from ...runtime.ops import Array
from ...runtime.semantics.analog import run_analog
from ...runtime.semantics.values import value_score

KEYS = ("ann", "float_snn", "chip", "quantization_loss", "mapping_loss", "total_loss", "agreement")


def no_scores(steps: int, *, samples: int) -> dict[str, Any]:
    """The scores of a report before anything is known."""
    return {**dict.fromkeys(KEYS), "T": steps, "samples": samples, "values": None}


def score_of_values(
    graph: SpikingGraph, x: Array, name: str, *, spiking: Array, targets: Array | None
) -> dict[str, Any]:
    """``values`` of a report for the output ``name``: ANN and SNN against the labels (None without
    fitting ones), then the SNN's difference to the ANN. The chip's readouts have a scale of their
    own for each output, so that its values are not scored.

    Parameters:
        x: samples; spiking: the network's answers in floating point, (samples, *shape); targets:
            right values, of that shape.
    """
    analog = run_analog(graph, x)[name].reshape(spiking.shape)

    def against(got: Array) -> dict[str, float | None] | None:
        return None if targets is None else vars(value_score(got, targets=targets))

    apart = float(np.linalg.norm(spiking - analog))
    return {
        "ann": against(analog),
        "float_snn": against(spiking),
        "difference": {
            **vars(value_score(spiking, targets=analog.astype(np.float64))),
            "error": apart / max(float(np.linalg.norm(analog)), 1e-30),
        },
    }
