"""Where the time goes: processor seconds per layer in products, copies, neurons and counting.

Each thread's own processor time is taken, so other work on the machine does not show.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from time import thread_time
from types import TracebackType


class _Timer:
    """Adds the time spent inside ``with`` to ``seconds``."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._start = 0.0

    def reset(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._start = thread_time()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.seconds += thread_time() - self._start


class _NoTimer(_Timer):
    def __enter__(self) -> None:
        return

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return


@dataclass
class Clock:
    """The timers of one layer; ``copies`` is inside ``synapse``, ``counting`` inside ``neuron``."""

    synapse: _Timer = field(default_factory=_NoTimer)
    copies: _Timer = field(default_factory=_NoTimer)
    neuron: _Timer = field(default_factory=_NoTimer)
    counting: _Timer = field(default_factory=_NoTimer)

    @property
    def measures(self) -> bool:
        return not isinstance(self.synapse, _NoTimer)

    def reset(self) -> None:
        for timer in (self.synapse, self.copies, self.neuron, self.counting):
            timer.reset()


def running_clock() -> Clock:
    """A clock whose timers measure (the default one costs next to nothing and does not)."""
    return Clock(_Timer(), _Timer(), _Timer(), _Timer())


@dataclass(frozen=True, kw_only=True)
class LayerProfile:
    """Seconds of one layer (a stateful node and the synapses before it), summed over threads.

    Attributes:
        synapse: linear operations, without their copies.
        copies: gathering spikes into the operands of products.
        neuron: the neuron update (for a readout: the accumulation).
        counting: spikes and synaptic operations.
        gflop_per_second: dense operations of the weighted synapses over ``synapse``; a multiply
            and an add are two operations. 0 where there are none.
    """

    name: str
    synapse: float
    copies: float
    neuron: float
    counting: float
    gflop_per_second: float

    @property
    def seconds(self) -> float:
        return self.synapse + self.copies + self.neuron + self.counting


def layer_profile(name: str, clocks: Iterable[Clock], flops: float) -> LayerProfile:
    """The sum over the threads' clocks; ``flops`` were done in all."""
    synapse = copies = neuron = counting = 0.0
    for clock in clocks:
        synapse += clock.synapse.seconds - clock.copies.seconds
        copies += clock.copies.seconds
        neuron += clock.neuron.seconds - clock.counting.seconds
        counting += clock.counting.seconds
    return LayerProfile(
        name=name,
        synapse=synapse,
        copies=copies,
        neuron=neuron,
        counting=counting,
        gflop_per_second=flops / synapse / 1e9 if synapse > 0 else 0.0,
    )
