"""Every error a user can cause, as one tree.

    Onnx2SnnError
    ├── UsageError        E1xx  an option or argument that makes no sense
    ├── DataError         E2xx  a data file that cannot be used
    ├── ModelError        E3xx  an ONNX model that cannot be read or understood
    │   └── UnsupportedOps      E310  operations without a spiking form, all of them at once
    ├── GraphError        E4xx  a spiking graph that is inconsistent
    ├── TargetError       E5xx  a chip that is unknown or cannot hold the network
    └── ClusterError      E6xx  a cluster that cannot be used, or that went away

A message says what, where, why and what to do; the code is stable across versions. Only the
command line turns an error into an exit status (2).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from .display import counted, shown


class Onnx2SnnError(Exception):
    """Root of the tree. ``code`` is stable; ``remedy`` says what the user can do about it."""

    code = "E000"

    def __init__(
        self, what: str, *, where: str = "", remedy: str = "", code: str | None = None
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy
        self.code = code or type(self).code

    def __str__(self) -> str:
        """One line: names in it, which come from files, are ``shown``."""
        where = f"{self.where}: " if self.where else ""
        remedy = f" {self.remedy}" if self.remedy else ""
        return shown(f"{where}{self.what.removesuffix('.')}.{remedy}")


class UsageError(Onnx2SnnError, ValueError):
    """An option or argument that makes no sense."""

    code = "E100"


class DataError(Onnx2SnnError, ValueError):
    """A data file that is missing, malformed, or does not fit the network."""

    code = "E200"


class ModelError(Onnx2SnnError):
    """An ONNX model that cannot be read or understood."""

    code = "E300"


class UnsupportedOps(ModelError):  # noqa: N818 - it names what is wrong with the model
    """Operations without a spiking form: ``findings`` is (node name, op type, reason) of each."""

    code = "E310"

    def __init__(self, findings: Sequence[tuple[str, str, str]], *, where: str = "") -> None:
        self.findings = tuple(findings)
        listed = "; ".join(
            f"node '{n}' ({op}): {why.removesuffix('.')}" for n, op, why in self.findings
        )
        super().__init__(
            f"{counted(len(self.findings), 'unsupported operation')}: {listed}",
            where=where,
            remedy="See `onnx2snn ops` for what converts.",
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Made again from the findings, where another process raised it."""
        return UnsupportedOps, (self.findings,), self.__dict__


class GraphError(Onnx2SnnError, ValueError):
    """A spiking graph that is inconsistent."""

    code = "E400"


class TargetError(Onnx2SnnError):
    """A chip that is unknown or cannot hold the network."""

    code = "E500"


class ClusterError(Onnx2SnnError):
    """A cluster that cannot be used, or that went away: what was finished is kept."""

    code = "E600"


def resembling(name: str, known: Iterable[str]) -> str | None:
    """The name among ``known`` that ``name`` is most likely a slip of the pen for, or None."""
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=0.75)), None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The remedy for an unknown ``name``: the one that was probably meant, else all there are."""
    names = list(known)
    meant = resembling(name, names)
    return f"Did you mean '{meant}'?" if meant else f"Choose one of: {', '.join(names)}."
