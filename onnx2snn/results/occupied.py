"""One run at a time writes into a folder: a second one is refused while the first is at work.

Held by a name of Linux's that is no file (an abstract socket, unix(7)): it is gone with the
process, however that ends, and leaves nothing behind. Elsewhere nothing is held.
"""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import sys
import weakref
from pathlib import Path

from ..errors import DataError


class Occupied:
    """A folder that this process writes into, as long as the object is there."""

    def __init__(self, name: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._owner = os.getpid()
        weakref.finalize(self, self._socket.close)
        self._socket.bind(name)

    @property
    def ours(self) -> bool:
        return self._owner == os.getpid()


_HELD: weakref.WeakValueDictionary[str, Occupied] = weakref.WeakValueDictionary()


def occupy(folder: Path) -> Occupied | None:
    """The ``folder``, which need not exist yet. Raises DataError (E225) where another process of
    this user has it; None where the system has no such names."""
    if sys.platform != "linux":
        return None
    where = f"{os.geteuid()}:{os.path.realpath(folder)}"
    name = f"\0onnx2snn-{hashlib.sha256(os.fsencode(where)).hexdigest()}"
    held = _HELD.get(name)
    if held is None or not held.ours:
        try:
            held = _HELD[name] = Occupied(name)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:  # no sockets here: as elsewhere
                return None
            raise in_use(folder) from None
    return held


def in_use(folder: Path) -> DataError:
    """The error of a folder that another run writes into."""
    return DataError(
        "another run of onnx2snn is writing into this folder",
        where=str(folder),
        remedy="Wait for it, or choose another folder.",
        code="E225",
    )
