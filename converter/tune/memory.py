"""What calibration in the loop takes beside what it keeps of samples.

All of it is bounded by the network, whatever the samples and T: the tiles that are worked on, the
neurons that a search looks at, ONNX Runtime and its sessions, corrected weights, and the fit of one
layer's weights. Fits differ most from layer to layer, so ``plan`` is told layer by layer.
"""

from __future__ import annotations

import ctypes
import sys
from math import prod

from ...runtime import graph as snn
from ...runtime.ops import WeightedOp
from ..statistics.kernels import HELD, session_bytes
from .replay import Replay
from .sampled import neurons_drawn
from .search import CHUNK
from .stream import BLOCK
from .weights import correctable, fit_bytes, fits

LIBRARIES = 32 << 20  # bytes of ONNX Runtime itself, loaded with the first session
ARRAYS = 8  # of a search's candidates at a time


def at_work(replay: Replay, *, weights: bool) -> int:
    """Bytes of what every layer takes: the blocks of a tile and a few arrays of the largest
    population, in all threads together; the currents that a search looks at and what it works on;
    sessions, and with ``weights`` the corrected ones."""
    nodes = replay.graph.nodes
    tiles = replay.threads * (8 * BLOCK + 24 * max(prod(node.shape) for node in nodes))
    driven = (
        neurons_drawn(replay, n) * _span(replay, n.name)
        for n in nodes
        if isinstance(n, snn.Population)
    )
    search = 4 * (max(driven, default=0) + ARRAYS * CHUNK)
    ops = [s.op for s in replay.graph.of(snn.Synapse) if isinstance(s.op, WeightedOp)]
    corrected = sum(op.weight.nbytes for op in ops) if weights else 0
    sessions = min((1 + weights) * sum(map(session_bytes, ops)), HELD)
    return LIBRARIES + tiles + search + corrected + sessions


def _span(replay: Replay, name: str) -> int:
    """Steps from the first current that comes in a population's window to its last spike."""
    begin, fire = replay.window(name)
    return 1 if replay.windowed else fire - begin + replay.steps


def of_fits(replay: Replay) -> dict[str, int]:
    """For every population and readout, bytes of the largest fit of weights that reach it."""
    return {
        node.name: max((fit_bytes(s) for s in correctable(replay, node.name) if fits(s)), default=0)
        for node in replay.graph.nodes
        if isinstance(node, snn.Population | snn.Readout)
    }


def give_back() -> None:
    """Return to the system what is free. The C library of Linux keeps arrays of up to 32 MiB that
    have been used for the next ones; small ones that live on between them are enough that layer
    after layer takes new memory."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
        if trim is not None:
            trim(0)
