"""The engines by name. A new one is a class with ``run`` (``interface.Engine``) and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...errors import UsageError, did_you_mean
from ...spelling import spelled
from ..graph import SpikingGraph
from ..ops import Array
from .definition import DefinitionEngine
from .early_exit import EarlyExit
from .fast.simulator import FastEngine
from .interface import Engine, EngineOptions, Progress, SimulationResult
from .torch.engine import TorchEngine

ENGINES: dict[str, Callable[[EngineOptions], Engine]] = {
    "fast": FastEngine,
    "numpy": DefinitionEngine,
    "torch": TorchEngine,
}
WITH_DEVICES = frozenset(("torch",))
DEFAULT = "fast"
ALIASES = {"onnxruntime": "fast"}  # what it was called while there were two fast ones


def make_engine(name: str = DEFAULT, **options: Any) -> Engine:
    """An engine by its name or alias; ``options``: the fields of ``EngineOptions``.

    Raises UsageError for another name, and for options without sense.
    """
    name = ALIASES.get(name, name)
    made = ENGINES.get(name)
    if made is None:
        raise UsageError(
            f"unknown engine '{name}'", remedy=did_you_mean(name, (*ENGINES, *ALIASES))
        )
    chosen = EngineOptions(**options)
    if chosen.device is not None and name not in WITH_DEVICES:
        raise UsageError(
            f"the engine '{name}' has no choice of devices: it computes on the CPU",
            remedy=f"Leave {spelled('device')} out, or use {spelled('engine', 'torch')}.",
        )
    return made(chosen)


def simulate(
    graph: SpikingGraph,
    inputs: Array | Mapping[str, Array],
    steps: int,
    *,
    engine: str = DEFAULT,
    seed: int = 0,
    early_exit: EarlyExit | None = None,
    at: Sequence[int] | None = None,
    on_tile: Progress | None = None,
    **options: Any,
) -> SimulationResult:
    """Run ``graph`` for ``steps`` time steps on a batch of samples: an engine made, run once.

    The parameters are those of ``Engine.run`` (see ``How``) and, as ``options``, the fields of
    ``EngineOptions``. Raises what these raise.
    """
    made = make_engine(engine, **options)
    return made.run(graph, inputs, steps, seed=seed, early_exit=early_exit, at=at, on_tile=on_tile)
