"""Samples as Python programs have them: arrays, and batches that something gives one by one.

``(x, y)``, ``x``, ``{input: x}``, or anything that can be iterated over and gives such batches: a
DataLoader, a generator, a list. Single samples, as a Dataset gives them, are batches of one.
Tensors are read by NumPy's protocol, so no framework is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from ..display import counted
from ..errors import DataError, UsageError
from ..runtime.ops import Array, Shape

# What the functions of this package take besides DATA in words: see the module.
Given: TypeAlias = ArrayLike | Mapping[str, Any] | Iterable[Any]
Batch: TypeAlias = tuple[dict[str, Array], Array | None]
SOURCE = "the data given"  # in messages


def gathered(given: Given, shapes: Mapping[str, Shape], *, limit: int | None = None) -> Batch:
    """All arrays by input name, and the labels or None; with ``limit`` no more batches are asked
    for than hold so many samples.

    Raises DataError where there are none or they do not belong together, UsageError for what is no
    data.
    """
    batches: list[Batch] = []
    count = 0
    for item in _items(given):
        batches.append(_batch(item, shapes))
        arrays, _ = batches[-1]
        count += len(next(iter(arrays.values())))
        if limit is not None and count >= limit:
            break
    if not batches:
        raise DataError("the data has no samples", where=SOURCE, code="E213")
    labels = [y for _, y in batches if y is not None]
    if labels and len(labels) < len(batches):
        raise DataError("some batches have labels, others none", where=SOURCE, code="E207")
    together = {name: _joined([arrays[name] for arrays, _ in batches]) for name in batches[0][0]}
    return together, _joined(labels) if labels else None


def _items(given: Given) -> Iterator[Any]:
    """The batches: one, or those of an iterable."""
    if isinstance(given, Mapping | tuple) or hasattr(given, "__array__"):
        return iter([given])
    try:
        items = iter(given)  # type: ignore[arg-type]  # whether it can be is the question
    except TypeError:
        raise UsageError(
            "data are (x, y) arrays, an iterable of batches, or DATA as on the command line, not "
            f"of type {type(given).__name__}"
        ) from None
    first = next(items, None)
    if first is None or isinstance(given, str | bytes):
        return iter(())
    whole = isinstance(given, list) and not _holds_arrays(first)  # a list of numbers
    return iter([given]) if whole else chain([first], items)


def _holds_arrays(item: Any) -> bool:
    if isinstance(item, Mapping) or hasattr(item, "__array__"):
        return True
    return isinstance(item, Sequence) and any(hasattr(part, "__array__") for part in item)


def _batch(item: Any, shapes: Mapping[str, Shape]) -> Batch:
    names = list(shapes)
    if isinstance(item, Mapping):
        missing = [name for name in names if name not in item]
        if missing:
            raise DataError(
                f"no array for input '{missing[0]}', only for {', '.join(map(repr, item))}",
                where=SOURCE,
                remedy="Name an array for each input, or give (x, y).",
                code="E211",
            )
        return _stacked({name: as_array(item[name]) for name in names}, shapes), None
    parts = item if isinstance(item, tuple) or _is_pair(item) else (item,)
    if len(parts) > len(names) and parts[-1] is None:  # (x, None)
        parts = parts[:-1]
    if not len(names) <= len(parts) <= len(names) + 1:
        raise DataError(
            f"a batch has {counted(len(parts), 'part')}, the network "
            f"{counted(len(names), 'input')}",
            where=SOURCE,
            remedy="Give the inputs in their order, and the labels last.",
            code="E211",
        )
    arrays = {name: as_array(part) for name, part in zip(names, parts, strict=False)}
    labels = as_array(parts[-1]) if len(parts) > len(names) else None
    single = arrays[names[0]].ndim == len(shapes[names[0]])
    if labels is not None and single:
        labels = labels[np.newaxis]
    return _stacked(arrays, shapes), labels


def _is_pair(item: Any) -> bool:
    """Whether a list is a batch of several arrays (a DataLoader's), not one array of numbers."""
    return isinstance(item, list) and _holds_arrays(item)


def _stacked(arrays: Mapping[str, Array], shapes: Mapping[str, Shape]) -> dict[str, Array]:
    return {n: a[np.newaxis] if a.ndim == len(shapes[n]) else a for n, a in arrays.items()}


def as_array(thing: Any) -> Array:
    """A NumPy array of numbers or names; tensors from wherever they are. Raises DataError."""
    if hasattr(thing, "detach") and hasattr(thing, "cpu"):  # a tensor that may need a gradient
        thing = thing.detach().cpu()
    try:
        array: Array = np.asarray(thing)
    except Exception as error:  # each framework has its own
        raise DataError(
            f"something of type {type(thing).__name__} that is no array ({error})",
            where=SOURCE,
            code="E206",
        ) from error
    return array


def _joined(parts: Sequence[Array]) -> Array:
    if len(parts) == 1:
        return parts[0]
    shapes = {part.shape[1:] for part in parts}
    if len(shapes) > 1:
        listed = " and ".join(sorted(map(str, shapes)))
        raise DataError(f"batches differ in shape: {listed}", where=SOURCE, code="E212")
    return np.concatenate(parts)
