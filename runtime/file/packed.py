"""A spiking graph as bytes, without loss: what ``codec`` writes, and no file that others run."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np

from ...errors import ModelError
from ..graph import SpikingGraph
from .changes import with_true_changes
from .codec import decode_graph, encode_graph
from .naming import FileNames


def pack(graph: SpikingGraph) -> bytes:
    """Everything that ``graph`` is, its ``meta`` as JSON has it."""
    graph = with_true_changes(graph)
    document, arrays = encode_graph(graph, FileNames(graph))
    head = json.dumps({"graph": document, "arrays": list(arrays)})
    out = io.BytesIO()
    np.savez(out, *arrays.values(), head=np.array(head))
    return out.getvalue()


def unpack(content: bytes) -> SpikingGraph:
    """The graph that was packed. Raises ModelError where ``content`` is nothing of that kind."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            head = json.loads(str(stored["head"]))
            # By number: a name could be one that zip files change.
            arrays = {name: stored[f"arr_{i}"] for i, name in enumerate(head["arrays"])}
        return decode_graph(head["graph"], arrays)
    except (KeyError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"the stored network is damaged ({error})", code="E322") from error
