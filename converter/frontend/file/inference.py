"""ONNX's shape inference, with a bound on what a hostile file can make it allocate.

A Reshape to 2^31 axes, or a shape computed from such a one, takes tens of gigabytes there before
any size is known that could be refused.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx

from ....errors import ModelError

ALLOWED = 2**30  # bytes beside copies of the model
COPIES = 6  # of the model: serialized, parsed, inferred, and back


def inferred_shapes(
    model: onnx.ModelProto, *, where: str, data_prop: bool = False
) -> onnx.ModelProto:
    """``model`` with the shapes that ONNX finds; ``data_prop``: also by the values of shapes.

    Raises ModelError (E311) where that would take more memory than such models do.
    """
    try:
        with _bounded(ALLOWED + COPIES * model.ByteSize()):
            return onnx.shape_inference.infer_shapes(model, data_prop=data_prop)
    except MemoryError as error:
        raise ModelError(
            "the shapes of its tensors cannot be found in reasonable memory: a size in the model "
            "is far too large",
            where=where,
            remedy="Check the sizes in the model.",
            code="E311",
        ) from error


@contextmanager
def _bounded(extra: int) -> Iterator[None]:
    """The process may map no more than ``extra`` bytes beside what it has. (Linux only.)"""
    if sys.platform != "linux":
        yield
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = before = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + extra
    limits = [n for n in (soft, hard, limit) if n != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
