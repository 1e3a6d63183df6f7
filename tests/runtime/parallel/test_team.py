"""A team of processes: kept from run to run, gone when nobody needs it."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import time

import numpy as np
import pytest

from onnx2snn.errors import DataError, Onnx2SnnError
from onnx2snn.runtime.engine.fast.simulator import Simulator
from onnx2snn.runtime.parallel.team import CAN_FORK, Team
from runtime.engine.test_against_naive import assert_same, float_network, images

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="processes are forked on Linux only")


def who(task):
    if isinstance(task, signal.Signals):
        faulthandler.disable()  # pytest's, which would say where it crashed
        os.kill(os.getpid(), task)
    if task == "fail":
        raise DataError("no such sample")
    if task == "odd":
        return lambda: None  # cannot be pickled
    return os.getpid(), task


def done(team, tasks):
    results = []
    team.run(tasks, results.append)
    return results


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_same_processes_do_run_after_run():
    team = Team([who] * 3)
    runs = [{pid for pid, _ in done(team, range(9))} for _ in range(3)]
    assert len(runs[0]) == len(team) == 3
    assert runs[0] == runs[1] == runs[2]
    team.close()
    assert not team.usable
    assert [alive(pid) for pid in runs[0] - {os.getpid()}] == [False, False]


def test_fewer_tasks_than_processes():
    team = Team([who] * 3)
    assert sorted(task for _, task in done(team, [5])) == [5]
    assert sorted(task for _, task in done(team, [5, 6])) == [5, 6]
    team.close()


@pytest.mark.parametrize(
    ("number", "error", "says"),
    [
        (signal.SIGKILL, MemoryError, "the system killed a worker process"),
        (signal.SIGSEGV, Onnx2SnnError, "crashed .SIGSEGV"),
    ],
)
@pytest.mark.parametrize("tasks", [[0], [0, 1, 2, 3]])
def test_a_process_that_was_killed_is_named_with_the_reason(tasks, number, error, says):
    team = Team([who] * 2)
    with pytest.raises(error, match=says):
        team.run([tasks[0], number, *tasks[1:]], lambda _: None)
    assert not team.usable


@pytest.mark.parametrize(("tasks", "error"), [([0, "fail"], DataError), ([0, "odd"], RuntimeError)])
def test_an_error_closes_the_team(tasks, error):
    team = Team([who] * 2)
    with pytest.raises(error):
        done(team, tasks)
    assert not team.usable


def test_a_task_that_cannot_be_pickled_is_an_error():
    team = Team([who] * 2)
    with pytest.raises(Exception, match="pickle"):
        done(team, [0, lambda: None])
    assert not team.usable


def test_a_forked_process_does_not_use_its_parents_team():
    team = Team([who] * 2)
    pid = os.fork()
    if pid == 0:
        usable = team.usable
        team.close()
        os._exit(int(usable))
    assert os.waitpid(pid, 0)[1] == 0
    assert len(done(team, range(4))) == 4
    team.close()


def test_a_simulator_keeps_its_processes_and_takes_them_along():
    graph, x = float_network(dyadic=True), images(24)
    alone = Simulator(graph, threads=1, tile=4, events="never").run(x, 6)
    simulator = Simulator(graph, threads=2, tile=4, events="never")
    assert_same(simulator.run(x, 6), alone)
    team = simulator._team
    assert team is not None
    members = [pid for pid, _ in team._members]
    assert_same(simulator.run(x, 6), alone)
    assert simulator._team is team
    assert all(map(alive, members))
    del simulator, team
    gc.collect()
    assert not any(map(alive, members))


def test_small_work_is_shared_from_the_second_run_on(monkeypatch):
    graph, x = float_network(dyadic=True), images(24)
    alone = Simulator(graph, threads=1, events="never").run(x, 6)
    monkeypatch.setattr("onnx2snn.runtime.engine.fast.simulator.available_threads", lambda: 2)
    monkeypatch.setattr("onnx2snn.runtime.engine.fast.simulator.SMALL_AGAIN_SECONDS", 0)
    simulator = Simulator(graph, events="never")
    assert_same(simulator.run(x, 6), alone)
    assert simulator._team is None
    for _ in range(2):
        assert_same(simulator.run(x, 6), alone)
        assert simulator._team is not None


def test_members_end_with_the_process_that_has_their_pipes():
    """A process is killed without a chance to close anything."""
    here, there = os.pipe()
    pid = os.fork()
    if pid == 0:
        team = Team([who] * 3)
        done(team, range(3))
        os.write(there, np.array([p for p, _ in team._members]).tobytes())
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    members = np.frombuffer(os.read(here, 100), np.int64)
    until = time.monotonic() + 10
    while any(map(alive, members)) and time.monotonic() < until:
        time.sleep(0.01)
    assert len(members) == 2
    assert not any(map(alive, members))
