"""Whatever is in the file: it converts, or ends in our error; quickly, and nothing is written."""

from __future__ import annotations

import resource
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from places import FIXTURES

from converter.frontend.damage import damaged
from onnx2snn.converter.frontend import import_onnx
from onnx2snn.errors import ModelError

GIB = 2**30


def run(first: int, count: int, folder: Path) -> Counter[str]:
    """Import damaged models; counts of how each ended. A crash is whatever is not a ModelError."""
    names = sorted(p for p in FIXTURES.glob("*.onnx") if p.stem != "external_data")
    files = [p.read_bytes() for p in names]
    assert files
    path = folder / "model.onnx"
    (folder / "link").symlink_to(FIXTURES / "README.md")
    ends: Counter[str] = Counter()
    for seed in range(first, first + count):
        path.write_bytes(damaged(seed, files))
        started = time.process_time()
        try:
            import_onnx(path)
            end = "converted"
        except ModelError as error:
            assert error.remedy, f"seed {seed}: {error}"
            end = error.code
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
        assert time.process_time() - started < 10, f"seed {seed} took too long"
        ends[end] += 1
    assert sorted(p.name for p in folder.iterdir()) == ["link", "model.onnx"]
    unit = 1 if sys.platform == "darwin" else 1024
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit < 2 * GIB
    return ends


def test_300_damaged_models_convert_or_end_in_our_error(tmp_path: Path) -> None:
    ends = run(0, 300, tmp_path)
    assert sum(ends.values()) == 300
    assert ends["converted"] > 20
    assert len(ends) >= 6  # many kinds of damage are told apart


@pytest.mark.slow
def test_5000_damaged_models_convert_or_end_in_our_error(tmp_path: Path) -> None:
    ends = run(1000, 5000, tmp_path)
    assert sum(ends.values()) == 5000
