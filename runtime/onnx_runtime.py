"""ONNX Runtime, which is imported here and nowhere else, with its telemetry off.

From version 1.32 on it writes a device identifier and a database of events to the user's cache and
looks up its collectors' names, from the moment it is imported, unless a variable of the environment
says no by then; what it offers for turning telemetry off afterwards stops neither (it stops events
of older versions and on Windows). So the variable is set when this module is imported, which
``import onnx2snn`` does; child processes inherit it.
``ORT_DISABLE_TELEMETRY=0`` in the environment leaves telemetry as ONNX Runtime has it.
"""

from __future__ import annotations

import os
from typing import Any

VARIABLE = "ORT_DISABLE_TELEMETRY"
ALLOWED = os.environ.get(VARIABLE) == "0"  # by the user; nothing else counts as consent
if not ALLOWED:
    os.environ[VARIABLE] = "1"


def onnx_runtime() -> Any:
    """The module ``onnxruntime``; 20 MiB, so only what needs it asks for it."""
    import onnxruntime

    if not ALLOWED:
        onnxruntime.disable_telemetry_events()
    return onnxruntime
