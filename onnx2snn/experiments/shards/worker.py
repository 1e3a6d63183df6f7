"""What a worker of a cluster runs: the tasks, on what the client sent or has the worker read.

A worker process does one task at a time, on one core, as one core's results are those of many; the
cluster is its other cores. Everything that is dear to make ready stays until another sweep comes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from distributed import get_worker

from ...converter.frontend import LoadedModel
from ...data import Samples
from ...runtime.parallel.threads import at_most
from ..fingerprint import computing
from .delivery import ByPath, RefusalError, digest
from .tasks import Bench, Conversion, Shard, restored

READY = 2  # networks that are simulated in turns
T = TypeVar("T")


@dataclass(frozen=True, eq=False, kw_only=True)
class Brief:
    """What all tasks of a sweep need.

    Attributes:
        key: of the sweep. computing: what the client computes with.
        samples: None where each shard is sent its own.
        calibration: samples, or where to read them and their ``digest``; None: there are none.
    """

    key: str
    computing: Mapping[str, str]
    model: LoadedModel
    samples: ByPath | None
    calibration: Samples | tuple[ByPath, str] | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Sent:
    """The samples of a shard: themselves, or the ``digest`` of those to be read."""

    samples: Samples | None
    digest: str | None


class _Place:
    """A sweep on this worker."""

    def __init__(self, brief: Brief, worker: str) -> None:
        self.brief, self._worker = brief, worker
        self.bench = Bench(brief.model, lambda: self._calibration, ready=READY)

    @cached_property
    def _calibration(self) -> Samples | None:
        given = self.brief.calibration
        if not isinstance(given, tuple):
            return given
        path, wanted = given
        return self._checked(path, path.read(self._worker), wanted)

    @cached_property
    def _samples(self) -> Samples:
        assert self.brief.samples is not None
        return self.brief.samples.read(self._worker)

    def section(self, start: int, stop: int, sent: Sent) -> Samples:
        if sent.samples is not None:
            return sent.samples
        path = self.brief.samples
        assert path is not None and sent.digest is not None
        return self._checked(path, self._samples.section(start, stop), sent.digest)

    def _checked(self, path: ByPath, found: Samples, wanted: str) -> Samples:
        if digest(found) != wanted:
            raise path.other(self._worker, "samples have other values")
        return found


_lock = threading.Lock()
_place: _Place | None = None


@contextmanager
def _at(brief: Brief) -> Iterator[_Place]:
    """The place of this sweep. Raises RefusalError (E603) where other software would compute."""
    global _place
    worker = get_worker().address
    if (differing := differences(brief.computing, computing())) is not None:
        raise RefusalError("E603", worker, "", differing)
    with _lock, at_most(1):
        if _place is None or _place.brief.key != brief.key:
            _place = _Place(brief, worker)
        yield _place


def differences(client: Mapping[str, str], worker: Mapping[str, str]) -> str | None:
    """The first thing that is another one on the worker, in words."""
    for name, mine in client.items():
        theirs = worker.get(name, "none")
        if theirs != mine and name == "onnx2snn's source":
            return "the code of its onnx2snn is not the client's"
        if theirs != mine:
            return f"its {name} is {theirs}, the client's {mine}"
    return None


def received(what: T) -> T:
    """Something that tasks need: the cluster keeps it, and can make it again."""
    return what


def facts() -> Mapping[str, str]:
    """What this process computes with."""
    return computing()


def convert(brief: Brief, task: Conversion) -> bytes:
    """``Bench.convert`` there."""
    with _at(brief) as place:
        return place.bench.convert(task)


def simulate(brief: Brief, task: Shard, network: bytes, sent: Sent) -> bytes:
    """``Bench.simulate`` there."""
    with _at(brief) as place:
        x = place.section(task.start, task.stop, sent)
        here = replace(task, engine={**task.engine, "threads": 1})
        return place.bench.simulate(here, x.batch(0, len(x)), restored(network))
