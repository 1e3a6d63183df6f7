"""Large weights inside a large model file: they stay in it, mapped into memory.

A model that is read whole is there twice, as bytes and as a message, and every step of the clean-up
makes another message of it. So the weights of large products are found in the file's bytes and
become what large external weights are (``external``): inputs of the graph, whose values are fed to
ONNX Runtime. Weights that anything but a product reads stay in the message, where the clean-up can
fold them.
"""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import AttributeProto

from ....runtime.file.wire import Layout
from ....runtime.ops import Array

HEAVY_FILE = 2**27  # bytes of a file from which on its large weights are mapped
PRODUCTS = ("Gemm", "MatMul")


@dataclass(frozen=True, eq=False, kw_only=True)
class HeavyFile:
    """``rest``: the model's bytes without the weights, which are ``mapped``; ``sha256`` of the
    whole file."""

    path: Path
    rest: bytes
    mapped: dict[str, Array]
    sha256: str


def heavy_file(path: Path, *, least: int | None = None) -> HeavyFile | None:
    """What is in a file of ``least`` (``HEAVY_FILE``) bytes or more; None for any other, for pipes,
    and for what is no such model, which whoever reads it whole tells of."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size < (least or HEAVY_FILE):
            return None
        found = Layout.of(path)
    except (OSError, ValueError, IndexError):
        return None
    chosen = _of_products(found)
    if not chosen:
        return None
    return HeavyFile(
        path=path,
        rest=found.without(set(chosen)),
        mapped={name: found.weights[name].mapped(path) for name in chosen},
        sha256=hashlib.sha256(found.content).hexdigest(),
    )


def _of_products(found: Layout) -> list[str]:
    """The weights that only products read, in the graph itself."""
    try:
        model = onnx.load_model_from_string(found.without(set(found.weights)))
    except Exception:  # protobuf's own kinds differ between versions
        return []
    nodes = model.graph.node
    inner = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
    if model.functions or any(a.type in inner for node in nodes for a in node.attribute):
        return []
    others = {value.name for value in (*model.graph.output, *model.graph.input)}
    read: set[str] = set()
    for node in nodes:
        is_product = node.op_type in PRODUCTS and node.domain in ("", "ai.onnx")
        (read if is_product else others).update(node.input)
    return [name for name in found.weights if name in read - others]
