"""onnx2snn: trained ONNX networks -> spiking networks, accuracy curves, and chip placement."""

from importlib.metadata import PackageNotFoundError as _PackageNotFoundError
from importlib.metadata import version as _version

from .api import load, load_samples, save
from .converter.frontend import load_onnx
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
from .evaluation.ann import onnx_ann
from .evaluation.evaluate import evaluate
from .evaluation.verify import verify
from .provenance import convert

try:
    __version__ = _version("onnx2snn")
except _PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0"

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
    "convert",
    "evaluate",
    "load",
    "load_onnx",
    "load_samples",
    "onnx_ann",
    "save",
    "verify",
]
