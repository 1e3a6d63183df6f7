"""The neuron models that a file can hold: each with its ONNX function. A new model has a line here.

A function takes the current (steps * batch, ...), the arrays named in ``arguments``, the number of
steps, and where it is windowed the first step of the bias, the first step with spikes and the
length of both windows (int64 vectors of length one), and the numbers named in ``bounds``; it gives
the spikes (steps * batch, ...).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import onnx

from ...neurons import (
    CubaParams,
    FewSpikeParams,
    Neuron,
    NeuronParams,
    PacedParams,
    TtfsParams,
    WinnerTakeAllParams,
)
from ...neurons.differential import DifferentialParams
from .cuba import cuba_neuron
from .differential import differential_neuron
from .integrate_and_fire import neuron
from .paced import paced_neuron
from .windowed import windowed_neuron
from .winner_take_all import winner_take_all_neuron

NAME = "runtime.file.neurons.NEURONS"  # as errors call the table


@dataclass(frozen=True, eq=False, kw_only=True)
class NeuronForm:
    """A model in ONNX.

    Attributes:
        function: of the parameters and of whether it is windowed; named after everything in it
            that is not an argument.
        arguments: arrays of the node that become arguments, as paths below it.
        bounds: numbers of the neuron that become the last arguments, those of them that are set.
        windowed: whether the function knows windows: "lagged" where the network has a start lag.
    """

    function: Callable[[Any, bool], onnx.FunctionProto]
    arguments: tuple[str, ...] = ("bias", "neuron.v_threshold", "neuron.v_init")
    bounds: tuple[str, ...] = ()
    windowed: Literal["lagged", "always", "never"] = "lagged"


NEURONS: dict[type[Neuron], NeuronForm] = {
    NeuronParams: NeuronForm(function=neuron),
    PacedParams: NeuronForm(function=paced_neuron, windowed="always"),
    FewSpikeParams: NeuronForm(function=windowed_neuron, windowed="never"),
    TtfsParams: NeuronForm(function=windowed_neuron, windowed="never"),
    DifferentialParams: NeuronForm(
        function=differential_neuron,
        arguments=("neuron.bias", "neuron.v_threshold"),
        bounds=("ceiling",),
        windowed="never",
    ),
    WinnerTakeAllParams: NeuronForm(
        function=winner_take_all_neuron, arguments=("bias", "neuron.v_threshold")
    ),
    CubaParams: NeuronForm(
        function=cuba_neuron,
        arguments=("bias", "neuron.v_threshold", "neuron.v_init", "neuron.v_reset"),
    ),
}
