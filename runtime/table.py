"""Tables of what a layer knows about kinds of things: operations, nodes, neuron models, mappings.

A table is looked up by the exact type. What is missing is an error of this program, never a
default: a new kind without its entry then fails at once, by name, instead of running as another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


class MissingEntryError(LookupError):
    """A table has no entry for a type: an error of this program, so outside of the users' tree."""


def entry(table: Mapping[type, T], kind: type, name: str) -> T:
    """``table[kind]``; ``name`` says where the table is, as "runtime.file.operations.EMITTERS".

    Raises MissingEntryError, which names the type and the table.
    """
    if kind not in table:
        raise MissingEntryError(f"{kind.__module__}.{kind.__qualname__} has no entry in {name}")
    return table[kind]
