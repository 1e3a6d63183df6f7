"""Names for other tools: of letters, digits and underscores, each of one node."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable

from ..runtime.graph import Names, SpikingGraph


class Identifiers:
    """The identifier of every node (``of``), none of them ``taken``; ``new`` gives further ones."""

    def __init__(self, graph: SpikingGraph, taken: Iterable[str] = ()) -> None:
        self._names = Names({*taken, *keyword.kwlist})
        self.of = {node.name: self._identifier(node.name) for node in graph.nodes}

    def _identifier(self, name: str) -> str:
        plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "node"
        return self._names.new(f"n{plain}" if plain[0].isdigit() else plain)

    def new(self, name: str) -> str:
        return self._names.new(name)
