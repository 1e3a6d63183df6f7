"""Neurons that send one number per window (``neurons.windowed``) as ONNX functions, and the max
pools and readouts of their networks. Every signal has the time of its own window, as layers run one
after the other; the functions know no start lags."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from ...neurons import FewSpikeParams, WindowedNeuron
from .integrate_and_fire import FLOAT, Body, function, merge_time, split_time

DOUBLE = TensorProto.DOUBLE


def windowed_neuron(p: WindowedNeuron, windowed: bool) -> onnx.FunctionProto:
    """``WindowedNeuron.step`` over a whole window: a Scan sums up the input's, another one fires in
    the neuron's own. Function inputs: current (steps * batch, ...), bias, v_threshold, v_init,
    steps. Not ``windowed``."""
    b = Body()
    digits = isinstance(p, FewSpikeParams)
    weights = _weights(b, digits)
    x = b.add("Add", split_time(b, "current", steps="steps"), "bias")
    first = b.add("Squeeze", b.add("Slice", x, b.ints(0), b.ints(1), b.ints(0)), b.ints(0))
    # Within Scan all but the current are scalars: no broadcasting over an unknown rank.
    start = b.add("Cast", b.add("Sub", first, first), to=DOUBLE)
    v = b.add("Add", start, b.add("Cast", "v_init", to=DOUBLE))
    b.nodes.append(
        helper.make_node("Scan", [v, x, weights], ["charge"], body=_charging(), num_scan_inputs=2)
    )
    b.nodes.append(
        helper.make_node(
            "Scan",
            ["charge", weights],
            ["final_v", "spikes"],
            body=_step_graph(digits),
            num_scan_inputs=1,
        )
    )
    merge_time(b, "spikes", out="y")
    inputs = ["current", "bias", "v_threshold", "v_init", "steps"]
    doc = "Neurons that send one number per window, read after its input's."
    return function("FewSpike" if digits else "Ttfs", inputs, "y", b, doc)


def _weights(b: Body, digits: bool) -> str:
    """2^(T-t) or T + 1 - t, (steps,), in double precision."""
    count = b.add("Cast", b.add("Squeeze", "steps", b.ints(0)), to=DOUBLE)
    one = b.constant(1, np.float64)
    left = b.add("Sub", count, b.add("Range", b.constant(0, np.float64), count, one))
    if not digits:
        return left
    return b.add("Pow", b.constant(2, np.float64), b.add("Sub", left, one))


def _along(b: Body, like: str, *, weights: str) -> str:
    """``weights`` shaped to broadcast along the first axis of ``like``."""
    rank = b.add("Size", b.add("Shape", like))
    one = b.constant(1, np.int64)
    return b.add("Unsqueeze", weights, b.add("Range", one, rank, one))


def _charging() -> onnx.GraphProto:
    b = Body("c_")
    b.add("Add", "v", b.add("Mul", b.add("Cast", "I", to=DOUBLE), "weight"), out="v_next")
    value = helper.make_tensor_value_info
    return helper.make_graph(
        b.nodes,
        "charging",
        [value("v", DOUBLE, None), value("I", FLOAT, None), value("weight", DOUBLE, None)],
        [value("v_next", DOUBLE, None)],
    )


def _step_graph(digits: bool) -> onnx.GraphProto:
    b = Body("s_")
    level = b.add("Mul", b.add("Cast", "v_threshold", to=DOUBLE), "weight")
    fired = b.add("GreaterOrEqual", "v", level)
    b.add("Cast", fired, to=FLOAT, out="k")
    left = b.add("Sub", "v", level) if digits else b.constant(0, np.float64)
    b.add("Where", fired, left, "v", out="v_next")
    value = helper.make_tensor_value_info
    return helper.make_graph(
        b.nodes,
        "step",
        [value("v", DOUBLE, None), value("weight", DOUBLE, None)],
        [value("v_next", DOUBLE, None), value("k", FLOAT, None)],
    )


def _weighted(b: Body, digits: bool) -> str:
    """``x`` and ``bias`` by step, each times what it is worth, (steps, batch, ...)."""
    x = b.add("Cast", b.add("Add", split_time(b, "x", steps="steps"), "bias"), to=DOUBLE)
    return b.add("Mul", x, _along(b, x, weights=_weights(b, digits)))


def window_sum(digits: bool) -> onnx.FunctionProto:
    """What a max pool compares: few-spike, 2^(T-t) times the number that the digits so far say;
    else the sum of the sums so far. In double precision."""
    b = Body()
    zero = b.constant(0, np.int64)
    if digits:
        sums = b.add("CumSum", _weighted(b, digits), zero)
    else:
        x = b.add("Cast", b.add("Add", split_time(b, "x", steps="steps"), "bias"), to=DOUBLE)
        sums = b.add("CumSum", b.add("CumSum", x, zero), zero)
    merge_time(b, sums, out="y")
    name = "FewSpikeSum" if digits else "TtfsSum"
    return function(name, ["x", "bias", "steps"], "y", b, "What a window has said so far.")


def window_change(digits: bool) -> onnx.FunctionProto:
    """Undoes ``window_sum``."""
    b = Body()
    x = split_time(b, "x", steps="steps")
    first = b.add("Slice", x, b.ints(0), b.ints(1), b.ints(0))
    zero = b.add("Sub", first, first)

    def change(x: str) -> str:
        before = b.add("Slice", x, b.ints(0), b.ints(-1), b.ints(0))
        return b.add("Sub", x, b.add("Concat", zero, before, axis=0))

    y = change(x)
    y = b.add("Div", y, _along(b, y, weights=_weights(b, digits))) if digits else change(y)
    merge_time(b, b.add("Cast", y, to=FLOAT), out="y")
    name = "FewSpikeChange" if digits else "TtfsChange"
    return function(name, ["x", "steps"], "y", b, "The steps of what a window has said so far.")


def window_mean(digits: bool) -> onnx.FunctionProto:
    """What is decoded of a whole window, (batch, ...)."""
    b = Body()
    zero = b.ints(0)
    sums = b.add("ReduceSum", _weighted(b, digits), zero, keepdims=0)
    total = b.add("ReduceSum", _weights(b, digits), zero, keepdims=0)
    b.add("Cast", b.add("Div", sums, total), to=FLOAT, out="y")
    name = "FewSpikeMean" if digits else "TtfsMean"
    return function(name, ["x", "bias", "steps"], "y", b, "What a whole window says.")


def few_spike_readout() -> onnx.FunctionProto:
    """The mean input so far, each step worth twice the next: (steps, batch, ...)."""
    b = Body()
    x = b.add("Add", split_time(b, "x", steps="steps"), "bias")
    x = b.add("Cast", x, to=DOUBLE)
    digits = _along(b, x, weights=_weights(b, True))
    zero = b.constant(0, np.int64)
    sums = b.add("CumSum", b.add("Mul", x, digits), zero)
    b.add("Cast", b.add("Div", sums, b.add("CumSum", digits, zero)), to=FLOAT, out="y")
    doc = "Neurons that integrate and never fire; a step is worth twice the next."
    return function("FewSpikeReadout", ["x", "bias", "steps"], "y", b, doc)
