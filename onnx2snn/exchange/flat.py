"""The converted file itself; ``inline``: for ONNX runtimes that know no local functions."""

from __future__ import annotations

from ..evaluation.written import checked_bytes
from ..results.marks import Kind
from ..runtime.file import to_bytes, to_flat_bytes
from ..runtime.graph import SpikingGraph
from .format import Choices, Format, Written


def _write(network: SpikingGraph, name: str, choices: Choices) -> Written:
    form = to_flat_bytes if choices.inline else to_bytes
    return Written(contents={name: checked_bytes(network, form=form)})


ONNX = Format(
    name="onnx",
    summary="the converted file, or the same in standard operations alone",
    files=lambda name: {name: Kind.NETWORK},
    write=_write,
    takes=frozenset(("inline",)),
)
