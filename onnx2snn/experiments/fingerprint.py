"""What stored numbers depend on, as keys: where one bit of it is another, so is the key.

Names of files are in no key of a simulation, what was read from them is.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from ..converter.frontend import LoadedModel
from ..data import Samples
from ..data.mapped import forget
from ..runtime.graph import SpikingGraph

ROWS = 256  # of an array, hashed at a time: mapped files are not read into memory whole
LIBRARIES = (
    *("onnx2snn", "numpy", "onnx", "onnxruntime", "onnx-ir", "onnxscript"),
    *("numba", "llvmlite"),
)
# Engine options that change no number, whatever they are (tests/runtime/test_threads.py,
# test_engine_memory.py): a sweep may go on with more threads.
FREE = ("threads", "mem_limit")
TOP = __name__.partition(".")[0]
PACKAGES = (TOP, *(f"{TOP}.{name}" for name in ("converter", "runtime", "hwtargets", "models")))


def conversions(model: LoadedModel, calibration: Samples | None) -> str:
    """The key of everything that the conversions of a model depend on, but for their options. What
    a network remembers of names is in it."""
    given = None
    if calibration is not None:
        given = [*_content(calibration), Path(calibration.source).name]
    return fingerprint([software(), model.content(), Path(model.path).name, given])


def inputs(model: LoadedModel, samples: Samples) -> str:
    """The key of a model and of what its networks are run on."""
    return fingerprint([software(), model.content(), _content(samples)])


def simulations(inputs: str, engine: Mapping[str, Any]) -> str:
    """The key of everything that the counts of a network depend on, but for the network and T.

    Parameters:
        engine: keyword arguments of ``evaluate``; only those in ``FREE`` are left out.
    """
    more = [_version("torch")] if engine.get("engine") == "torch" else []
    return fingerprint([inputs, {k: v for k, v in engine.items() if k not in FREE}, *more])


def simulation(key: str, network: SpikingGraph, steps: int) -> str:
    """The key of the counts of one network; ``key``: that of ``simulations``."""
    return fingerprint([key, network.nodes, steps])


@cache
def software() -> str:
    """The key of what computes."""
    return fingerprint(computing())


@cache
def computing() -> Mapping[str, str]:
    """What computes: versions of libraries, this package's source, and the machine's arithmetic."""
    return {
        **{name: _version(name) or "none" for name in LIBRARIES},
        "Python": platform.python_version(),
        "onnx2snn's source": fingerprint(_source()),
        "machine": platform.machine(),
        "BLAS": "; ".join(" ".join(each) for each in _blas()),
    }


def _folders(package: str) -> list[Path]:
    return [Path(folder) for folder in import_module(package).__path__]


def _source(folders: Callable[[str], list[Path]] = _folders) -> list[tuple[str, bytes]]:
    """Every file of code and numbers, by its place in the package: the same for an installed
    package, whose parts lie in it, and for the repository, where some lie beside it."""
    found = {}
    apart = {package.rpartition(".")[2] for package in PACKAGES if "." in package}
    for package in PACKAGES:
        for folder in folders(package):
            for path in (*folder.rglob("*.py"), *folder.rglob("*.toml")):
                place = path.relative_to(folder)
                if "." in package or place.parts[0] not in apart:
                    found[f"{package}/{place.as_posix()}"] = path.read_bytes()
    return sorted(found.items())


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
                forget(rows)
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
