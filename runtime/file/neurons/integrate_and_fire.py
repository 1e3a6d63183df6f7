"""Neuron models and time operations as ONNX functions of our domain, bodies in standard ONNX.

Signals are arrays with time and batch merged, (steps * batch, *shape): what a synapse takes. A
neuron function splits the two, scans over time with the membrane potential as state, and merges
them again. A viewer shows one node per layer; any ONNX runtime that knows Scan runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ...neurons import NeuronParams
from ..opsets import OLDEST

DOMAIN = "onnx2snn"
FLOAT = TensorProto.FLOAT


class Body:
    """Collects the nodes of a function or subgraph, naming intermediate values."""

    def __init__(self, prefix: str = "") -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.prefix = prefix

    def add(self, op: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        name = out or f"{self.prefix}{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        return self.add("Constant", value=numpy_helper.from_array(np.asarray(value, dtype)))

    def ints(self, *values: int) -> str:
        return self.constant(values, np.int64)


def function(
    name: str, inputs: Sequence[str], output: str, body: Body, doc: str
) -> onnx.FunctionProto:
    return helper.make_function(
        DOMAIN,
        name,
        list(inputs),
        [output],
        body.nodes,
        [helper.make_opsetid("", OLDEST)],  # the file's own, where that is newer
        doc_string=doc,
    )


def split_time(b: Body, x: str, *, steps: str) -> str:
    """(steps * batch, ...) -> (steps, batch, ...)."""
    rest = b.add("Slice", b.add("Shape", x), b.ints(1), b.constant([2**31 - 1], np.int64))
    return b.add("Reshape", x, b.add("Concat", steps, b.ints(-1), rest, axis=0))


def merge_time(b: Body, x: str, *, out: str) -> str:
    """(steps, batch, ...) -> (steps * batch, ...)."""
    rest = b.add("Slice", b.add("Shape", x), b.ints(2), b.constant([2**31 - 1], np.int64))
    return b.add("Reshape", x, b.add("Concat", b.ints(-1), rest, axis=0), out=out)


def repeat() -> onnx.FunctionProto:
    """A constant signal (batch, ...) in every step."""
    b = Body()
    shape = b.add("Concat", "steps", b.add("Shape", "x"), axis=0)
    merge_time(b, b.add("Expand", "x", shape), out="y")
    return function("Repeat", ["x", "steps"], "y", b, "The same current in every time step.")


def accumulate() -> onnx.FunctionProto:
    """Running sum over time, with a constant current per step added."""
    b = Body()
    x = b.add("Add", split_time(b, "x", steps="steps"), "bias")
    merge_time(b, b.add("CumSum", x, b.constant(0, np.int64)), out="y")
    doc = "Sum of the input (plus bias) up to and including each time step."
    return function("Accumulate", ["x", "bias", "steps"], "y", b, doc)


def accumulate_window() -> onnx.FunctionProto:
    """As ``accumulate``, with a bias in the window [begin, begin + length) only."""
    b = Body()
    x = split_time(b, "x", steps="steps")
    x = b.add("Add", x, masked(b, x, value="bias", begin="begin", length="length", total="steps"))
    merge_time(b, b.add("CumSum", x, b.constant(0, np.int64)), out="y")
    doc = "Sum of the input up to and including each time step, the bias added in its window."
    return function("AccumulateWindow", ["x", "bias", "begin", "length", "steps"], "y", b, doc)


def difference() -> onnx.FunctionProto:
    """Undoes Accumulate: the change of a running sum in each step."""
    b = Body()
    x = split_time(b, "x", steps="steps")
    first = b.add("Slice", x, b.ints(0), b.ints(1), b.ints(0))
    before = b.add("Slice", x, b.ints(0), b.ints(-1), b.ints(0))
    zero = b.add("Sub", first, first)
    merge_time(b, b.add("Sub", x, b.add("Concat", zero, before, axis=0)), out="y")
    return function("Difference", ["x", "steps"], "y", b, "Change of a running sum per time step.")


def step_numbers(b: Body, like: str, *, steps: str = "steps") -> str:
    """1, 2, ..., steps as floats, shaped to broadcast along the first axis of ``like``."""
    count = b.add("Squeeze", steps, b.ints(0))
    numbers = b.add(
        "Range", b.constant(1, np.int64), b.add("Add", count, b.constant(1, np.int64)),
        b.constant(1, np.int64),
    )  # fmt: skip
    rank = b.add("Size", b.add("Shape", like))
    ones = b.add(
        "Expand",
        b.ints(1),
        b.add("Unsqueeze", b.add("Sub", rank, b.constant(1, np.int64)), b.ints(0)),
    )
    shape = b.add("Concat", steps, ones, axis=0)
    return b.add("Cast", b.add("Reshape", numbers, shape), to=FLOAT)


def per_step(name: str, *, op: str, doc: str) -> onnx.FunctionProto:
    """x times or divided by the number of steps so far."""
    b = Body()
    x = split_time(b, "x", steps="steps")
    merge_time(b, b.add(op, x, step_numbers(b, x)), out="y")
    return function(name, ["x", "steps"], "y", b, doc)


def readout() -> onnx.FunctionProto:
    """The mean input so far (bias included), after every step: (steps, batch, ...)."""
    b = Body()
    x = b.add("Add", split_time(b, "x", steps="steps"), "bias")
    sums = b.add("CumSum", x, b.constant(0, np.int64))
    b.add("Div", sums, step_numbers(b, sums), out="y")
    doc = "Neurons that integrate and never fire: membrane potential over time, per step."
    return function("Readout", ["x", "bias", "steps"], "y", b, doc)


def mask(b: Body, begin: str, length: str, total: str) -> str:
    """(total,): 1 in steps [begin, begin + length), else 0."""
    zero = b.constant(0, np.int64)
    t = b.add("Range", zero, b.add("Squeeze", total, b.ints(0)), b.constant(1, np.int64))
    inside = b.add(
        "And",
        b.add("GreaterOrEqual", t, begin),
        b.add("Less", t, b.add("Add", begin, length)),
    )
    return b.add("Cast", inside, to=FLOAT)


def masked(b: Body, x: str, *, value: str, begin: str, length: str, total: str) -> str:
    """``value`` in the window, 0 outside, shaped to broadcast over ``x`` (total, ...)."""
    rank = b.add("Size", b.add("Shape", x))
    axes = b.add("Range", b.constant(1, np.int64), rank, b.constant(1, np.int64))
    return b.add("Mul", b.add("Unsqueeze", mask(b, begin, length, total), axes), value)


def window() -> onnx.FunctionProto:
    """Zero outside the window [begin, begin + length)."""
    b = Body()
    x = split_time(b, "x", steps="steps")
    merge_time(b, masked(b, x, value=x, begin="begin", length="length", total="steps"), out="y")
    doc = "The signal in its window of time steps, zero elsewhere."
    return function("Window", ["x", "begin", "length", "steps"], "y", b, doc)


def delay() -> onnx.FunctionProto:
    """The signal ``amount`` steps later, zero before."""
    b = Body()
    x = split_time(b, "x", steps="steps")
    first = b.add("Slice", x, b.ints(0), "amount", b.ints(0))
    rest = b.add("Slice", x, b.ints(0), b.add("Neg", "amount"), b.ints(0))
    merge_time(b, b.add("Concat", b.add("Sub", first, first), rest, axis=0), out="y")
    return function("Delay", ["x", "amount", "steps"], "y", b, "The signal some steps later.")


def readout_window() -> onnx.FunctionProto:
    """The mean input so far in the window that begins at ``begin``: (length, batch, ...).

    What arrived before the window counts into its first step, as in the NumPy engine."""
    b = Body()
    x = split_time(b, "x", steps="steps")
    x = b.add("Add", x, masked(b, x, value="bias", begin="begin", length="length", total="steps"))
    sums = b.add("CumSum", x, b.constant(0, np.int64))
    end = b.add("Add", "begin", "length")
    shown = b.add("Slice", sums, "begin", end, b.ints(0))
    b.add("Div", shown, step_numbers(b, shown, steps="length"), out="y")
    doc = "Neurons that integrate and never fire, read in their own window of time steps."
    return function("ReadoutWindow", ["x", "bias", "begin", "length", "steps"], "y", b, doc)


def rate_encode() -> onnx.FunctionProto:
    """Evenly spaced spikes: the running sum is floor(t |x| + 1/2)."""
    b = Body()
    size = b.add("Unsqueeze", b.add("Abs", "x"), b.ints(0))
    t = step_numbers(b, size)
    half = b.constant(0.5)
    now = b.add("Floor", b.add("Add", b.add("Mul", t, size), half))
    before = b.add(
        "Floor",
        b.add("Add", b.add("Mul", b.add("Sub", t, b.constant(1.0)), size), half),
    )
    merge_time(b, b.add("Mul", b.add("Sub", now, before), b.add("Sign", "x")), out="y")
    return function("RateEncode", ["x", "steps"], "y", b, "Deterministic rate coding.")


def poisson_encode() -> onnx.FunctionProto:
    """A spike with probability |x| in each step; the runtime's own random numbers."""
    b = Body()
    shape = b.add("Concat", "steps", b.add("Shape", "x"), axis=0)
    size = b.add("Expand", b.add("Abs", "x"), shape)
    spikes = b.add("Less", b.add("RandomUniformLike", size), size)
    merge_time(b, b.add("Mul", b.add("Cast", spikes, to=FLOAT), b.add("Sign", "x")), out="y")
    return function("PoissonEncode", ["x", "steps"], "y", b, "Bernoulli spikes, rate |x|.")


def running_mean() -> onnx.FunctionProto:
    doc = "A running sum divided by the number of steps so far."
    return per_step("RunningMean", op="Div", doc=doc)


def from_mean() -> onnx.FunctionProto:
    doc = "A running mean times the number of steps so far."
    return per_step("FromMean", op="Mul", doc=doc)


# Every function but the neurons, by its name.
TIME_FUNCTIONS: Mapping[str, Callable[[], onnx.FunctionProto]] = {
    "Window": window,
    "Delay": delay,
    "ReadoutWindow": readout_window,
    "RateEncode": rate_encode,
    "PoissonEncode": poisson_encode,
    "Repeat": repeat,
    "Accumulate": accumulate,
    "AccumulateWindow": accumulate_window,
    "Difference": difference,
    "RunningMean": running_mean,
    "FromMean": from_mean,
    "Readout": readout,
}


def neuron_name(p: NeuronParams) -> str:
    """One function per structural variant; numbers that vary are spelled into the name."""
    parts = ["LIF" if p.leak else "IF"]
    if p.reset == "zero":
        parts.append("zero")
    if p.levels > 1:
        parts.append(f"levels{p.levels}")
    if p.signed:
        parts.append("signed")
    floor = None if p.v_min is None else float(p.v_min)  # 0 is one
    for label, value in (("leak", p.leak or None), ("reset", p.v_reset or None), ("floor", floor)):
        if value is not None:
            parts.append(f"{label}{spelt(value)}")
    if p.refractory:
        parts.append(f"refractory{p.refractory}")
    return "_".join(parts)


def spelt(value: float) -> str:
    """A number as part of a name, which no other number has."""
    short = f"{value:g}"
    exact = short if float(short) == value else repr(float(value))
    return exact.replace(".", "p").replace("-", "m").replace("+", "")


def neuron(p: NeuronParams, windowed: bool) -> onnx.FunctionProto:
    """``runtime.neurons.NeuronParams.step`` as a Scan over time.

    Function inputs: current (steps * batch, ...), bias, v_threshold, v_init, steps; with start
    lags also begin (of the bias), fire (first step with spikes) and length of both windows.
    """
    b = Body()
    x = split_time(b, "current", steps="steps")
    if not windowed:
        x = b.add("Add", x, "bias")
    first = b.add("Squeeze", b.add("Slice", x, b.ints(0), b.ints(1), b.ints(0)), b.ints(0))
    zero = b.add("Sub", first, first)
    states = {"v": b.add("Add", zero, "v_init")}
    if p.signed:
        states["sent"] = b.add("Identity", zero)
    if p.refractory:
        states["wait"] = b.add("Identity", zero)
    scanned = [x]
    inputs = ["current", "bias", "v_threshold", "v_init", "steps"]
    if windowed:
        # Within Scan the masks are scalars: no broadcasting over an unknown rank.
        scanned += [mask(b, start, "length", "steps") for start in ("begin", "fire")]
        inputs += ["begin", "fire", "length"]
    b.nodes.append(
        helper.make_node(
            "Scan",
            [*states.values(), *scanned],
            [f"final_{s}" for s in states] + ["spikes"],
            body=_step_graph(p, list(states), windowed),
            num_scan_inputs=len(scanned),
        )
    )
    merge_time(b, "spikes", out="y")
    name = neuron_name(p) + ("_windowed" if windowed else "")
    return function(name, inputs, "y", b, "Integrate-and-fire neurons; integer spikes per step.")


def _step_graph(p: NeuronParams, states: list[str], windowed: bool) -> onnx.GraphProto:
    """One time step: states and current in; new states and spikes out."""
    b = Body("s_")
    v = b.add("Mul", "v", b.constant(1 - p.leak)) if p.leak else "v"
    v = b.add("Add", v, "I")
    if windowed:
        v = b.add("Add", v, b.add("Mul", "bias", "shown"))
    active = ""
    if p.refractory:
        active = b.add("LessOrEqual", "wait", b.constant(0))
        v = b.add("Where", active, v, "v")
    if p.v_min is not None:
        v = b.add("Max", v, b.constant(p.v_min))
    if p.levels == 1 and not p.signed:
        k = b.add("Cast", b.add("GreaterOrEqual", v, "v_threshold"), to=FLOAT)
    else:
        k = b.add("Floor", b.add("Div", v, "v_threshold"))
        # ONNX Runtime warns of constants that no node reads, so there is none too many.
        if p.signed:
            low = b.add("Neg", b.add("Min", "sent", b.constant(p.levels)))
        else:
            low = b.constant(0.0)
        k = b.add("Max", b.add("Min", k, b.constant(p.levels)), low)
    if p.refractory:
        k = b.add("Mul", k, b.add("Cast", active, to=FLOAT))
    if windowed:
        k = b.add("Mul", k, "may_fire")
    fired = ""
    if p.reset != "subtract" or p.refractory:
        fired = b.add("Cast", k, to=TensorProto.BOOL)
    if p.reset == "subtract":
        b.add("Sub", v, b.add("Mul", k, "v_threshold"), out="v_next")
    else:
        b.add("Where", fired, b.constant(p.v_reset), v, out="v_next")
    if p.signed:
        b.add("Add", "sent", k, out="sent_next")
    if p.refractory:
        waited = b.add("Max", b.add("Sub", "wait", b.constant(1)), b.constant(0))
        b.add("Where", fired, b.constant(p.refractory), waited, out="wait_next")
    b.add("Identity", k, out="k")
    value = helper.make_tensor_value_info
    scanned = ["I", "shown", "may_fire"] if windowed else ["I"]
    return helper.make_graph(
        b.nodes,
        "step",
        [value(s, FLOAT, None) for s in [*states, *scanned]],
        [value(f"{s}_next", FLOAT, None) for s in states] + [value("k", FLOAT, None)],
    )
