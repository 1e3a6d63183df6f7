"""The names of a converted file: of its inputs and outputs first, then of everything inside.

Names of nodes come from the user's model and may be any text, also one that the file uses itself.
The network's inputs keep theirs; then come ``steps`` and the outputs, which step aside where an
input has the name; whatever is inside gets what is free.
"""

from __future__ import annotations

from .. import graph as snn

STEPS = "steps"
OTHER_STEPS = "onnx2snn/steps"  # where the model has an input of that name
TOTAL = "total_steps"
Path = tuple[str, ...]  # a node's name, then fields and indices


class FileNames:
    """The ONNX value of every node's output (``value``), array (``array``) and intermediate
    (``new``) of one file.

    Attributes:
        steps: the input with the number of time steps.
        outputs: the graph output of each readout.
    """

    def __init__(self, graph: snn.SpikingGraph) -> None:
        inputs = [node.name for node in graph.of(snn.Input)]
        self._names = snn.Names(inputs)
        self.steps = self._names.new(OTHER_STEPS if STEPS in inputs else STEPS)
        self.outputs = {r.name: self._output(r.name) for r in graph.of(snn.Readout)}
        self._values = {name: name for name in inputs} | self.outputs
        self._arrays: dict[Path, str] = {}
        for node in graph.nodes:
            if node.name not in self._values:
                self._values[node.name] = self._names.new(node.name)

    def _output(self, name: str) -> str:
        return self._names.new(f"{name}/out" if self._names.taken(name) else name)

    def new(self, name: str) -> str:
        return self._names.new(name)

    def value(self, node: str) -> str:
        return self._values[node]

    def array(self, path: Path) -> str:
        """The initializer that holds the array at ``path``."""
        if path not in self._arrays:
            self._arrays[path] = self._names.new(f"{'.'.join(path)}:array")
        return self._arrays[path]
