"""The one reader of labels: right answers as users give them, for a network's first output.

Class numbers come as (N,), (N, 1), one-hot (N, C), whole numbers stored as floats, or names
(``numbered``); targets of a regression have the output's size. Everything else is refused, and
what is not plain is said. Nothing is shifted, rounded or clipped.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from ...errors import DataError
from ...spelling import spelled
from ..graph import Input, Readout, SpikingGraph
from ..ops import Array, Shape
from .decision import LEFT_OUT, is_logit, score_count

SHOWN = 12  # of a mapping of names


@dataclass(frozen=True, eq=False, kw_only=True)
class Reading:
    """How a network is judged, and by which right answers.

    Attributes:
        classes: by the class that its first output says; else by its values.
        numbers: (samples,) int64 class numbers; (samples, *shape) float64 values of the first
            output; or None: no right answers are known.
        logits: the outputs that are one number and say one of two classes.
        said: how the labels were read where they were not plain, a sentence each.
        whole: labels were given that are whole numbers by their type.
        from_one: class numbers run from 1 or above to the number of classes: they probably start
            at 1.
    """

    classes: bool
    numbers: Array | None = None
    logits: frozenset[str] = frozenset()
    said: tuple[str, ...] = ()
    whole: bool = False
    from_one: bool = False

    def of(self, start: int, stop: int) -> Reading:
        """Of samples ``start`` .. ``stop - 1`` alone."""
        return replace(self, numbers=None if self.numbers is None else self.numbers[start:stop])


def read(
    graph: SpikingGraph, labels: Array | None, *, regression: bool = False, where: str = ""
) -> Reading:
    """Read ``labels`` (samples, ...) for the first output of ``graph``.

    Parameters:
        regression: the outputs are values, whatever they look like.
        where: what the user called the labels, for messages.

    Raises DataError: E240 no numbers, E241 NaN or infinite, E242 of a shape that fits nothing, E243
    no class numbers of this network.
    """
    if labels is None:
        found = frozenset() if regression else _logits(graph, two_classes=False)
        return Reading(classes=not regression and _says_classes(graph, found), logits=found)
    given = _Given(graph, _numbers(labels, where), where)
    if regression:
        return given.asked_values()
    if given.count is None:
        return given.values("the first output is not one score per class")
    return given.of_one_number() if given.count == 1 else given.of_scores()


def numbered(labels: Array) -> tuple[Array, dict[str, int]]:
    """Labels that are names as numbers, and the number of each name: that which it spells where all
    spell whole numbers, else its place in sorted order. Others are returned as they are."""
    if labels.dtype.kind not in "US":
        return labels, {}
    text = labels.astype(np.str_)
    names = [str(name) for name in np.unique(text)]
    numbers = numbers_of(names)
    lookup = np.array([numbers[name] for name in names], np.int64)
    return lookup[np.searchsorted(names, text.ravel())].reshape(labels.shape), numbers


def numbers_of(names: list[str]) -> dict[str, int]:
    """The class number of each name, in the order of the numbers; see ``numbered``."""
    if names and all(name.isascii() and name.strip().isdigit() for name in names):
        spelt = {name: int(name) for name in names}
        if len(set(spelt.values())) == len(names):
            return dict(sorted(spelt.items(), key=lambda item: item[1]))
    return {name: number for number, name in enumerate(sorted(names))}


def mapping_text(numbers: dict[str, int]) -> str:
    """``cat = 0, dog = 1``; of many the first and the last."""
    parts = [f"{name} = {number}" for name, number in numbers.items()]
    if len(parts) > SHOWN:
        parts = [*parts[: SHOWN - 2], f"... ({len(parts)} in all) ...", parts[-1]]
    return ", ".join(parts)


def _numbers(labels: Array, where: str) -> Array:
    if labels.dtype.kind not in "iubf":
        raise DataError(
            f"labels of type {labels.dtype} are neither numbers nor names",
            where=where,
            remedy="Give class numbers, names, or the values that the network is to give.",
            code="E240",
        )
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        bad = np.flatnonzero(~np.isfinite(labels.reshape(len(labels), -1)).all(axis=1))
        raise DataError(
            f"labels are NaN or infinite: those of {len(bad)} of {len(labels)} samples (the first "
            f"is sample {bad[0]})",
            where=where,
            remedy="Leave out the samples that have no label.",
            code="E241",
        )
    return labels


def _logits(graph: SpikingGraph, *, two_classes: bool) -> frozenset[str]:
    return frozenset(
        r.name for r in graph.of(Readout) if is_logit(graph, r, two_classes=two_classes)
    )


def _says_classes(graph: SpikingGraph, logits: frozenset[str]) -> bool:
    first = graph.of(Readout)[0]
    count = score_count(first.shape)
    return count is not None and (count > 1 or first.name in logits)


class _Given:
    """Numeric labels beside the first output of a graph."""

    def __init__(self, graph: SpikingGraph, labels: Array, where: str) -> None:
        self.graph, self.labels, self.where = graph, labels, where
        self.readout: Readout = graph.of(Readout)[0]
        self.shape: Shape = self.readout.shape
        self.count = score_count(self.shape)
        self.behind = graph.meta.get(LEFT_OUT, {}).get(self.readout.tensor, ())

    @property
    def whole(self) -> bool:
        return self.labels.dtype.kind in "iub"

    def asked_values(self) -> Reading:
        if self._fits():
            return Reading(classes=False, numbers=self._targets(), whole=self.whole)
        return self._unused(f"the outputs are values ({spelled('regression', True)})")

    def values(self, why: str) -> Reading:
        """A regression that nobody asked for, so it is said."""
        if not self._fits():
            return self._unused(why)
        return Reading(
            classes=False,
            numbers=self._targets(),
            whole=self.whole,
            said=(
                f"{self._what()} are taken for values, and the network for a regression: {why} "
                f"({spelled('regression', True)} says the same)",
            ),
        )

    def _unused(self, why: str) -> Reading:
        said = f"{self._what()} are not used: {why}, of shape {self._said_shape()} per sample"
        return Reading(classes=False, said=(said,), whole=self.whole)

    def of_one_number(self) -> Reading:
        labels = self._flat()
        if labels is None:
            labels = self._one_hot(2)
        if labels is None:
            raise self._misfit("one number per sample")
        two = bool(np.isin(labels, (0, 1)).all())
        logits = _logits(self.graph, two_classes=two and self.whole)
        if self.readout.name not in logits:
            if self.whole:
                why = f"the first output ({self._said_shape()}) is not one score per class"
            else:
                why = f"they are stored as {self.labels.dtype}, and the first output is one number"
            return self.values(why)
        return self._classes(labels, 2, logits)

    def of_scores(self) -> Reading:
        assert self.count is not None
        labels = self._flat()
        if labels is None:
            labels = self._one_hot(self.count)
        logits = _logits(self.graph, two_classes=False)
        if labels is not None and (labels != np.floor(labels)).any():
            why = "they are no whole numbers, and the first output is one score per class"
            return replace(self._unused(why), classes=True, logits=logits)
        if labels is not None:
            return self._classes(labels, self.count, logits)
        if not self._fits():
            raise self._misfit(f"(N,), (N, 1) or one-hot (N, {self.count})")
        rows = self.labels.reshape(len(self.labels), -1)
        if self.whole and np.isin(rows, (0, 1)).all():
            raise DataError(
                f"{self._what()} name several classes or none for a sample (sample "
                f"{int(np.flatnonzero(rows.sum(axis=1) != 1)[0])}), and accuracy is of one",
                where=self.where,
                remedy="Give one class number per sample, or leave the labels out.",
                code="E242",
            )
        if self.behind:
            raise DataError(
                f"{self._what()} are shares of classes, and the network's scores are those before "
                f"its final {self.behind[-1]}, which is left out",
                where=self.where,
                remedy="Give class numbers: labels.argmax(axis=1).",
                code="E242",
            )
        return self.values("they are neither class numbers nor one-hot, and have the outputs' size")

    def _classes(self, labels: Array, count: int, logits: frozenset[str]) -> Reading:
        numbers = self._class_numbers(labels, count)
        said = []
        if labels is not self.labels or not self.whole:
            said.append(f"{self._what()} are read as class numbers")
        from_one = len(numbers) > 0 and int(numbers.min()) >= 1 and int(numbers.max()) == count
        return Reading(
            classes=True,
            numbers=numbers,
            logits=logits,
            said=tuple(said),
            whole=self.whole,
            from_one=from_one,
        )

    def _class_numbers(self, labels: Array, count: int) -> Array:
        first = int(labels.min(initial=count) >= 1)  # they may start at 1, which is asked about
        for bad, why in (
            (labels != np.floor(labels), "is not a whole number"),
            (labels < 0, "is negative"),
            (labels >= count + first, "is too large"),
        ):
            where = np.flatnonzero(bad)
            if len(where):
                at = int(where[0])
                raise DataError(
                    f"label {labels[at]:g} of sample {at} {why} ({len(where)} of {len(labels)} "
                    f"labels are such): the network has classes 0 to {count - 1}"
                    + (", decided by one number" if self.count == 1 else ""),
                    where=self.where,
                    remedy=self._remedy(labels, count),
                    code="E243",
                )
        return labels.astype(np.int64)

    def _remedy(self, labels: Array, count: int) -> str:
        if count == 2 and np.isin(labels, (-1, 1)).all():
            return "Store 0 instead of -1."
        if (labels == np.floor(labels)).all():
            return "Check the key, and that the labels belong to this network."
        return f"Give class numbers; where the outputs are values, {spelled('regression', True)}."

    def _flat(self) -> Array | None:
        """One number per sample, (N,); None where there are more."""
        if self.labels.size != len(self.labels):
            return None
        return self.labels if self.labels.ndim == 1 else self.labels.reshape(-1)

    def _one_hot(self, count: int) -> Array | None:
        """The class of every row where each has one 1 and is 0 elsewhere, (N,)."""
        if self.labels.size != len(self.labels) * count:
            return None
        rows = self.labels.reshape(len(self.labels), count)
        single = np.isin(rows, (0, 1)).all() and (rows.sum(axis=1) == 1).all()
        return np.asarray(rows.argmax(axis=1)) if single else None

    def _fits(self) -> bool:
        return self.labels.size == len(self.labels) * prod(self.shape)

    def _targets(self) -> Array:
        return self.labels.astype(np.float64).reshape(len(self.labels), *self.shape)

    def _misfit(self, wanted: str) -> DataError:
        each = self.labels.shape[1:]
        sample = any(each in _stored(node.shape) for node in self.graph.of(Input))
        return DataError(
            f"{self._what()} do not fit the first output, {self._said_shape()} per sample: they "
            f"are {wanted}",
            where=self.where,
            remedy="These are samples: are the keys exchanged (X_KEY,Y_KEY)?"
            if sample
            else "Check the key of the labels.",
            code="E242",
        )

    def _what(self) -> str:
        return f"labels of shape {self.labels.shape} and type {self.labels.dtype}"

    def _said_shape(self) -> str:
        return "x".join(map(str, self.shape)) or "one number"


def _stored(shape: Shape) -> tuple[Any, ...]:
    """The shapes that samples of an input may be stored in."""
    return (shape, shape[1:] + shape[:1])
