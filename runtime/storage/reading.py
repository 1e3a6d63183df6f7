"""A whole file, read in bounded time and memory, whatever the path leads to."""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from pathlib import Path

MOST = (
    2**31 - 1
)  # bytes: what a protobuf message can hold (protobuf.dev, "Total size of the message")
SILENCE = 10.0  # seconds without a byte after which a pipe's writer is given up


def read_whole(path: Path, *, most: int = MOST) -> bytes:
    """The bytes of a regular file, or of a pipe that somebody writes to (``<(command)``).

    Raises OSError, whose ``strerror`` says what is wrong: a file that cannot be read, is larger
    than ``most`` bytes, is a device or a socket, or a pipe that nobody writes to.
    """
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode):
        if status.st_size > most:
            raise OSError(errno.EFBIG, f"{status.st_size / 2**30:.1f} GiB, which is too large")
        return path.read_bytes()
    if not stat.S_ISFIFO(status.st_mode):
        raise OSError(errno.EINVAL, "no regular file, but a device or a socket")
    if not hasattr(select, "poll"):  # Windows, which has no named pipes of this kind
        return path.read_bytes()
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # else it waits for a writer
    try:
        return _drained(handle, most=most)
    finally:
        os.close(handle)


def _drained(pipe: int, *, most: int) -> bytes:
    content, asked = bytearray(), select.poll()
    asked.register(pipe, select.POLLIN)
    heard = time.monotonic()
    while len(content) <= most:
        if not asked.poll(1000 * max(heard + SILENCE - time.monotonic(), 0)):
            raise OSError(errno.ETIMEDOUT, f"a pipe that nothing came through for {SILENCE:.0f} s")
        try:
            part = os.read(pipe, 2**20)
        except BlockingIOError:
            continue
        if not part:
            return bytes(content)
        content += part
        heard = time.monotonic()
    raise OSError(errno.EFBIG, "a pipe with too much to read")
