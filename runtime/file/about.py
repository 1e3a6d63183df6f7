"""What a converted file says of itself to whoever opens it in a viewer or another runtime."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import onnx

from .. import graph as snn
from .naming import FileNames

PRODUCER = "onnx2snn"


def describe(model: onnx.ModelProto, graph: snn.SpikingGraph, names: FileNames) -> None:
    """Write producer, version and doc string into ``model``, which is ``graph`` under ``names``."""
    model.producer_name = PRODUCER
    try:
        model.producer_version = version(PRODUCER)
    except PackageNotFoundError:  # run from a source tree
        model.producer_version = "0"
    meta = graph.meta
    source = meta.get("source")
    origin = source.get("path", "") if isinstance(source, dict) else ""
    made = [f" of {origin}"] if origin else []
    made += [f", recipe {meta['recipe']}"] if "recipe" in meta else []
    made += [f", converted for T={meta['T']} time steps"] if "T" in meta else []
    outputs = ", ".join(f"'{name}'" for name in names.outputs.values())
    analog = ""
    if graph.of(snn.Analog):
        analog = " Some of its nodes are computed on running means, not in spikes."
    model.doc_string = (
        f"A spiking network{''.join(made)}. Inputs are the samples, (batch, ...), and "
        f"'{names.steps}', the number of time steps to simulate, int64 (1,). Outputs ({outputs}) "
        "are the answers after each step, (steps, batch, ...): the last row is the final one. "
        f"Neurons are functions of the domain '{PRODUCER}', whose bodies are standard ONNX.{analog}"
    )
