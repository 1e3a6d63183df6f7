"""A NIR file from anywhere, read with every check that the package ``nir`` leaves out.

What a file declares is looked at before anything is read: kinds and sizes of its data sets, that
they lie in the file itself, and that it is a graph without cycles. Every refusal is a ModelError
E340 that names the node.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ModelError
from ...runtime.storage.reading import read_whole
from .conventions import Told, from_metadata, untold
from .execute import NODES, order

MOST_BYTES = 2**28  # of a data set; of all of a file four times that
MOST_NODES = 20_000
MOST_DEPTH = 4
MAJOR = ("0", "1")  # versions of NIR whose words are these
LARGEST = float(np.finfo(np.float32).max)
WHOLE = frozenset(
    ("stride", "padding", "dilation", "groups", "kernel_size", "start_dim", "end_dim")
)
# Kinds of NIR that have no form here, and why.
NOT_READ = dict.fromkeys(
    ("CubaLIF", "CubaLI"),
    " (its synaptic current decays by a time constant of its own, which no neuron here has)",
) | dict.fromkeys(("LI", "I"), " (it passes its potential on, and neurons here send spikes)")


@dataclass(frozen=True, eq=False, kw_only=True)
class NirFile:
    """``graph``: a nir.NIRGraph; ``sequence``: its nodes, each after those it reads; ``sources``:
    what each reads; ``about``, ``told``: see ``conventions``; ``sha256`` of the file."""

    graph: Any
    sequence: tuple[str, ...]
    sources: Mapping[str, tuple[str, ...]]
    about: Mapping[str, Any]
    told: Told
    sha256: str


def wrong(what: str, node: str = "", *, remedy: str = "") -> ModelError:
    """The error of a file, or of a node in it, that cannot be read."""
    where = f"node '{node}': " if node else ""
    return ModelError(f"{where}{what}", remedy=remedy or "Nothing was written.", code="E340")


def read(path: Path) -> NirFile:
    """The file at ``path``. Raises ModelError (E301, E340) where it cannot be read."""
    try:
        content = read_whole(path)
    except OSError as error:
        raise ModelError(
            f"cannot read the file ({error.strerror})", where=str(path), code="E301"
        ) from error
    try:
        graph = _graph(content)
        sequence, sources = _wired(graph)
        about, told = _told(graph)
    except ModelError as error:
        error.where = str(path)
        raise
    return NirFile(
        graph=graph,
        sequence=tuple(sequence),
        sources=sources,
        about=about,
        told=told,
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _graph(content: bytes) -> Any:
    import h5py

    try:
        file = h5py.File(io.BytesIO(content), "r")
    except (OSError, RuntimeError) as error:
        raise wrong("not a NIR file: not HDF5, or cut short") from error
    with file:
        try:
            return _read(file)
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            raise wrong(f"not a NIR file, or damaged ({error})") from error


def _read(file: Any) -> Any:
    import h5py
    import nir
    from nir.serialization import hdf2dict

    _check_stored(file, name="", depth=0, left=[4 * MOST_BYTES])
    top, version = file.get("node"), _text(file.get("version"))
    if not isinstance(top, h5py.Group) or _text(top.get("type")) != "NIRGraph":
        raise wrong("not a NIR file: it has no graph")
    if version and version.partition(".")[0] not in MAJOR:
        raise wrong(f"a file of version {version:.20} of NIR, whose words may mean something else")
    groups, edges = top.get("nodes"), top.get("edges")
    if not isinstance(groups, h5py.Group) or not isinstance(edges, h5py.Dataset):
        raise wrong("not a NIR file: its graph has no nodes or no edges")
    nodes: dict[str, Any] = {}
    for name, group in groups.items():
        if not isinstance(group, h5py.Group):
            raise wrong("no node, but a data set", name)
        kind = _text(group.get("type"))
        if kind != "Input" and kind not in NODES:
            known = ", ".join(["Input", *NODES])
            why = NOT_READ.get(kind, "")
            raise wrong(f"'{kind:.40}' is not among the kinds that are read: {known}{why}", name)
        try:
            with np.errstate(all="ignore"):  # the error says it
                nodes[name] = nir.dict2NIRNode(hdf2dict(group))
        except Exception as error:  # whatever its parts raise
            raise wrong(f"a damaged {kind} ({type(error).__name__}: {error})", name) from error
        _check_numbers(nodes[name], name)
    metadata = hdf2dict(top["metadata"]) if isinstance(top.get("metadata"), h5py.Group) else {}
    if edges.dtype.kind not in "OS" or (edges.size and edges.shape[1:] != (2,)):
        raise wrong("not a NIR file: its edges are no pairs of names")
    if edges.size > 4 * MOST_NODES:
        raise wrong(f"a graph of {len(edges):,} edges, at most {2 * MOST_NODES:,} are read")
    pairs = [(_plain(a), _plain(b)) for a, b in edges[()]]
    return nir.NIRGraph(nodes=nodes, edges=pairs, metadata=metadata, type_check=False)


def _plain(text: Any) -> str:
    return text.decode() if isinstance(text, bytes) else str(text)


def _text(dataset: Any) -> str:
    """A text that stands in a data set; "" where there is none."""
    import h5py

    if not isinstance(dataset, h5py.Dataset) or dataset.shape != ():
        return ""
    return _plain(dataset[()])


def _check_stored(group: Any, *, name: str, depth: int, left: list[int]) -> None:
    """Raise ModelError for what must not be read: links out of the file, data sets that are too
    large, groups in groups without end. ``left``: bytes that may still be declared."""
    import h5py

    if depth > MOST_DEPTH or len(group) > MOST_NODES:
        what = "too many groups" if depth <= MOST_DEPTH else "groups in groups (graphs in graphs)"
        raise wrong(f"{what}: not read", name)
    for key in group:
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise wrong(f"'{key}' is a link, which is not followed", name)
        item = group[key]
        inner = key if depth == 2 else name
        if isinstance(item, h5py.Group):
            _check_stored(item, name=inner, depth=depth + 1, left=left)
            continue
        if not isinstance(item, h5py.Dataset):
            raise wrong(f"'{key}' is neither a group nor a data set", inner)
        if item.is_virtual or item.external:
            raise wrong(f"'{key}' lies in another file, which is not read", inner)
        size = prod(item.shape or ()) * max(item.dtype.itemsize, 1)
        left[0] -= size
        if size > MOST_BYTES or left[0] < 0:
            raise wrong(f"'{key}' of shape {item.shape} is too large to read", inner)


def _check_numbers(node: Any, name: str) -> None:
    for key, value in vars(node).items():
        if key in ("metadata", "input_type", "output_type") or value is None:
            continue
        if key == "padding" and isinstance(value, str):  # "same" or "valid"
            continue
        numbers = np.asarray(value)
        if numbers.dtype.kind not in "fiub" or not np.all(np.abs(numbers) <= LARGEST):
            raise wrong(f"'{key}' has values that are no finite numbers in single precision", name)
        if key in WHOLE and not np.all(numbers == np.floor(numbers)):
            raise wrong(f"'{key}' has values that are not whole", name)


def _wired(graph: Any) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Nodes in order and what each reads."""
    sources: dict[str, tuple[str, ...]] = dict.fromkeys(graph.nodes, ())
    for (a, b), number in Counter(graph.edges).items():
        for name in (a, b):
            if name not in sources:
                raise wrong(f"an edge leads from '{a}' to '{b}', and there is no such node", name)
        if number > 1:
            raise wrong(f"reads '{a}' by two edges", b)
        sources[b] += (a,)
    kinds = {name: type(node).__name__ for name, node in graph.nodes.items()}
    if not {"Input", "Output"} <= set(kinds.values()):
        raise wrong("a graph without an input, or without an output")
    for name, read_by in sources.items():
        if kinds[name] == "Input" and read_by:
            raise wrong(f"an input that reads '{read_by[0]}'", name)
        if kinds[name] != "Input" and not read_by:
            raise wrong("nothing leads to it", name)
        if any(kinds[source] == "Output" for source in read_by):
            raise wrong("it reads an output", name)
    sequence, around = order(list(graph.nodes), graph.edges)
    if around:
        raise wrong("on a cycle, or behind one: recurrent networks are not read", around[0])
    return sequence, sources


def _told(graph: Any) -> tuple[dict[str, Any], Told]:
    try:
        about, told = from_metadata(graph.metadata)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise wrong(f"its metadata 'onnx2snn' are damaged ({error})") from error
    kinds = {name: type(node).__name__ for name, node in graph.nodes.items()}
    node, what = untold(about, told, kinds)
    if what:
        raise wrong(what, node)
    return about, told
