"""A neuron model added from outside: an adaptive threshold.

    a <- (1 - decay) a
    v <- v + I + bias
    k <- 1 where v >= v_threshold + a, else 0
    v <- v - k v_threshold
    a <- a + rise k

Each spike makes the next one harder for a while, so that a neuron answers a change more strongly
than what stays (Bellec et al. 2018, "Long short-term memory and learning-to-learn in networks of
spiking neurons"). In the product this would be three files: the record in ``runtime/neurons``, the
ONNX function in ``runtime/file``, and the line of ``FORM`` in ``runtime/file/neurons/__init__.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
from onnx import TensorProto, helper

from onnx2snn.errors import GraphError
from onnx2snn.runtime.file.neurons import NeuronForm
from onnx2snn.runtime.file.neurons.integrate_and_fire import (
    FLOAT,
    Body,
    function,
    mask,
    merge_time,
    split_time,
)
from onnx2snn.runtime.neurons import Coding, Neuron, State
from onnx2snn.runtime.ops import Array, Shape, frozen

# 1. The model: runtime/neurons/adaptive.py


@dataclass(frozen=True, eq=False, kw_only=True)
class AdaptiveParams(Neuron):
    """Binary neuron with soft reset whose threshold rises with each spike.

    Attributes:
        v_threshold: where it rests, and what a spike is worth.
        v_init: membrane potential before the first step.
        rise: by how much a spike raises the threshold; ``decay``: which part of what it was raised
            by is lost per step, in [0, 1].
        lag: steps of integration before the first spike.
    """

    name: ClassVar[str] = "adaptive"
    v_threshold: Array
    v_init: Array
    rise: float = 0.5
    decay: float = 0.5
    lag: int = 0
    levels: ClassVar[int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "v_threshold", frozen(self.v_threshold))
        object.__setattr__(self, "v_init", frozen(self.v_init))
        if not np.all(self.v_threshold > 0):
            raise GraphError("v_threshold must be greater than 0 everywhere")
        if self.rise < 0 or not 0 <= self.decay <= 1:
            raise GraphError("rise must be at least 0, and decay in [0, 1]")

    def initial_state(self, batch: int, shape: Shape, dtype: np.dtype) -> State:
        v = np.empty((batch, *shape), dtype)
        v[...] = self.v_init
        return {"v": v, "raised": np.zeros_like(v), "scratch": np.zeros_like(v)}

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
        v, raised, scratch = state["v"], state["raised"], state["scratch"]
        raised *= v.dtype.type(1 - self.decay)
        v += current
        if not may_fire:
            spikes[...] = 0
            return
        threshold = self.v_threshold.astype(v.dtype, copy=False)
        np.greater_equal(v, np.add(raised, threshold, out=scratch), out=spikes)
        v -= np.multiply(spikes, threshold, out=scratch)
        raised += np.multiply(spikes, v.dtype.type(self.rise), out=scratch)

    @property
    def coding(self) -> Coding:
        return "rate"

    def reach(self, steps: int) -> float:
        return steps

    def _traits(self) -> Iterator[str]:
        yield from ("subtract", "v_init")
        if self.lag:
            yield "lag"


# 2. Its ONNX function: runtime/file/neurons_adaptive.py


def adaptive_neuron(p: AdaptiveParams, windowed: bool) -> onnx.FunctionProto:
    """``AdaptiveParams.step`` as a Scan over time; see ``runtime.file.neurons`` for the inputs."""
    b = Body()
    x = split_time(b, "current", steps="steps")
    if not windowed:
        x = b.add("Add", x, "bias")
    first = b.add("Squeeze", b.add("Slice", x, b.ints(0), b.ints(1), b.ints(0)), b.ints(0))
    zero = b.add("Sub", first, first)
    states = [b.add("Add", zero, "v_init"), b.add("Identity", zero)]
    scanned = [x]
    inputs = ["current", "bias", "v_threshold", "v_init", "steps"]
    if windowed:
        scanned += [mask(b, start, "length", "steps") for start in ("begin", "fire")]
        inputs += ["begin", "fire", "length"]
    b.nodes.append(
        helper.make_node(
            "Scan",
            [*states, *scanned],
            ["final_v", "final_raised", "spikes"],
            body=_step(p, windowed),
            num_scan_inputs=len(scanned),
        )
    )
    merge_time(b, "spikes", out="y")
    name = f"Adaptive_rise{p.rise:g}_decay{p.decay:g}".replace(".", "p")
    name += "_windowed" if windowed else ""
    return function(name, inputs, "y", b, "Neurons whose threshold rises with each spike.")


def _step(p: AdaptiveParams, windowed: bool) -> onnx.GraphProto:
    b = Body("s_")
    raised = b.add("Mul", "raised", b.constant(1 - p.decay))
    v = b.add("Add", "v", "I")
    if windowed:
        v = b.add("Add", v, b.add("Mul", "bias", "shown"))
    k = b.add("GreaterOrEqual", v, b.add("Add", raised, "v_threshold"))
    k = b.add("Cast", k, to=TensorProto.FLOAT)
    k = b.add("Mul", k, "may_fire") if windowed else k
    b.add("Sub", v, b.add("Mul", k, "v_threshold"), out="v_next")
    b.add("Add", raised, b.add("Mul", k, b.constant(p.rise)), out="raised_next")
    b.add("Identity", k, out="k")
    value = helper.make_tensor_value_info
    scanned = ["I", "shown", "may_fire"] if windowed else ["I"]
    return helper.make_graph(
        b.nodes,
        "step",
        [value(name, FLOAT, None) for name in ("v", "raised", *scanned)],
        [value(name, FLOAT, None) for name in ("v_next", "raised_next", "k")],
    )


# 3. Its line in the table of runtime/file/neurons/__init__.py: ``AdaptiveParams: FORM``

FORM = NeuronForm(function=adaptive_neuron)
