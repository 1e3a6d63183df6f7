"""What DATA names, and arrays from ``.npz`` and ``.npy`` files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from ..errors import DataError, resembling
from ..runtime.ops import Array

MOST_UNPACKED = 2**28  # bytes of an entry from which on it may be a zip bomb,
MOST_RATIO = 500  # if it is this many times what is stored; zeros compress 1000 times


def data_path(spec: str) -> tuple[Path, str]:
    """The file or folder that DATA names, and the keys behind it."""
    path, _, keys = spec.partition(":") if not _is_windows_path(spec) else (spec, "", "")
    return Path(path), keys


def data_files(spec: str) -> Iterator[Path]:
    """What DATA is read from: the file; or the folder, and all in it that also has a place
    elsewhere, as links of both kinds have. ``load_samples`` tells of what cannot be read."""
    path, _ = data_path(spec)
    yield path
    with suppress(OSError):
        if path.is_dir():
            for folder in (path, *(d for d in path.iterdir() if d.is_dir())):
                yield from (f for f in folder.iterdir() if f.is_symlink() or f.stat().st_nlink > 1)


def others_beside(spec: str) -> str | None:
    """DATA of other samples and labels in the file that ``spec`` is of: the arrays of the first
    names, by the alphabet from behind (``x_test`` before ``x_calib``), whose samples have the same
    shape and that have labels, one for each; None where there are none."""
    file, keys = data_path(spec)
    shapes = {} if file.suffix != ".npz" or not file.is_file() else _shapes(file)
    taken = keys.partition(",")[0] or ("x" if "x" in shapes else "")
    for name in sorted(shapes, reverse=True):
        same = taken in shapes and shapes[name][1:] == shapes[taken][1:]
        labels = f"y{name[1:]}"
        if name == taken or not (same and name[:1] == "x" and labels in shapes):
            continue
        if shapes[labels][:1] == shapes[name][:1]:
            return f"{file}:{name},{labels}"
    return None


def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Of the arrays of an ``.npz`` file, from their heads alone; none where it is not sound."""
    out = {}
    try:
        with ZipFile(file) as archive:
            for entry in archive.namelist():
                with archive.open(entry) as head:
                    version = np.lib.format.read_magic(head)
                    read = {
                        (1, 0): np.lib.format.read_array_header_1_0,
                        (2, 0): np.lib.format.read_array_header_2_0,
                    }[version]
                    out[entry.removesuffix(".npy")] = read(head)[0]
    except (OSError, ValueError, KeyError, BadZipFile):
        return {}
    return out


def _is_windows_path(spec: str) -> bool:
    return len(spec) > 2 and spec[1] == ":" and spec[2] in "\\/" and spec.count(":") == 1


def load_file(file: Path, *, mmap: bool = False) -> Any:
    if not file.is_file():  # a pipe would be waited for
        raise DataError(
            "no regular file, but a device, a pipe or a socket",
            where=str(file),
            remedy="Save the data in an .npz or .npy file.",
            code="E202",
        )
    try:
        return np.load(file, mmap_mode="r" if mmap else None, allow_pickle=False)
    except MemoryError:
        raise
    except Exception as error:  # NumPy and zipfile document none of what they raise
        raise DataError(
            "not a NumPy file, or cut short",
            where=str(file),
            remedy="DATA is an .npz or .npy file, or a folder of class folders of images.",
            code="E202",
        ) from error


def read_npz(file: Path, keys: str, inputs: list[str]) -> tuple[dict[str, Array], Array | None]:
    archive = load_file(file)
    if isinstance(archive, np.ndarray):
        return {inputs[0]: archive}, None
    names = list(archive.files)
    _check_archive(archive, file)
    x_key, comma, y_key = keys.partition(",")
    if comma and not (x_key and y_key):
        raise DataError(
            f"':{keys}' leaves a key out",
            where=str(file),
            remedy=f"Say FILE.npz:X_KEY or FILE.npz:X_KEY,Y_KEY. It has: {', '.join(names)}.",
            code="E203",
        )
    with archive:
        if len(inputs) > 1 and not x_key:
            arrays = {name: _entry(archive, name, file, names) for name in inputs}
        else:
            if not x_key:
                x_key, y_key = _default_keys(names, file)
            arrays = {inputs[0]: _entry(archive, x_key, file, names)}
        labels = _entry(archive, y_key, file, names) if y_key else None
    return arrays, labels


def _default_keys(names: list[str], file: Path) -> tuple[str, str]:
    """Samples and labels where no key is given. Names such as x_test are not guessed: the same
    file given as calibration data would then calibrate on what it is judged on."""
    if "x" in names:
        return "x", "y" if "y" in names else ""
    if len(names) == 1:
        return names[0], ""
    raise DataError(
        f"holds several arrays ({', '.join(names)})",
        where=str(file),
        remedy="Say which: FILE.npz:X_KEY or FILE.npz:X_KEY,Y_KEY.",
        code="E203",
    )


def _entry(archive: Any, key: str, file: Path, names: list[str]) -> Array:
    if key not in names:
        meant = resembling(key, names)
        raise DataError(
            f"has no array '{key}'",
            where=str(file),
            remedy=(f"Did you mean '{meant}'? " if meant else "") + f"It has: {', '.join(names)}.",
            code="E203",
        )
    try:
        found = archive[key]
    except MemoryError:
        raise
    except Exception as error:  # NumPy and zipfile document none of what they raise
        raise DataError(
            f"array '{key}' cannot be read ({error})",
            where=str(file),
            remedy="Save it again with numpy.savez.",
            code="E202",
        ) from error
    if not isinstance(found, np.ndarray):
        raise DataError(
            f"'{key}' is no NumPy array", where=str(file), remedy="Check the file.", code="E202"
        )
    return found


def _check_archive(archive: Any, file: Path) -> None:
    """Raise DataError (E217) for a zip bomb: more than what deflate makes of real numbers."""
    for entry in archive.zip.infolist():
        unpacked = entry.file_size
        if unpacked > MOST_UNPACKED and unpacked > MOST_RATIO * max(entry.compress_size, 1):
            raise DataError(
                f"'{entry.filename}' is {unpacked >> 20} MiB in {entry.compress_size} bytes",
                where=str(file),
                remedy="Save it again with numpy.savez.",
                code="E217",
            )
