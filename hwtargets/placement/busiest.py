"""The busiest core, of each kind of work: who it is, and how far above the others."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..energy.bounds import Work
from ..mapping import Cores


def busiest(work: Work, cores: Cores) -> dict[str, dict[str, Any]]:
    """Per kind of work: ``most`` per step of one core, ``mean`` of all cores, and which ``core``
    of which ``layer`` it is. Empty where there are no cores."""
    if not cores.count:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for kind, values in vars(work).items():
        core = int(np.argmax(values))
        found[kind] = {
            "most": float(values[core]),
            "mean": float(np.mean(values)),
            "core": core,
            "layer": cores.layers[int(cores.layer[core])],
        }
    return found
