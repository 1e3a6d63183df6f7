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
from ..statistics.measure import channel_axis
from .replay import Replay
from .sampled import neurons_drawn
from .search import CHUNK, SCALES, V_INITS
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
    populations = replay.graph.of(snn.Population)
    search = max((_searched(replay, node) for node in populations), default=0)
    ops = {s: s.op for s in replay.graph.of(snn.Synapse) if isinstance(s.op, WeightedOp)}
    fitted = [op for s, op in ops.items() if weights and fits(s)]
    corrected = sum(op.weight.nbytes for op in fitted)
    sessions = min(sum(map(session_bytes, [*ops.values(), *fitted])), HELD)
    return LIBRARIES + tiles + search + corrected + sessions


def _searched(replay: Replay, node: snn.Population) -> int:
    """Of the currents from the first in a population's window to its last spike, and of the arrays
    of all candidates for some of its channels."""
    begin, fire = replay.window(node.name)
    steps = 1 if replay.windowed else fire - begin + replay.steps
    drawn = neurons_drawn(replay, node)
    channels = (node.shape or (1,))[channel_axis(replay.facts, node.name)]
    together = max(CHUNK, len(SCALES) * len(V_INITS) * drawn // channels)
    return 4 * (drawn * steps + ARRAYS * together)


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
