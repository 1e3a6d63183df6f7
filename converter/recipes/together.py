"""Options that mean nothing for the neurons of their recipe, told before anything is converted."""

from __future__ import annotations

from ...errors import UsageError
from ...spelling import spelled
from . import Recipe, recipe_named
from . import windowed as windows
from .options import Options


def check(options: Options) -> None:
    """Raise UsageError E114 for options that do not go with their recipe (not "auto"), E110 for
    more steps than its windows have."""
    recipe = recipe_named(options.recipe)
    if recipe.window is not None:
        windows.check(recipe, options)
    if recipe.synchronous and options.lag:
        raise UsageError(
            "recipe 'synchronous' waits T steps in every layer, it takes no lag",
            remedy=f"Leave {spelled('lag')} out, or use {spelled('recipe', 'binary')}.",
            code="E114",
        )
    if recipe.model == "differential":
        _check_differential(recipe, options)


def _check_differential(recipe: Recipe, options: Options) -> None:
    if options.lag or options.readout == "count" or options.reset == "zero" or options.leak:
        raise UsageError(
            f"recipe '{recipe.name}' has no start lag, leak, reset to zero or output spike counts",
            remedy=f"Leave these options out, or use {spelled('recipe', 'graded')}.",
            code="E114",
        )
