"""What a mapping step lets its user choose: a frozen dataclass with a field per option.

The fields are the keys of ``place --option`` and of a target file's ``[options]``; there is no
other list of them. ``option`` declares a field with the kind of its values; reading text, checking
ranges and refusing happen here, however a record is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, TypeVar

from ..errors import UsageError
from .kinds import Kind, meant, suggested


@dataclass(frozen=True, kw_only=True)
class OptionInfo:
    """What an option takes and means; ``code``: of the error where a value is refused. ``in_file``:
    a table that describes the chip, which only its file may give."""

    kind: Kind
    help: str
    code: str
    in_file: bool = False


def option(
    default: Any, kind: Kind, text: str, *, code: str = "E515", in_file: bool = False
) -> Any:
    """A field of ``Options``; ``text``: its meaning. A default of another kind (None) stays."""
    info = OptionInfo(kind=kind, help=text, code=code, in_file=in_file)
    return field(default=default, metadata={"option": info})


@dataclass(frozen=True, kw_only=True)
class Options:
    """The base of all: values are read by their kinds. Raises UsageError with the option's code."""

    def __post_init__(self) -> None:
        for item in fields(self):
            if "option" in item.metadata:
                value = getattr(self, item.name)
                object.__setattr__(self, item.name, _read(item, value))


O = TypeVar("O", bound=Options)  # noqa: E741 - the options of a mapping
P = TypeVar("P", bound=Options)  # those of another


def _read(item: Field[Any], value: Any) -> Any:
    info: OptionInfo = item.metadata["option"]
    if value is item.default:
        return value
    try:
        return info.kind.read(value)
    except (TypeError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"{item.name} must be {info.kind.says}, got {value!r}",
            remedy=meant(str(value), info.kind.names).strip(),
            code=info.code,
        ) from error


def infos(options: type[Options]) -> dict[str, OptionInfo]:
    """The options of a record, by name."""
    return {f.name: f.metadata["option"] for f in fields(options) if "option" in f.metadata}


def known_options(options: type[Options]) -> tuple[str, ...]:
    """The names that ``place --option`` takes; the tables of a file are left out."""
    return tuple(name for name, info in infos(options).items() if not info.in_file)


def read_options(
    options: type[O], given: Mapping[str, Any], *, of: str, stated: Mapping[str, Any] | None = None
) -> O:
    """A record from names and values, which may be text: those ``given`` by the user, else those
    ``stated`` in a target's file. ``of``: whose options, for messages.

    Raises:
        UsageError: E514 an unknown name; the option's own code for a value that it does not take.
    """
    stated = stated or {}
    for names, known in ((given, known_options(options)), (stated, tuple(infos(options)))):
        for name in names:
            if name not in known:
                raise UsageError(
                    f"'{of}' has no option {name}",
                    remedy=f"{suggested(name, known)}; see docs/placement.md.",
                    code="E514",
                )
    return options(**{**stated, **given})


@dataclass(frozen=True)
class Table:
    """A table of a file, as a record of options."""

    record: type[Options]

    names: tuple[str, ...] = ()

    @property
    def says(self) -> str:
        return f"a table with {', '.join(infos(self.record))}"

    def read(self, value: Any) -> Options:
        if isinstance(value, self.record):
            return value
        if not isinstance(value, Mapping):
            raise ValueError(value)
        known = infos(self.record)
        for name in value:
            if name not in known:
                raise UsageError(
                    f"unknown key '{name}'", remedy=suggested(name, known), code="E501"
                )
        return self.record(**value)
