"""How samples get to a worker: it reads the file that the client read, or is sent them.

A file is compared where it is used: its size before it is opened, and the digests of the very
samples that a task is about. So no worker reads more of a mapped file than it computes on.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from ...data import Origin, Samples
from ...errors import DataError
from ...evaluation.answers import identities

By: TypeAlias = Literal["path", "value"]
WAYS: tuple[By, ...] = ("path", "value")


class RefusalError(Exception):
    """A worker does not do a task: ``code`` of the error, ``worker``, and what is wrong ``where``.
    The client says what to do, in its user's words."""

    def __init__(self, code: str, worker: str, where: str, what: str) -> None:
        super().__init__(code, worker, where, what)
        self.code, self.worker, self.where, self.what = code, worker, where, what


@dataclass(frozen=True, eq=False, kw_only=True)
class ByPath:
    """``path``: the file or folder; ``size``: its bytes, None of a folder; ``source``: what the
    client's user called the samples."""

    origin: Origin
    path: Path
    size: int | None
    source: str

    def read(self, worker: str) -> Samples:
        """Raises RefusalError where there is nothing, or something else."""
        where = str(self.path)
        try:
            if self.size is not None and (found := self.path.stat().st_size) != self.size:
                raise self.other(worker, f"{found:,} bytes, the client's {self.size:,}")
            return replace(self.origin.read(), source=self.source)
        except OSError as error:
            raise RefusalError("E604", worker, where, error.strerror or str(error)) from None
        except DataError as error:
            raise RefusalError("E604", worker, where, error.what) from None

    def other(self, worker: str, how: str) -> RefusalError:
        return RefusalError("E604", worker, str(self.path), f"not the client's file ({how})")


def by_path(samples: Samples) -> ByPath | None:
    """None where they are not all that was read from somewhere."""
    if samples.origin is None:
        return None
    path = samples.origin.file
    origin = replace(samples.origin, spec=samples.origin.absolute)
    size = path.stat().st_size if path.is_file() else None
    return ByPath(origin=origin, path=path, size=size, source=samples.source)


def sent_whole(samples: Samples) -> Samples:
    """As they are sent: in memory, and on their own."""
    arrays = {name: np.array(stored) for name, stored in samples.arrays.items()}
    return replace(samples, arrays=arrays, origin=None)


def alone(samples: Samples) -> Samples:
    """The same without labels, which are the client's matter."""
    return replace(sent_whole(samples), labels=None)


def digest(samples: Samples) -> str:
    """Of the stored values of all of them."""
    return hashlib.sha256(identities(samples).tobytes()).hexdigest()
