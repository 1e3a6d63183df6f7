"""The line ``next: onnx2snn ...`` that a verb ends with: the command that comes next in the work,
with the options of this one that it needs too. It can be pasted as it stands: where a file is
needed that the user has not named, the next verb is one that needs none."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from click.core import ParameterSource

from ...display import shown

CONVERTING = {"convert", "sweep"}
# Parameter -> the verbs that need it again. Converted networks remember how data are read.
NEEDED: Mapping[str, set[str]] = {
    "input_shapes": {*CONVERTING, "check", "verify", "init", "diagnose"},
    **{name: {*CONVERTING, "verify"} for name in ("scale", "mean", "std", "layout")},
    "regression": {*CONVERTING, "run", "diagnose", "place"},
    "skip_unreadable": {*CONVERTING, "run", "diagnose", "place", "watch", "verify"},
    "allow_analog": {*CONVERTING, "run", "diagnose"},
}
ONCE = {"output", "force", "as_json", "json_lines", "dry_run"}  # not again by the same verb


def line(then: Sequence[object], context: click.Context) -> str:
    """``then``: the verb and its words."""
    words = [str(word) for word in then]
    return f"next: {shown(shlex.join(['onnx2snn', *words, *_carried(words, context)]))}"


def _carried(words: Sequence[str], context: click.Context) -> Iterator[str]:
    """The options that were given and that the verb needs too, or is the same verb, where they do
    not stand in ``words``."""
    verb, root = words[0], context.find_root().command
    command = root.commands[verb] if isinstance(root, click.Group) else None
    for option in () if command is None else command.params:
        name = option.name or ""
        if not isinstance(option, click.Option) or {*option.opts, *option.secondary_opts} & {
            *words
        }:
            continue
        needed = name not in ONCE if verb == context.info_name else verb in NEEDED.get(name, ())
        if needed and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            yield from _typed(option, context.params[name])


def _typed(option: click.Option, value: Any) -> Iterator[str]:
    if isinstance(value, bool):
        yield option.opts[0] if value else option.secondary_opts[0]
        return
    for one in value if isinstance(value, tuple) else (value,):
        yield from (option.opts[0], f"{one:g}" if isinstance(one, float) else str(one))
