"""What an unfinished sweep has done: conversions and shards, in one SQLite file of its folder.

A row is written in one transaction, and is there whole or not at all whenever the process is
killed; a sweep that is run again goes on from the rows whose keys are its own (``fingerprint``).
Rows under other keys belong to something else and are left alone. The file is locked while it is
open, and goes with the last row that is of use.

SQLite keeps a rollback journal beside the file while it writes, which it plays back when the file
is opened again. A write-ahead log would save nothing: rows are few, and each is to last.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import DataError
from ..results.occupied import in_use
from ..runtime.parallel import last_words
from ..runtime.storage.sealed import sealed, unsealed

NAME = ".unfinished-sweep.sqlite"
OLD = ".unfinished-*.npz"  # of versions that kept a file for every run
JOURNAL = "-journal"
APPLICATION, FORMAT = 0x6F32736E, 1  # in the file's header (sqlite.org/fileformat2.html, 1.3)
MOST = 900_000_000  # bytes of a row: SQLite takes a billion. A larger network is converted again
KEPT = "what was finished is kept, and the same command goes on from there"

SCHEMA = """
CREATE TABLE conversions (key TEXT PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE shards (
    simulations TEXT NOT NULL,
    key TEXT NOT NULL,
    start INTEGER NOT NULL,
    stop INTEGER NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (key, start, stop)
) WITHOUT ROWID;
"""


class _UnusableError(Exception):
    """A file under the store's name that is no store to go on from; the text says why."""


class Store:
    """The rows of one file, which nobody else has open. Everything raises DataError where the
    disk does not let it."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection, self.path, self.spent = connection, path, False
        self._used: dict[str, set[str]] = {"conversions": set(), "shards": set()}

    def conversion(self, key: str) -> bytes | None:
        """What was kept; None where there is nothing, b"" where it is not as it was written."""
        with _told(self.path):
            row = self._connection.execute(
                "SELECT content FROM conversions WHERE key = ?", (key,)
            ).fetchone()
        self._used["conversions"].add(key)
        return None if row is None else _opened(row[0], key)

    def keep_conversion(self, key: str, content: bytes) -> None:
        if len(content) < MOST:
            with _told(self.path):
                self._connection.execute(
                    "INSERT OR REPLACE INTO conversions VALUES (?, ?)", (key, _closed(content, key))
                )
            last_words.leave(KEPT)

    def slices(self, key: str) -> list[tuple[int, int]]:
        """(start, stop) of the shards under ``key``."""
        with _told(self.path):
            return self._connection.execute(
                "SELECT start, stop FROM shards WHERE key = ? ORDER BY start", (key,)
            ).fetchall()

    def shard(self, key: str, *, start: int, stop: int) -> bytes | None:
        """As ``conversion``."""
        with _told(self.path):
            row = self._connection.execute(
                "SELECT content FROM shards WHERE key = ? AND start = ? AND stop = ?",
                (key, start, stop),
            ).fetchone()
        self._used["shards"].add(key)
        return None if row is None else _opened(row[0], f"{key} {start} {stop}")

    def keep_shard(
        self, simulations: str, *, key: str, start: int, stop: int, content: bytes
    ) -> None:
        row = (simulations, key, start, stop, _closed(content, f"{key} {start} {stop}"))
        with _told(self.path):
            self._connection.execute("INSERT OR REPLACE INTO shards VALUES (?, ?, ?, ?, ?)", row)
        last_words.leave(KEPT)

    def others(self, conversions: set[str], simulations: set[str]) -> int:
        """How many rows are of none of the ``conversions`` and ``simulations``."""
        with _told(self.path):
            made = self._connection.execute("SELECT key FROM conversions").fetchall()
            run = self._connection.execute("SELECT simulations FROM shards").fetchall()
        return sum(key not in conversions for (key,) in made) + sum(
            key not in simulations for (key,) in run
        )

    def finish(self) -> None:
        """The rows that were asked for or kept since the store was opened are of no use any more:
        they go, and the file with them where there are no others."""
        with _told(self.path):
            self.spent = not any(
                key not in keys
                for table, keys in self._used.items()
                for (key,) in self._connection.execute(f"SELECT key FROM {table}")
            )
            if not self.spent:
                self._remove_used()
        last_words.leave("")

    def _remove_used(self) -> None:
        self._connection.execute("BEGIN")
        for table, keys in self._used.items():
            rows = [(key,) for key in keys]
            self._connection.executemany(f"DELETE FROM {table} WHERE key = ?", rows)
        self._connection.execute("COMMIT")

    @property
    def empty(self) -> bool:
        with _told(self.path):
            return not any(
                self._connection.execute(f"SELECT EXISTS (SELECT 1 FROM {table})").fetchone()[0]
                for table in self._used
            )

    def close(self) -> None:
        self._connection.close()


@contextmanager
def opened(
    folder: Path, *, say: Callable[[str], None] = lambda text: None, dry: bool = False
) -> Iterator[Store]:
    """The store of ``folder``, which is made where it is missing, and goes again where nothing is
    stored. ``say`` is told what becomes of what cannot be used. ``dry``: nothing is made, what is
    there is read only.

    Raises DataError: E225 where another process has it open, E220 where it cannot be written.
    """
    path = folder / NAME
    for old in sorted(folder.glob(OLD)):
        say(f"{old} is the state of a sweep by an earlier version: not used, and may be removed")
    if dry and not path.exists():
        yield in_memory()
        return
    missing = [] if dry else [each for each in (folder, *folder.parents) if not each.exists()]
    store = None
    try:
        with _told(path):
            if not dry:
                folder.mkdir(parents=True, exist_ok=True)
            store = Store(_connected(path, say, dry=dry), path)
        last_words.leave("" if store.empty else KEPT)
        yield store
    finally:
        _leave(store, path, missing, dry=dry)


def in_memory() -> Store:
    """A store that nobody else sees, and that goes with the process."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    return Store(_checked(connection), Path(":memory:"))


def _leave(store: Store | None, path: Path, made: list[Path], *, dry: bool) -> None:
    """Close it, and remove what holds nothing, with the folders that were ``made`` for it."""
    if store is not None:
        gone = store.spent
        with suppress(DataError):  # what is wrong with the disk has been told
            gone = gone or store.empty
        store.close()
        if gone and not dry:
            for each in (Path(f"{path}{JOURNAL}"), path):  # that of a killed sweep may be there
                with suppress(OSError):
                    each.unlink()
    for folder in made:
        with suppress(OSError):  # results are in it, or it was never made
            folder.rmdir()


def _connected(path: Path, say: Callable[[str], None], *, dry: bool) -> sqlite3.Connection:
    """The locked file; one that is of no use is set aside (when ``dry``, passed over)."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    try:
        return _checked(connection)
    except _UnusableError as reason:
        connection.close()
        if dry:
            return _checked(sqlite3.connect(":memory:", isolation_level=None))
        new = _set_aside(path)
        say(
            f"the state of an earlier sweep {reason}: not used, set aside as {new}; this sweep "
            "starts anew"
        )
    except BaseException as error:
        connection.close()
        if not _is_busy(error):
            with suppress(OSError):  # no room for even an empty one
                if path.stat().st_size == 0:
                    path.unlink()
        raise
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    return _checked(connection)


def _checked(connection: sqlite3.Connection) -> sqlite3.Connection:
    """With the lock, which lasts as long as the connection, and the tables. Raises
    _UnusableError."""
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN EXCLUSIVE")
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            for statement in SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
        marks = [
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version")
        ]
        if marks != [APPLICATION, FORMAT]:
            raise _UnusableError("is of another version of onnx2snn, or of another program")
        if connection.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise _UnusableError("is damaged")
        connection.execute("COMMIT")
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorname.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            raise _UnusableError("is damaged") from error
        raise
    return connection


def _set_aside(path: Path) -> Path:
    number = 1
    while (new := path.with_suffix(f".set-aside-{number}{path.suffix}")).exists():
        number += 1
    try:
        path.rename(new)
        journal = Path(f"{path}{JOURNAL}")  # else it would be played back into the new file
        if journal.exists():
            journal.rename(f"{new}{JOURNAL}")
    except OSError as error:
        raise DataError(
            f"the state of an earlier sweep is damaged, and cannot be renamed ({error.strerror})",
            where=str(path),
            remedy="Remove it, or choose another folder for the results.",
            code="E220",
        ) from error
    return new


def _closed(content: bytes, place: str) -> bytes:
    """Sealed with its place: a row that is cut short, changed or of another key is not taken."""
    return sealed(place.encode() + b"\n" + content)


def _opened(stored: bytes, place: str) -> bytes:
    content = unsealed(stored)
    head = place.encode() + b"\n"
    return content[len(head) :] if content is not None and content.startswith(head) else b""


def _is_busy(error: BaseException) -> bool:
    """Whether another process has the file's lock."""
    name = getattr(error, "sqlite_errorname", "")
    return str(name).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """SQLite's errors and the system's as DataError."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if _is_busy(error):
            raise in_use(path.parent) from error
        raise DataError(
            f"cannot write what is finished ({getattr(error, 'strerror', None) or error})",
            where=str(path),
            remedy="Make room, or choose another folder; what was stored before stays, and the "
            "same command goes on from there.",
            code="E220",
        ) from error
