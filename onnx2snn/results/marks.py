"""Whether onnx2snn made an existing file: told by its content, never by its name.

Every kind of file that is written carries a mark, and ``READERS`` is the one table of how each is
found again. What has no mark, or cannot be read, was made by someone else.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path

import numpy as np

from ..converter.frontend import is_tagged
from ..runtime.file import is_converted

GENERATOR = "onnx2snn"
PNG_TEXT = {"Software": GENERATOR}  # text chunks of every picture
TEXT_MARK = f"Written by {GENERATOR}."  # the last line of every plain text
HEAD = 4096  # bytes in which a mark at the beginning lies


class Kind(Enum):
    """The kinds of files that are written."""

    NETWORK = "converted network"
    TAGGED = "graph with verdicts"
    JSON = "JSON"
    CSV = "CSV"
    HTML = "HTML page"
    PNG = "picture"
    TEXT = "text report"
    CROSSBARS = "TrueNorth file"
    ANSWERS = "file of answers"
    METRICS = "NeuroBench's metrics"
    MODULE = "PyTorch module"
    NIR = "NIR graph"
    SANAFE = "network for SANA-FE"
    ARRAYS = "weights of a PyTorch module"
    STATE = "state of an unfinished sweep"
    TRAINING = "state of an unfinished fine-tuning"


def made_by_us(path: Path, kind: Kind) -> bool:
    """Whether the file at ``path`` is a ``kind`` that onnx2snn made."""
    try:
        return READERS[kind](path)
    except Exception:  # whatever makes it unreadable, a file of ours would not
        return False


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)


def _is_json(path: Path) -> bool:
    """Our JSON begins with its schema, that for a chip's tools with its format."""
    return re.match(rb'\s*\{\s*"(schema|format)"\s*:\s*"onnx2snn[-.]', _head(path)) is not None


def _is_metrics(path: Path) -> bool:
    """NeuroBench's keys, which leave no room for a mark; its own files indent by four."""
    return re.match(rb'\{\n  "Footprint": \d+,\n  "ConnectionSparsity":', _head(path)) is not None


def _is_csv(path: Path) -> bool:
    return _head(path).startswith(
        (b"recipe,T,latency,accuracy,", b"target,fits,cores,chips,input,")
    )


def _is_html(path: Path) -> bool:
    return f'<meta name="generator" content="{GENERATOR}">'.encode() in _head(path)


def _is_png(path: Path) -> bool:
    """A text chunk of PNG_TEXT in front of the pixels (PNG specification, section 11.3.3)."""
    marks = [f"{key}\0{value}".encode("latin-1") for key, value in PNG_TEXT.items()]
    with path.open("rb") as file:
        if file.read(8) != b"\x89PNG\r\n\x1a\n":
            return False
        while len(header := file.read(8)) == 8 and header[4:] != b"IDAT":
            length = int.from_bytes(header[:4], "big")
            if header[4:] == b"tEXt" and length < HEAD and file.read(length) in marks:
                return True
            file.seek(4 if header[4:] == b"tEXt" and length < HEAD else length + 4, 1)
    return False


def _is_text(path: Path) -> bool:
    return path.read_bytes().rstrip().endswith(TEXT_MARK.encode())


def _is_arrays(path: Path) -> bool:
    """Arrays with a header that says what they are, as every .npz of ours has one."""
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo("header.npy").file_size > 2**20:
            return False
    with np.load(path, allow_pickle=False) as arrays:
        header = json.loads(arrays["header"].tobytes())
    return str(header["format"]).startswith(f"{GENERATOR}-")


def _is_module(path: Path) -> bool:
    """Source that others read, with our mark at the beginning."""
    return TEXT_MARK.encode() in _head(path)


def _is_nir(path: Path) -> bool:
    """Its metadata have our key: a data set of an HDF5 file."""
    import h5py

    with h5py.File(path, "r") as file:
        return isinstance(file.get(f"node/metadata/{GENERATOR}"), h5py.Dataset)


def _is_weights(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return "steps/.npy" in archive.namelist()


def _is_state(path: Path) -> bool:
    """Whoever made it: what cannot be continued is set aside (``experiments.store``)."""
    return path.is_file()


READERS: Mapping[Kind, Callable[[Path], bool]] = {
    Kind.NETWORK: is_converted,
    Kind.TAGGED: is_tagged,
    Kind.JSON: _is_json,
    Kind.CSV: _is_csv,
    Kind.HTML: _is_html,
    Kind.PNG: _is_png,
    Kind.TEXT: _is_text,
    Kind.CROSSBARS: _is_arrays,
    Kind.ANSWERS: _is_arrays,
    Kind.METRICS: _is_metrics,
    Kind.MODULE: _is_module,
    Kind.NIR: _is_nir,
    Kind.SANAFE: _is_module,
    Kind.ARRAYS: _is_weights,
    Kind.STATE: _is_state,
    Kind.TRAINING: _is_arrays,
}
