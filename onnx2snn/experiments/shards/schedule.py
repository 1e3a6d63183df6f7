"""What is to be done next: from configurations to tasks, from their results to evaluations.

A configuration is converted, then its shards are simulated; what is finished is in the store before
anything else. Shards go before further conversions: an executor that does one task at a time
finishes a configuration before it begins the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ...evaluation.ann import onnx_ann
from ...evaluation.evaluate import Evaluation, evaluate, slices
from ...evaluation.spread import judged
from ...runtime.file.packed import unpack
from ...runtime.graph import SpikingGraph
from ...runtime.semantics import labels as reader
from ..plan import Series
from ..watching import Progress
from ..work import StoredShards, Work
from .executor import Executor
from .tasks import Conversion, Shard, Task

Evaluated: TypeAlias = tuple[SpikingGraph, Evaluation]


@dataclass(frozen=True, eq=False, kw_only=True)
class Configuration:
    """A network to be converted for ``steps``, and evaluated after each of ``first`` .. ``steps``;
    work and series are those of one seed."""

    work: Work
    series: Series
    steps: int
    first: int

    @property
    def conversion(self) -> str:
        """The key of its network."""
        return self.work.conversion_key(self.series, self.steps)

    @property
    def key(self) -> tuple[str, str]:
        return self.work.simulations, self.conversion

    @property
    def title(self) -> str:
        return f"{self.series.label}, T={self.steps}"


More: TypeAlias = Callable[[Configuration, SpikingGraph], Sequence[Configuration]]


def evaluated(
    executor: Executor, configurations: Sequence[Configuration], *, more: More
) -> Mapping[object, Evaluated]:
    """The network and evaluation of each, and of those that ``more`` says are needed beside it once
    its network is there; by ``Configuration.key``."""
    return _Agenda(executor, more).finished(configurations)


@dataclass(eq=False, kw_only=True)
class _Open:
    """A configuration with its network; ``missing`` and ``done`` count shards and samples."""

    configuration: Configuration
    network: SpikingGraph
    shards: StoredShards
    show: Progress
    missing: int
    done: int

    def within(self, shard: Shard) -> Progress:
        """To be told how far the shard is."""
        size, count = shard.stop - shard.start, len(self.configuration.work.samples)
        return lambda done, total: self.show(self.done + size * done // total, count)


class _Agenda:
    def __init__(self, executor: Executor, more: More) -> None:
        self._executor, self._more = executor, more
        self._waiting: deque[Configuration | tuple[Shard, _Open]] = deque()
        self._running: dict[Task, Configuration | _Open] = {}
        self._found: dict[object, Evaluated] = {}
        self._begun: set[object] = set()

    def finished(self, configurations: Sequence[Configuration]) -> Mapping[object, Evaluated]:
        self._waiting.extend(configurations)
        while self._waiting or self._running:
            while self._waiting and self._executor.room():
                self._begin(self._waiting.popleft())
            if self._running:
                for task, content in self._executor.completed():
                    self._end(task, content)
        return self._found

    def _begin(self, what: Configuration | tuple[Shard, _Open]) -> None:
        if not isinstance(what, Configuration):
            shard, opened = what
            self._running[shard] = opened
            self._executor.submit(shard, opened.within(shard))
        elif what.key not in self._begun:
            self._begun.add(what.key)
            found = what.work.stored_content(what.series, what.steps)
            if found is not None:
                self._open(what, *found)
                return
            options = {**what.series.options, "steps": what.steps}
            given = what.work.engine.get("mem_limit")
            memory = {} if given is None else {"mem_limit": given}
            task = Conversion(key=what.conversion, options=options, memory=memory)
            self._running[task] = what
            self._executor.submit(task, what.work.watch.stage(f"converting ({what.title})"))

    def _end(self, task: Task, content: bytes) -> None:
        owner = self._running.pop(task)
        if isinstance(owner, Configuration):
            owner.work.store.keep_conversion(owner.conversion, content)
            self._open(owner, unpack(content), content)
        elif isinstance(task, Shard):
            owner.shards.keep(task.start, task.stop, content)
            owner.missing -= 1
            owner.done += task.stop - task.start
            owner.show(owner.done, len(owner.configuration.work.samples))
            if not owner.missing:
                self._close(owner)

    def _open(self, one: Configuration, network: SpikingGraph, content: bytes) -> None:
        """Its shards are next, and after them what is needed beside it."""
        work, count = one.work, len(one.work.samples)
        shards = work.shards(one.series, network, one.steps)
        if done := shards.done:
            work.watch.say(f"continuing: {done:,} of {count:,} samples of {shards.title} were done")
        regression = bool(work.engine.get("regression", False))
        samples = work.samples
        known = reader.read(network, samples.labels, regression=regression, where=samples.source)
        opened = _Open(
            configuration=one,
            network=network,
            shards=shards,
            show=work.watch.stage(f"simulating ({one.title})", samples=True),
            missing=0,
            done=count,
        )
        tasks = []
        for start, stop in slices(network, one.steps, count=count):
            if shards.get(start, stop) is None:
                opened.missing += 1
                opened.done -= stop - start
                task = Shard(
                    conversion=one.conversion,
                    steps=one.steps,
                    start=start,
                    stop=stop,
                    engine=work.engine,
                    known=known.of(start, stop),
                )
                tasks.append((task, opened))
        if opened.done:
            opened.show(opened.done, count)
        self._waiting.extendleft(reversed([*tasks, *self._more(one, network)]))
        if tasks:
            self._executor.provide(one.conversion, network, content)
        else:
            self._close(opened)

    def _close(self, opened: _Open) -> None:
        """All of it is stored."""
        one, network = opened.configuration, opened.network
        work, label = one.work, one.series.label
        self._executor.release(one.conversion)
        evaluation = evaluate(
            network,
            work.samples,
            one.steps,
            onnx_ann(work.model, network),
            first=one.first,
            shards=opened.shards,
            **work.engine,
        )
        self._found[one.key] = network, evaluation
        score = judged(evaluation, evaluation.points[-1])
        work.watch.finished(label, steps=one.steps, score=score)
