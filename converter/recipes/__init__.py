"""Recipes: named sets of neurons, and what their spikes cost on a chip and on paper.

``docs/methods.md`` has each recipe's equation, source and measured table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ...errors import UsageError


@dataclass(frozen=True, eq=False, kw_only=True)
class Recipe:
    """One recipe.

    Attributes:
        summary: what the neurons do, for a list of recipes.
        model: the neuron model; behind a start lag "if" may be paced (``neurons``).
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
    model: Literal["if", "differential"] = "if"
    signed: bool = False
    levels: int = 1
    synchronous: bool = False
    bits: int = 0
    simulation_only: bool = False
    chips: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


_ALL = (
    Recipe(
        name="binary",
        summary="integrate-and-fire, soft reset, spikes 0/1; behind --lag paced",
        chips=("any chip with soft reset; with --lag programmable neurons",),
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
)

RECIPES: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in _ALL})


def recipe_named(name: str) -> Recipe:
    """Raises UsageError for a name that is not in ``RECIPES``."""
    if name not in RECIPES:
        raise UsageError(
            f"unknown recipe '{name}'",
            remedy=f"Choose one of: {', '.join([*RECIPES, 'auto'])}.",
            code="E111",
        )
    return RECIPES[name]
