"""What fine-tuning does, as one record: every option by its name, with its default."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from ...errors import UsageError, did_you_mean
from ...spelling import spelled
from .parameters import KINDS
from .surrogates import SURROGATES
from .variations import check as check_variations


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a network is fine-tuned.

    Attributes:
        train: which numbers, of ``parameters.KINDS``.
        surrogate, width: what stands for the derivative of a spike (``surrogates``).
        detach: the reset is a constant to gradients.
        epochs: passes over the samples, at most.
        rate: the largest learning rate, relative to the size of what is trained.
        decay: how strongly values are drawn back to the converted ones (decoupled, as in AdamW).
        batch: samples per step.
        hold_out: share of the samples that judge, and from which nothing is learned.
        patience: epochs without a better loss on those before it stops.
        average: of the values that are judged and kept: a running mean, of which one step changes
            the share 1 - average; 0 takes them as they are.
        match: weight of the populations' mean activations being those of the ANN.
        temperature: of the softmax of both in distillation.
        spike_penalty: price of one spike per neuron, in units of the loss.
        spike_target: spikes per neuron that cost nothing; those above it cost ``spike_penalty``.
        augment: variations of the samples (``variations``).
        seed: draws order, variations and spikes.
        mem_limit: bytes for the signals that gradients need.
    """

    train: tuple[str, ...] = KINDS
    surrogate: str = "arctan"
    width: float = 0.25
    detach: bool = False
    epochs: int = 30
    rate: float = 0.002
    decay: float = 0.0
    batch: int = 32
    hold_out: float = 0.125
    patience: int = 10
    average: float = 0.98
    match: float = 1.0
    temperature: float = 1.0
    spike_penalty: float = 0.0
    spike_target: float = 0.0
    augment: tuple[str, ...] = ()
    seed: int = 0
    mem_limit: int = 2 << 30

    def __post_init__(self) -> None:
        _choose(spelled("train"), given=self.train, known=KINDS)
        _choose(spelled("surrogate"), given=(self.surrogate,), known=tuple(SURROGATES))
        check_variations(self.augment)
        floors = (
            (spelled("epochs"), self.epochs, 1),
            (spelled("batch"), self.batch, 1),
            (spelled("patience"), self.patience, 1),
            (spelled("mem_limit"), self.mem_limit, 1),
            (spelled("decay"), self.decay, 0),
            (spelled("average"), self.average, 0),
            (spelled("match"), self.match, 0),
            (spelled("spike_penalty"), self.spike_penalty, 0),
            (spelled("spike_target"), self.spike_target, 0),
        )
        for name, value, low in floors:
            if not low <= value < inf:
                until = " and finite" if value == inf else ""
                raise UsageError(
                    f"{name} must be at least {low}{until}, got {value:g}", code="E140"
                )
        above = (
            (spelled("width"), self.width, inf),
            (spelled("rate"), self.rate, inf),
            (spelled("temperature"), self.temperature, inf),
            (spelled("hold_out"), self.hold_out, 1),
        )
        if self.average >= 1:
            raise UsageError(f"{spelled('average')} must be below 1", code="E140")
        for name, value, high in above:
            if not 0 < value < high:
                until = f" and below {high}" if high < inf else " and finite" * (value == inf)
                raise UsageError(f"{name} must be above 0{until}, got {value:g}", code="E140")
        if self.spike_target and not self.spike_penalty:
            object.__setattr__(self, "spike_penalty", PRICE)


PRICE = 10.0  # of a spike above a target, where nothing else is said


def _choose(name: str, *, given: tuple[str, ...], known: tuple[str, ...]) -> None:
    for one in given:
        if one not in known:
            raise UsageError(
                f"{name} takes {', '.join(known)}, got '{one}'",
                remedy=did_you_mean(one, known),
                code="E140",
            )
    if not given:
        raise UsageError(f"{name} names nothing", remedy="Choose some.", code="E140")
