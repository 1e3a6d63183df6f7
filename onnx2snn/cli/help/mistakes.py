"""click's own errors as ours: one line that says what was probably meant, exit status 2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from ...arguments import ALSO_CALLED
from ...errors import UsageError, resembling
from .spelling import COMMANDS_CALL

# What click calls a number between bounds.
RANGES = {"a valid integer range": "a whole number", "a valid float range": "a number"}


@contextmanager
def as_ours() -> Iterator[None]:
    """Raises UsageError (E100) in place of click's errors. Help and version are none."""
    try:
        yield
    except click.ClickException as error:
        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            raise
        raise UsageError(*_what(error), remedy=_remedy(error)) from error


def _what(error: click.ClickException) -> tuple[str]:
    if isinstance(error, click.NoSuchOption):
        return (f"no such option '{error.option_name}'",)
    text = " ".join(error.format_message().partition(" Did you mean")[0].split()).rstrip(".")
    for click_says, we_say in RANGES.items():
        text = text.replace(click_says, we_say)
    return (text[:1].lower() + text[1:],)


def _remedy(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    verb = f"{context.info_name} " if context is not None and context.parent is not None else ""
    meant = _meant(error, context)
    return (f"Did you mean '{meant}'? " if meant else "") + f"See `onnx2snn {verb}--help`."


def _meant(error: click.ClickException, context: click.Context | None) -> str | None:
    command = None if context is None else context.command
    if isinstance(error, click.NoSuchOption) and command is not None:
        options = [p for p in command.params if isinstance(p, click.Option)]
        typed = error.option_name.lstrip("-").replace("-", "_")
        for option in options:
            named = {ours for ours, theirs in COMMANDS_CALL.items() if theirs == option.name}
            for name in {option.name, *named}:
                if typed == name or typed in ALSO_CALLED.get(name or "", ()):
                    return option.opts[0]
        return resembling(error.option_name, [o for p in options for o in p.opts])
    if isinstance(error, click.BadParameter) and error.param is not None:
        if isinstance(error.param.type, click.Choice):
            words = [str(choice) for choice in error.param.type.choices]
            return next((w for w in words if (m := _quoted(error)) and resembling(m, [w])), None)
        return None
    if isinstance(command, click.Group):
        return resembling(_quoted(error), command.commands)
    return None


def _quoted(error: click.ClickException) -> str:
    """The word that was typed, which click puts between the first quotes."""
    parts = error.message.split("'")
    return parts[1] if len(parts) > 2 else ""
