"""Tiles across cores, and how many threads NumPy's own matrix product may use (one).

BLAS, ufuncs and copies release the interpreter lock, but a layer's step is some dozens of them, and
whoever waits for the lock goes to sleep and is woken again: two threads were hardly faster than
one. So tiles run in forked processes where the system has them (Linux), which share everything made
before, and in threads elsewhere. A BLAS that also started threads would only get in their way.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, NoReturn, TypeVar

from threadpoolctl import ThreadpoolController

Task = TypeVar("Task")
Worker = TypeVar("Worker")
Result = TypeVar("Result")


def available_threads() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def one_blas_thread(controller: ThreadpoolController | None = None) -> Iterator[None]:
    """One thread per matrix product inside, what it was before after. A ``controller`` saves
    looking for the libraries again, which takes longer than a small run."""
    with (controller or ThreadpoolController()).limit(limits=1, user_api="blas"):
        yield


def run_tasks(
    workers: Sequence[Worker],
    tasks: Sequence[Task],
    run: Callable[[Worker, Task], Result],
    collect: Callable[[Result], None],
    forks: bool = True,
) -> None:
    """``run(worker, task)`` for every task, each worker on one task at a time; ``collect`` sees
    the results in this thread, in the order they are done. The first error stops the rest.

    ``forks``: in processes where there are any; what ``run`` changes is then lost but for its
    result, which is pickled.
    """
    if len(workers) == 1 or len(tasks) == 1:
        for task in tasks:
            collect(run(workers[0], task))
    elif forks and sys.platform == "linux":
        _run_forked(workers, tasks, run, collect)
    else:
        _run_threads(workers, tasks, run, collect)


def _run_forked(
    workers: Sequence[Worker],
    tasks: Sequence[Task],
    run: Callable[[Worker, Task], Result],
    collect: Callable[[Result], None],
) -> None:
    """Task i by worker i modulo their number; the first worker is this process."""
    children: list[tuple[int, Connection]] = []
    arrived: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    count, working = min(len(workers), len(tasks)), 0
    try:
        for k in range(1, count):
            receiver, sender = Pipe(duplex=False)
            pid = os.fork()
            if pid == 0:
                _child(sender, workers[k], tasks[k::count], run)
            sender.close()
            children.append((pid, receiver))
        for _, receiver in children:
            threading.Thread(target=_listen, args=(receiver, arrived), daemon=True).start()
        working = len(children)
        for task in tasks[::count]:
            collect(run(workers[0], task))
            while not arrived.empty():
                working -= _take(arrived.get(), collect)
        while working:
            working -= _take(arrived.get(), collect)
    finally:
        for pid, _ in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _child(
    sender: Connection,
    worker: Worker,
    tasks: Sequence[Task],
    run: Callable[[Worker, Task], Result],
) -> NoReturn:
    """Do the tasks, send what they give, and leave without what a process does at its end."""
    try:
        for task in tasks:
            sender.send(("result", run(worker, task)))
        sender.send(("end", None))
    except BaseException as error:  # whatever it was, the parent is to raise it
        try:
            sender.send(("error", error))
        except Exception:
            sender.send(("error", RuntimeError(f"{type(error).__name__}: {error}")))
    finally:
        sender.close()
        os._exit(0)


def _listen(receiver: Connection, arrived: queue.SimpleQueue[tuple[str, Any]]) -> None:
    """Pass on what a child sends, so that it never waits; the last is its end or an error."""
    while True:
        try:
            kind, value = receiver.recv()
        except (EOFError, OSError):
            kind, value = "error", RuntimeError("a simulating process ended unexpectedly")
        arrived.put((kind, value))
        if kind != "result":
            receiver.close()
            return


def _take(message: tuple[str, Any], collect: Callable[[Any], None]) -> int:
    """Collect a result; how many children (0 or 1) are done with this message. Raises theirs."""
    kind, value = message
    if kind == "error":
        raise value
    if kind == "result":
        collect(value)
    return int(kind == "end")


def _run_threads(
    workers: Sequence[Worker],
    tasks: Sequence[Task],
    run: Callable[[Worker, Task], Result],
    collect: Callable[[Result], None],
) -> None:
    """In threads, each taking the next task when it is done with one."""
    pending = iter(tasks)
    with ThreadPoolExecutor(len(workers)) as pool:
        running: dict[Future[Result], Worker] = {}
        for worker, task in zip(workers, pending, strict=False):
            running[pool.submit(run, worker, task)] = worker
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                worker = running.pop(future)
                collect(future.result())
                for task in pending:
                    running[pool.submit(run, worker, task)] = worker
                    break
