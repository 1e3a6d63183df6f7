"""Command lines in forked processes, each with a limit of time and memory, and how they ended."""

from __future__ import annotations

import os
import re
import resource
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class End:
    """How a command ended: exit ``status`` (negative: a signal), its error's ``code``, ``seconds``,
    ``peak`` memory in bytes, and the last line of what it said on standard error."""

    status: int
    code: str
    seconds: float
    peak: int
    said: str

    @property
    def faults(self) -> list[str]:
        """What no input may cause."""
        return [
            *([f"signal {-self.status}"] if self.status < 0 else []),
            *(["traceback"] if self.status not in (0, 1, 2) and self.status > 0 else []),
            *([self.code] if self.code in ("E999", "E400") else []),
            *(["time"] if self.seconds > LIMIT else []),
            *(["memory"] if self.peak > 2 * GIB else []),
        ]


LIMIT = 10  # seconds
KILLED = 20  # seconds
MOST = 6 * GIB  # of addresses, so that the machine survives


def run(arguments: Sequence[str], folder: Path) -> End:
    """``onnx2snn ARGUMENTS`` in a child of this process, which has everything imported."""
    errors = folder / f"errors{os.getpid()}"
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _child(arguments, folder, errors)
    status, usage = _waited(pid, started)
    seconds = time.monotonic() - started
    lines = errors.read_text(errors="replace").strip().splitlines()
    said = lines[-1] if lines else ""
    found = re.match(r"error (E\d+)", said)
    return End(
        status=status,
        code=found[1] if found else "",
        seconds=seconds,
        peak=usage.ru_maxrss * 1024,
        said=said[:300],
    )


def _waited(pid: int, started: float) -> tuple[int, resource.struct_rusage]:
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), usage
        if time.monotonic() - started > KILLED:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def _child(arguments: Sequence[str], folder: Path, errors: Path) -> None:
    from onnx2snn.cli import main

    status = 70
    try:
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_AS, (MOST, MOST))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sink = os.open(os.devnull, os.O_RDWR)
        said = os.open(errors, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        for old, new in ((sink, 0), (sink, 1), (said, 2)):
            os.dup2(old, new)
        sys.stdout, sys.stderr = os.fdopen(os.dup(1), "w"), os.fdopen(os.dup(2), "w")
        main(list(arguments), prog_name="onnx2snn")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 71
    except BaseException as error:  # a traceback, in a process of its own
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
