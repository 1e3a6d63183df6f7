"""The one way to the terminal: standard output and standard error.

What is shown has no hidden character but our own line breaks; see ``display``.
"""

from __future__ import annotations

import errno
import logging
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

import click

from ..display import shown

TYPED = "onnx2snn.typed"  # in a context's meta: the arguments of the command line


def words() -> list[str]:
    """The verb and arguments of the command that runs."""
    return list(click.get_current_context().meta[TYPED])


def typed() -> str:
    """The command that runs, as a shell takes it, in one line: what is hidden in a name is not."""
    return shown(shlex.join(["onnx2snn", *words()]))


_unfinished = 0  # characters of the line of ``progress`` that is to be written over


def out(text: str) -> None:
    """A result, which may have several lines."""
    erase()
    with _written():
        click.echo(_encodable(shown(text, keep="\n"), sys.stdout))


def notice(text: str) -> None:
    """One line on standard error; none where nobody reads that."""
    erase()
    with suppress(BrokenPipeError):
        click.echo(_encodable(shown(text), sys.stderr), err=True)


def progress(text: str, *, done: bool) -> None:
    """A line on standard error that the next one replaces, until it is ``done``."""
    global _unfinished
    line = _encodable(shown(text), sys.stderr)
    with suppress(BrokenPipeError):
        click.echo("\r" + line.ljust(_unfinished), nl=done, err=True)
    _unfinished = 0 if done else len(line)


def erase() -> None:
    """The line of ``progress`` that was to be replaced, if one stands there."""
    global _unfinished
    if _unfinished:
        with suppress(BrokenPipeError):
            click.echo(f"\r{' ' * _unfinished}\r", nl=False, err=True)
        _unfinished = 0


class Unread(Exception):  # noqa: N818 - no error
    """The reader of standard output went away (``| head``)."""


class UnwrittenError(Exception):
    """Standard output that takes no more: a full disk, for one."""


@contextmanager
def _written() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # `| head`
        raise
    except OSError as error:
        raise UnwrittenError(error.strerror) from error


def leave_unwritten() -> None:
    """Standard output's buffer is lost: the interpreter would try again when it ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _encodable(text: str, stream: TextIO | None) -> str:
    """Characters that the stream's encoding lacks are escaped too."""
    encoding = getattr(stream, "encoding", None) or "utf-8"  # closed: there is none
    return text.encode(encoding, "backslashreplace").decode(encoding)


def warn(  # noqa: PLR0917 - the signature of ``showwarning``
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """In place of ``warnings.showwarning``: where in the code it arose tells a user nothing."""
    notice(f"warning: {message}")


class _Warnings(logging.Handler):
    """In place of ``logging.lastResort``: what libraries log."""

    def emit(self, record: logging.LogRecord) -> None:
        notice(f"warning: {record.getMessage()}")


@contextmanager
def libraries_log_lines() -> Iterator[None]:
    before = logging.lastResort
    logging.lastResort = _Warnings(logging.WARNING)
    try:
        yield
    finally:
        logging.lastResort = before


class Interrupted(BaseException):
    """Ctrl-C where ``console`` is not there to answer it."""


@contextmanager
def ends_that_click_renames() -> Iterator[None]:
    """click makes exit status 1, "the answer is no", of the first three."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted from None
    except BrokenPipeError as error:
        raise Unread from error
    except EOFError as error:
        raise RuntimeError(f"a file or stream ended too early: {error}") from error
    except OSError as error:  # of --help and --version: what else is written names its file
        if error.filename is None and error.errno in (errno.ENOSPC, errno.EIO, errno.EFBIG):
            raise UnwrittenError(error.strerror) from error
        raise
