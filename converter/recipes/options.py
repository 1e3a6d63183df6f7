"""How to convert: every choice of a conversion as one record."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cache
from math import isfinite
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ...errors import UsageError, did_you_mean
from ...runtime.tables import choices, wrong_choices
from ...spelling import spelled
from ..statistics.thresholds import Method
from . import recipe_named
from .encodings import WINDOWS, WORDS, Encoding, encoding_of, why_not


def _shown(text: str, **more: Any) -> dict[str, Any]:
    """Metadata of a field that a user of the command line may choose: see ``Choosable``."""
    return {"help": text, **more}


@dataclass(frozen=True, eq=False, kw_only=True)
class Options:
    """How to convert.

    Attributes:
        recipe: a name in ``recipes.RECIPES``, or "auto" (see ``auto``).
        steps: number of time steps T that everything is calibrated for.
        max_drop: recipe "auto" only: points of accuracy (without labels: of agreement with the
            ANN) that may be lost; below 0: that must be gained.
        prefer: recipe "auto" only: which candidate within ``max_drop`` is taken, a key of
            ``auto.PREFERENCES``.
        method, percentile, per_channel: how thresholds are chosen from the data
            (``normalize.thresholds``), before the search in the spiking loop.
        tune: calibrate weights, thresholds, initial potentials and biases in the spiking loop.
        spike_cost: the price of a spike in that search (``tune.Tuning``).
        v_init: initial membrane potential as a fraction of the threshold, before the search.
        lag: steps every layer integrates before its first spike; each layer has a window of T
            steps that begins so much later than its input's.
        pace: behind a lag, binary spikes are sent evenly and read by when they come
            (``runtime.neurons.paced``); False: plain neurons, whose spikes leave in a burst.
        copies: neurons for each value of the layers that read the input only (``copies``), of the
            recipes with one level per spike and no start lag; None: 2 up to T = 32, with windows
            up to 32 levels, where that is at most a quarter more neurons
            (``copies.worth_copying``), else 1. In recipe "binary" also of the last layers, up to
            half as many neurons again in all, in deep networks with no more steps than layers in a
            row (``copies.is_deep``).
        levels: largest number of spikes per step; None is the recipe's.
        reset, leak, refractory: see ``runtime.neurons.NeuronParams``.
        maxpool: "exact" keeps a running maximum of cumulated spikes, which no chip has; "tree"
            makes neurons of it (``ann.passes.tree_maxpool``): max(a, b) = a + relu(b - a).
        islands: what analog parts, products of two signals and layers without an activation send
            to a layer with weights or a product: "currents", or "spikes" of two neurons for each
            value (``ann.passes.spiking_products``).
        encoding: how inputs enter (``encodings``).
        readout: "membrane" integrates without firing; "count" counts the outputs' spikes.
        seed: of the samples drawn in calibration.
    """

    recipe: str = "binary"
    steps: int = 32
    max_drop: float = field(
        default=1.0,
        metadata=_shown(
            "For --recipe auto: largest drop in points [1.0]. Exit status 1 where nothing stays "
            "below it; the nearest is then written.",
            smallest=0,
            auto=True,
        ),
    )
    prefer: Literal["chips", "steps", "latency", "spikes", "synops", "energy"] = field(
        default="chips",
        metadata=_shown(
            "For --recipe auto: what decides between candidates within --max-drop [chips].",
            auto=True,
        ),
    )
    method: Method = field(
        default="mmse", metadata=_shown("How thresholds are chosen [default: the recipe's].")
    )
    percentile: float = field(default=99.9, metadata=_shown("For --method percentile [99.9]."))
    per_channel: bool = field(
        default=True,
        metadata=_shown(
            "Thresholds per channel (default) or one per layer.", flags="--per-channel/--per-layer"
        ),
    )
    reset: Literal["subtract", "zero"] = field(
        default="subtract", metadata=_shown("Reset by subtraction (default) or to zero.")
    )
    leak: float = field(default=0.0, metadata=_shown("Share of the potential lost per step [0]."))
    refractory: int = field(
        default=0, metadata=_shown("Steps of rest after a spike [0].", smallest=0)
    )
    levels: int | None = field(
        default=None, metadata=_shown("Largest number of spikes per step.", smallest=1)
    )
    tune: bool = field(
        default=True,
        metadata=_shown("Calibrate in the spiking loop (default), or thresholds alone."),
    )
    spike_cost: float = field(
        default=0.0,
        metadata=_shown(
            "What one spike more per neuron of a layer costs in calibration, in squared error of "
            "the layer relative to its mean square: 0.01 gives up 1 % for a spike [0].",
            smallest=0,
        ),
    )
    v_init: float = 0.5
    lag: int = field(
        default=0, metadata=_shown("Steps each layer integrates before it fires.", smallest=0)
    )
    pace: bool = field(
        default=True,
        metadata=_shown(
            "Behind a lag: spikes even in time and read by when they come (default), or plain "
            "integrate-and-fire."
        ),
    )
    copies: int | None = field(
        default=None,
        metadata=_shown(
            "Neurons for each value of the first layer [2 up to T=32 where that is a quarter more "
            "neurons or less, else 1], in recipe binary also of the last ones of deep networks "
            "where T is no more than layers in a row [half as many neurons again]; "
            "recipes binary and signed without a lag, few-spike, ttfs.",
            smallest=1,
        ),
    )
    maxpool: Literal["exact", "tree"] = field(
        default="exact",
        metadata=_shown(
            "Max pools: a running maximum (default; for simulation), or a tree of neurons, "
            "max(a, b) = a + relu(b - a), which chips can run."
        ),
    )
    islands: Literal["currents", "spikes"] = field(
        default="currents",
        metadata=_shown(
            "What analog parts (Softmax, LayerNorm, GELU ...) and products of two signals send to "
            "the next product: currents (default; exact in the mean, and dense), or spikes of "
            "pairs of neurons."
        ),
    )
    encoding: str = field(
        default="constant",
        metadata=_shown(
            "How samples enter: constant current [default], spikes (rate, poisson), or neurons: "
            "population:N, for the recipes of their names few-spike:K, ttfs:K.",
            metavar="|".join(WORDS),
        ),
    )
    readout: Literal["membrane", "count"] = field(
        default="membrane",
        metadata=_shown("Read the outputs' potential (default) or count their spikes."),
    )
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UsageError(f"T must be at least 1, got {self.steps}", code="E110")
        for name, word, words in wrong_choices(self):
            raise UsageError(
                f"{name} is '{word}'", remedy=did_you_mean(str(word), words), code="E116"
            )
        for choice in choosable(auto=False):
            value = getattr(self, choice.name)
            if choice.smallest is not None and value is not None and not value >= choice.smallest:
                raise UsageError(
                    f"{choice.name} is at least {choice.smallest}, got {value}", code="E116"
                )
        if not isfinite(self.spike_cost):
            raise UsageError(f"spike_cost is finite, got {self.spike_cost}", code="E116")
        if not 0 <= self.leak < 1:
            raise UsageError(f"leak is at least 0 and below 1, got {self.leak}", code="E116")
        encoding = self.enters
        if self.recipe == "auto" and encoding.coded in WINDOWS and encoding.number is not None:
            raise UsageError(
                f"recipe 'auto' chooses T, so '{encoding.coded}' has no number here",
                remedy=f"Use {spelled('encoding', encoding.coded)}.",
                code="E114",
            )
        if self.recipe != "auto":
            recipe = recipe_named(self.recipe)
            reason = why_not(encoding, recipe, self.steps)
            if reason:
                raise UsageError(reason, code="E114")
            if self.levels not in (None, recipe.levels) and recipe.levels == 1:
                raise UsageError(
                    f"recipe '{self.recipe}' has spikes of one level, not {self.levels}",
                    remedy=f"Use {spelled('recipe', 'graded')}.",
                    code="E112",
                )
            if self.spike_cost and (not self.tune or self.reset != "subtract"):
                raise UsageError(
                    "a spike has a cost in the search of thresholds in the spiking loop, of "
                    "neurons with soft reset",
                    remedy=f"Leave {spelled('spike_cost')} out, or {spelled('tune', False)} and "
                    f"{spelled('reset')}.",
                    code="E114",
                )
            if self.copies is not None and self.copies > 1 and not can_copy(self):
                raise UsageError(
                    "copies of the first layer's neurons are for the recipes binary, signed, "
                    "few-spike and ttfs, with a constant input current, soft reset, no leak, "
                    "refractory steps or lag",
                    remedy=f"Leave {spelled('copies')} out, or the options that do not go with it.",
                    code="E114",
                )

    @property
    def enters(self) -> Encoding:
        """``encoding``, read."""
        return encoding_of(self.encoding)


@dataclass(frozen=True, eq=False, kw_only=True)
class Choosable:
    """A field of ``Options`` as a command line shows it.

    Attributes:
        kind: bool, int, float or str (without None).
        words: the words it takes; none where it takes others.
        smallest: the smallest number it takes, or None.
        flags: of a bool, how yes and no are said; "": --name and --no-name.
        metavar: what stands for the value in a help text, "" for what its kind gives.
        auto: only recipe "auto" reads it.
    """

    name: str
    kind: type
    words: tuple[str, ...]
    help: str
    smallest: float | None
    flags: str
    metavar: str
    auto: bool


@cache
def _choosables() -> tuple[Choosable, ...]:
    hints = get_type_hints(Options)
    return tuple(
        Choosable(
            name=f.name,
            kind=_plain_type(hints[f.name]),
            words=choices(Options).get(f.name, ()),
            help=f.metadata["help"],
            smallest=f.metadata.get("smallest"),
            flags=f.metadata.get("flags", ""),
            metavar=f.metadata.get("metavar", ""),
            auto=f.metadata.get("auto", False),
        )
        for f in fields(Options)
        if "help" in f.metadata
    )


def choosable(*, auto: bool) -> tuple[Choosable, ...]:
    """The fields that a command line shows: those of recipe "auto", or all others."""
    return tuple(choice for choice in _choosables() if choice.auto == auto)


def _plain_type(hint: Any) -> type:
    """The one type of an annotation such as ``int | None`` or a ``Literal`` of words."""
    if get_origin(hint) is Literal:
        return str
    (kind,) = [part for part in get_args(hint) or (hint,) if part is not type(None)]
    return kind


def can_copy(options: Options) -> bool:
    """Whether copies of a neuron do what a neuron with more levels does (``copies``)."""
    recipe = recipe_named(options.recipe)
    one = recipe.model != "differential" and recipe.levels == 1 and not recipe.synchronous
    plain = options.reset == "subtract" and not options.leak and not options.refractory
    return one and plain and not options.lag and options.encoding == "constant"
