"""From an ``.onnx`` file to the AnnGraph, and the ANN itself as the reference."""

from .check import CheckReport, Finding, check, save_tagged
from .file.load import LoadedModel, TensorInfo, load_onnx
from .importing import import_onnx
from .reference import Reference
from .registry import OPERATIONS, Operation
from .table import OperationRow, operations, operations_markdown

__all__ = [
    "OPERATIONS",
    "CheckReport",
    "Finding",
    "LoadedModel",
    "Operation",
    "OperationRow",
    "Reference",
    "TensorInfo",
    "check",
    "import_onnx",
    "load_onnx",
    "operations",
    "operations_markdown",
    "save_tagged",
]
