"""What the graph's metadata say of nodes beyond NIR: the key "onnx2snn", a JSON text with "nodes"
in it, and beside it an array under "onnx2snn.FIELD.NODE" for every field that is an array.

Fields of neurons: ``v_init`` (the potential they begin with), ``reset`` ("subtract" or "zero"),
``levels``, ``signed``, ``refractory``, ``v_min``, ``leak`` (as in ``runtime.neurons``). Of weighted
nodes: ``grid``, to whole multiples of which their sum is rounded before the bias is added. They
stand in the graph, not in the nodes, since nir 1.0.4, which sinabs asks for, reads no others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

KEY = "onnx2snn"
VERSION = 1
ARRAYS = ("v_init", "grid")
Told: TypeAlias = dict[str, dict[str, Any]]  # by node
Check: TypeAlias = Callable[[Any], bool]


def _whole(value: Any, *, least: int) -> bool:
    return type(value) is int and least <= value <= 2**24  # exact in single precision


def _number(value: Any, *, least: float = -np.inf, most: float = np.inf) -> bool:
    return type(value) in (int, float) and bool(np.isfinite(value)) and least <= value <= most


def _finite(value: Any) -> bool:
    return bool(np.all(np.abs(np.asarray(value)) <= np.finfo(np.float32).max))


NEURON: Mapping[str, Check] = {
    "v_init": _finite,
    "reset": lambda value: value in ("subtract", "zero"),
    "levels": lambda value: _whole(value, least=1),
    "signed": lambda value: type(value) is bool,
    "refractory": lambda value: _whole(value, least=0),
    "v_min": lambda value: _number(value),
    "leak": lambda value: _number(value, least=0, most=1),
}
WEIGHTED: Mapping[str, Check] = {
    "grid": lambda value: _finite(value) and bool(np.all(np.asarray(value) > 0)),
}
# What can be told of a node, by its kind, and whether a value can be so.
FIELDS: Mapping[str, Mapping[str, Check]] = {
    **dict.fromkeys(("IF", "LIF"), NEURON),
    **dict.fromkeys(("Affine", "Linear", "Scale", "Conv1d", "Conv2d"), WEIGHTED),
    **dict.fromkeys(("SumPool2d", "AvgPool2d", "Flatten"), WEIGHTED),
}
ABOUT: Mapping[str, Check] = {
    "version": lambda value: _whole(value, least=1),
    "T": lambda value: _whole(value, least=1),
    "dt": lambda value: _number(value) and value > 0,
    "encoding": lambda value: isinstance(value, dict),
}


def untold(about: Mapping[str, Any], told: Told, kinds: Mapping[str, str]) -> tuple[str, str]:
    """A node ("": the graph) and what metadata say of it that cannot be so; ("", "") where nothing
    is. ``kinds``: of every node."""
    for key, right in ABOUT.items():
        if key in about and not right(about[key]):
            return "", f"its metadata 'onnx2snn' say {about[key]!r:.40} for '{key}'"
    if about.get("version", VERSION) > VERSION:
        return "", f"its metadata 'onnx2snn' are of version {about['version']}, {VERSION} is read"
    for name, fields in told.items():
        if name not in kinds:
            return name, "the metadata 'onnx2snn' name it, and there is no such node"
        known = FIELDS.get(kinds[name], {})
        for key, value in fields.items():
            if key not in known or not known[key](value):
                return name, f"the metadata 'onnx2snn' say {value!r:.40} for '{key}'"
    return "", ""


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

    Raises ValueError, TypeError, KeyError, AttributeError or RecursionError where it is malformed.
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
