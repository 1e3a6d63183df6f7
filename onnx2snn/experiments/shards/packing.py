"""Counts as bytes, for the store."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping

import numpy as np

from ...runtime.ops import Array

# What reading arrays and their head raises where they are no counts.
MALFORMED = (KeyError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile)


def packed(counts: Mapping[str, Array]) -> bytes:
    """Arrays by name as bytes."""
    out = io.BytesIO()
    np.savez(out, *counts.values(), head=np.array(json.dumps(list(counts))))
    return out.getvalue()


def unpacked(content: bytes) -> dict[str, Array]:
    """What was ``packed``. Raises one of ``MALFORMED`` where it is nothing of that kind."""
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        # By number: a name could be one that zip files change.
        return {name: stored[f"arr_{i}"] for i, name in enumerate(json.loads(str(stored["head"])))}
