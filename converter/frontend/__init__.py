"""From an ``.onnx`` file to the AnnGraph, and the ANN itself as the reference."""

from .importing import import_onnx
from .load import LoadedModel, TensorInfo, load_onnx
from .reference import Reference
from .registry import OPERATIONS, Operation

__all__ = [
    "OPERATIONS",
    "LoadedModel",
    "Operation",
    "Reference",
    "TensorInfo",
    "import_onnx",
    "load_onnx",
]
