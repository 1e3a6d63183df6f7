"""How to convert: every choice of a conversion as one record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...errors import UsageError, did_you_mean
from ...runtime.choices import wrong_choices
from ..statistics.thresholds import Method
from . import recipe_named

# Smallest values of what is counted.
SMALLEST = {"max_drop": 0, "lag": 0, "copies": 1, "levels": 1, "refractory": 0}


@dataclass(frozen=True, eq=False, kw_only=True)
class Options:
    """How to convert.

    Attributes:
        recipe: a name in ``recipes.RECIPES``, or "auto" (see ``auto``).
        steps: number of time steps T that everything is calibrated for.
        max_drop: recipe "auto" only: points of accuracy (without labels: of agreement with the
            ANN) that may be lost.
        prefer: recipe "auto" only: which candidate within ``max_drop`` is taken, a key of
            ``auto.PREFERENCES``.
        method, percentile, per_channel: how thresholds are chosen from the data
            (``normalize.thresholds``), before the search in the spiking loop.
        tune: calibrate weights, thresholds, initial potentials and biases in the spiking loop.
        v_init: initial membrane potential as a fraction of the threshold, before the search.
        lag: steps every layer integrates before its first spike; each layer has a window of T
            steps that begins so much later than its input's.
        pace: behind a lag, binary spikes are sent evenly and read by when they come
            (``runtime.neurons.paced``); False: plain neurons, whose spikes leave in a burst.
        copies: neurons for each value of the layers that read the input only (``copies``), of the
            recipes with one level per spike and no start lag; None: 2 up to T = 32 where that is at
            most a quarter more neurons (``copies.worth_copying``), else 1.
        levels: largest number of spikes per step; None is the recipe's.
        reset, leak, refractory: see ``runtime.neurons.NeuronParams``.
        encoding: how inputs enter (``runtime.semantics.encoding``).
        readout: "membrane" integrates without firing; "count" counts the outputs' spikes.
        seed: of the samples drawn in calibration.
    """

    recipe: str = "binary"
    steps: int = 32
    max_drop: float = 1.0
    prefer: Literal["chips", "steps", "latency", "spikes", "synops"] = "chips"
    method: Method = "mmse"
    percentile: float = 99.9
    per_channel: bool = True
    tune: bool = True
    v_init: float = 0.5
    lag: int = 0
    pace: bool = True
    copies: int | None = None
    levels: int | None = None
    reset: Literal["subtract", "zero"] = "subtract"
    leak: float = 0.0
    refractory: int = 0
    encoding: Literal["constant", "poisson", "rate"] = "constant"
    readout: Literal["membrane", "count"] = "membrane"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UsageError(f"T must be at least 1, got {self.steps}", code="E110")
        for name, word, words in wrong_choices(self):
            raise UsageError(
                f"{name} is '{word}'", remedy=did_you_mean(str(word), words), code="E116"
            )
        for name, smallest in SMALLEST.items():
            value = getattr(self, name)
            if value is not None and not value >= smallest:
                raise UsageError(f"{name} is at least {smallest}, got {value}", code="E116")
        if not 0 <= self.leak < 1:
            raise UsageError(f"leak is at least 0 and below 1, got {self.leak}", code="E116")
        if self.recipe != "auto":
            recipe = recipe_named(self.recipe)
            if self.levels not in (None, recipe.levels) and recipe.levels == 1:
                raise UsageError(
                    f"recipe '{self.recipe}' has spikes of one level, not {self.levels}",
                    remedy="Use --recipe graded.",
                    code="E112",
                )
            if self.copies is not None and self.copies > 1 and not can_copy(self):
                raise UsageError(
                    "copies of the first layer's neurons are for the recipes binary and signed, "
                    "with a constant input current, soft reset, no leak, refractory steps or lag",
                    remedy="Leave --copies out, or the options that do not go with it.",
                    code="E114",
                )


def can_copy(options: Options) -> bool:
    """Whether copies of a neuron do what a neuron with more levels does (``copies``)."""
    recipe = recipe_named(options.recipe)
    one = recipe.model == "if" and recipe.levels == 1 and not recipe.synchronous
    plain = options.reset == "subtract" and not options.leak and not options.refractory
    return one and plain and not options.lag and options.encoding == "constant"
