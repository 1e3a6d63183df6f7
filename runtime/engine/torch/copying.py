"""What a module's source takes over of ``parts``: its text, definition by definition."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources

from .parts import FILES


@cache
def _definitions() -> Mapping[str, str]:
    """The text of every class and function of ``parts`` by its name, in their order."""
    found = {}
    for name in FILES:
        text = resources.files(__package__).joinpath("parts", f"{name}.py").read_text()
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                found[node.name] = ast.get_source_segment(text, node) or ""
    return found


def defined() -> frozenset[str]:
    """The names of all that is in ``parts``."""
    return frozenset(_definitions())


def copied(body: str) -> str:
    """The imports of a module with the source ``body``, and what it needs of ``parts``."""
    known = _definitions()
    needed: set[str] = set()
    pending = [body]
    while pending:
        for node in ast.walk(ast.parse(pending.pop())):
            name = node.id if isinstance(node, ast.Name) else ""
            if name in known and name not in needed:
                needed.add(name)
                pending.append(known[name])
    joined = "\n\n\n".join(text for name, text in known.items() if name in needed)
    lines = ["from pathlib import Path", ""]
    if "product(" in joined:
        lines.insert(0, "from itertools import product")
    lines += ["import numpy as np", "import torch", "from torch import nn"]
    lines += ["from torch.nn import functional as F"] if re.search(r"\bF\.", joined + body) else []
    return "\n".join([*lines, "", "", joined])
