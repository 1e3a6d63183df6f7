"""Samples and labels from files, and the preprocessing that a network was trained with.

DATA is ``file.npz[:x_key[,y_key]]`` (without keys: "x" and "y", or the only array), a ``.npy``
file, or a folder of class folders of images (extra ``images``). Samples stay as stored; batches are
preprocessed when they are used, so memory does not grow with them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..arguments import checked
from ..display import shown
from ..errors import DataError, ModelError, UsageError, did_you_mean, resembling
from ..runtime.ops import Array, Shape
from ..runtime.semantics.labels import mapping_text, numbered
from ..runtime.semantics.samples import spread_over
from ..spelling import spelled
from .folders import read_folder
from .mapped import forget

LAYOUTS = ("NCHW", "NHWC")
MOST_UNPACKED = 2**28  # bytes of an entry from which on it may be a zip bomb,
MOST_RATIO = 500  # if it is this many times what is stored; zeros compress 1000 times


@dataclass(frozen=True, eq=False, kw_only=True)
class Preprocessing:
    """x -> (x / scale - mean) / std per channel, channels first.

    ``layout`` is that of the stored data; the network always gets channels first. ``mean`` and
    ``std`` have one value, or one per channel: a sequence.
    """

    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layout: Literal["NCHW", "NHWC"] = "NCHW"

    def __post_init__(self) -> None:
        for name, value in (("scale", self.scale), ("mean", self.mean), ("std", self.std)):
            if not (_is_number(value) if name == "scale" else _are_numbers(value)):
                wanted = "a number" if name == "scale" else "a tuple of numbers"
                raise UsageError(f"{name} is {wanted}, not {value!r}")
        if self.scale <= 0:
            raise UsageError(f"{spelled('scale')} must be greater than 0, got {self.scale}")
        if any(s <= 0 for s in self.std):
            raise UsageError(f"{spelled('std')} must be greater than 0, got {self.std}")
        if self.layout not in LAYOUTS:
            raise UsageError(
                f"{spelled('layout')} is one of {', '.join(LAYOUTS)}, got '{self.layout}'"
            )

    def apply(self, x: Array) -> Array:
        """(samples, *stored shape) -> float32 (samples, *network shape)."""
        out = np.asarray(x, np.float32)
        if self.layout == "NHWC" and out.ndim > 2:
            out = np.moveaxis(out, -1, 1)
        out = out / np.float32(self.scale)
        out = out - self._per_channel(self.mean, out, 0.0, spelled("mean"))
        return np.ascontiguousarray(out / self._per_channel(self.std, out, 1.0, spelled("std")))

    def _per_channel(self, values: Sequence[float], x: Array, default: float, name: str) -> Array:
        if not values:
            return np.float32(default)  # type: ignore[return-value]
        if x.ndim < 2 or len(values) not in (1, x.shape[1]):
            channels = x.shape[1] if x.ndim > 1 else 1
            raise DataError(
                f"{name} has {len(values)} values, the data has {channels} channels",
                remedy=f"Give one value, or one per channel; check {spelled('layout')}.",
                code="E216",
            )
        return np.array(values, np.float32).reshape(-1, *(1,) * (x.ndim - 2))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {k: [*v] if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Preprocessing:
        """What ``to_json`` wrote; a key that is left out has its default.

        Raises ModelError (E323) for an unknown key or a value that its key does not take.
        """
        known = [f.name for f in fields(Preprocessing)]
        for key, value in document.items():
            if key not in known:
                raise _misread(f"there is no '{key}'", remedy=did_you_mean(key, known))
            if not _READABLE[key](value):
                raise _misread(f"'{key}' is {value!r}", remedy="Convert the model again.")
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in document.items()
        }
        try:
            return Preprocessing(**values)
        except UsageError as error:  # it speaks of options
            raise _misread(error.what, remedy="Convert the model again.") from None


def _misread(what: str, *, remedy: str) -> ModelError:
    return ModelError(
        f"the converted file's preprocessing cannot be read: {what}", remedy=remedy, code="E323"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)  # NumPy's too


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(_is_number(v) for v in value)


# Per key of a file's preprocessing, whether a JSON value is of its kind.
_READABLE: Mapping[str, Callable[[Any], bool]] = {
    "scale": _is_number,
    "mean": _are_numbers,
    "std": _are_numbers,
    "layout": lambda value: isinstance(value, str),
}


# A class keeps its name where its constructor is checked.
Preprocessing.__init__ = checked(Preprocessing.__init__)  # type: ignore[method-assign]


@dataclass(frozen=True, eq=False, kw_only=True)
class Origin:
    """How samples were read (``load_samples``): who sees the same file can read them again."""

    spec: str
    shapes: Mapping[str, Shape]
    preprocessing: Preprocessing
    limit: int | None
    spread: bool
    skip_unreadable: bool

    @property
    def file(self) -> Path:
        return Path(os.path.abspath(data_path(self.spec)[0]))

    @property
    def absolute(self) -> str:
        """DATA, from whichever folder."""
        keys = data_path(self.spec)[1]
        return f"{self.file}:{keys}" if keys else str(self.file)

    def read(self) -> Samples:
        """Raises as ``load_samples``."""
        return load_samples(
            self.spec,
            self.shapes,
            self.preprocessing,
            limit=self.limit,
            spread=self.spread,
            skip_unreadable=self.skip_unreadable,
        )


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Samples:
    """Stored samples, by input name, with optional labels.

    ``arrays``: (samples, *stored shape) each; ``labels``: (samples, ...) numbers as they were
    given (``runtime.semantics.labels`` reads them for a network), or None; ``source``: what the
    user called them, for messages; ``classes``: the number of each label that was a name; ``said``:
    what was done to the data, a sentence each; ``origin``: None where they are not all that was
    read.
    """

    arrays: Mapping[str, Array]
    labels: Array | None
    preprocessing: Preprocessing
    source: str
    classes: Mapping[str, int] = field(default_factory=dict)
    said: tuple[str, ...] = ()
    origin: Origin | None = None

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def batch(self, start: int, stop: int) -> dict[str, Array]:
        """Preprocessed samples ``start`` .. ``stop - 1``, by input name.

        Raises DataError where values are not finite.
        """
        out = {k: self.preprocessing.apply(a[start:stop]) for k, a in self.arrays.items()}
        self.forget()
        for name, x in out.items():
            if not np.isfinite(x).all():
                raise DataError(
                    f"input '{name}' has NaN or infinite values",
                    where=self.source,
                    remedy=f"Clean the data; check {spelled('scale')} and {spelled('std')}.",
                    code="E215",
                )
        return out

    def forget(self) -> None:
        """What was read of mapped files leaves memory."""
        for stored in self.arrays.values():
            forget(stored)

    def batches(self, size: int) -> Iterator[tuple[int, dict[str, Array]]]:
        for start in range(0, len(self), size):
            yield start, self.batch(start, min(start + size, len(self)))

    def whole(self) -> dict[str, Array]:
        return self.batch(0, len(self))

    def section(self, start: int, stop: int) -> Samples:
        """Samples ``start`` .. ``stop - 1`` as Samples."""
        return self.at(slice(start, stop))

    def at(self, which: slice | Array) -> Samples:
        """Some samples, by a slice, marks or numbers."""
        arrays = {k: a[which] for k, a in self.arrays.items()}
        if not isinstance(which, slice):  # copies
            self.forget()
        return replace(
            self,
            arrays=arrays,
            labels=None if self.labels is None else self.labels[which],
            origin=None,
        )

    def at_most(self, limit: int | None, *, spread: bool) -> Samples:
        """The first ``limit``, or so many ``spread`` over all; None: all."""
        if limit is None or len(self) <= limit:
            return self
        return self.at(spread_over(len(self), most=limit) if spread else slice(0, limit))

    def __repr__(self) -> str:
        arrays = ", ".join(f"{shown(k)} {a.shape[1:]}" for k, a in self.arrays.items())
        labels = "no labels" if self.labels is None else "labels"
        return f"Samples({shown(self.source)}: {len(self)} of {arrays}, {labels})"


def load_samples(
    spec: str,
    shapes: Mapping[str, Shape],
    preprocessing: Preprocessing,
    *,
    limit: int | None = None,
    spread: bool = False,
    skip_unreadable: bool = False,
) -> Samples:
    """Read DATA for a network whose inputs have these sample ``shapes``.

    With several inputs, an npz file needs an array per input name. ``limit`` keeps the first N,
    with ``spread`` N spread over all (of a folder always N from all classes in turn);
    ``skip_unreadable``: pictures that cannot be read are left out. Raises DataError with what,
    where and a remedy.
    """
    file, keys = data_path(spec)
    if keys and (file.is_dir() or file.suffix == ".npy"):
        raise DataError(
            f"has no arrays by name, so ':{keys}' names nothing",
            where=str(file),
            remedy="Leave it out: a .npy file is one array, a folder has images and their classes.",
            code="E203",
        )
    classes: Mapping[str, int] = {}
    said: tuple[str, ...] = ()
    if file.is_dir():
        name, shape = next(iter(shapes.items()))
        read = read_folder(file, shape, limit=limit, skip_unreadable=skip_unreadable)
        arrays, labels = {name: read.pictures}, read.labels
        classes, said = read.classes, read.said
    elif not file.exists():
        raise DataError("no such file", where=str(file), remedy="Check the path.", code="E201")
    elif file.suffix == ".npy":
        arrays, labels = {next(iter(shapes)): _load(file, mmap=True)}, None
    else:
        arrays, labels = _read_npz(file, keys, list(shapes))
    if labels is not None and not file.is_dir():
        labels, classes = numbered(labels)  # before the limit: the names are those of all samples
        said = (f"labels are names, numbered: {mapping_text(classes)}",) if classes else ()
    samples = Samples(
        arrays=arrays,
        labels=labels,
        preprocessing=preprocessing,
        source=spec,
        classes=classes,
        said=said,
    )
    check_samples(samples, shapes)
    samples = samples.at_most(limit, spread=spread)
    origin = Origin(
        spec=spec,
        shapes=shapes,
        preprocessing=preprocessing,
        limit=limit,
        spread=spread,
        skip_unreadable=skip_unreadable,
    )
    return replace(samples, origin=origin)


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


def _is_windows_path(spec: str) -> bool:
    return len(spec) > 2 and spec[1] == ":" and spec[2] in "\\/" and spec.count(":") == 1


def _load(file: Path, *, mmap: bool = False) -> Any:
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


def _read_npz(file: Path, keys: str, inputs: list[str]) -> tuple[dict[str, Array], Array | None]:
    archive = _load(file)
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


def check_samples(samples: Samples, shapes: Mapping[str, Shape]) -> None:
    """Raise DataError where arrays or labels are not what inputs of these ``shapes`` take."""
    where = samples.source
    for name, array in samples.arrays.items():
        if array.dtype.kind not in "fiub":
            raise DataError(f"array of type {array.dtype}, not numbers", where=where, code="E206")
        if array.ndim == 0 or array.size == 0:
            raise DataError("the data has no samples", where=where, code="E213")
        got, wanted = samples.preprocessing.apply(array[:1]).shape[1:], tuple(shapes[name])
        if got != wanted:
            other = "NCHW" if samples.preprocessing.layout == "NHWC" else "NHWC"
            moved = (wanted[1:] + wanted[:1]) if wanted else ()
            swapped = got == moved or tuple(array.shape[1:]) == (
                wanted if samples.preprocessing.layout == "NHWC" else moved
            )
            remedy = (
                f"Try {spelled('layout', other)}."
                if swapped
                else f"Check the array and {spelled('layout')}."
            )
            if samples.labels is not None and samples.labels.shape[1:] in (wanted, moved):
                remedy = "The labels have that shape: are the keys exchanged (X_KEY,Y_KEY)?"
            raise DataError(
                f"samples have shape {got}, input '{name}' takes {wanted}",
                where=where,
                remedy=remedy,
                code="E212",
            )
    sizes = {name: len(array) for name, array in samples.arrays.items()}
    if len(set(sizes.values())) > 1:
        each = ", ".join(f"{name} {count}" for name, count in sizes.items())
        raise DataError(
            f"inputs differ in their number of samples: {each}", where=where, code="E214"
        )
    labels = samples.labels
    if labels is not None and (labels.ndim == 0 or len(labels) != len(samples)):
        count = len(labels) if labels.ndim else "a single number in place of"
        raise DataError(f"{len(samples)} samples but {count} labels", where=where, code="E207")
