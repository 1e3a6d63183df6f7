"""The ONNX function of neurons behind a synaptic current (``runtime.neurons.cuba``)."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from ...neurons import CubaParams
from .integrate_and_fire import FLOAT, Body, function, mask, merge_time, spelt, split_time

STATES = ("v", "i")


def cuba_neuron(p: CubaParams, windowed: bool) -> onnx.FunctionProto:
    """``CubaParams.step`` as a Scan over time.

    Function inputs: current (steps * batch, ...), bias, v_threshold, v_init, v_reset, steps; with
    start lags also begin (of the bias), fire (first step with spikes) and length of both windows.
    """
    b = Body()
    x = split_time(b, "current", steps="steps")
    if not windowed:
        x = b.add("Add", x, "bias")
    first = b.add("Squeeze", b.add("Slice", x, b.ints(0), b.ints(1), b.ints(0)), b.ints(0))
    zero = b.add("Sub", first, first)
    scanned, inputs = [x], ["current", "bias", "v_threshold", "v_init", "v_reset", "steps"]
    if windowed:
        scanned += [mask(b, start, "length", "steps") for start in ("begin", "fire")]
        inputs += ["begin", "fire", "length"]
    b.nodes.append(
        helper.make_node(
            "Scan",
            [b.add("Add", zero, "v_init"), zero, *scanned],
            ["final_v", "final_i", "spikes"],
            body=_step_graph(p, windowed),
            num_scan_inputs=len(scanned),
        )
    )
    merge_time(b, "spikes", out="y")
    name = _name(p) + ("_windowed" if windowed else "")
    return function(name, inputs, "y", b, "Leaky neurons behind synaptic currents that leak.")


def _name(p: CubaParams) -> str:
    return f"CubaLIF_{p.reset}_leak{spelt(p.leak)}_synaptic{spelt(p.synaptic_leak)}"


def _step_graph(p: CubaParams, windowed: bool) -> onnx.GraphProto:
    """One time step: potential, synaptic current and what arrives in; new ones and spikes out."""
    b = Body("s_")
    x = "I"
    if windowed:
        x = b.add("Add", x, b.add("Mul", "bias", "shown"))
    kept = b.add("Mul", "i", b.constant(1 - p.synaptic_leak))
    b.add("Add", kept, b.add("Mul", x, b.constant(p.synaptic_leak)), out="i_next")
    v = b.add("Add", b.add("Mul", "v", b.constant(1 - p.leak)), "i_next")
    fired = b.add("GreaterOrEqual", v, "v_threshold")
    if windowed:
        fired = b.add("And", fired, b.add("Cast", "may_fire", to=TensorProto.BOOL))
    after = b.add("Sub", v, "v_threshold") if p.reset == "subtract" else "v_reset"
    b.add("Where", fired, after, v, out="v_next")
    b.add("Cast", fired, to=FLOAT, out="k")
    value = helper.make_tensor_value_info
    names = [*STATES, "I", "shown", "may_fire"] if windowed else [*STATES, "I"]
    return helper.make_graph(
        b.nodes,
        "step",
        [value(name, FLOAT, None) for name in names],
        [value(name, FLOAT, None) for name in ("v_next", "i_next", "k")],
    )
