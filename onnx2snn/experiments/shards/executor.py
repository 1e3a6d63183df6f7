"""Who does the tasks: the executors' protocol, and the one on this machine.

A shard on this machine is spread over its cores by the engine: processes for its tiles (threads
where kernels are compiled), which share the network's plans. Several shards at once would need the
memory of several, and be no faster.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from ...converter.frontend import LoadedModel
from ...data import Samples
from ...runtime.graph import SpikingGraph
from ..watching import Progress
from .tasks import Bench, Conversion, Shard, Task


class Executor(Protocol):
    """Does tasks in any order. After an error it does no more."""

    def room(self) -> bool:
        """Whether one more task is of use now; others had better wait."""

    def provide(self, key: str, network: SpikingGraph, content: bytes) -> None:
        """The network of the conversion ``key``, which shards will need, and its ``packed`` form.
        To be called before they are submitted, ``release`` when none is left."""

    def release(self, key: str) -> None:
        """No shard needs it any more."""

    def submit(self, task: Task, progress: Progress) -> None:
        """``progress``: of a conversion, or of the samples of a shard, where there is any to be
        told."""

    def completed(self) -> Iterator[tuple[Task, bytes]]:
        """What is done: waits for one, if any was submitted. Raises what a task raised."""


class Here:
    """On this machine, in the order in which tasks were submitted."""

    def __init__(self, model: LoadedModel, samples: Samples, calibration: Samples | None) -> None:
        self._samples = samples
        self._bench = Bench(model, lambda: calibration)
        self._given: deque[tuple[Task, Progress]] = deque()
        self._networks: dict[str, SpikingGraph] = {}

    def room(self) -> bool:
        return not self._given

    def provide(self, key: str, network: SpikingGraph, content: bytes) -> None:
        self._networks[key] = network

    def release(self, key: str) -> None:
        self._networks.pop(key, None)

    def submit(self, task: Task, progress: Progress) -> None:
        self._given.append((task, progress))

    def completed(self) -> Iterator[tuple[Task, bytes]]:
        while self._given:
            task, progress = self._given.popleft()
            yield task, self._done(task, progress)

    def _done(self, task: Task, progress: Progress) -> bytes:
        match task:
            case Conversion():
                return self._bench.convert(task, progress)
            case Shard():
                x = self._samples.batch(task.start, task.stop)
                network = self._networks[task.conversion]
                return self._bench.simulate(task, x, lambda: network, progress)


def here(
    model: LoadedModel, samples: Samples, calibration: Samples | None
) -> AbstractContextManager[Executor]:
    """The executor on this machine."""
    return nullcontext(Here(model, samples, calibration))
