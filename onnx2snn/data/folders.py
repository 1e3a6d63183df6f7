"""Folders of class folders of pictures as samples and labels.

A class is a folder that is not hidden and holds a picture. Where all names are whole numbers they
are the labels ("10" is not between "1" and "2"), else the classes are numbered by name. Everything
that is done to a picture is counted and said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from ..display import counted
from ..errors import DataError
from ..runtime.ops import Array, Shape
from ..runtime.semantics.labels import mapping_text, numbers_of
from ..spelling import spelled

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"}


@dataclass(frozen=True, eq=False, kw_only=True)
class Folder:
    """``pictures``: (samples, height, width, channels) uint8; ``labels``: (samples,) class numbers,
    None where there is one folder whose name is no number: it tells of no class; ``classes``: the
    number of each class folder; ``said``: a sentence for everything that was chosen, left out or
    changed."""

    pictures: Array
    labels: Array | None
    classes: dict[str, int]
    said: tuple[str, ...]


def read_folder(
    folder: Path, shape: Shape, *, limit: int | None = None, skip_unreadable: bool = False
) -> Folder:
    """Pictures in the size and colours of an input of ``shape`` (channels, height, width).

    Parameters:
        limit: as many pictures at most, from all classes in turn.
        skip_unreadable: leave out pictures that cannot be read, and say which.

    Raises DataError: E204 without Pillow, E205 where there is no picture or the input takes none,
    E245 for a picture that cannot be read.
    """
    image = _pillow(folder)
    if len(shape) != 3:
        raise DataError(
            f"a folder of images, but the network's input has shape {shape}: no image",
            where=str(folder),
            remedy="Give an .npz or .npy file.",
            code="E205",
        )
    found, said = _class_folders(folder)
    classes = numbers_of(list(found))
    files = _chosen([[(f, classes[name]) for f in found[name]] for name in classes], limit)
    work = _Work(image, shape)
    read = [
        (pixels, label)
        for path, label in files
        if (pixels := work.pixels(path, skip=skip_unreadable)) is not None
    ]
    if not read:
        raise DataError("none of its pictures can be read", where=str(folder), code="E205")
    named = len(classes) > 1 or all(name.isdigit() for name in classes)
    said.insert(
        0,
        f"classes by folder: {mapping_text(classes)}"
        if named
        else f"one folder, '{next(iter(classes))}': its name is no label",
    )
    if limit is not None and len(files) < sum(map(len, found.values())):
        said.append(f"{counted(len(files), 'picture')}, taken from all classes in turn")
    return Folder(
        pictures=np.stack([pixels for pixels, _ in read]),
        labels=np.array([label for _, label in read], np.int64) if named else None,
        classes=classes if named else {},
        said=(*said, *work.said(len(read))),
    )


def _pillow(folder: Path) -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError(
            "reading a folder of images needs Pillow",
            where=str(folder),
            remedy="pip install 'onnx2snn[images]'.",
            code="E204",
        ) from error
    return Image


def _class_folders(folder: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """The pictures of every class by its name, and which folders are no classes."""
    found: dict[str, list[Path]] = {}
    hidden, empty, deeper = [], [], 0
    for below in sorted(d for d in folder.iterdir() if d.is_dir()):
        if below.name.startswith((".", "__")):
            hidden.append(below.name)
            continue
        pictures = _pictures(below)
        deeper += sum(len(_pictures(d)) for d in below.iterdir() if d.is_dir())
        if pictures:
            found[below.name] = pictures
        else:
            empty.append(below.name)
    if not found:
        raise DataError(
            "no class folders with images",
            where=str(folder),
            remedy=f"One folder per class, with {', '.join(sorted(SUFFIXES))} in it.",
            code="E205",
        )
    said = []
    for names, why in ((hidden, "hidden"), (empty, "without a picture")):
        if names:
            said.append(f"no classes, as they are {why}: {', '.join(names)}")
    for count, where in ((len(_pictures(folder)), "beside"), (deeper, "in folders below")):
        if count:
            said.append(f"not read: {counted(count, 'picture')} {where} the class folders")
    return found, said


def _pictures(folder: Path) -> list[Path]:
    return sorted(
        f
        for f in folder.iterdir()
        if f.suffix.lower() in SUFFIXES and not f.name.startswith(".") and not f.is_dir()
    )


def _chosen(
    by_class: Sequence[Sequence[tuple[Path, int]]], limit: int | None
) -> list[tuple[Path, int]]:
    """All files class by class; with a ``limit`` that many, from the classes in turn."""
    if limit is None:
        return [item for files in by_class for item in files]
    turns = [item for turn in zip_longest(*by_class) for item in turn if item is not None]
    kept = set(turns[:limit])
    return [item for files in by_class for item in files if item in kept]


@dataclass
class _Work:
    """What is done to pictures."""

    image: Any
    shape: Shape
    resized: Counter[tuple[int, int]] = field(default_factory=Counter)
    converted: Counter[str] = field(default_factory=Counter)
    skipped: list[str] = field(default_factory=list)

    @property
    def mode(self) -> str:
        return "L" if self.shape[0] == 1 else "RGB"

    def pixels(self, path: Path, *, skip: bool) -> Array | None:
        """(height, width, channels) uint8; None for one that is skipped."""
        size = (self.shape[2], self.shape[1])
        try:
            with self.image.open(path) as picture:
                pixels = np.asarray(picture.convert(self.mode).resize(size))
                mode, before = picture.mode, picture.size
        except Exception as error:  # decoders raise what they like
            if not skip:
                raise DataError(
                    f"the picture cannot be read ({type(error).__name__})",
                    where=str(path),
                    remedy="Repair or remove it, or give "
                    f"{spelled('skip_unreadable', True)} to leave such pictures out.",
                    code="E245",
                ) from error
            self.skipped.append(f"{path.parent.name}/{path.name}")
            return None
        if before != size:
            self.resized[before] += 1
        if mode != self.mode:
            self.converted[mode] += 1
        return pixels.reshape(self.shape[1], self.shape[2], -1)

    def said(self, count: int) -> list[str]:
        out = []
        if self.skipped:
            names = ", ".join(self.skipped[:5]) + (", ..." if len(self.skipped) > 5 else "")
            out.append(f"left out, as unreadable: {counted(len(self.skipped), 'picture')}: {names}")
        if self.resized:
            (width, height), _ = self.resized.most_common(1)[0]
            out.append(
                f"{sum(self.resized.values())} of {counted(count, 'picture')} are resized to "
                f"{self.shape[2]}x{self.shape[1]} (most from {width}x{height})"
            )
        if self.converted:
            to = "grey" if self.mode == "L" else "colour (RGB)"
            modes = ", ".join(f"{n} of mode {mode}" for mode, n in self.converted.items())
            out.append(
                f"{sum(self.converted.values())} of {counted(count, 'picture')} are "
                f"converted to {to}: {modes}"
            )
        return out
