"""One node with state and the synapses before it, as a plan runs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ....facts import Chain
from ....graph import Node, Population, Readout, Synapse
from ....ops import Array
from ...profile import Clock
from ..cells.base import Cell
from ..cells.blocked import BlockedCell
from ..cells.events import EventCell, SharedCurrent
from ..cells.pointwise import PointwiseCell
from ..cells.readout import ReadoutCell
from ..products.records import Kernel

Step: TypeAlias = tuple[Kernel, tuple[str, ...], str, Array]  # kernel, inputs, own name, buffer

# Neurons with no other traits than these keep their state while nothing reaches them.
STILL = frozenset(
    ("if", "paced", "differential", "subtract", "zero", "levels", "signed", "lag", "refractory")
) | {"ceiling", "v_init", "bias"}


@dataclass
class Segment:
    """``inner`` are (kernel, input names, own name, output buffer) in execution order; then
    ``node`` is run by ``cell`` (None: it is the synapse whose kernel comes last) on ``reads``.

    Steps: inputs begin to arrive at ``first``, the last of them and the bias at ``begin``; the
    output's window begins at ``onset``."""

    node: Node
    sources: tuple[str, ...]
    reads: tuple[str, ...]
    inner: list[Step]
    cell: Cell | BlockedCell | EventCell | SharedCurrent | PointwiseCell | ReadoutCell | None
    chunk: int
    clock: Clock
    first: int
    begin: int
    onset: int
    synapses: tuple[Synapse, ...]

    def rests(self, t0: int, *, count: int, steps: int) -> bool:
        """Whether nothing reaches or leaves it in these steps: with start lags most layers wait
        for their window or are done with it."""
        if isinstance(self.node, Readout):
            return False
        return t0 >= self.onset + steps or (t0 + count <= self.first and self._keeps_still)

    @property
    def _keeps_still(self) -> bool:
        """Whether its state does not change by itself."""
        if not isinstance(self.node, Population):
            return True
        return self.node.neuron.traits <= STILL

    @property
    def owns_input(self) -> bool:
        """Whether the cell's input is a float buffer of this segment, free to be overwritten."""
        if not self.inner or self.node.inputs[0] != self.inner[-1][2]:
            return False
        return self.inner[-1][3].dtype.kind == "f"


def those_read(segments: Sequence[Segment]) -> list[Segment]:
    """Without synapses that nothing reads: kernels add the spikes of copies themselves."""
    read = {name for segment in segments for name in segment.sources}
    return [s for s in segments if not isinstance(s.node, Synapse) or s.node.name in read]


def ends_once(chain: Chain, node: Node) -> bool:
    """Whether ``node`` reads nothing of its chain's synapses but the last one (an island may)."""
    if isinstance(node, Synapse):  # the last one itself
        return True
    inner = {synapse.name for synapse in chain.nodes[:-1]}
    return not inner & set(node.inputs)
