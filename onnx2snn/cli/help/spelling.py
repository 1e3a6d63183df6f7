"""How options are typed: ``lag=4`` is ``--lag 4``, as the commands declare it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click

from ...spelling import Spelling

# Parameter of a Python function -> of a command, where the names differ.
COMMANDS_CALL = {"calibration": "calib", "folder": "output", "options": "pairs"}
# Within NAME=VALUE,VALUE of an option whose values have names; all others have "=" and ",".
JOINED_BY = {"input_shapes": (":", "x")}


def as_typed(commands: Iterable[click.Command]) -> Spelling:
    """The spelling of what these commands take. An option of none of them is a KeyError."""
    declared = {
        param.name: param
        for command in commands
        for param in command.params
        if isinstance(param, click.Option)
    }

    def typed(name: str, value: Any = None) -> str:
        param = declared[COMMANDS_CALL.get(name, name)]
        if value is None or value is True:
            return param.opts[0]
        if value is False:
            return param.secondary_opts[0]
        return f"{param.opts[0]} {_typed(value, *JOINED_BY.get(name, ('=', ',')))}"

    return typed


def _typed(value: Any, named: str, joined: str) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key}{named}{_typed(v, named, joined)}" for key, v in value.items())
    if isinstance(value, tuple):
        return joined.join(_typed(item, named, joined) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
