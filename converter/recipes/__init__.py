"""Recipes: named sets of neurons, and what their spikes cost on a chip and on paper.

``docs/methods.md`` has each recipe's equation, source and measured table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ...errors import UsageError, did_you_mean
from ...runtime.neurons import FewSpikeParams, TtfsParams, WindowedNeuron


@dataclass(frozen=True, eq=False, kw_only=True)
class Recipe:
    """One recipe.

    Attributes:
        summary: what the neurons do, for a list of recipes.
        model: the neuron model; behind a start lag "if" may be paced (``neurons``).
        window: with ``model`` "window", the code of one number per window that neurons send.
        signed: negative spikes take back what was sent before.
        levels: largest number of spikes one neuron emits in one step (graded spikes).
        synchronous: every layer waits for the whole of its input (its lag is T).
        bits: per spike beyond its address: sign and level.
        simulation_only: no chip of ours runs it as it is.
        chips: chip families whose neurons can do it.
        notes: what a report of this recipe must say.
    """

    name: str
    summary: str
    model: Literal["if", "differential", "window"] = "if"
    window: type[WindowedNeuron] | None = None
    signed: bool = False
    levels: int = 1
    synchronous: bool = False
    bits: int = 0
    simulation_only: bool = False
    chips: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def waits(self) -> bool:
        """Whether every layer reads the whole window of T steps before it sends (its lag is T)."""
        return self.synchronous or self.window is not None


_ALL = (
    Recipe(
        name="binary",
        summary="integrate-and-fire, soft reset, spikes 0/1; behind a lag paced",
        chips=("any chip with soft reset; behind a lag one with programmable neurons",),
    ),
    Recipe(
        name="signed",
        summary="as binary, and a negative spike takes back an earlier one",
        signed=True,
        bits=1,
        chips=("Loihi 2",),
        notes=(
            "signed spikes: each carries a sign bit, and each neuron counts what it has sent; "
            "chips with binary spikes only cannot run this",
        ),
    ),
    Recipe(
        name="graded",
        summary="signed bursts: up to 15 thresholds in one spike",
        signed=True,
        levels=15,
        bits=5,
        chips=("Loihi 2 (graded spikes)",),
        notes=(
            "graded spikes: each carries a sign and a level of 1 to 15 (5 bits), so that a "
            "synaptic operation is a multiplication; a spike counts once however large it is",
        ),
    ),
    Recipe(
        name="differential",
        summary="power-of-two levels, each spike corrects the mean so far",
        model="differential",
        signed=True,
        levels=4,
        bits=3,
        simulation_only=True,
        chips=("programmable neurons",),
        notes=(
            "differential coding: a spike in step t counts 1/t, carries a sign and one of 4 levels "
            "(3 bits), and every neuron keeps two running means; simulation only",
        ),
    ),
    Recipe(
        name="synchronous",
        summary="layer after layer, each waits for the whole of its input",
        synchronous=True,
        chips=("any chip with soft reset and a schedule",),
        notes=(
            "synchronous: each layer fires after its input's window is over, so an input needs "
            "layers x T steps; a reference for what T levels can do, not a fast network",
        ),
    ),
    Recipe(
        name="few-spike",
        summary="binary digits in a window of T steps, the largest first: 2^T levels",
        model="window",
        window=FewSpikeParams,
        chips=("programmable neurons (Loihi 2)",),
        notes=(
            "few-spike: spikes are 0/1, and one in step t of a layer's window of T steps counts "
            "2^(T-t): the readers' sums are doubled in every step; neurons need thresholds that "
            "fall with the step of the window: programmable neurons (Loihi 2) or simulation",
        ),
    ),
    Recipe(
        name="ttfs",
        summary="time to first spike: one spike per neuron and answer, early is large",
        model="window",
        window=TtfsParams,
        chips=("programmable neurons (Loihi 2)",),
        notes=(
            "ttfs: at most one spike per neuron and answer, and one in step t of a layer's window "
            "of T steps counts T + 1 - t: readers integrate twice; neurons need a threshold that "
            "falls with the step of the window: programmable neurons (Loihi 2) or simulation",
        ),
    ),
)

RECIPES: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in _ALL})


def recipe_named(name: str) -> Recipe:
    """Raises UsageError for a name that is not in ``RECIPES``."""
    if name == "auto":
        raise UsageError(
            "recipe 'auto' chooses among the others, which only `convert` does",
            remedy=f"Name {', '.join(RECIPES)}.",
            code="E111",
        )
    if name not in RECIPES:
        raise UsageError(
            f"unknown recipe '{name}'",
            remedy=did_you_mean(name, [*RECIPES, "auto"]),
            code="E111",
        )
    return RECIPES[name]
