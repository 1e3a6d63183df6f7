"""A process of its own (see ``native``) that compiles all kernels to an object file.

Only this process imports numba. numba wraps a function for its callers in Python
or C; the wrappers, which need numba's own library, are dropped, and what is left needs none.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import numba
from llvmlite import binding
from numba import types

from . import PREFIX, SIGNATURES, target_machine

TYPES: dict[str, Any] = {
    "i": types.int64,
    "f": types.float32,
    "d": types.float64,
}
_POINTERS: Any = types.CPointer
TYPES |= {"B": _POINTERS(types.int8), "F": _POINTERS(types.float32), "D": _POINTERS(types.float64)}


def build() -> bytes:
    """The object file. Raises what numba raises."""
    machine = target_machine()
    modules = [
        _module(name, getattr(import_module(f".{source}", __package__), name), letters, machine)
        for source, kernels in SIGNATURES.items()
        for name, letters in kernels.items()
    ]
    whole = modules[0]
    for module in modules[1:]:
        whole.link_in(module)
    return bytes(machine.emit_object(whole))


def _module(name: str, function: Any, letters: str, machine: Any) -> Any:
    """One kernel as optimized LLVM code, nothing else visible."""
    signature = types.void(*(TYPES[letter] for letter in letters))
    made = numba.cfunc(signature, error_model="numpy")(function)
    module = binding.parse_assembly(made.inspect_llvm())
    for each in module.functions:
        if not each.is_declaration:
            each.linkage = "internal"
    kernel = module.get_function(made.native_name.removeprefix("cfunc."))
    kernel.linkage = "external"
    kernel.name = PREFIX + name
    passes = binding.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(
        module, binding.create_pass_builder(machine, binding.create_pipeline_tuning_options())
    )
    return module


def main() -> None:
    """Write the object file to standard output; whatever is printed goes to standard error."""
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)
        out.write(build())
