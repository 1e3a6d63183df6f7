"""Progress of long commands on the terminal, or for machines as JSON, a line each.

On a terminal one line on standard error is written over and over; where there is none (a notebook,
CI, `| tee`) a plain line comes every ``PLAIN`` seconds, which short work never reaches. Both also
come while nothing is told (``beating``). Of work that takes long a line says about how long, as
soon as its first part tells (``LONG``). With --json-lines standard output has an object a line:
``progress``, ``finished`` and last ``result``.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, TypeVar

import click

from ..display import counted, json_text
from ..experiments.watching import Progress
from ..reports.text import duration, percent
from . import terminal

F = TypeVar("F", bound=Callable[..., Any])
LINES, WATCH = "onnx2snn.lines", "onnx2snn.watch"  # of a context
EVERY = 0.25  # seconds between two lines of one stage
PLAIN, SILENT = 30.0, 1.0  # seconds between two lines, in a pipe and on a silent terminal
LONG = 10.0  # seconds that are left: they are announced
TOLD = 1.0  # seconds of work that tell how long the rest takes
SLOW = 3.0  # seconds until a stage first tells of itself: no store is that slow


def lines_option(function: F) -> F:
    """--json-lines, of every verb that may take long."""

    def chosen(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        context.meta[LINES] = value

    return click.option(
        "--json-lines",
        is_flag=True,
        expose_value=False,
        callback=chosen,
        help="Print progress and the result as JSON, an object a line.",
    )(function)


def in_lines() -> bool:
    """Whether the command was asked for JSON lines."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(LINES))


def event(kind: str, **facts: Any) -> None:
    terminal.out(json_text({"event": kind, **facts}, indent=None))


def watch() -> Watch:
    """That of the command that runs."""
    context = click.get_current_context(silent=True)
    if context is None:
        return Watch()
    found: Watch = context.meta.setdefault(WATCH, Watch())
    return found


@contextmanager
def beating(context: click.Context) -> Iterator[None]:
    """While the command runs, what it is at and how far is said again and again, also where it is
    silent for long."""
    heard, seen, over = watch(), sys.stderr.isatty(), threading.Event()

    def beat() -> None:
        while not over.wait(SILENT if seen else PLAIN):
            if not context.meta.get(LINES):
                heard.beat(str(context.invoked_subcommand), terminal_seen=seen)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        terminal.erase()


class Watch:
    """An ``experiments.watching.Watcher`` that shows what it is told."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now, self._began = now, now()
        self._planned: list[int] = []
        self._done: list[int] = []
        self._best: tuple[float, str] | None = None
        self._foreseen = False  # how long all configurations take was said
        self._told, self._line = now(), ""  # when something was last shown; the stage, if under way

    def say(self, text: str) -> None:
        terminal.notice(text)

    def planned(self, steps: Sequence[int]) -> None:
        self._planned += steps

    def finished(self, label: str, *, steps: int, score: float) -> None:
        self._done.append(steps)
        if self._best is None or score > self._best[0]:
            self._best = score, f"{label} T={steps}"
        if in_lines():
            event("finished", configuration=label, T=steps, score=score, **self._overall())

    def stage(self, text: str, *, samples: bool = False) -> Progress:
        lines, seen = in_lines(), sys.stderr.isatty()
        began, shown, first, of = self._now(), 0.0, None, 0
        announced = False
        self._line = text

        def show(done: int, total: int) -> None:
            nonlocal shown, first, of, announced
            now = self._now()
            if first is None and done and now - began >= SLOW:
                first, of = (0, began), total
            if first is None or total != of or done < first[0]:  # it counts something else now
                first, of = (done, now), total
            if done < total and now - shown < EVERY:
                return
            shown, gone = now, done - first[0]
            # From the second report on: what the store has comes in no time.
            rate = gone / (now - first[1]) if gone and now > first[1] else None
            left = None if rate is None else (total - done) / rate
            if left is not None and not announced and now - first[1] >= TOLD:
                announced = lines or self._announce(text, left, samples=samples)
            if lines:
                facts = {"stage": text, "done": done, "total": total, "seconds": now - began}
                speed = {"samples_per_second": rate if samples else None, "seconds_left": left}
                event("progress", **facts, **speed, **self._overall())
                return
            line = _line(text, done, total=total, rate=rate if samples else None, left=left)
            line += self._overall_text()
            self._line = line if done < total else ""
            if seen:
                self._told = now
                terminal.progress(line, done=done >= total)

        return show

    def _announce(self, text: str, left: float, *, samples: bool) -> bool:
        """Say about how long it takes, where that is long: the stage, or where several
        configurations are simulated all of them, once. Whether that is done with."""
        several = len(self._done) < len(self._planned)
        if several and self._foreseen:
            return True
        if several and samples:
            text, left = counted(len(self._planned), "configuration"), self._of_all(left)
        if left < LONG:
            return False
        self._foreseen = several and samples
        terminal.notice(f"{text}: about {duration(left)} more")
        return True

    def _of_all(self, left: float) -> float:
        """Seconds of all configurations, where the one that is simulated takes ``left`` more."""
        known, spent = self._left(), self._now() - self._began
        if known is not None:
            return known
        return (spent + left) / self._planned[0] * sum(self._planned) - spent

    def beat(self, verb: str, *, terminal_seen: bool) -> None:
        """Say where the work is, with the time so far."""
        now = self._now()
        line = f"{self._line.rstrip() or verb}, {duration(now - self._began)} so far"
        if not terminal_seen:
            terminal.notice(line)
        elif now - self._told >= SILENT:
            terminal.progress(line, done=False)

    def _overall(self) -> dict[str, Any]:
        """Of all configurations; what is left from the time that steps took so far."""
        best = None if self._best is None else {"score": self._best[0], "of": self._best[1]}
        return {
            "configurations_done": len(self._done),
            "configurations": len(self._planned),
            "all_seconds_left": self._left(),
            "best": best,
        }

    def _left(self) -> float | None:
        if not self._done:
            return None
        steps = sum(self._planned) - sum(self._done)
        return (self._now() - self._began) / sum(self._done) * steps

    def _overall_text(self) -> str:
        if not self._planned:
            return ""
        text = f"; {len(self._done)} of {counted(len(self._planned), 'configuration')}"
        left = self._left()
        if left is not None:
            text += f", {duration(left)} left"
        if self._best is not None:
            text += f", best {percent(self._best[0], 1)} ({self._best[1]})"
        return text + " "


def _line(text: str, done: int, *, total: int, rate: float | None, left: float | None) -> str:
    parts = [f"{text}: {100 * done // max(total, 1):3d} %"]
    if rate is not None:
        parts.append(f"{rate:,.0f} samples/s" if rate >= 10 else f"{rate:.2g} samples/s")
    if left is not None and done < total:
        parts.append(f"{duration(left)} left")
    return ", ".join(parts)
