"""What a neuron model is: one frozen record of parameters that answers everything others ask of it.

A model derives from ``Neuron`` and says how it starts (``initial_state``), what it does in one
time step (``step``), how its spikes count over time (``coding``), the most it can send (``reach``)
and what is special about it (``traits``): all that simulation, analog mode and diagnosis need. What
else a layer knows of a model stands in a table of that layer, by exact type:

* required: ``runtime.file.neurons.NEURONS``, how a network with it is saved;
* for what is to be done with it: ``converter.tune.search.SEARCHES`` (calibration), and
  ``hwtargets``: ``cores.integer.populations.POPULATIONS``, ``xylo.rules.NEURONS`` (chips), and
  ``runtime.engine.torch.neurons.NEURONS`` (the engine "torch" and what is exported to PyTorch).
  Without an entry calibration raises an error, and a chip, engine or format refuses the network,
  by the model's name;
* faster: ``runtime.engine.fast.native.steps.STEPS``; without an entry the model's own step runs.

Rules ask ``traits``, and ask so that what they do not know forbids: ``neuron.traits <= {...}``. The
model's own name is among its traits, so no rule takes a model that it does not name for another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias

import numpy as np

from ..ops import Array, Shape

State: TypeAlias = dict[str, Array]
Coding: TypeAlias = Literal["rate", "paced", "few-spike", "differential"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Neuron(ABC):
    """A neuron model's parameters; arrays broadcast to the population's shape.

    Attributes:
        name: of the model, as reports and rules call it.
        v_threshold: what a spike of size 1 is worth, in the unit of the ANN's activation; > 0.
        v_init: the membrane potential before the first step.
        levels: the largest spike.
        lag: steps of integration before the first spike.
    """

    name: ClassVar[str]

    def __init_subclass__(cls) -> None:
        if "name" not in cls.__dict__:  # else rules would take it for the model it derives from
            raise TypeError(f"the neuron model {cls.__name__} needs a name of its own")

    if TYPE_CHECKING:  # fields or properties of the models

        @property
        def v_threshold(self) -> Array: ...

        @property
        def v_init(self) -> Array: ...

        @property
        def levels(self) -> int: ...

        @property
        def lag(self) -> int: ...

    @abstractmethod
    def initial_state(self, batch: int, shape: Shape, dtype: np.dtype) -> State:
        """Fresh state of a population for ``batch`` samples: new arrays, (batch, *shape) or ()."""

    @abstractmethod
    def step(
        self,
        state: State,
        current: Array,
        spikes: Array,
        *,
        may_fire: bool = True,
        position: int = 0,
        steps: int = 1,
    ) -> None:
        """One time step in place: ``current`` (bias included) in, integer counts into ``spikes``.

        ``current`` and ``spikes`` are (batch, *shape) of the state's dtype; ``current`` may
        broadcast. ``may_fire`` False integrates only (a start lag). ``position``: of this step in
        the firing window of ``steps`` steps, from 0, negative during the lag.
        """

    @property
    @abstractmethod
    def coding(self) -> Coding:
        """How the steps of its spikes count."""

    @property
    def reads(self) -> Coding:
        """How the steps of what reaches it count."""
        return self.coding

    @property
    def kept_bias(self) -> Array:
        """The bias that the model keeps in its state (field ``bias``, trait "bias"), where it is
        not the population's."""
        return np.zeros((), np.float32)

    @abstractmethod
    def reach(self, steps: int) -> float | Array:
        """The most that a neuron can send in ``steps`` steps, in ``counts``; an array, which
        broadcasts to the population, where neurons differ."""

    def charge(self, steps: int) -> Array:
        """What of the initial potential, beyond the theta / 2 that makes rounding fair, counts as
        mean input over ``steps`` steps."""
        return np.zeros((), np.float32)

    def resolution(self, steps: int) -> float:
        """What one spike more or less changes the decoded mean by, where that is least, in
        thresholds."""
        return 1 / steps

    def activation(self, pre: Array, ceiling: float | None) -> Array:
        """What its spikes stand for in analog mode, in units of its threshold: the activation
        function, of the mean input ``pre`` (samples, *shape)."""
        theta = self.v_threshold.astype(pre.dtype)
        return np.asarray(np.clip(pre, 0, ceiling) / theta)

    def worth(self, steps: int) -> Array:
        """(steps,): what a spike of one threshold in each step adds to the decoded mean."""
        return worth(self.coding, steps)

    @property
    def traits(self) -> frozenset[str]:
        """What is special about it, the model's name included:

        "subtract", "zero": how it resets; "levels": spikes above 1; "signed": negative ones;
        "lag"; "leak"; "stateless" (a leak of all); "refractory"; "floor": a lowest potential;
        "ceiling": a largest decoded value; "v_init": a field of this name sets the potential it
        starts from; "bias": a field of this name is its bias. Whatever a model does that these do
        not say has a name of its own.
        """
        return frozenset((self.name, *self._traits()))

    @abstractmethod
    def _traits(self) -> Iterator[str]: ...

    def potential(self, state: State) -> Array:
        """Of a ``state``, (batch, *shape): what is charged and fires, in the unit of the threshold
        times steps."""
        return state["v"]

    @property
    def graded(self) -> bool:
        """Whether a synapse must multiply by what its spikes carry: more than a sign or a power of
        two."""
        return self.levels > 1

    def having(self, **fields: Any) -> Self:
        """The same neuron with other values of some fields."""
        return replace(self, **fields)


def counts(coding: Coding, at: Array, steps: int) -> Array:
    """What the steps ``at`` (from 0) of a window of ``steps`` count in a sum that is T times the
    decoded mean."""
    return np.asarray(COUNTS[coding](at, steps))


def worth(coding: Coding, steps: int) -> Array:
    """(steps,), float32, of sum 1 where every step has its share: what each step adds to the
    decoded mean."""
    return np.asarray(counts(coding, np.arange(steps), steps) / steps, np.float32)


def weight(position: Any, steps: int) -> Any:
    """T + 1 - k for the steps ``position`` (from 0; a number or an array) of a window of ``steps``;
    outside it the nearest step's."""
    return steps - np.clip(position, 0, steps - 1)


def _digits(at: Array, steps: int) -> Array:
    """2^(T-t) in step t of the window, outside it the nearest step's."""
    return np.asarray(2.0 ** (weight(at, steps) - 1))


COUNTS: Mapping[Coding, Callable[[Array, int], Array]] = {
    "rate": lambda at, steps: np.ones(at.shape),
    "paced": lambda at, steps: 2 * weight(at, steps) / (steps + 1),
    "few-spike": lambda at, steps: _digits(at, steps) * steps / (2.0**steps - 1),
    "differential": lambda at, steps: steps / (at + 1),
}
