"""The pages of the site that are made from the code, at every build: the command line from click's
commands, the Python interface from ``onnx2snn.__all__``."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import click

from onnx2snn.cli.help import EXAMPLES, GROUPS, ORDER

ERRORS = "Errors"
KINDS = ("Functions", "Records", ERRORS)


def command_line(commands: Mapping[str, click.Command]) -> str:
    """Every verb in the order of the work, its options in their groups."""
    lines = [
        "# Command line",
        "",
        "Made from the code at every build of this site; `onnx2snn VERB --help` says the same. "
        "Exit status: 0 done, 1 the answer is no, 2 bad input ([error codes](../errors.md)).",
        "",
    ]
    for name, example in EXAMPLES.items():
        command = commands[name]
        context = click.Context(command, info_name=f"onnx2snn {name}")
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        lines += [f"## {name}", "", "```", usage, "```", "", f"Example: `{example}`", ""]
        lines += [_paragraphs(command.help or ""), ""]
        lines += _options(command, context)
    return "\n".join(lines)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for group in ORDER:
        members = [
            param.get_help_record(context)
            for param in command.params
            if isinstance(param, click.Option) and GROUPS[param.name or ""] == group
        ]
        rows = [record for record in members if record is not None]
        if rows:
            yield from (f"| {group} | |", "|---|---|")
            # A bar in code needs no escape in Python's Markdown, and would show it.
            yield from (f"| `{option}` | {_prose(text)} |" for option, text in rows)
            yield ""


def python(package: ModuleType) -> str:
    """Everything that ``package.__all__`` names, with signature and docstring."""
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for name in package.__all__:
        found[_kind(getattr(package, name))].append(name)
    lines = [
        "# Python",
        "",
        f"Everything that `import {package.__name__}` offers, made from the code at every build of "
        "this site; `help()` says the same.",
        "",
    ]
    for kind, names in found.items():
        lines += [f"## {kind}", ""]
        for name in names:
            lines += _entry(name, getattr(package, name))
    return "\n".join(lines)


def _kind(thing: object) -> str:
    if isinstance(thing, type) and issubclass(thing, BaseException):
        return ERRORS
    return "Records" if isinstance(thing, type) else "Functions"


def _entry(name: str, thing: Any) -> Iterator[str]:
    yield from (f"### {name}", "")
    if _kind(thing) == ERRORS:
        base = thing.__mro__[1].__name__
        yield from (f"A `{base}`. {_prose(inspect.getdoc(thing) or '')}", "")
        return
    yield from ("```python", signature(name, thing), "```", "", _docstring(thing), "")
    if isinstance(thing, type):
        for member, value in vars(thing).items():
            is_method = inspect.isfunction(value) and not member.startswith("_")
            if is_method and inspect.getdoc(value):
                yield from (f"#### {name}.{member}", "", "```python")
                yield from (signature(member, value), "```", "", _docstring(value), "")


def signature(name: str, thing: Any) -> str:
    """``name(a, *, b=1)`` on one line, or a parameter a line where that is too long."""
    form = inspect.signature(thing)
    parts, keyword_only = [], False
    for param in form.parameters.values():
        if param.kind is param.KEYWORD_ONLY and not keyword_only:
            parts.append("*")
        keyword_only |= param.kind in (param.KEYWORD_ONLY, param.VAR_POSITIONAL)
        parts.append(_parameter(param))
    is_record = isinstance(thing, type)
    end = (
        "" if is_record or form.return_annotation is form.empty else f" -> {form.return_annotation}"
    )
    line = f"{name}({', '.join(parts)}){end}"
    if len(line) <= 88:
        return line
    return "\n".join([f"{name}(", *(f"    {part}," for part in parts), f"){end}"])


def _parameter(param: inspect.Parameter) -> str:
    stars = {param.VAR_POSITIONAL: "*", param.VAR_KEYWORD: "**"}.get(param.kind, "")
    text = stars + param.name
    if param.annotation is not param.empty:
        text += f": {param.annotation}"
    if param.default is param.empty:
        return text
    # Functions and factories have addresses in their text, which say nothing.
    shown = "..." if "<" in repr(param.default) else repr(param.default)
    return f"{text} = {shown}" if param.annotation is not param.empty else f"{text}={shown}"


def _docstring(thing: Any) -> str:
    text = inspect.getdoc(thing) or ""
    if dataclasses.is_dataclass(thing) and text.startswith(f"{getattr(thing, '__name__', '')}("):
        return ""  # what dataclasses make up where there is none
    return _paragraphs(text)


def _paragraphs(text: str) -> str:
    """Docstrings as Markdown: parameters become a list, all else stays as it is."""
    done: list[str] = []
    for line in inspect.cleandoc(text).splitlines():
        if done and done[-1].startswith("- ") and line.startswith("        "):
            done[-1] += f" {line.strip()}"
        elif named := re.match(r"    ([\w, *]+): (.*)", line):
            names = ", ".join(f"`{name.strip()}`" for name in named[1].split(","))
            done.append(f"- {names}: {named[2]}")
        elif re.fullmatch(r"[A-Z]\w+:", line):
            done += [f"**{line}**", ""]
        else:
            done.append(line)
    return _marked("\n".join(done).replace("``", "`"))


def _prose(text: str) -> str:
    return _marked(_cell(" ".join(text.split())).replace("``", "`"))


def _marked(text: str) -> str:
    """Brackets, angles and stars mean something in Markdown, but not in code or a list's dash."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(p if p.startswith("`") else re.sub(r"([\[\]<>]|(?<!\*)\*(?!\*))", r"\\\1", p)
                   for p in parts)  # fmt: skip


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
