"""Wrong arguments of public functions are UsageErrors that say what was probably meant.

Signatures stay what they are, for ``help()``, editors and type checkers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, wraps
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from .display import counted
from .errors import UsageError, did_you_mean

P = ParamSpec("P")
R = TypeVar("R")

# Per parameter, what other tools and our own command line call it.
ALSO_CALLED: Mapping[str, tuple[str, ...]] = {
    "steps": ("T", "timesteps", "time_steps", "num_steps", "n_steps"),
    "calibration": ("calib", "calibration_data", "calib_data", "data"),
    "samples": ("data", "dataset", "x", "test"),
    "data": ("samples", "dataset", "x", "test"),
    "target": ("chip", "hardware"),
    "threads": ("n_threads", "num_threads", "workers"),
    "seed": ("random_state", "rng"),
    "path": ("output", "filename", "file"),
    "limit": ("n_samples", "num_samples", "max_samples"),
    "input_shapes": ("input_shape", "shape"),
    "recipes": ("recipe",),
    "targets": ("target", "chips"),
}


# Per kind of a parameter, what Python and NumPy have of it, and its name.
SCALARS: Mapping[Any, tuple[tuple[type, ...], str]] = {
    bool: ((bool, np.bool_), "True or False"),
    int: ((Integral,), "a whole number"),
    float: ((Real,), "a number"),
    str: ((str,), "a text"),
    NoneType: ((NoneType,), "None"),
}


# What it takes of a parameter of several values, and how that is called.
COLLECTIONS: Mapping[Any, str] = {
    Callable: "a function",
    Sequence: "a list",
    Mapping: "a dictionary",
    Path: "a path",
}


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """``function``, with UsageError (E121) in place of TypeError where arguments do not fit its
    signature: a name that it does not take, one that is missing or given twice, too many without
    a name, a value of another kind for what takes a number, a text, or True or False."""
    signature = inspect.signature(function)

    @cache
    def hints() -> Mapping[str, Any]:  # not sooner: they are of modules that may not be there yet
        return get_type_hints(function)

    @wraps(function)
    def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        wrong = misfit(_name(function), signature, args, kwargs)
        if wrong is not None:
            raise wrong
        bound = signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            kind = kind_refusing(hints().get(name), value)
            if kind:
                raise _error(f"{name} is {kind}, not {value!r:.80}")
            if isinstance(value, np.generic):  # files and documents hold Python's
                bound.arguments[name] = value.item()
        return function(*bound.args, **bound.kwargs)

    return asked


def misfit(
    name: str, signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> UsageError | None:
    """What is wrong with these arguments of the function ``name``; None where they fit."""
    known = signature.parameters
    for given in kwargs:
        if given not in known:
            return _error(f"{name}() takes no '{given}'", remedy=meant(given, known))
    places = [p.name for p in known.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    if len(args) > len(places):
        return _error(
            f"{name}() takes {counted(len(places), 'argument')} without a name "
            f"({', '.join(places)}), got {len(args)}",
            remedy=f"Name the others: see help(onnx2snn.{name}).",
        )
    twice = [place for place in places[: len(args)] if place in kwargs]
    if twice:
        return _error(f"{name}() got '{twice[0]}' twice, by its place and by its name")
    given_names = {*places[: len(args)], *kwargs}
    missing = [p.name for p in known.values() if p.default is p.empty and p.name not in given_names]
    if missing:
        return _error(
            f"{name}() needs {' and '.join(repr(m) for m in missing)}",
            remedy=f"See help(onnx2snn.{name}).",
        )
    return None


def kind_refusing(hint: Any, value: Any) -> str:
    """What a parameter with this annotation takes, where ``value`` is none of it; else "", also
    where the annotation does not tell (words to choose from are checked where they are known)."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    named = [_named(kind) for kind in kinds]
    if "" in named or any(_is(kind, value) for kind in kinds):
        return ""
    return " or ".join(dict.fromkeys(named))


def _named(kind: Any) -> str:
    """What a parameter of this kind takes; "" for what is not checked here."""
    origin = get_origin(kind) or kind
    if origin in COLLECTIONS:
        return COLLECTIONS[origin]
    if kind in SCALARS:
        return SCALARS[kind][1]
    of_ours = isinstance(kind, type) and not getattr(kind, "_is_protocol", False)
    if not of_ours or kind is object:
        return ""
    return f"a{'n' * (kind.__name__[0] in 'AEIOU')} {kind.__name__}"


def _is(kind: Any, value: Any) -> bool:
    origin = get_origin(kind) or kind
    if origin is Callable:
        return callable(value)
    if origin is Sequence:  # arrays too
        return isinstance(value, Iterable) and not isinstance(value, Mapping)
    if kind in SCALARS:
        return isinstance(value, SCALARS[kind][0]) and (kind is bool or not isinstance(value, bool))
    return isinstance(value, PathLike if origin is Path else origin)


def meant(given: str, known: Iterable[str]) -> str:
    """The remedy for a name that is none of the ``known``."""
    names = list(known)
    others = [name for name in names if given in ALSO_CALLED.get(name, ())]
    return did_you_mean(others[0] if others else given, names)


def _error(what: str, *, remedy: str = "") -> UsageError:
    return UsageError(what, remedy=remedy, code="E121")


def _name(function: Callable[..., Any]) -> str:
    """What a user calls: of a constructor the class."""
    return function.__qualname__.removesuffix(".__init__")
