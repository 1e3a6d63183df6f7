"""What a mapping step fits or calibrates on: calibration data, else the evaluation samples without
their labels, else random ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...runtime.ops import Array, Shape
from ..mapping import Request


def fitting_samples(
    request: Request[Any], shape: Shape, *, most: int | None = None, drawn: int, dtype: Any
) -> tuple[Array, str]:
    """Samples (n, *shape), at most ``most`` of them, and where they come from, for the report.

    ``drawn``: how many are drawn where there are no data, uniformly from [0, 1) and by the
    request's seed; ``dtype``: float32 or float64.
    """
    for x, origin in (
        (request.calib, "calibration data"),
        (request.x, "the evaluation samples, without labels"),
    ):
        if x is not None:
            return np.asarray(x[:most], dtype).reshape(-1, *shape), origin
    rng = np.random.default_rng(request.seed)
    random = rng.random((drawn, *shape), dtype=dtype)
    return random, "uniform random samples in [0, 1] (no data given)"
