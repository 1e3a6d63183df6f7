"""A sweep's memory does not grow with the samples."""

from __future__ import annotations

import subprocess
import sys

import pytest
from places import ROOT


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_fifty_thousand_mapped_samples_take_the_memory_of_two_thousand() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "memory_of_sweep.py"), "-T", "64"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    print(done.stdout)
    assert float(done.stdout.rpartition(":")[2]) < 1.1
