"""Files are written in one step: a temporary file in the same folder, synced, then renamed.

A reader sees the old content or the new, whatever happens in between; on any failure, an interrupt
included, the temporary file is removed; that of a process that was killed goes with the next write
into the folder, told by a lock that only a living process holds. A symbolic link is written
through: the file that it leads to is replaced, the link stays. What exists and is no regular file
is never replaced.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ...errors import DataError

if CAN_LOCK := sys.platform != "win32":
    import fcntl

TEMPORARY = ".onnx2snn-{}.tmp"


@dataclass(frozen=True, eq=False, kw_only=True)
class Destination:
    """Where what is written to a path ends up.

    Attributes:
        path: with every symbolic link resolved.
        status: of the regular file that is there; None where there is none yet.
    """

    path: Path
    status: os.stat_result | None


def destination(path: Path) -> Destination:
    """Follow ``path`` to the file that a write replaces or makes.

    Raises DataError: E222 where a device, pipe or socket is there, E220 for a folder, for links
    that lead in a circle, and where the path cannot be followed.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:  # also a link that leads to no file yet
        return Destination(path=Path(os.path.realpath(path)), status=None)
    except OSError as error:
        raise unwritable(path, error.strerror) from error
    if stat.S_ISDIR(status.st_mode):
        raise unwritable(path, "a folder is there")
    if not stat.S_ISREG(status.st_mode):
        raise DataError(
            "exists and is no regular file, but a device, a pipe or a socket",
            where=str(path),
            remedy="Choose another path for the output.",
            code="E222",
        )
    return Destination(path=Path(os.path.realpath(path)), status=status)


def unwritable(path: Path, why: str | None) -> DataError:
    """The error of an output that cannot be written."""
    return DataError(
        f"cannot write the file ({why})",
        where=str(path),
        remedy="Choose another path for the output, in a folder that can be written.",
        code="E220",
    )


def write_atomically(path: Path, content: bytes, *, make_folders: bool = False) -> None:
    """Replace what ``path`` leads to by ``content``, or make it; an existing file keeps its
    permissions and, where the system lets us, its owner.

    ``make_folders``: make the folders above it that are missing. Raises as ``destination``, and
    DataError E220 where the file cannot be written.
    """
    place = destination(path)
    folder = place.path.parent
    temporary: Path | None = None
    made: list[Path] = []
    try:
        try:
            if make_folders:
                _make(folder, made)
            _remove_leftovers(folder)
            temporary, file = _temporary(folder)
            with file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if place.status is not None:
                _keep_permissions(temporary, place.status)
            os.replace(temporary, place.path)
        except BaseException:
            if temporary is not None:
                with suppress(OSError):
                    temporary.unlink()
            for new in reversed(made):
                with suppress(OSError):  # others may have written into it
                    new.rmdir()
            raise
    except OSError as error:
        raise unwritable(path, error.strerror) from error
    _sync_folder(folder)


def _temporary(folder: Path) -> tuple[Path, BinaryIO]:
    """A new file in ``folder``, open and locked."""
    while True:
        path = folder / TEMPORARY.format(secrets.token_hex(8))
        file = open(path, "xb")  # noqa: SIM115 - the caller closes it
        with suppress(OSError):  # a disk without locks: then nobody has one
            _lock(file.fileno())
        if os.fstat(file.fileno()).st_nlink:  # nobody took it for a leftover before it was locked
            return path, file
        file.close()


def _lock(handle: int) -> None:
    """Raises OSError where another process has the file's lock, or the disk knows none."""
    if CAN_LOCK:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove_leftovers(folder: Path) -> None:
    for path in folder.glob(TEMPORARY.format("[0-9a-f]" * 16)) if CAN_LOCK else ():
        with suppress(OSError):
            handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            try:
                _lock(handle)
                path.unlink()
            finally:
                os.close(handle)


def _make(folder: Path, made: list[Path]) -> None:
    """``folder`` and those above it that are missing, each of which is noted in ``made`` first."""
    missing = [folder, *folder.parents]
    missing = missing[: next(i for i, path in enumerate(missing) if path.is_dir())]
    for path in reversed(missing):
        made.append(path)
        path.mkdir(exist_ok=True)


def _keep_permissions(temporary: Path, status: os.stat_result) -> None:
    """Those of the file that is about to be replaced."""
    made = os.stat(temporary)
    if (made.st_uid, made.st_gid) != (status.st_uid, status.st_gid):
        with suppress(PermissionError):  # only an administrator may give files away
            os.chown(temporary, status.st_uid, status.st_gid)
    os.chmod(temporary, stat.S_IMODE(status.st_mode))


def _sync_folder(folder: Path) -> None:
    """Make the new name itself outlast a power cut, on systems that open folders."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
