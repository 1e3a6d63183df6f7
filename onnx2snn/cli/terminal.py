"""The one way to the terminal: standard output and standard error.

What is shown has no hidden character but our own line breaks; see ``display``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import click

from ..display import shown


def out(text: str) -> None:
    """A result, which may have several lines."""
    click.echo(_encodable(shown(text, keep="\n"), sys.stdout))


def notice(text: str) -> None:
    """One line on standard error."""
    click.echo(_encodable(shown(text), sys.stderr), err=True)


def progress(text: str, *, done: bool) -> None:
    """A line on standard error that the next one replaces, until it is ``done``."""
    click.echo("\r" + _encodable(shown(text), sys.stderr), nl=done, err=True)


def _encodable(text: str, stream: TextIO) -> str:
    """Characters that the stream's encoding lacks are escaped too."""
    encoding = stream.encoding or "utf-8"
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


@contextmanager
def usage_errors_in_one_line() -> Iterator[None]:
    """click's own errors, which repeat arguments."""
    try:
        yield
    except click.ClickException as error:
        error.message = shown(error.message)  # type: ignore[misc]  # its own way is to print it
        raise
