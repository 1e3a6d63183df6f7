"""From an ``.onnx`` file to the AnnGraph, and the ANN itself as the reference."""

from .check import CheckReport, Finding, check, check_file, is_tagged, save_tagged, tagged_bytes
from .file.external import model_files
from .file.load import LoadedModel, ModelSource, TensorInfo, load_onnx
from .importing import import_onnx
from .reference import Reference
from .registry import OPERATIONS, Operation
from .table import OperationRow, operations, operations_markdown

__all__ = [
    "OPERATIONS",
    "CheckReport",
    "Finding",
    "LoadedModel",
    "ModelSource",
    "Operation",
    "OperationRow",
    "Reference",
    "TensorInfo",
    "check",
    "check_file",
    "import_onnx",
    "is_tagged",
    "load_onnx",
    "model_files",
    "operations",
    "operations_markdown",
    "save_tagged",
    "tagged_bytes",
]
