"""Progress of long commands on the terminal, or for machines as JSON, a line each.

On a terminal one line on standard error is written over and over; in a pipe there is none. With
--json-lines standard output has an object a line: ``progress``, ``finished`` and last ``result``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, TypeVar

import click

from ..display import json_text
from ..experiments.watching import Progress
from ..reports.text import duration, percent
from . import terminal

F = TypeVar("F", bound=Callable[..., Any])
LINES, WATCH = "onnx2snn.lines", "onnx2snn.watch"  # of a context
EVERY = 0.25  # seconds between two lines of one stage


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


class Watch:
    """An ``experiments.watching.Watcher`` that shows what it is told."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now, self._began = now, now()
        self._planned: list[int] = []
        self._done: list[int] = []
        self._best: tuple[float, str] | None = None

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
        lines = in_lines()
        if not lines and not sys.stderr.isatty():
            return lambda done, total: None
        began, shown, first = self._now(), 0.0, None

        def show(done: int, total: int) -> None:
            nonlocal shown, first
            now = self._now()
            first = (done, total, now) if first is None else first
            if done < total and now - shown < EVERY:
                return
            shown, gone = now, done - first[0]
            # From the second report on: what the store has comes in no time.
            rate = gone / (now - first[2]) if gone > 0 and now > first[2] else None
            left = _time_left(first, (done, total), seconds=now - first[2])
            if lines:
                facts = {"stage": text, "done": done, "total": total, "seconds": now - began}
                speed = {"samples_per_second": rate if samples else None, "seconds_left": left}
                event("progress", **facts, **speed, **self._overall())
            else:
                line = _line(text, done, total=total, rate=rate if samples else None, left=left)
                terminal.progress(line + self._overall_text(), done=done >= total)

        return show

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
        text = f"; {len(self._done)} of {len(self._planned)} configurations"
        left = self._left()
        if left is not None:
            text += f", {duration(left)} left"
        if self._best is not None:
            text += f", best {percent(self._best[0], 1)} ({self._best[1]})"
        return text + " "


def _time_left(
    first: tuple[int, int, float], last: tuple[int, int], *, seconds: float
) -> float | None:
    """From the shares done (done, total, ...) of two reports, so many ``seconds`` apart: what is
    counted may change on the way, as from samples to layers in a conversion."""
    share = last[0] / max(last[1], 1)
    gone = share - first[0] / max(first[1], 1)
    return seconds * (1 - share) / gone if gone > 0 and seconds > 0 else None


def _line(text: str, done: int, *, total: int, rate: float | None, left: float | None) -> str:
    parts = [f"{text}: {100 * done // max(total, 1):3d} %"]
    if rate is not None:
        parts.append(f"{rate:.3g} samples/s")
    if left is not None and done < total:
        parts.append(f"{duration(left)} left")
    return ", ".join(parts)
