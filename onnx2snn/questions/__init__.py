"""What is probably wrong with a network's data, labels or calibration: questions, not errors.

Each is asked where numbers would otherwise be wrong without a word. Nothing is changed by one: the
work goes on as it was asked for.

    W410 ... what the ANN answers  (``answers``)
    W420 ... the samples           (``inputs``)
    W430 ... the calibration       (``calibration``)
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Question:
    """``code`` is stable across versions (docs/errors.md), ``what`` says what was seen and what it
    probably is, ``remedy`` what to do, ``where`` the data as the user called them."""

    code: str
    what: str
    remedy: str
    where: str = ""

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        return f"{where}{self.what}. {self.remedy}"


__all__ = ["Question"]
