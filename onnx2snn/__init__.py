"""onnx2snn: trained ONNX networks -> spiking networks, accuracy curves, and chip placement.

What is named here is imported at its first use, so that ``import onnx2snn`` takes a millisecond:
the command line can answer Ctrl-C from then on (see ``console``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .runtime import onnx_runtime as _telemetry_off  # noqa: F401 - by being imported

if TYPE_CHECKING:
    from .api import export, import_network, load, load_onnx, load_samples, onnx_ann, save
    from .api.conversion import convert
    from .api.diagnosis import diagnose
    from .api.evaluation import evaluate
    from .api.finetuning import finetune
    from .api.inspection import check, verify
    from .api.learning import learn
    from .api.placement import place
    from .data import Preprocessing, Samples
    from .errors import (
        DataError,
        GraphError,
        ModelError,
        Onnx2SnnError,
        TargetError,
        UnsupportedOps,
        UsageError,
    )
    from .experiments.library import sweep

    __version__: str

_ERRORS = (
    "DataError",
    "GraphError",
    "ModelError",
    "Onnx2SnnError",
    "TargetError",
    "UnsupportedOps",
    "UsageError",
)
_HOMES = {
    **dict.fromkeys(
        ("export", "import_network", "load", "load_onnx", "load_samples", "onnx_ann", "save"), "api"
    ),
    **dict.fromkeys(("check", "verify"), "api.inspection"),
    "convert": "api.conversion",
    "diagnose": "api.diagnosis",
    "evaluate": "api.evaluation",
    "place": "api.placement",
    "sweep": "experiments.library",
    **dict.fromkeys(("Preprocessing", "Samples"), "data"),
    **dict.fromkeys(_ERRORS, "errors"),
    "finetune": "api.finetuning",
    "learn": "api.learning",
}
_MODULES = (
    "api",
    "converter",
    "data",
    "display",
    "errors",
    "evaluation",
    "exchange",
    "experiments",
    "hwtargets",
    "provenance",
    "questions",
    "results",
)

__all__ = [
    "DataError",
    "GraphError",
    "ModelError",
    "Onnx2SnnError",
    "Preprocessing",
    "Samples",
    "TargetError",
    "UnsupportedOps",
    "UsageError",
    "check",
    "convert",
    "diagnose",
    "evaluate",
    "export",
    "finetune",
    "import_network",
    "learn",
    "load",
    "load_onnx",
    "load_samples",
    "onnx_ann",
    "place",
    "save",
    "sweep",
    "verify",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _HOMES:
        value: object = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    elif name in _MODULES:
        return import_module(f".{name}", __name__)  # which makes it an attribute
    elif name == "__version__":
        value = _version()
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES, "__version__"})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("onnx2snn")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0"
