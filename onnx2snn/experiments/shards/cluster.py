"""The executor on a Dask cluster (extra ``distributed``).

Conversions and shards are tasks; what both need (the model, packed networks) are tasks too, whose
results workers hand to each other and the scheduler makes again where they are lost. So a task of a
worker that dies is done by another one. Results come back here, where they are stored.
"""

from __future__ import annotations

import logging
import queue
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from time import monotonic
from typing import Any
from uuid import uuid4

from ...converter.frontend import LoadedModel
from ...data import Samples
from ...errors import ClusterError, Onnx2SnnError, UsageError
from ...runtime.graph import SpikingGraph
from ...spelling import spelled
from ..fingerprint import computing
from ..watching import Progress
from .delivery import By, ByPath, RefusalError, alone, by_path, digest, sent_whole
from .executor import Executor, Here
from .tasks import Conversion, Shard, Task

CONNECT = 10.0  # seconds within which a scheduler answers
PATIENCE = 30.0  # seconds that a cluster may be without workers: they are started again, or wait
TICK = 0.5  # seconds between two looks at a cluster that has nothing to say
FETCH = 2.0  # seconds that a result has on its way; then twice as many, as it may be large
AHEAD = 2  # tasks in flight for each thread of the workers: one is computed, one waits there
RESUMED = "What was finished is kept: the same command goes on from there, on any cluster or none."


@contextmanager
def executor(
    scheduler: str | None,
    model: LoadedModel,
    samples: Samples,
    calibration: Samples | None,
    *,
    by: By | None = None,
) -> Iterator[Executor]:
    """On the cluster of ``scheduler``, or None: on this machine.

    Parameters:
        by: how workers get samples: "path", "value", or None: by path where there is one.

    Raises UsageError (E103) without the package, ClusterError E601: no scheduler answers, E602: it
    has no workers, E603: they compute with something else.
    """
    if scheduler is None:
        yield Here(model, samples, calibration)
        return
    distributed = _package()
    with _quiet():
        client = _connected(distributed, scheduler)
        try:
            cluster = Cluster(client, scheduler)
            cluster.check()
            cluster.brief(model, samples, calibration, by)
            yield cluster
        finally:
            with suppress(Exception):  # it may be gone
                client.close(timeout=2)


class Cluster:
    """An ``Executor``; raises ClusterError where the cluster, or a worker, does not do."""

    def __init__(self, client: Any, scheduler: str) -> None:
        self._client, self._scheduler = client, scheduler
        self._arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._running: dict[str, tuple[Task, Progress, Any]] = {}
        self._networks: dict[str, Any] = {}
        self._waits: dict[str, float] = {}
        self._threads, self._seen, self._looked = 0, monotonic(), 0.0

    def check(self) -> None:
        """Raises ClusterError E602 where no worker comes, E603 where one computes otherwise."""
        from . import worker

        self._look()
        while not self._threads:
            with suppress(queue.Empty):
                self._arrived.get(timeout=TICK)
            self._look()
        for address, found in self._client.run(worker.facts, on_error="return").items():
            if isinstance(found, Exception):
                raise _refused(RefusalError("E603", address, "", _without(found)))
            if (differing := worker.differences(computing(), found)) is not None:
                raise _refused(RefusalError("E603", address, "", differing))

    def brief(
        self,
        model: LoadedModel,
        samples: Samples,
        calibration: Samples | None,
        by: By | None,
    ) -> None:
        """What all tasks need goes to the cluster."""
        from . import worker

        _ = model.weights_sha256  # of files that workers need not see
        path = _path(samples, by)
        given: Samples | tuple[ByPath, str] | None = None
        if calibration is not None:
            file = None if by == "value" else by_path(calibration)
            given = sent_whole(calibration) if file is None else (file, digest(calibration))
        self._samples, self._by_path = samples, path is not None
        self._digest = cache(lambda start, stop: digest(samples.section(start, stop)))
        self._brief = self._submitted(
            worker.received,
            worker.Brief(
                key=uuid4().hex,
                computing=dict(computing()),
                model=model,
                samples=path,
                calibration=given,
            ),
        )

    def room(self) -> bool:
        if monotonic() - self._looked > TICK:
            self._look()
        return len(self._running) < AHEAD * max(self._threads, 1)

    def provide(self, key: str, network: SpikingGraph, content: bytes) -> None:
        from . import worker

        if key not in self._networks:
            self._networks[key] = self._submitted(worker.received, content)

    def release(self, key: str) -> None:
        self._networks.pop(key, None)  # workers forget what nobody here holds

    def submit(self, task: Task, progress: Progress) -> None:
        from . import worker

        if isinstance(task, Conversion):
            future = self._submitted(worker.convert, self._brief, task)
        else:
            network, sent = self._networks[task.conversion], self._sent(task)
            future = self._submitted(worker.simulate, self._brief, task, network, sent)
        self._running[future.key] = task, progress, future
        future.add_done_callback(self._arrived.put)

    def completed(self) -> Iterator[tuple[Task, bytes]]:
        while self._running:
            try:
                future = self._arrived.get(timeout=TICK)
            except queue.Empty:
                self._look()
                continue
            if (content := self._result(future)) is not None:
                task, progress, _ = self._running.pop(future.key)
                progress(1, 1)
                yield task, content
                if self._arrived.empty():
                    return

    def _sent(self, task: Shard) -> Any:
        from . import worker

        if self._by_path:
            return worker.Sent(samples=None, digest=self._digest(task.start, task.stop))
        return worker.Sent(samples=alone(self._samples.section(task.start, task.stop)), digest=None)

    def _submitted(self, function: Callable[..., Any], *arguments: Any) -> Any:
        key = f"onnx2snn-{function.__name__}-{uuid4().hex}"
        with self._there():
            return self._client.submit(function, *arguments, key=key, pure=False)

    def _result(self, future: Any) -> bytes | None:
        """None where it was lost with its worker, and is made again."""
        if future.status == "error":
            raise _told(future.exception())
        if future.status == "cancelled":
            raise _gone(self._scheduler)
        seconds = self._waits.get(future.key, FETCH)
        try:
            return bytes(future.result(timeout=seconds))
        except TimeoutError:
            self._waits[future.key] = 2 * seconds
            self._look()
            self._arrived.put(future)
            return None
        except Exception as error:  # cancelled meanwhile, or its worker's death ended it
            if future.status == "error":
                raise _told(error) from None
            raise _gone(self._scheduler) from None

    def _look(self) -> None:
        """At the cluster. Raises ClusterError where it is gone, or had no workers for long."""
        self._looked = monotonic()
        if self._client.status != "running":
            raise _gone(self._scheduler)
        with self._there():
            self._threads = sum(self._client.nthreads(callback_timeout=CONNECT).values())
        if self._threads:
            self._seen = self._looked
        elif self._looked - self._seen > PATIENCE:
            raise ClusterError(
                f"the cluster has had no workers for {PATIENCE:g} s",
                where=self._scheduler,
                remedy=f"Start some: `dask worker {self._scheduler} --nthreads 1`. {RESUMED}",
                code="E602",
            )

    @contextmanager
    def _there(self) -> Iterator[None]:
        """What goes wrong in talking to the scheduler is its going away."""
        try:
            yield
        except Onnx2SnnError:
            raise
        except Exception as error:
            raise _gone(self._scheduler) from error


def _package() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise UsageError(
            "a cluster needs the package distributed",
            remedy="pip install 'onnx2snn[distributed]'.",
            code="E103",
        ) from error
    return distributed


def _connected(distributed: Any, scheduler: str) -> Any:
    try:
        _check_address(scheduler, distributed.comm.registry.backends)
        return distributed.Client(scheduler, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError, TypeError, ImportError) as error:
        raise ClusterError(
            "no Dask scheduler answers",
            where=scheduler,
            remedy="Start one with `dask scheduler`, and name it as it names itself: "
            "tcp://HOST:8786.",
            code="E601",
        ) from error


def _check_address(address: str, protocols: Collection[str]) -> None:
    """Raises ValueError for what is none: a client that finds that out itself, late, cannot be
    closed, and waits and complains when it is thrown away."""
    protocol, given, place = address.rpartition("://")
    if given and protocol not in protocols:
        raise ValueError(f"there is no protocol '{protocol}'")
    host, _, port = place.rpartition(":")
    if protocol != "inproc" and not (host and port.isdecimal()):
        raise ValueError("no HOST:PORT")


def _path(samples: Samples, by: By | None) -> ByPath | None:
    """None: by value. Raises UsageError where a path is asked for and there is none."""
    found = None if by == "value" else by_path(samples)
    if by is None and found is not None and found.size is None:
        return None  # a folder of pictures, which every worker would have to decode
    if found is None and by == "path":
        raise UsageError(
            "these samples are in memory, not in a file that workers could read",
            remedy=f"Use {spelled('data_by', 'value')}.",
        )
    return found


def _told(error: BaseException) -> BaseException:
    """What a task raised on a worker, as it is raised here."""
    if isinstance(error, RefusalError):
        return _refused(error)
    if isinstance(error, ImportError):
        return _refused(RefusalError("E603", "of those", "", _without(error)))
    if type(error).__name__ == "KilledWorker":
        return ClusterError(
            "several workers died in the same task, most likely for want of memory",
            remedy=f"Give workers more memory, or them less with {spelled('mem_limit')}. {RESUMED}",
            code="E605",
        )
    return error


def _without(error: BaseException) -> str:
    return f"it has no onnx2snn, or another version ({error})"


def _refused(error: RefusalError) -> ClusterError:
    if error.code == "E603":
        return ClusterError(
            f"worker {error.worker} would not compute the same numbers: {error.what}",
            remedy="Install the same on all, or name other workers.",
            code="E603",
        )
    return ClusterError(
        f"worker {error.worker} cannot read the data: {error.what}",
        where=error.where,
        remedy="Put the file where every worker sees it under this path, or use "
        f"{spelled('data_by', 'value')}.",
        code="E604",
    )


def _gone(scheduler: str) -> ClusterError:
    return ClusterError(
        "the scheduler went away", where=scheduler, remedy=f"Start it again. {RESUMED}", code="E601"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """What Dask logs and warns of is told in our words, or is no matter of the user's."""
    kinds = ("distributed", "dask", "tornado", "asyncio")
    found = [
        logger
        for name, logger in logging.root.manager.loggerDict.items()
        if name.partition(".")[0] in kinds and isinstance(logger, logging.Logger)
    ]
    before = [logger.disabled for logger in found]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sending large graph|Mismatched versions")
        for logger in found:
            logger.disabled = True
        try:
            yield
        finally:
            for logger, was in zip(found, before, strict=True):
                logger.disabled = was
