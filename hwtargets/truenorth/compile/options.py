"""What can be chosen when a network is compiled for TrueNorth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...kinds import Choice, Flag, Whole
from ...options import Options, option
from .coding import CODINGS

LONGEST = 128  # steps of the measuring runs, at most: biases are fitted to what T steps give


@dataclass(frozen=True, kw_only=True)
class TrueNorthOptions(Options):
    """See docs/truenorth.md."""

    coding: str = option(
        "axons4", Choice(tuple(CODINGS)), "ternary (2 axons per input), or k axons with k-bit "
        "weights", code="E123",
    )  # fmt: skip
    copies: int | Literal["auto"] = option(
        "auto", Whole(names=("auto",)), "staggered neurons per partial sum; auto: two where that "
        "takes no chip more, else one", code="E124",
    )  # fmt: skip
    output_copies: int = option(4, Whole(), "staggered neurons per output", code="E124")
    tune: bool = option(
        True, Flag(), "fit codes, scales and biases to measured rates; false: plain rounding",
        code="E124",
    )  # fmt: skip
    calibration: int = option(
        256, Whole(), "most samples to fit on; fewer where memory asks for it", code="E124"
    )
    fit_steps: int = option(LONGEST, Whole(), "steps of the measuring runs; at most T", code="E124")
    compare: bool | None = option(
        None, Flag(), "count the cores of the other codings too; the default is for small networks "
        "and for those that need several chips", code="E124",
    )  # fmt: skip
    emit: int = option(
        1 << 14, Whole(least=0), "write the crossbars up to this many cores", code="E124"
    )
