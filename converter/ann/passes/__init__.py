"""Passes over the AnnGraph: pure functions AnnGraph -> AnnGraph, named by the function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from ....errors import Onnx2SnnError
from ..graph import AnnGraph
from .drop_dead import drop_dead
from .fold_scale import fold_scale
from .one_coding import one_coding
from .spiking_products import spiking_products
from .split_clip import split_clip
from .split_leaky_relu import split_leaky_relu
from .tree_maxpool import tree_maxpool

__all__ = [
    "Pass",
    "default_passes",
    "drop_dead",
    "fold_scale",
    "one_coding",
    "run_passes",
    "spiking_products",
    "split_clip",
    "split_leaky_relu",
    "tree_maxpool",
]

Pass: TypeAlias = Callable[[AnnGraph], AnnGraph]


def default_passes(
    *, maxpool: str = "exact", islands: str = "currents", differential: bool = False
) -> tuple[Pass, ...]:
    """What every conversion runs, in this order; ``maxpool`` and ``islands`` as in
    ``recipes.options.Options``; ``differential``: for neurons of that coding."""
    trees = (tree_maxpool,) if maxpool == "tree" else ()
    pairs = (spiking_products,) if islands == "spikes" else ()
    coded = (one_coding,) if differential else ()
    return (drop_dead, *trees, split_leaky_relu, split_clip, fold_scale, *pairs, *coded, drop_dead)


def run_passes(graph: AnnGraph, passes: Sequence[Pass] | None = None) -> AnnGraph:
    """The graph after all passes (the default ones where none are given).

    An error of a pass is raised with the pass's name in front.
    """
    for step in default_passes() if passes is None else passes:
        try:
            graph = step(graph)
        except Onnx2SnnError as error:
            error.where = f"pass {_name(step)}" + (f", {error.where}" if error.where else "")
            raise
    return graph


def _name(step: Pass) -> str:
    return str(getattr(getattr(step, "func", step), "__name__", step))  # func: of a partial
