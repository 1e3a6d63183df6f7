"""What a learning rule is: one frozen record of parameters, and a function that presents a sample.

A plastic layer is all-to-all synapses onto neurons that compete (``neurons.winner_take_all``). Its
state is a record of arrays that ``Rule.present`` changes in place, step by step while the sample's
spikes arrive; between samples potentials and traces are back at rest, weights, thresholds and
labels stay. All of it is computed in double precision, spike by spike in a fixed order (inputs from
the first to the last), so that a loop over single spikes gives the same to the last bit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import Field, dataclass, field, fields
from math import isfinite
from typing import Any, ClassVar

import numpy as np

from ...errors import UsageError, did_you_mean
from ..neurons import WinnerTakeAllParams
from ..ops import Array, frozen

NO_LABEL = -1


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerState:
    """What a plastic layer has learned.

    Attributes:
        weight: (inputs, neurons), float64.
        threshold: (neurons,), float64: where each neuron fires now.
        labels: (neurons,), int64: the class that each stands for, or ``NO_LABEL``.
    """

    weight: Array
    threshold: Array
    labels: Array

    def kept(self) -> LayerState:
        """The same, which nobody writes any more."""
        own = self.copy()
        return LayerState(
            weight=frozen(own.weight), threshold=frozen(own.threshold), labels=frozen(own.labels)
        )

    def copy(self) -> LayerState:
        """The same in arrays of its own, that may be written."""
        return LayerState(
            weight=np.array(self.weight, np.float64),
            threshold=np.array(self.threshold, np.float64),
            labels=np.array(self.labels, np.int64),
        )

    @property
    def inputs(self) -> int:
        return int(self.weight.shape[0])

    @property
    def neurons(self) -> int:
        return int(self.weight.shape[1])


@dataclass(frozen=True, kw_only=True)
class LearningEvents:
    """What happened while samples were presented.

    Attributes:
        spikes_in, spikes_out: that reached and left the layer (graded ones count once).
        synaptic_events: incoming spikes times the neurons that each reaches.
        updates: weights written, by the rule and by homeostasis.
        new_neurons: that began to stand for a class.
    """

    spikes_in: int = 0
    spikes_out: int = 0
    synaptic_events: int = 0
    updates: int = 0
    new_neurons: int = 0

    def __add__(self, other: LearningEvents) -> LearningEvents:
        return LearningEvents(
            **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        )


def setting(
    default: Any, text: str, *, least: float = 0.0, most: float | None = None, above: bool = False
) -> Any:
    """A parameter of a rule: a dataclass field with its help ``text`` and limits; ``above``:
    ``least`` itself is too small."""
    return field(
        default=default, metadata={"help": text, "least": least, "most": most, "above": above}
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class Rule(ABC):
    """A learning rule's parameters. The fields with a ``setting`` are what users choose.

    Attributes:
        name: of the rule, as commands, reports and chips call it.
        supervised: whether it needs the label of every sample.
        summary: what it does, for help.
        usual: neurons of a layer, and passes over the samples, where nobody chooses.

    Raises UsageError (E131) for a parameter out of its range.
    """

    name: ClassVar[str]
    supervised: ClassVar[bool]
    summary: ClassVar[str]
    usual: ClassVar[tuple[int, int]]

    def __post_init__(self) -> None:
        for one in fields(self):
            _check(self.name, one, getattr(self, one.name))

    @abstractmethod
    def initial_state(self, *, inputs: int, neurons: int, seed: int) -> LayerState:
        """A layer that has learned nothing."""

    @abstractmethod
    def present(
        self, state: LayerState, spikes: Array, label: int, *, sent: Array | None = None
    ) -> LearningEvents:
        """Present one sample, ``spikes`` (steps, inputs) in whole numbers, and learn from it:
        ``state`` is changed in place. ``label``: its class, or ``NO_LABEL``. ``sent``: zeros
        (steps, neurons), where 1 is written for every spike of the layer."""

    @abstractmethod
    def neuron(self, threshold: Array) -> WinnerTakeAllParams:
        """The layer's neurons with these thresholds."""

    def effective(self, weight: Array) -> Array:
        """What an incoming spike adds to the potentials: ``weight`` (inputs, neurons) unless
        something else comes along with it."""
        return weight


def _check(rule: str, one: Field[Any], value: Any) -> None:
    limits = one.metadata
    least, most = limits["least"], limits["most"]
    number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    fits = number and (value > least if limits["above"] else value >= least)
    if not fits or (most is not None and value > most):
        at_least = f"{'above' if limits['above'] else 'at least'} {least:g}"
        bounds = at_least + ("" if most is None else f" and at most {most:g}")
        raise UsageError(
            f"'{one.name}' of the rule '{rule}' is {bounds}, got {value!r}", code="E131"
        )


def with_settings(rule: Rule | type[Rule], values: dict[str, str]) -> Rule:
    """The rule with parameters as the user wrote them.

    Raises UsageError (E131) for a name that it does not have, and for no number."""
    known = {f.name: f for f in fields(rule)}
    given: dict[str, float] = {}
    for name, text in values.items():
        if name not in known:
            raise UsageError(
                f"the rule '{rule.name}' has no parameter '{name}'",
                remedy=did_you_mean(name, known),
                code="E131",
            )
        try:
            given[name] = float(text)
        except ValueError:
            raise UsageError(
                f"'{name}' of the rule '{rule.name}' is a number, got '{text}'", code="E131"
            ) from None
    kept = {} if isinstance(rule, type) else {name: getattr(rule, name) for name in known}
    made = rule if isinstance(rule, type) else type(rule)
    return made(**{**kept, **given})


def charge(v: Array, weight: Array, spikes: Array) -> Array:
    """Add to the potentials ``v`` (neurons,) what ``spikes`` (inputs,) bring, input by input; the
    inputs that spiked."""
    active = np.flatnonzero(spikes)
    for i in active:
        v += weight[i] * spikes[i]
    return active
