"""Names for the nodes a pass adds."""

from __future__ import annotations

from ..graph import AnnGraph


class Names:
    """The names taken in a graph; ``new`` gives one that is free, and takes it."""

    def __init__(self, graph: AnnGraph) -> None:
        self._taken = {node.name for node in graph.nodes}

    def new(self, name: str) -> str:
        candidate, count = name, 2
        while candidate in self._taken:
            candidate, count = f"{name}_{count}", count + 1
        self._taken.add(candidate)
        return candidate
