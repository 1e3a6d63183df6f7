"""What a network's spikes carry, how often it answers and how late, in words."""

from __future__ import annotations

from ..converter.recipes import RECIPES, Recipe, recipe_named
from ..evaluation.sweep import SweepRun
from ..provenance import Provenance


def recipe_text(name: str) -> str:
    """What the recipe's neurons do and what one spike carries."""
    recipe = recipe_named(name)
    return f"recipe {recipe.name}: {recipe.summary}; {_spikes_text(recipe)}"


def _spikes_text(recipe: Recipe) -> str:
    """What one spike carries, and which chips can send it."""
    bits = "1 bit" if recipe.bits == 1 else f"{recipe.bits} bits"
    carries = bits if recipe.bits else "nothing but its address"
    if recipe.window is not None:
        carries += "; when it comes says how much it counts"
    where = ", ".join(recipe.chips) + (" (here: simulation only)" * recipe.simulation_only)
    return f"a spike carries {carries}; for: {where}"


def answers_text(run: SweepRun) -> str:
    """How often answers come and how late, and what spikes carry."""
    last = run.evaluation.points[-1]
    recipe = RECIPES.get(Provenance.of(run.network).recipe or "")
    text = f"one answer every {last.T} steps, each {last.latency} steps after its input began"
    return text if recipe is None else f"{text}; {_spikes_text(recipe)}"
