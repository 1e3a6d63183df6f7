"""Tiles across cores, and how many threads NumPy's own matrix product may use (one).

BLAS, ufuncs and copies release the interpreter lock, but a layer's step is some dozens of them, and
whoever waits for the lock goes to sleep and is woken again: two threads were hardly faster than
one. So tiles run in forked processes where the system has them (``team``), in threads elsewhere.
A BLAS that also started threads would only get in their way.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from contextvars import ContextVar
from functools import cache, partial
from typing import TypeVar

from threadpoolctl import ThreadpoolController

from .team import CAN_FORK, Team

Task = TypeVar("Task")
Worker = TypeVar("Worker")
Result = TypeVar("Result")


_most: ContextVar[int | None] = ContextVar("most threads", default=None)


@contextmanager
def at_most(threads: int) -> Iterator[None]:
    """Within, in this thread, ``available_threads`` are so many at most."""
    token = _most.set(threads)
    try:
        yield
    finally:
        _most.reset(token)


def available_threads() -> int:
    """The cores this process may use, or ``at_most`` so many."""
    cores, most = _cores(), _most.get()
    return cores if most is None else min(cores, most)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """One thread per matrix product inside, what it was before after."""
    with _blas_libraries().limit(limits=1, user_api="blas"):
        yield


@cache
def _blas_libraries() -> ThreadpoolController:
    """Of this process: looking for them takes longer than a small run. NumPy's is loaded when it is
    imported, and no other multiplies here."""
    return ThreadpoolController()


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
    result, which is pickled, as tasks are.
    """
    if len(workers) == 1 or len(tasks) == 1:
        for task in tasks:
            collect(run(workers[0], task))
    elif forks and CAN_FORK:
        works = [partial(run, worker) for worker in workers[: len(tasks)]]
        with closing(Team(works)) as team:
            team.run(tasks, collect)
    else:
        _run_threads(workers, tasks, run, collect)


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
