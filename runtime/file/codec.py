"""SpikingGraph <-> JSON and named arrays, without loss.

Every record becomes an object with its class name under "type"; arrays and bytes are replaced by
the name of an initializer that holds them. Nothing is pickled, and reading creates only the
classes listed here.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from ...errors import ModelError, resembling
from .. import graph as snn
from .. import ops
from ..neurons import Neuron
from ..ops import Array
from ..ops.change import Change
from ..plasticity import RULES, LayerState
from ..tables import entry
from .changes import first_of
from .fields import check_fields
from .naming import FileNames, Path
from .neurons import NAME, NEURONS

FORMAT = 1
DOCUMENT = ("format", "nodes", "meta", "unused")

RECORDS: dict[str, type] = {
    **{f"op.{op.__name__}": op for op in ops.ALL_OPS},
    **{
        f"node.{kind.__name__}": kind
        for kind in (
            snn.Input,
            snn.Synapse,
            snn.PlasticSynapse,
            snn.Population,
            snn.MaxPool,
            snn.Analog,
            snn.Product,
            snn.Delay,
            snn.Readout,
        )
    },
    **{f"rule.{rule.__name__}": rule for rule in RULES.values()},
    "learned.LayerState": LayerState,
    "change.Change": Change,
}
NAMES = {record: name for name, record in RECORDS.items()}
NEURON = "neuron."  # and the name of a class in ``NEURONS``


def encode_graph(
    graph: snn.SpikingGraph, names: FileNames
) -> tuple[dict[str, Any], dict[str, Array]]:
    """JSON values and the arrays they refer to, by initializer name; without those of weights that
    a ``change`` gives, which has to be true (``changes.with_true_changes``)."""
    arrays: dict[str, Array] = {}
    nodes = [_encode(node, (node.name,), names, arrays) for node in graph.nodes]
    for node in graph.of(snn.Synapse):
        if node.change is not None:
            del arrays[names.array((node.name, "op", node.op.array))]
    return {"format": FORMAT, "nodes": nodes, "meta": dict(graph.meta)}, arrays


def decode_graph(document: Mapping[str, Any], arrays: Mapping[str, Array]) -> snn.SpikingGraph:
    """The graph that ``encode_graph`` wrote.

    Raises ModelError: E321 for another format, E324 for kinds of records and fields that this
    version does not know, E322 where the document is malformed.
    """
    if document.get("format") != FORMAT:
        raise ModelError(
            f"converted-file format {document.get('format')!r} is not known (this is {FORMAT})",
            remedy="Convert the model again with this version.",
            code="E321",
        )
    _only_known(document, known=DOCUMENT, where="the document")
    try:
        nodes = tuple(_decode_node(node, arrays) for node in document["nodes"])
        meta = document["meta"]
        if not isinstance(meta, Mapping):
            raise TypeError("'meta' is not an object")
        graph = snn.SpikingGraph(nodes=nodes, meta=meta)
        if not graph.of(snn.Input):
            raise ValueError("it has no input")
        for node in nodes:
            _check_biases(node, graph)
        return graph
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ModelError(f"the converted file is damaged ({error})", code="E322") from error


def _check_biases(node: snn.Node, graph: snn.SpikingGraph) -> None:
    """Raise ValueError for biases that do not fit what they are added to: the node's values, or
    what a max pool reads."""
    whole_shape = graph[node.inputs[0]].shape if isinstance(node, snn.MaxPool) else node.shape
    for name in ("bias", "ann_bias"):
        bias = getattr(node, name, None)
        shape = np.shape(bias) if bias is not None else ()
        if len(shape) > len(whole_shape) or any(
            size not in (1, whole)
            for size, whole in zip(reversed(shape), reversed(whole_shape), strict=False)
        ):
            raise ValueError(f"'{name}' of '{node.name}' is shaped {shape}, not as {whole_shape}")


def inline(arrays: Mapping[str, Array], used: set[str]) -> dict[str, Any]:
    """Arrays that are not among the initializers ``used``, as JSON values."""
    return {
        name: {
            "dtype": a.dtype.str,
            "shape": list(a.shape),
            "base64": b64encode(np.ascontiguousarray(a).tobytes()).decode(),
        }
        for name, a in arrays.items()
        if name not in used
    }


def outline(document: Mapping[str, Any]) -> dict[str, Array]:
    """Undoes ``inline``. Raises ValueError, KeyError or TypeError where it is malformed."""
    return {
        name: np.frombuffer(b64decode(entry["base64"]), np.dtype(entry["dtype"])).reshape(
            entry["shape"]
        )
        for name, entry in document.items()
    }


def _encode(value: Any, path: Path, names: FileNames, arrays: dict[str, Array]) -> Any:
    def inside(part: Any, key: str) -> Any:
        return _encode(part, (*path, key), names, arrays)

    if is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: inside(getattr(value, f.name), f.name) for f in fields(value)}
        return {"type": _name(value), **parts}
    if isinstance(value, np.ndarray):
        arrays[names.array(path)] = value
        return {"array": names.array(path)}
    if isinstance(value, bytes):
        arrays[names.array(path)] = np.frombuffer(value, np.uint8)
        return {"bytes": names.array(path)}
    if isinstance(value, tuple):
        return [inside(item, str(i)) for i, item in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    return value


def _decode_node(value: Any, arrays: Mapping[str, Array]) -> Any:
    """A node; weights that a change gives are computed first."""
    if isinstance(value, dict) and value.get("change") is not None:
        op = value["op"]
        bare = _decode({**value, "op": value["ann_op"]}, arrays)
        arrays = {**arrays, op[bare.op.array]["array"]: bare.change.of(first_of(bare))}
    return _decode(value, arrays)


def _decode(value: Any, arrays: Mapping[str, Array]) -> Any:
    if isinstance(value, list):
        return tuple(_decode(item, arrays) for item in value)
    if isinstance(value, dict):
        if "array" in value:
            return arrays[value["array"]]
        if "bytes" in value:
            return arrays[value["bytes"]].tobytes()
        record = _record(value["type"])
        known = ("type", *(field.name for field in fields(record)))
        _only_known(value, known=known, where=f"a {value['type']}")
        values = {k: _decode(v, arrays) for k, v in value.items() if k != "type"}
        check_fields(record, values)
        return record(**values)
    return value


def _name(record: object) -> str:
    if not isinstance(record, Neuron):
        return NAMES[type(record)]
    entry(NEURONS, record, NAME)
    return NEURON + type(record).__name__


def _record(name: str) -> type:
    known: dict[str, type] = {NEURON + model.__name__: model for model in NEURONS} | RECORDS
    _only_known([name], known=known, where="the network")
    return known[name]


def _only_known(names: Iterable[str], *, known: Iterable[str], where: str) -> None:
    """Raise ModelError E324 for a name that is none of the ``known``."""
    for name in names:
        if name not in known:
            meant = resembling(name, known)
            raise ModelError(
                f"the converted file has '{name}' in {where}, which this version does not know",
                remedy=(f"Did you mean '{meant}'? " if meant else "")
                + "A file of a newer version needs that version: update onnx2snn.",
                code="E324",
            )
