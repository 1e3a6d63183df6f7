"""Before any test imports ONNX Runtime: this turns its telemetry off (``runtime/onnx_runtime``)."""

from __future__ import annotations

import os
import sys
from math import inf
from typing import Any

import pytest

# As in ``.ci/run``, unless it is said otherwise: products of tests are small, and every worker of
# the test run would have threads of its own. Before NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import onnx2snn  # noqa: F401


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests have no limit of time: their own runs are watched by whoever starts them."""
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(0))


@pytest.fixture(autouse=True)
def _no_long_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """No verb says that it takes long: on a busy machine any would, where silence is tested."""
    if "onnx2snn.cli.progress" in sys.modules:
        monkeypatch.setattr("onnx2snn.cli.progress.LONG", inf)


@pytest.fixture
def blank_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are written and marked as ever, with nothing drawn, which takes most of a sweep of
    a small network: for tests that look at results, not at pictures."""
    from matplotlib.figure import Figure

    draw = Figure.savefig

    def blank(figure: Figure, *args: Any, **options: Any) -> None:
        draw(Figure(figsize=(0.1, 0.1)), *args, **options)

    monkeypatch.setattr(Figure, "savefig", blank)
