"""Arrays in mapped files: what was read of them need not stay in memory."""

from __future__ import annotations

import mmap

import numpy as np

from ..runtime.ops import Array

DROP = getattr(mmap, "MADV_DONTNEED", None)


def forget(array: Array) -> None:
    """The pages of a mapped file leave this process, and stay in the system's cache for as long as
    nobody needs the room; they come again when they are read. Other arrays are left alone, and a
    private mapping ("c"), whose changes are in its pages alone."""
    if not isinstance(array, np.memmap) or array.mode == "c" or DROP is None:
        return
    mapping = getattr(array, "_mmap", None)
    if isinstance(mapping, mmap.mmap):
        mapping.madvise(DROP)
