"""The preprocessing that a network was trained with, named once; converted files remember it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from numbers import Real
from typing import Any, Literal

import numpy as np

from ..arguments import checked
from ..errors import DataError, ModelError, UsageError, did_you_mean
from ..runtime.ops import Array
from ..spelling import spelled

LAYOUTS = ("NCHW", "NHWC")


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
