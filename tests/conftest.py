"""Before any test imports ONNX Runtime: this turns its telemetry off (``runtime/onnx_runtime``)."""

import onnx2snn  # noqa: F401
