"""Tasks in forked processes: every result once, and whatever goes wrong is raised here."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from onnx2snn.errors import DataError, Onnx2SnnError
from onnx2snn.runtime.parallel.threads import run_tasks

linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")


def gather(workers, tasks, run, **options):
    results = []
    run_tasks(workers, tasks, run, results.append, **options)
    return results


@pytest.mark.parametrize("forks", [True, False])
@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("tasks", [1, 2, 7])
def test_every_task_gives_its_result_once(workers, tasks, forks):
    def square(worker, task):
        return task, np.full(50_000, task**2)  # larger than what a pipe holds

    results = gather(range(workers), range(tasks), square, forks=forks)
    assert sorted(task for task, _ in results) == list(range(tasks))
    assert all((values == task**2).all() for task, values in results)


@linux
def test_tasks_are_shared_among_processes():
    pids = gather(range(2), range(4), lambda worker, task: os.getpid())
    assert len(set(pids)) == 2
    assert pids.count(os.getpid()) == 2


@pytest.mark.parametrize("where", [0, 1])
def test_an_error_is_raised_as_what_it_was(where):
    def fail(worker, task):
        if worker == where:
            raise DataError("no such sample")
        return task

    with pytest.raises(DataError, match="no such sample"):
        gather(range(2), range(4), fail)


@linux
def test_a_process_that_ends_is_an_error_and_not_waited_for():
    def end(worker, task):
        if worker == 1:
            os._exit(3)
        return task

    with pytest.raises(Onnx2SnnError, match="crashed"):
        gather(range(2), range(4), end)
