"""What the graph's metadata say of nodes beyond NIR: the key "onnx2snn", a JSON text with "nodes"
in it, and beside it an array under "onnx2snn.FIELD.NODE" for every field that is an array.

Fields of neurons: ``v_init`` (the potential they begin with), ``reset`` ("subtract" or "zero"),
``levels``, ``signed``, ``refractory``, ``v_min``, ``leak`` (as in ``runtime.neurons``). Of weighted
nodes: ``grid``, to whole multiples of which their sum is rounded before the bias is added. They
stand in the graph, not in the nodes, since nir 1.0.4, which sinabs asks for, reads no others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

KEY = "onnx2snn"
ARRAYS = ("v_init", "grid")
Told: TypeAlias = dict[str, dict[str, Any]]  # by node


def to_metadata(about: Mapping[str, Any], told: Told) -> dict[str, Any]:
    """The metadata of a graph ``about`` whose nodes do what is ``told``."""
    plain = {
        name: {k: v for k, v in fields.items() if k not in ARRAYS} for name, fields in told.items()
    }
    arrays = {
        f"{KEY}.{k}.{name}": np.asarray(v) if np.ndim(v) else float(v)
        for name, fields in told.items()
        for k, v in fields.items()
        if k in ARRAYS
    }
    return {KEY: json.dumps({**about, "nodes": {k: v for k, v in plain.items() if v}}), **arrays}


def from_metadata(metadata: Mapping[str, Any] | None) -> tuple[dict[str, Any], Told]:
    """Undoes ``to_metadata``: nothing where there is none of ours.

    Raises ValueError, TypeError or KeyError where it is malformed.
    """
    found = dict(metadata or {})
    if KEY not in found:
        return {}, {}
    text = found[KEY]
    about = json.loads(text.decode() if isinstance(text, bytes) else str(text))
    told: Told = {str(name): dict(fields) for name, fields in about.pop("nodes").items()}
    for key, value in found.items():
        kind, _, name = key.removeprefix(f"{KEY}.").partition(".")
        if key.startswith(f"{KEY}.") and kind in ARRAYS:
            told.setdefault(name, {})[kind] = np.asarray(value, np.float64)
    return about, told
