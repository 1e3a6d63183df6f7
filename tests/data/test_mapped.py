"""Samples in mapped files: read as any others, and not kept in memory."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from onnx2snn.data import Preprocessing, load_samples
from onnx2snn.data.mapped import forget


def resident(path: Path) -> int:
    """KiB of this process's pages of a file."""
    lines = Path("/proc/self/smaps").read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.endswith(path.name))
    return next(int(line.split()[1]) for line in lines[at:] if line.startswith("Rss:"))


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
@pytest.mark.parametrize("which", [slice(0, 4000), np.arange(0, 4000, 2)], ids=["batch", "some"])
def test_what_was_read_of_a_file_leaves_memory(which: object, tmp_path: Path) -> None:
    stored = np.random.default_rng(0).random((4000, 1, 16, 16), np.float32)
    np.save(tmp_path / "x.npy", stored)
    samples = load_samples(str(tmp_path / "x.npy"), {"x": (1, 16, 16)}, Preprocessing())
    read = samples.at(which) if isinstance(which, np.ndarray) else None  # type: ignore[arg-type]
    got = samples.batch(0, 4000)["x"] if read is None else read.whole()["x"]
    assert (got == stored[which]).all()  # type: ignore[index]
    assert resident(tmp_path / "x.npy") < 100  # of 4,000


def test_what_was_written_into_a_private_mapping_stays(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(5000))
    private = np.load(tmp_path / "x.npy", mmap_mode="c")
    private[:] = 1
    forget(private)
    forget(np.zeros(3))
    assert private.sum() == 5000
