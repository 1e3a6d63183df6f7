"""Compiled kernels on disk: read back only where nobody else can have written them, and only whole.

Machine code that is loaded can do anything its user can. So a folder and a file in it count only
where they belong to this user or to root and nobody else may write them, and the code is followed
by its SHA-256, checked on the very bytes that are loaded. Whoever can rename what lies above such a
folder can put another one there, but none that belongs to this user, so folders above need no
check. What is not trusted, cut or damaged is as good as missing.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ....storage.sealed import sealed, unsealed

PARTIAL = (".kernels-", ".part")  # how the name of a file begins and ends while it is written
STALE = 600  # seconds after which nobody can still be writing such a file


def folders() -> Iterator[Path]:
    """Where machine code is kept: beside Python's own, or with the user's."""
    caches = (os.environ.get(name) for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"))
    places = [
        Path(__file__).parent / "__pycache__",
        *(Path(cache) / "onnx2snn" for cache in caches if cache),
    ]
    with suppress(RuntimeError):  # a user without a home
        places.append(Path.home() / ".cache" / "onnx2snn")
    return (place for place in places if place.is_absolute())  # not in the working directory


def kept(key: str) -> bytes | None:
    """The code kept under ``key``, from the first folder that has it whole; None without one."""
    for folder in folders():
        with suppress(OSError):
            _check(folder.stat())
            code = _unsealed(key, _content(folder / _name(key)))
            if code is not None:
                return code
    return None


def keep(key: str, code: bytes) -> None:
    """Keep ``code`` in the first folder that can be written and trusted. Raises OSError that says
    of each folder why it cannot."""
    reasons = []
    for folder in folders():
        try:
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            _check(folder.stat())
            _remove_leftovers(folder)
            _write(folder / _name(key), _sealed(key, code))
            return
        except OSError as error:
            reasons.append(f"{folder}: {error.strerror or error}")
    raise OSError("; ".join(reasons) or "there is no folder for them")


def _sealed(key: str, code: bytes) -> bytes:
    """``code`` behind the key that it was made for, with a checksum of both."""
    return sealed(key.encode() + code)


def _unsealed(key: str, content: bytes) -> bytes | None:
    """The code in what ``_sealed`` made for ``key``; None where a bit of it differs."""
    whole = unsealed(content)
    if whole is None or not whole.startswith(key.encode()):
        return None
    return whole[len(key.encode()) :]


def _name(key: str) -> str:
    return f"kernels-{key}.bin"


def _check(status: os.stat_result) -> None:
    """Raises PermissionError where somebody else could have written a file or folder."""
    if sys.platform == "win32":  # no modes there; the folders are the user's own
        return
    if status.st_uid not in (0, os.geteuid()):
        raise PermissionError("belongs to another user")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError("others can write to it (chmod go-w)")


def _content(path: Path) -> bytes:
    """A regular file's bytes, after a look at the file that was opened, not at one of its name."""
    flags = os.O_RDONLY
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):  # a pipe would block
        flags |= getattr(os, name, 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        _check(status)
        if not stat.S_ISREG(status.st_mode):
            raise PermissionError("is no regular file")
        return file.read()


def _write(path: Path, content: bytes) -> None:
    """In one step, whoever else does the same; nothing half-written stays after an error."""
    begin, end = PARTIAL
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=begin, suffix=end)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(partial, 0o644)  # beside a package of root's for all users
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):  # it has its name already
            os.unlink(partial)
        raise


def _remove_leftovers(folder: Path) -> None:
    """Files of processes that were killed while they wrote."""
    begin, end = PARTIAL
    for path in folder.glob(f"{begin}*{end}"):
        with suppress(OSError):
            if time.time() - path.lstat().st_mtime > STALE:
                path.unlink()
