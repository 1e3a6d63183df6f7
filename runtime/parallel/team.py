"""Forked processes that do tasks, and stay for the next ones.

Forking is dear: page tables are copied, and then every page that either side writes to, tens of
milliseconds where a short run takes as many. A team is forked once; its processes have everything
that was there before (plans, for one, each a copy of its own) and later get tasks and send back
results through a pipe each. They end with the team: when it is closed, collected or left behind by
an interpreter that ends, or as soon as their pipe has no other end.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Generic, NoReturn, TypeVar

from ...errors import Onnx2SnnError
from ...spelling import spelled
from .orphans import end_with_parent, may_end_with_this_thread

CAN_FORK = sys.platform == "linux"
Task = TypeVar("Task")
Result = TypeVar("Result")


class Team(Generic[Task, Result]):
    """``works[0]`` is done by this process, every other one by a process of its own. Tasks and
    results are pickled; what else a task changes stays in its process.

    After an error the team is closed. In a process forked by someone else it is not ``usable``.
    """

    def __init__(self, works: Sequence[Callable[[Task], Result]]) -> None:
        self._work, self._owner = works[0], os.getpid()
        self._members: list[tuple[int, Connection]] = []
        self._end = weakref.finalize(self, _end, self._members, self._owner)
        for work in works[1:]:
            here, there = Pipe()
            bound = may_end_with_this_thread()
            pid = os.fork()
            if pid == 0:
                if bound:
                    end_with_parent(self._owner)
                for _, other in [*self._members, (0, here)]:
                    other.close()
                _serve(there, work)
            there.close()
            self._members.append((pid, here))

    def __len__(self) -> int:
        return len(self._members) + 1

    @property
    def usable(self) -> bool:
        return self._end.alive and os.getpid() == self._owner

    def close(self) -> None:
        self._end()

    def run(self, tasks: Sequence[Task], collect: Callable[[Result], None]) -> None:
        """Every task once, task i by member i modulo their number; ``collect`` sees the results
        in this thread, in the order they are done. The first error stops the rest."""
        count = len(self)
        arrived: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        waiting: list[tuple[int, Connection]] = []
        working = 0
        try:
            for k, (pid, connection) in enumerate(self._members, 1):
                mine = tasks[k::count]
                if not mine:
                    continue
                working += 1
                with _reachable(pid):
                    connection.send(mine[0])
                if len(mine) == 1:  # there is time for its answer when this process is done
                    waiting.append((pid, connection))
                    continue
                order = (pid, connection, mine[1:], arrived)
                threading.Thread(target=_lead, args=order, daemon=True).start()
            for task in tasks[::count]:
                collect(self._work(task))
                while not arrived.empty():
                    working -= _take(arrived.get(), collect)
            for pid, connection in waiting:
                _lead(pid, connection, (), arrived)
            while working:
                working -= _take(arrived.get(), collect)
        except BaseException:
            self.close()
            raise


def _end(members: list[tuple[int, Connection]], owner: int) -> None:
    if os.getpid() != owner:
        return  # a copy of the team in some other forked process
    for pid, _ in members:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _serve(connection: Connection, work: Callable[[Any], Any]) -> NoReturn:
    """A member's life: tasks in, results out; it leaves without what a process does at its end."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the first process's matter
        while True:
            task = connection.recv()
            try:
                answer = ("result", work(task))
            except BaseException as error:  # whatever it was, the parent is to raise it
                answer = ("error", error)
            try:
                connection.send(answer)
            except Exception:  # something that cannot be pickled
                what = answer[1]
                connection.send(("error", RuntimeError(f"{type(what).__name__}: {what}")))
    finally:
        os._exit(0)  # also where the pipe has no other end any more


@contextmanager
def _reachable(pid: int) -> Iterator[None]:
    """Raises MemoryError where the system killed the member ``pid``, which it does where memory
    runs out, and Onnx2SnnError (E901) where it crashed."""
    try:
        yield
    except (EOFError, OSError):
        end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # ``_end`` collects it
        by = end.si_status if end is not None and end.si_code != os.CLD_EXITED else 0
        if by == signal.SIGKILL:
            raise MemoryError("the system killed a worker process") from None
        raise Onnx2SnnError(
            "a worker process crashed" + (f" ({signal.Signals(by).name})" if by else ""),
            remedy=f"Try {spelled('threads', 1)} or {spelled('engine', 'numpy')}, and report it.",
            code="E901",
        ) from None


def _lead(
    pid: int,
    connection: Connection,
    later: Sequence[Any],
    arrived: queue.SimpleQueue[tuple[str, Any]],
) -> None:
    """Pass on what a member sends, and give it a task more after each; what arrives last is
    ("end", None) or an error."""
    for i in range(len(later) + 1):
        try:
            with _reachable(pid):
                kind, value = connection.recv()
                if i < len(later) and kind == "result":
                    connection.send(later[i])
        except Exception as error:
            kind, value = "error", error
        arrived.put((kind, value))
        if kind == "error":
            return
    arrived.put(("end", None))


def _take(message: tuple[str, Any], collect: Callable[[Any], None]) -> int:
    """Collect a result; how many members (0 or 1) are done with this message. Raises theirs."""
    kind, value = message
    if kind == "error":
        raise value
    if kind == "result":
        collect(value)
    return int(kind == "end")
