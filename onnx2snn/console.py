"""The command ``onnx2snn``: a first process that imports next to nothing, and waits for its child.

The child imports the rest and does the work. So Ctrl-C and SIGTERM are answered at any moment, also
while libraries are imported or compute without looking at signals: one line, exit status 130 and
143, nothing left behind. And where a library crashes or the system kills the child, the user is
told so in one line. Without fork (macOS, Windows) there is one process, which stops as soon as the
interpreter has its turn.

It writes to standard error itself: what ``cli`` does that with is not imported here.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from .runtime.parallel import last_words
from .runtime.parallel.orphans import end_with_parent

STOPS = {
    name: text
    for name, text in (
        ("SIGINT", "interrupted"),
        ("SIGTERM", "terminated"),
        ("SIGHUP", "terminated: the terminal is gone"),
    )
    if hasattr(signal, name)
}
LOST = 0.05  # seconds after which it is looked whether an exception was lost
PATIENCE = 4.0  # seconds that the child has for its clean-up before it is killed
FOREVER = 3600.0  # seconds, and then again


class Stopped(BaseException):
    """Raised where a signal arrives; ``number`` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main() -> NoReturn:
    """The command line in ``sys.argv``."""
    numbers = [getattr(signal, name) for name in STOPS]
    heard = [n for n in numbers if signal.getsignal(n) is not signal.SIG_IGN]  # nohup, `&`
    if sys.platform == "linux":
        _supervise(heard)
    stopper = _Stopper(speaks=True)
    for number in heard:
        signal.signal(number, stopper)
    _work(stopper)


def _supervise(heard: list[int]) -> None:
    """Ends the process as its child ended; returns in the child, and where none can be made.

    This process never handles a signal, it only waits for one: a handler that comes between
    "nothing has arrived" and the system call that waits would be called when the child is done.
    """
    awaited = {*heard, signal.SIGCHLD}
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it takes the child's status along
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    parent = os.getpid()
    try:
        child = os.fork()
    except OSError:  # no more processes: then this one does it
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    if child == 0:
        end_with_parent(parent)
        for number in {*heard} - {signal.SIGTERM}:  # a terminal's Ctrl-C reaches both: it is for
            signal.signal(number, signal.SIG_IGN)  # the parent, which passes it on as SIGTERM
        stopper = _Stopper(speaks=False)
        signal.signal(signal.SIGTERM, stopper)
        signal.pthread_sigmask(signal.SIG_SETMASK, before - {*heard, signal.SIGTERM})
        _work(stopper)
    stopped, ended = _watch(child, awaited)
    if stopped or ended < 0:
        _remove_leftovers(child)
    _end(stopped, ended=ended)


def _watch(child: int, awaited: set[int]) -> tuple[int, int]:
    """Wait for the child, tell it of the first signal that stops the command (0: there was none)
    and kill it where it does not end of itself then; that signal, and the child's exit status."""
    stopped, patience_ends = 0, 0.0
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return stopped, os.waitstatus_to_exitcode(status)
        if stopped and time.monotonic() > patience_ends:
            os.kill(child, signal.SIGKILL)  # it is there until it is waited for
        seconds = max(patience_ends - time.monotonic(), LOST) if stopped else FOREVER
        arrived = signal.sigtimedwait(awaited, seconds)
        if arrived is not None and arrived.si_signo != signal.SIGCHLD and not stopped:
            stopped, patience_ends = arrived.si_signo, time.monotonic() + PATIENCE
            os.kill(child, signal.SIGTERM)


def _work(stopper: _Stopper) -> NoReturn:
    """The command line, in this process."""
    from .cli import main as command_line

    try:
        stopper.importing = False
        command_line()
    except Stopped as stopped:
        stopper.ending = True
        stopper.say(stopped.number)
        sys.exit(128 + stopped.number)
    sys.exit(0)


class _Stopper:
    """The handler in the process that works: ends it while there is nothing to clean up, raises
    ``Stopped`` later, and silences what libraries say when they are interrupted.

    An exception is lost where C calls Python back, in weak references' callbacks for one. So it is
    raised again until it is on its way: then every clean-up runs while it is being handled.
    """

    def __init__(self, *, speaks: bool) -> None:
        self.importing, self.ending = True, False
        self._speaks, self._number = speaks, 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self._number:
            self._number = number
            if hasattr(signal, "setitimer"):
                signal.signal(signal.SIGALRM, self)
                signal.setitimer(signal.ITIMER_REAL, LOST, LOST)
            if not self._speaks:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        if self.importing:
            self.say(self._number)
            os._exit(128 + self._number)
        if not self.ending and not _handled(sys.exception()):
            raise Stopped(self._number)

    def say(self, number: int) -> None:
        if self._speaks:
            _say(_reason(number))


def _handled(error: BaseException | None) -> bool:
    """Whether ``Stopped`` is among an exception that is being handled and those before it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen and not isinstance(error, Stopped):
        seen.add(id(error))
        error = error.__context__
    return isinstance(error, Stopped)


def _end(stopped: int, *, ended: int) -> NoReturn:
    """Say what is to be said, and end: ``ended`` is the child's exit status, negative for the
    signal that ended it."""
    if not stopped and ended > 128 and ended - 128 in {getattr(signal, n) for n in STOPS}:
        stopped = ended - 128  # the child alone was told
    if stopped:
        _say(_reason(stopped))
        os._exit(128 + stopped)
    if ended >= 0:
        os._exit(ended)
    if -ended == signal.SIGKILL:
        _say(
            "error E900: the system killed the process, most likely because memory ran out. "
            "Lower --mem-limit, --threads or --samples."
            + (f" {words[0].upper()}{words[1:]}." if (words := last_words.left()) else "")
        )
    else:
        _say(
            f"error E901: a library crashed ({signal.Signals(-ended).name}) where ONNX Runtime or "
            "compiled code was at work. Check the model with onnx.checker.check_model; if it is "
            "sound, report it with the model."
        )
    os._exit(2)


def _reason(number: int) -> str:
    words = last_words.left()
    return STOPS[signal.Signals(number).name] + (f": {words}" if words else "")


def _say(line: str) -> None:
    """One line on standard error, under what may stand in the terminal's last one."""
    with suppress(OSError):  # nobody listens
        os.write(2, (("\n" if os.isatty(2) else "") + line + "\n").encode())


def _remove_leftovers(child: int) -> None:
    """Temporary folders of a process that could not remove them: their names have its number."""
    import shutil
    import tempfile

    for entry in os.scandir(tempfile.gettempdir()):
        if entry.name.startswith(f"onnx2snn-{child}-"):
            shutil.rmtree(entry.path, ignore_errors=True)
