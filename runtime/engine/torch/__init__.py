"""Networks in PyTorch: the source that is exported, the module that it makes, and an engine.

A door of its own (see ``runtime.engine``). PyTorch is imported where a module is made or run, so
that all else, and the export, does without it.
"""

from .copying import copied
from .module import module_of, needed
from .neurons import NEURONS, unknown
from .operations import code_of, in_module, torch_pads
from .places import Place, with_values
from .source import Source, source_of

__all__ = [
    "NEURONS",
    "Place",
    "Source",
    "code_of",
    "copied",
    "in_module",
    "module_of",
    "needed",
    "source_of",
    "torch_pads",
    "unknown",
    "with_values",
]
