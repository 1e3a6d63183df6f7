"""A folder for what libraries write and we read again."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import ModelError

FULL = 2**16  # bytes: a disk with less has no room


@contextmanager
def temporary_folder(size: int) -> Iterator[Path]:
    """A folder for what ONNX Runtime writes, about ``size`` bytes. Raises ModelError (E220) where
    there is no room, which would read as a damaged model."""
    try:
        with tempfile.TemporaryDirectory(prefix=f"onnx2snn-{os.getpid()}-") as folder:
            check_room(Path(folder), size)
            yield Path(folder)
    except OSError as error:
        raise ModelError(
            f"a temporary file of {max(size >> 20, 1)} MiB cannot be written: "
            f"{error.strerror or error}",
            where="the folder of temporary files",
            remedy="Make room there, or set TMPDIR to another folder.",
            code="E220",
        ) from error


def check_room(folder: Path, size: int) -> None:
    """Raises OSError where so many bytes do not fit any more."""
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
