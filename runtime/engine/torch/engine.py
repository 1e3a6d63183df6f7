"""The engine "torch": a network's PyTorch module, run step by step on the CPU or a GPU.

A third way to compute the same: on networks on a grid (``converter.lowering.grid``) every sum is
exact in any order, so spikes and answers are those of the definition to the last bit, whatever the
device. For that no product may be rounded more coarsely than single precision says, which
``exactly`` sees to. On other networks results agree to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from math import prod
from typing import Any, Unpack

import numpy as np

from ....errors import GraphError, UsageError
from ....spelling import spelled
from ...cost import static_cost
from ...facts import GraphFacts
from ...graph import Input, Readout, SpikingGraph, Synapse
from ...ops import Array
from ...ops.convolution import Conv
from ...parallel.threads import available_threads
from ...semantics.encoding import check_range
from ..interface import (
    EngineOptions,
    How,
    Request,
    SimulationResult,
    TileResult,
    Total,
    request,
    too_little_memory,
)
from ..tally import Tally
from .arithmetic import as_products, exactly
from .module import module_of, needed
from .neurons import unknown

SIGNAL_BYTES = {"cpu": 8_000_000, "cuda": 64_000_000}  # of the largest signal: see ``_tile``
SMALL_MACS = 20_000_000  # of a step, about a millisecond of one core


class TorchEngine:
    """See the module. It keeps the module of the network that it ran last.

    Raises UsageError without PyTorch, for a device that it does not find, and for what only the
    engine "fast" does.
    """

    def __init__(self, options: EngineOptions) -> None:
        self.torch = needed()
        options.refuse_of_fast("the engine 'torch'")
        self.options = options
        self.device = options.device or "cpu"
        if self.device == "cuda" and not self.torch.cuda.is_available():
            raise UsageError(
                "PyTorch finds no GPU that it can use",
                remedy=f"Use {spelled('device', 'cpu')}. What is missing says: "
                "python -c 'import torch; torch.cuda.init()'.",
            )
        self._network: _Network | None = None

    def run(
        self,
        graph: SpikingGraph,
        inputs: Array | Mapping[str, Array],
        steps: int,
        **how: Unpack[How],
    ) -> SimulationResult:
        """As ``Engine.run``. Raises GraphError E420 for neurons without a layer here."""
        asked = request(graph, inputs, steps, self.options.dtype, **how)
        for node in graph.of(Input):
            check_range(node, asked.arrays[node.name])
        if self._network is None or self._network.graph is not graph:
            _refuse(graph)
            self._network = _Network(graph, self.torch, self.device, np.dtype(self.options.dtype))
        network = self._network
        total = Total(asked, network.cost)
        tile = _tile(asked, self.options, self.device)
        threads = self.options.threads or _useful_threads(network.cost.macs_ann, tile=tile)
        with exactly(self.torch, self.device, threads):
            for start in range(0, asked.samples, tile):
                total.collect(network.run(asked, slice(start, start + tile)))
        return total.result()


class _Network:
    """A graph as a module on its device."""

    def __init__(self, graph: SpikingGraph, torch: Any, device: str, dtype: np.dtype) -> None:
        self.graph, self.torch, self.device = graph, torch, device
        self.facts = GraphFacts(graph)
        self.cost = static_cost(self.facts)
        self.module = module_of(graph, steps=1).to(device)
        if dtype == np.float64:
            self.module = self.module.double()
        if device == "cuda":
            as_products(self.module)
        self.readouts = [node.name for node in graph.of(Readout)]

    def layer(self, node: str) -> Any:
        return self.module.get_submodule(self.module.names[node])

    def run(self, asked: Request, where: slice) -> TileResult:
        """Some of a run's samples through all its steps."""
        torch, module = self.torch, self.module
        arrays = {name: x[where] for name, x in asked.arrays.items()}
        samples = len(next(iter(arrays.values())))
        tally = Tally(asked, self.facts, self.cost, start=where.start, samples=samples)
        given = []
        for node in self.graph.of(Input):
            given.append(torch.tensor(arrays[node.name], device=self.device))
            if node.encoding == "poisson":
                layer = self.layer(node.name)
                layer.seed, layer.index = asked.seed, where.start + asked.offset
        with torch.inference_mode(), self._counting(tally) as counts:
            module.reset()
            for t in range(tally.total):
                answers = module.step(*given, asked.steps)
                answers = answers if isinstance(answers, tuple) else (answers,)
                for name, answer in zip(self.readouts, answers, strict=True):
                    tally.answer(name, t, answer.cpu().numpy()[np.newaxis])
            module.reset()
            for name, steps in counts.items():
                tally.count(name, 0, torch.stack(steps).cpu().numpy())
        return tally.result()

    @contextmanager
    def _counting(self, tally: Tally) -> Iterator[Mapping[str, list[Any]]]:
        """Within, what every node that sends spikes counted in each step: (samples, 2)."""
        counts: dict[str, list[Any]] = {name: [] for name in tally.columns}

        def listener(name: str) -> Callable[..., None]:
            columns = self.torch.from_numpy(tally.columns[name]).to(self.device)
            begin = self.facts.onsets[name]

            def count(layer: object, given: tuple[Any, ...], out: Any) -> None:
                *_, t, steps = given
                if not begin <= t < begin + steps:
                    counts[name].append(columns.new_zeros(len(out), 2))
                    return
                fired = (out != 0).to(columns.dtype).reshape(len(out), -1)
                counts[name].append(fired @ columns)

            return count

        with ExitStack() as stack:
            for name in counts:
                handle = self.layer(name).register_forward_hook(listener(name))
                stack.callback(handle.remove)
            yield counts


def _refuse(graph: SpikingGraph) -> None:
    for name, model in unknown(graph):
        raise GraphError(
            f"node '{name}' has {model}, which the engine 'torch' does not know",
            remedy=f"Use {spelled('engine', 'numpy')}, or add an entry to the table "
            "runtime.engine.torch.neurons.NEURONS.",
            code="E420",
        )


def _useful_threads(macs: int, *, tile: int) -> int:
    """All cores, or one where a step of a tile, of so many MACs per sample, is too little for
    several to help."""
    return available_threads() if macs * tile > SMALL_MACS else 1


def _tile(asked: Request, options: EngineOptions, device: str) -> int:
    """Samples together, within ``mem_limit``."""
    sizes = [prod(node.shape) for node in asked.graph.nodes]
    fitting = max(1, SIGNAL_BYTES[device] // (max(sizes) * asked.dtype.itemsize))
    tile = min(options.tile or fitting, asked.samples)
    need = _sample_bytes(asked.graph, sizes, asked.dtype.itemsize)
    if options.mem_limit is None:
        return tile
    if need > options.mem_limit:
        raise too_little_memory(options.mem_limit, need, threads=1)
    return min(tile, options.mem_limit // need)


def _sample_bytes(graph: SpikingGraph, sizes: Sequence[int], itemsize: int) -> int:
    """An upper estimate of what a sample needs: every node's output in a step and its states, of
    the largest some temporaries, and the columns that a convolution may be laid out in (currents
    that are the same in every step in double precision)."""
    named = graph.by_name()
    columns = (
        prod(node.op.kernel) * named[node.inputs[0]].shape[0] * prod(node.shape[1:])
        for node in graph.of(Synapse)
        if isinstance(node.op, Conv)
    )
    return (5 * sum(sizes) + 6 * max(sizes)) * itemsize + max(columns, default=0) * 8
