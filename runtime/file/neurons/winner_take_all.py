"""The ONNX function of neurons that compete (``runtime.neurons.winner_take_all``)."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from ...neurons import WinnerTakeAllParams
from .integrate_and_fire import FLOAT, Body, function, mask, merge_time, spelt, split_time


def winner_take_all_neuron(p: WinnerTakeAllParams, windowed: bool) -> onnx.FunctionProto:
    """``WinnerTakeAllParams.step`` as a Scan over time.

    Function inputs: current (steps * batch, ...), bias, v_threshold, steps; with start lags also
    begin (of the bias), fire (first step with spikes) and length of both windows.
    """
    b = Body()
    x = split_time(b, "current", steps="steps")
    if not windowed:
        x = b.add("Add", x, "bias")
    first = b.add("Squeeze", b.add("Slice", x, b.ints(0), b.ints(1), b.ints(0)), b.ints(0))
    scanned, inputs = [x], ["current", "bias", "v_threshold", "steps"]
    if windowed:
        scanned += [mask(b, start, "length", "steps") for start in ("begin", "fire")]
        inputs += ["begin", "fire", "length"]
    b.nodes.append(
        helper.make_node(
            "Scan",
            [b.add("Sub", first, first), *scanned],
            ["final_v", "spikes"],
            body=_step_graph(p, windowed),
            num_scan_inputs=len(scanned),
        )
    )
    merge_time(b, "spikes", out="y")
    name = _name(p) + ("_windowed" if windowed else "")
    return function(name, inputs, "y", b, "Neurons of which at most one fires in a step.")


def _name(p: WinnerTakeAllParams) -> str:
    parts = ["WinnerTakeAll", p.reset]
    for label, value in (("leak", p.leak or None), ("inhibition", p.inhibition)):
        if value is not None:
            parts.append(f"{label}{spelt(float(value))}")
    return "_".join(parts)


def _step_graph(p: WinnerTakeAllParams, windowed: bool) -> onnx.GraphProto:
    """One time step: potential and current in; new potential and spikes out. The competition is
    over (batch, neurons)."""
    b = Body("s_")
    v = b.add("Mul", "v", b.constant(1 - p.leak)) if p.leak else "v"
    v = b.add("Add", v, "I")
    if windowed:
        v = b.add("Add", v, b.add("Mul", "bias", "shown"))
    shape = b.add("Shape", v)
    above = b.add("Flatten", b.add("Sub", v, "v_threshold"), axis=1)
    flat = b.add("Flatten", v, axis=1)
    winner = b.add("ArgMax", above, axis=1, keepdims=1)
    most = b.add("GatherElements", above, winner, axis=1)
    zero = b.constant(0.0)
    fires = b.add("GreaterOrEqual", most, zero)
    if windowed:
        fires = b.add("And", fires, b.add("Cast", "may_fire", to=TensorProto.BOOL))
    neurons = b.add("Gather", b.add("Shape", above), b.constant(1, np.int64))
    alone = b.add("OneHot", b.add("Squeeze", winner, b.ints(1)), neurons, b.constant([0.0, 1.0]))
    fired = b.add("And", b.add("Cast", alone, to=TensorProto.BOOL), fires)
    lowered = zero
    if p.inhibition is not None:
        lowered = b.add("Max", b.add("Sub", flat, b.constant(p.inhibition)), zero)
    others = b.add("Where", fires, b.add("Min", flat, lowered), flat)
    kept = above if p.reset == "subtract" else zero
    b.add("Reshape", b.add("Where", fired, kept, others), shape, out="v_next")
    b.add("Reshape", b.add("Cast", fired, to=FLOAT), shape, out="k")
    value = helper.make_tensor_value_info
    names = ["v", "I", "shown", "may_fire"] if windowed else ["v", "I"]
    return helper.make_graph(
        b.nodes,
        "step",
        [value(name, FLOAT, None) for name in names],
        [value(name, FLOAT, None) for name in ("v_next", "k")],
    )
