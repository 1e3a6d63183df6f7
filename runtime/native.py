"""Compiled kernels without their compiler.

numba (the extra ``fast``) compiles ``event_kernels`` and ``step_kernels`` to machine code in a
process of its own (``native_build``), once per machine and version, and the code is kept in a
folder. A simulation loads it through llvmlite, which comes with numba, and has neither numba's
memory (60 MiB) nor its start (a second).
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from ctypes import CFUNCTYPE, c_double, c_float, c_int32, c_int64, c_void_p, create_string_buffer
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

from .sealed import sealed, unsealed

# Module -> kernel -> its arguments: i an integer or address, f a float32, d a float64; B, F and D
# the address of int8, float32 or float64.
SIGNATURES = {
    "event_kernels": {"advance": "iiiiiii", "sum_windows": "iiii"},
    "step_kernels": {
        "plain": "FFFBiiiiiiii",
        "burst": "FFFFBBiifi",
        "paced": "DDFFBBiiddd",
        "differential": "FFFFFBBiiffi",
    },
}
PREFIX = "onnx2snn_"  # of the kernels' symbols
SOURCES = (
    *("event_kernels", "event_tables", "native", "native_build"),
    *("neuron_differential", "step_kernels", "vectors"),
)
COMPILERS = ("numba", "llvmlite")
TYPES: dict[str, Any] = dict.fromkeys("BFD", c_void_p)
TYPES |= {"i": c_int64, "f": c_float, "d": c_double}

Kernel: TypeAlias = Callable[..., None]


@cache
def kernels() -> SimpleNamespace | None:
    """The compiled kernels by name, as functions of ``SIGNATURES``; None without the extra.

    Warns where the extra is installed and its kernels cannot be compiled or loaded. They run
    without the interpreter lock.
    """
    try:
        versions = [version(package) for package in COMPILERS]
    except PackageNotFoundError:
        return None
    try:
        return _load(_machine_code(versions))
    except (ImportError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        warnings.warn(
            f"the kernels of the extra 'fast' cannot be used (slower ones are): {error}",
            stacklevel=2,
        )
        return None


def loaded() -> SimpleNamespace:
    """The same where they are known to be there."""
    found = kernels()
    assert found is not None
    return found


def target_machine() -> Any:
    """llvmlite's description of this processor."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
        opt=3,
        reloc="pic",
        jit=True,
    )


def _machine_code(versions: list[str]) -> bytes:
    """The kernels as an object file: from a folder, or compiled now and kept in the first folder
    that can be written."""
    name = f"kernels-{_key(versions)}.o"
    folders = list(_folders())
    for folder in folders:
        if (folder / name).is_file():
            code = unsealed((folder / name).read_bytes())
            if code is not None:  # else it is damaged, and compiled again
                return code
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                code = _compiled(Path(scratch) / name)
                (Path(scratch) / name).write_bytes(sealed(code))
                os.replace(Path(scratch) / name, folder / name)
                return code
        except OSError:
            continue
    with tempfile.TemporaryDirectory() as scratch:
        return _compiled(Path(scratch) / name)


def _key(versions: list[str]) -> str:
    """A name for all that the machine code depends on."""
    from llvmlite import binding

    processor = (binding.get_process_triple(), binding.get_host_cpu_name())
    parts = [*versions, *processor, binding.get_host_cpu_features().flatten()]
    parts += [(Path(__file__).parent / f"{name}.py").read_text("utf-8") for name in SOURCES]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def _folders() -> Iterator[Path]:
    """Where machine code is kept: beside Python's own, or with the user's."""
    yield Path(__file__).parent / "__pycache__"
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        if os.environ.get(variable):
            yield Path(os.environ[variable]) / "onnx2snn"
    with suppress(RuntimeError):  # a user without a home
        yield Path.home() / ".cache" / "onnx2snn"


def _compiled(path: Path) -> bytes:
    """What ``native_build`` writes to ``path``. Raises RuntimeError with its last words."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", f"{__package__}.native_build", str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise RuntimeError(words[-1])
    return path.read_bytes()


def _load(code: bytes) -> SimpleNamespace:
    """Raises RuntimeError where a symbol is missing."""
    from llvmlite import binding

    names = [name for module in SIGNATURES.values() for name in module]
    builder = binding.JITLibraryBuilder().add_object_img(code).add_current_process()
    for name in names:
        builder.export_symbol(PREFIX + name)
    library = builder.link(binding.create_lljit_compiler(target_machine()), "kernels")
    made = {
        name: _function(library[PREFIX + name], letters)
        for module in SIGNATURES.values()
        for name, letters in module.items()
    }
    return SimpleNamespace(library=library, **made)


def _function(address: int, letters: str) -> Kernel:
    """A kernel in numba's calling convention: places for a result and for an error come first, a
    status is returned."""
    function = CFUNCTYPE(c_int32, c_void_p, c_void_p, *(TYPES[c] for c in letters))(address)
    result, error = create_string_buffer(8), create_string_buffer(8)

    def kernel(*arguments: Any) -> None:
        if function(result, error, *arguments):
            raise RuntimeError("a compiled kernel failed")

    return kernel
