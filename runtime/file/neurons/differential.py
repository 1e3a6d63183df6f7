"""The differential neuron (``runtime.neurons.differential``) as an ONNX function."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from ...neurons.differential import FIRING_POINT, TOLERANCE, DifferentialParams
from .integrate_and_fire import FLOAT, Body, function, merge_time, split_time

STATES = ("v", "received", "sent", "t")


def differential_name(p: DifferentialParams) -> str:
    """One function per structural variant."""
    ceiling = "" if p.ceiling is None else "_ceiling"
    return f"Differential_powers{p.powers}_{p.source}{ceiling}"


def differential_neuron(p: DifferentialParams, windowed: bool) -> onnx.FunctionProto:
    """Function inputs: current (steps * batch, ...), bias, v_threshold, steps; ceiling (a scalar)
    where there is one. Not ``windowed``."""
    b = Body()
    x = split_time(b, "current", steps="steps")
    first = b.add("Squeeze", b.add("Slice", x, b.ints(0), b.ints(1), b.ints(0)), b.ints(0))
    zero = b.add("Sub", first, first)
    states = [
        b.add("Identity", zero),
        b.add("Add", zero, "bias"),
        b.add("Identity", zero),
        b.constant(0.0),
    ]
    b.nodes.append(
        helper.make_node(
            "Scan",
            [*states, x],
            [f"final_{s}" for s in STATES] + ["spikes"],
            body=_step_graph(p),
            num_scan_inputs=1,
        )
    )
    merge_time(b, "spikes", out="y")
    doc = "Differential coding: a spike in step t moves the decoded mean by 1/t."
    inputs = ["current", "bias", "v_threshold", "steps"]
    inputs += [] if p.ceiling is None else ["ceiling"]
    return function(differential_name(p), inputs, "y", b, doc)


def _step_graph(p: DifferentialParams) -> onnx.GraphProto:
    b = Body("s_")
    t = b.add("Add", "t", b.constant(1.0), out="t_next")
    m = b.add("Sub", b.add("Add", b.add("Add", "v", "I"), "received"), "sent")
    if p.source == "differential":
        b.add("Add", "received", b.add("Div", "I", t), out="received_next")
    else:
        b.add("Identity", "received", out="received_next")
    scaled = b.add("Div", m, "v_threshold")
    size = b.add("Abs", scaled)
    rising = b.add("GreaterOrEqual", scaled, b.constant(0.0))
    left = "sent"
    if p.ceiling is not None:
        left = b.add("Where", rising, b.add("Sub", "ceiling", "sent"), "sent")
    total = b.add("Div", b.add("Mul", left, t), "v_threshold")
    allowed = b.add("Add", total, b.constant(TOLERANCE))
    k = b.add("Sub", m, m)
    for j in range(p.powers):
        level = b.constant(float(1 << j))
        reached = b.add("GreaterOrEqual", size, b.constant(FIRING_POINT * (1 << j)))
        may = b.add("GreaterOrEqual", allowed, level)
        if p.ceiling is None:
            may = b.add("Or", rising, may)
        k = b.add("Where", b.add("And", reached, may), level, k)
    k = b.add("Mul", k, b.add("Sign", scaled), out="k")
    emitted = b.add("Mul", k, "v_threshold")
    b.add("Sub", m, emitted, out="v_next")
    b.add("Add", "sent", b.add("Div", emitted, t), out="sent_next")
    value = helper.make_tensor_value_info
    return helper.make_graph(
        b.nodes,
        "step",
        [value(s, TensorProto.FLOAT, None) for s in (*STATES, "I")],
        [value(f"{s}_next", FLOAT, None) for s in STATES] + [value("k", FLOAT, None)],
    )
