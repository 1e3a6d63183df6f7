"""The state of an unfinished sweep: what it belongs to, and its file.

A state is continued only where everything its numbers depend on is the same, to the byte, and its
file is as it was written. Any other file under its name is set aside under a new name.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from ..converter.frontend import LoadedModel
from ..data import Samples
from ..errors import DataError
from ..runtime.graph import SpikingGraph
from ..runtime.ops import Array
from ..runtime.storage.atomic import write_atomically
from ..runtime.storage.sealed import sealed, unsealed
from ..spelling import spelled
from .evaluate import Tally

FORMAT = 4
ROWS = 256  # of an array, hashed at a time: mapped files are not read into memory whole
LIBRARIES = (
    *("onnx2snn", "numpy", "onnx", "onnxruntime", "onnx-ir", "onnxscript"),
    *("numba", "llvmlite"),
)
# Engine options that change no number, whatever they are (tests/runtime/test_threads.py,
# test_engine_memory.py): a sweep may go on with more threads.
FREE = ("threads", "mem_limit")

# What reading arrays and their head raises where they are not what ``save`` writes.
MALFORMED = (KeyError, ValueError, TypeError, AttributeError, zipfile.BadZipFile)


def dependencies(
    *,
    model: LoadedModel,
    network: SpikingGraph,
    samples: Samples,
    calibration: Samples | None,
    options: Mapping[str, Any],
    engine: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that the counts of a state depend on; nothing else decides whether it is
    continued. Names of files are not in it, what was read from them is. The first T of the curve
    is not either: counts are kept for every step up to the last, which ``options`` have.

    Parameters:
        network: as converted now: what a continued sweep would run.
        options: of the conversion, with recipe and steps.
        engine: keyword arguments of ``api.evaluate``; only those in ``FREE`` are left out.
    """
    return {
        "format": FORMAT,
        "libraries": {name: _version(name) for name in LIBRARIES},
        "machine": [platform.machine(), platform.python_version(), _blas()],
        "model": model.content(),
        "network": network.nodes,
        "samples": _content(samples),
        "calibration": None if calibration is None else _content(calibration),
        "options": options,
        "engine": {name: value for name, value in engine.items() if name not in FREE},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _blas() -> list[list[str]]:
    """BLAS libraries and the processor that each has kernels for."""
    keys = ("internal_api", "version", "architecture")
    found = [info for info in threadpool_info() if info.get("user_api") == "blas"]
    return [list(each) for each in sorted({tuple(str(i.get(k)) for k in keys) for i in found})]


def _content(samples: Samples) -> list[Any]:
    return [samples.arrays, samples.labels, samples.preprocessing]


def fingerprint(value: Any) -> str:
    """SHA-256 over plain values, arrays and records, the same in every process.

    Raises TypeError for a value that it does not know how to read.
    """
    out = hashlib.sha256()
    _feed(out, value)
    return out.hexdigest()


def _feed(out: Any, value: Any) -> None:
    """Every item begins with its kind and size, so that different values give different bytes."""
    match value:
        case None | bool() | int() | float():
            text = f"{type(value).__name__} {value!r}".encode()
            out.update(b"plain %d " % len(text) + text)
        case str() | bytes():
            text = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
            out.update(b"%s %d " % (type(value).__name__.encode(), len(text)) + text)
        case np.ndarray() if not value.dtype.hasobject:
            out.update(f"array {value.dtype.str} {value.shape} ".encode())
            rows = value if value.ndim else value[None]
            for start in range(0, len(rows), ROWS):
                out.update(np.ascontiguousarray(rows[start : start + ROWS]).tobytes())
        case Mapping():
            out.update(b"mapping %d " % len(value))
            for key in sorted(value):
                _feed(out, key)
                _feed(out, value[key])
        case list() | tuple():
            out.update(b"list %d " % len(value))
            for item in value:
                _feed(out, item)
        case _ if is_dataclass(value) and not isinstance(value, type):
            _feed(out, type(value).__name__)
            _feed(out, {field.name: getattr(value, field.name) for field in fields(value)})
        case _:
            raise TypeError(f"no fingerprint of a {type(value).__name__}")


class _UnusableError(Exception):
    """A file under a state's name that is not to be continued; the text says why."""


@dataclass(frozen=True, eq=False, kw_only=True)
class StateFile:
    """Where a run of ``total`` samples keeps what it has finished.

    ``key``: the ``fingerprint`` of its ``dependencies``; ``title``: what the run is called in what
    it has to ``say``.
    """

    path: Path
    key: str
    title: str
    total: int
    say: Callable[[str], None]

    def restore(self, network: SpikingGraph, steps: int) -> Tally:
        """The counts to go on from; empty ones where there is no state of this very run.

        Raises DataError where a file is in the way that cannot be renamed.
        """
        tally = Tally(steps)
        if not self.path.exists():
            return tally
        try:
            done = tally.restore(self._counts(), network)
            if not 0 < done <= self.total:
                raise _UnusableError("is damaged")
        except _UnusableError as reason:
            self._set_aside(str(reason))
            return Tally(steps)
        except MALFORMED:
            self._set_aside("is damaged")
            return Tally(steps)
        self.say(f"continuing: {done:,} of {self.total:,} samples of {self.title} were done")
        return tally

    def _counts(self) -> dict[str, Array]:
        """The stored counts by name. Raises _UnusableError, or one of ``MALFORMED``."""
        try:
            content = unsealed(self.path.read_bytes())
        except OSError as error:
            raise _UnusableError(f"cannot be read ({error.strerror})") from error
        if content is None:
            raise _UnusableError("is damaged, or of another version of onnx2snn")
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            head = json.loads(str(stored["head"]))
            if head["key"] != self.key:
                raise _UnusableError(
                    "belongs to something else (another model, other samples, labels or options, "
                    "or other versions of the libraries)"
                )
            # By number: a name could be one that zip files change.
            return {name: stored[f"arr_{i}"] for i, name in enumerate(head["names"])}

    def save(self, tally: Tally) -> None:
        """Write the counts in one step. Raises DataError where that fails."""
        out = io.BytesIO()
        head = json.dumps({"key": self.key, "names": list(tally.state)})
        np.savez(out, *tally.state.values(), head=np.array(head))
        write_atomically(self.path, sealed(out.getvalue()), make_folders=True)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def _set_aside(self, reason: str) -> None:
        number = 1
        while (new := self.path.with_suffix(f".set-aside-{number}{self.path.suffix}")).exists():
            number += 1
        try:
            self.path.rename(new)
        except OSError as error:
            raise DataError(
                f"the state of an earlier sweep {reason}, and cannot be renamed ({error.strerror})",
                where=str(self.path),
                remedy=f"Remove it, or choose another {spelled('folder')}.",
                code="E220",
            ) from error
        self.say(
            f"the state of an earlier sweep of {self.title} {reason}: not used, set aside as "
            f"{new}; this sweep starts anew"
        )
