"""Compiled kernels without their compiler.

numba (the extra ``fast``) compiles ``event_kernels`` and ``step_kernels`` to machine code in a
process of its own (``build``), once per machine and version, and the code is kept in a
folder (``cache``). A simulation loads it through llvmlite, which comes with numba, and has
neither numba's memory (60 MiB) nor its start (a second).
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from ctypes import CFUNCTYPE, c_double, c_float, c_int32, c_int64, c_void_p, create_string_buffer
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

from . import cache as native_cache

# Module -> kernel -> its arguments: i an integer or address, f a float32, d a float64; B, F and D
# the address of int8, float32 or float64.
SIGNATURES = {
    "event_kernels": {"advance": "iiiiii", "sum_windows": "iiii"},
    "step_kernels": {
        "plain": "FFFBiiiiiiii",
        "burst": "FFFFBBiifi",
        "paced": "DDFFBBiiddd",
        "differential": "FFFFFBBiifffi",
    },
}
PREFIX = "onnx2snn_"  # of the kernels' symbols
RUNTIME = Path(__file__).parents[3]
FOLDER = "engine/fast/native"
SOURCES = tuple(  # what the machine code depends on, below ``runtime``
    RUNTIME / path
    for path in (
        *(f"{FOLDER}/{name}.py" for name in ("__init__", "build", "event_kernels")),
        *(f"{FOLDER}/{name}.py" for name in ("step_kernels", "vectors", "slides")),
        *("engine/fast/events/tables.py", "neurons/differential.py"),
    )
)
COMPILERS = ("numba", "llvmlite", "numpy")
# What the compiling process runs: packages are entered without their own code, which needs more.
BOOTSTRAP = """
import json, sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
packages, places = json.loads(sys.argv[1])
sys.path += places
for name, path in packages.items():
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = path
    sys.modules[name] = module_from_spec(spec)
import_module(sys.argv[2]).main()
"""
TYPES: dict[str, Any] = dict.fromkeys("BFD", c_void_p)
TYPES |= {"i": c_int64, "f": c_float, "d": c_double}

Kernel: TypeAlias = Callable[..., None]


@functools.cache
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
    """The kernels as an object file, kept from before or compiled now. Warns where the next
    process has to compile them again."""
    key = _key(versions)
    code = native_cache.kept(key)
    if code is None:
        code = _compiled()
        try:
            native_cache.keep(key, code)
        except OSError as error:
            warnings.warn(
                f"the kernels of the extra 'fast' are compiled anew by every process, as no folder "
                f"can keep them: {error}",
                stacklevel=2,
            )
    return code


def _key(versions: list[str]) -> str:
    """A name for all that the machine code depends on."""
    from llvmlite import binding

    processor = (binding.get_process_triple(), binding.get_host_cpu_name())
    parts = [sys.version, *versions, *processor, binding.get_host_cpu_features().flatten()]
    parts += [path.read_text("utf-8") for path in SOURCES]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def _compiled() -> bytes:
    """What ``build`` makes, which comes through a pipe, so that nothing is left of it when
    either process is killed. Raises RuntimeError with its last words.

    The process imports nothing from the working directory, from PYTHONPATH or from beside a
    script: it has the interpreter's own path (``-I``), after that the folders where the compilers
    are installed, and of this package the modules that this process has, whatever way it found
    them. It starts in this folder and without numba's variables, as numba would read settings
    from a file where it starts.
    """
    parents = __package__.split(".")
    names = [".".join(parents[: i + 1]) for i in range(len(parents) - 1)]
    packages = {name: list(sys.modules[name].__path__) for name in names}
    places = {str(distribution(package).locate_file("")) for package in COMPILERS}
    order = json.dumps([packages, sorted(filter(os.path.isabs, places))])
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", BOOTSTRAP, order, f"{__package__}.build"],
        env={k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")},
        cwd=Path(__file__).parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise RuntimeError(words[-1] if words else f"exit status {done.returncode}")
    return done.stdout


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
