"""What a command may write, and where: nothing that it reads, nothing that others made.

A command says what it reads and what it is going to write before its long work begins (``claim``,
``claim_file``): every refusal comes then. Each file is looked at again when it is written, since
minutes may lie in between.

    E220  cannot be written            E223  exists, and onnx2snn did not make it (``force``)
    E221  is one of the inputs         E224  two of the results would be one file
    E222  exists, no regular file      E225  another run is writing into the folder
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ..errors import DataError
from ..runtime.storage.atomic import Destination, destination, unwritable, write_atomically
from ..spelling import spelled
from .marks import Kind, made_by_us
from .occupied import Occupied, occupy

Identity: TypeAlias = tuple[int, int]
ELSEWHERE = "Choose another path for the output."


@dataclass(frozen=True, eq=False, kw_only=True)
class Results:
    """The files that one command writes.

    Attributes:
        folder: where; made with the first file where ``makes_folder``, else it must exist.
        kinds: by file name in ``folder``, which may lead into a folder below it.
        inputs: the files and folders that the command reads, by device and number of the file.
        force: whether files that others made are replaced.
        makes_folder: whether ``folder`` is made with the first file.
        occupied: keeps other runs out of ``folder``.
    """

    folder: Path
    kinds: Mapping[str, Kind]
    inputs: Mapping[Identity, Path]
    force: bool
    makes_folder: bool
    occupied: Occupied | None = None

    def write(self, name: str, content: bytes | str) -> None:
        """Write one of the files in one step. Raises DataError where that is refused."""
        place = self.destination(name)
        data = content.encode() if isinstance(content, str) else content
        write_atomically(place.path, data, make_folders=self.makes_folder)

    def destination(self, name: str) -> Destination:
        """Where ``name`` is written. Raises DataError where that is refused (E220 to E223)."""
        path = self.folder / name
        _check_folder(path.parent, may_be_made=self.makes_folder)
        place = destination(path)
        if place.path.parent != Path(os.path.realpath(path.parent)):  # a link that leads elsewhere
            _check_folder(place.path.parent, may_be_made=False)
        _refuse_inputs(path, place, self.inputs)
        if place.status is not None and not self.force:
            _refuse_foreign(path, real=place.path, kind=self.kinds[name])
        return place


def claim(
    folder: Path, kinds: Mapping[str, Kind], *, inputs: Iterable[Path], force: bool
) -> Results:
    """Results in a folder of their own, all of them looked at. Raises DataError (E220 to E225)."""
    read = _identities(inputs)
    results = Results(
        folder=folder,
        kinds=kinds,
        inputs=read,
        force=force,
        makes_folder=True,
        occupied=occupy(folder),
    )
    _check_all(results)
    return results


def claim_file(path: Path, kind: Kind, *, inputs: Iterable[Path], force: bool) -> Results:
    """One file, in a folder that exists. Raises DataError (E220 to E223)."""
    return claim_files(path.parent, {path.name: kind}, inputs=inputs, force=force)


def claim_files(
    folder: Path, kinds: Mapping[str, Kind], *, inputs: Iterable[Path], force: bool
) -> Results:
    """Files in a ``folder`` that exists. Raises DataError (E220 to E224)."""
    read = _identities(inputs)
    results = Results(folder=folder, kinds=kinds, inputs=read, force=force, makes_folder=False)
    _check_all(results)
    return results


def refuse_existing(path: Path) -> None:
    """Raise DataError (E223) where anything is at ``path``: of what people go on to edit."""
    if os.path.lexists(path):
        raise DataError(
            "exists, and is never replaced",
            where=str(path),
            remedy="Choose another name.",
            code="E223",
        )


def _identities(inputs: Iterable[Path]) -> dict[Identity, Path]:
    """By what the system tells files apart, whatever their paths; an input that cannot be read is
    left to the code that reads it."""
    found: dict[Identity, Path] = {}
    for path in inputs:
        with suppress(OSError):
            found.setdefault(_identity(os.stat(path)), path)
    return found


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def _check_all(results: Results) -> None:
    taken: dict[Path, str] = {}
    for name in results.kinds:
        path = results.destination(name).path
        if path in taken:
            raise one_file(str(results.folder), first=taken[path], second=name)
        taken[path] = name


def one_file(where: str, *, first: str, second: str) -> DataError:
    """The error of two results that would be written to one file."""
    return DataError(
        f"the results {first} and {second} would be one file",
        where=where,
        remedy=ELSEWHERE,
        code="E224",
    )


def _check_folder(folder: Path, *, may_be_made: bool) -> None:
    """Raise DataError where no file can be made in ``folder``."""
    there = Path(os.path.realpath(folder))
    while may_be_made and not os.path.lexists(there):
        there = there.parent
    if not there.is_dir():
        exists = os.path.lexists(there)
        raise DataError(
            f"cannot write into {there}: " + ("it is no folder" if exists else "no such folder"),
            where=str(folder),
            remedy=ELSEWHERE,
            code="E220",
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise DataError(
            f"cannot write into {there}: permission denied, or a read-only disk",
            where=str(folder),
            remedy=ELSEWHERE,
            code="E220",
        )


def _refuse_inputs(path: Path, place: Destination, inputs: Mapping[Identity, Path]) -> None:
    """Raise DataError where the output is an input, by whatever path, or lies in one."""
    why = None
    source = None if place.status is None else inputs.get(_identity(place.status))
    if source is not None:
        why = f"this is {source}, which the command reads, and would be destroyed"
    for folder in place.path.parents if why is None else ():
        with suppress(OSError):  # a folder that is still to be made
            source = inputs.get(_identity(os.stat(folder)))
            if source is not None:
                why = f"this lies in {source}, a folder that the command reads"
    if why is not None:
        raise DataError(why, where=str(path), remedy=ELSEWHERE, code="E221")


def _refuse_foreign(path: Path, *, real: Path, kind: Kind) -> None:
    if not made_by_us(real, kind):
        raise DataError(
            f"exists, and is no {kind.value} that onnx2snn made",
            where=str(path),
            remedy="Choose another path for the output, or replace it with "
            f"{spelled('force', True)}.",
            code="E223",
        )
    if not os.access(real, os.W_OK):
        raise unwritable(path, "it is write-protected")
