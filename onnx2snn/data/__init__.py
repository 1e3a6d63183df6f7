"""Samples and labels from files, and the preprocessing that a network was trained with.

DATA is ``file.npz[:x_key[,y_key]]`` (without keys: "x" and "y", or the only array), a ``.npy``
file, or a folder of class folders of images (extra ``images``). Samples stay as stored; batches are
preprocessed when they are used, so memory does not grow with them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..display import shown
from ..errors import DataError
from ..runtime.ops import Array, Shape
from ..runtime.semantics.labels import mapping_text, numbered
from ..runtime.semantics.samples import spread_over
from ..spelling import spelled
from .files import data_files, data_path, load_file, others_beside, read_npz
from .folders import read_folder
from .mapped import forget
from .preprocessing import LAYOUTS, Preprocessing

__all__ = [
    "LAYOUTS",
    "Origin",
    "Preprocessing",
    "Samples",
    "check_samples",
    "data_files",
    "data_path",
    "load_samples",
    "others_beside",
]


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
    if not spec.strip():  # a variable of the shell that is not set; else the current folder
        raise DataError(
            "no file is named",
            where="DATA",
            remedy="DATA is FILE.npz[:X_KEY[,Y_KEY]], a .npy file or a folder of images.",
            code="E201",
        )
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
        arrays, labels = {next(iter(shapes)): load_file(file, mmap=True)}, None
    else:
        arrays, labels = read_npz(file, keys, list(shapes))
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
