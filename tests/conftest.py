"""Before any test imports ONNX Runtime: this turns its telemetry off (``runtime/onnx_runtime``)."""

import sys
from math import inf

import pytest

import onnx2snn  # noqa: F401


@pytest.fixture(autouse=True)
def _no_long_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """No verb says that it takes long: on a busy machine any would, where silence is tested."""
    if "onnx2snn.cli.progress" in sys.modules:
        monkeypatch.setattr("onnx2snn.cli.progress.LONG", inf)
