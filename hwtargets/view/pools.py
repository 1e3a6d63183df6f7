"""What to do about max pools: no chip has a running maximum, but any has neurons."""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote
from typing import Any

from ...runtime.graph import MaxPool
from .network import ChipLayer, ChipNetwork


def is_max_pool(layer: ChipLayer) -> bool:
    """Whether the layer is a running maximum, which neurons can take the place of."""
    return isinstance(layer.node, MaxPool)


def as_tree(network: ChipNetwork) -> str:
    """The command that converts the network again with neurons in place of its max pools.

    What the network remembers of its conversion is filled in; options that it was converted with
    beside recipe and T are left to the user.
    """
    meta = network.graph.meta
    model = _told(meta, "source", part="path") or "MODEL.onnx"
    data = _told(meta, "calibration", part="source") or "DATA"
    recipe, steps = meta.get("recipe"), meta.get("T")
    chosen = f" --recipe {quote(str(recipe))}" if recipe else ""
    chosen += f" -T {steps}" if steps else ""
    command = f"onnx2snn convert {quote(model)} --calib {quote(data)}{chosen}"
    return (
        f"Convert the max pools to trees of neurons: `{command} --maxpool tree -o NET.snn.onnx`, "
        "with --scale and other options as before"
    )


def _told(meta: Mapping[str, Any], key: str, *, part: str) -> str:
    value = meta.get(key)
    return str(value.get(part) or "") if isinstance(value, Mapping) else ""
