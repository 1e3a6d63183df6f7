"""What a sweep is made of: conversions, and shards of simulations; each gives bytes for the store.

Tasks say all that their result depends on besides the model and the data, and do not know where
they are done.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ...converter.frontend import LoadedModel
from ...data import Samples
from ...evaluation.ann import Ann, onnx_ann
from ...evaluation.tally import Part, counted
from ...provenance.converted import convert
from ...runtime.engine import DEFAULT, Engine, make_engine
from ...runtime.file.packed import pack, unpack
from ...runtime.graph import SpikingGraph
from ...runtime.ops import Array
from ...runtime.semantics.labels import Reading
from ..watching import Progress
from .packing import packed


@dataclass(frozen=True, eq=False, kw_only=True)
class Conversion:
    """``key``: of the network in the store; ``options``: of the conversion, with its steps;
    ``memory``: what else ``convert`` is given, which does not make it another network."""

    key: str
    options: Mapping[str, Any]
    memory: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class Shard:
    """Samples ``start`` .. ``stop - 1`` through a network.

    Attributes:
        conversion: the key of the network.
        engine: keyword arguments of ``evaluate``.
        known: how the answers are judged; its numbers are those of these samples.
    """

    conversion: str
    steps: int
    start: int
    stop: int
    engine: Mapping[str, Any]
    known: Reading


Task: TypeAlias = Conversion | Shard


@dataclass(frozen=True, eq=False, kw_only=True)
class Ready:
    """A network, what simulates it with its plans, and the ANN beside it."""

    network: SpikingGraph
    simulator: Engine
    ann: Ann


class Bench:
    """Where tasks are done, one at a time, on one model and its calibration samples; so many
    networks are kept ``ready``."""

    def __init__(
        self,
        model: LoadedModel,
        calibration: Callable[[], Samples | None],
        *,
        ready: int = 1,
    ) -> None:
        self._model, self._calibration, self._most = model, calibration, ready
        self._ready: OrderedDict[tuple[str, str], Ready] = OrderedDict()

    def convert(self, task: Conversion, progress: Progress = lambda done, total: None) -> bytes:
        """The network, ``packed``."""
        calibration = self._calibration()
        made = convert(self._model, calibration, progress=progress, **task.options, **task.memory)
        return pack(made)

    def simulate(
        self,
        task: Shard,
        x: dict[str, Array],
        network: Callable[[], SpikingGraph],
        progress: Progress = lambda done, total: None,
    ) -> bytes:
        """The counts of preprocessed samples ``x``, ``packed``."""
        ready, engine = self._made_ready(task, network), task.engine
        tally = counted(
            ready.network,
            Part(x=x, known=task.known, start=task.start),
            task.steps,
            ready.simulator,
            ann=ready.ann,
            seed=engine.get("seed", 0),
            early_exit=engine.get("early_exit"),
            progress=progress,
        )
        return packed(tally.state)

    def _made_ready(self, task: Shard, network: Callable[[], SpikingGraph]) -> Ready:
        """Planned once for all shards of a network, whose ``simulator`` depends on its options."""
        options = {k: v for k, v in task.engine.items() if k not in OF_EVALUATE}
        key = (task.conversion, repr(sorted(options.items())))
        found = self._ready.pop(key, None)
        if found is None:
            graph = network()
            simulator = make_engine(task.engine.get("engine", DEFAULT), **options)
            found = Ready(network=graph, simulator=simulator, ann=onnx_ann(self._model, graph))
        self._ready[key] = found
        while len(self._ready) > self._most:
            self._ready.popitem(last=False)
        return found


OF_EVALUATE = ("engine", "seed", "early_exit", "regression")  # the rest is the engine's


def restored(content: bytes) -> Callable[[], SpikingGraph]:
    """The network of a conversion, when it is asked for."""
    return lambda: unpack(content)
