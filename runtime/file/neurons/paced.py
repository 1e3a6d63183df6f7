"""Paced neurons and the readouts of their networks as ONNX functions (``neurons.paced``)."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from ...neurons import PacedParams
from .integrate_and_fire import (
    FLOAT,
    Body,
    function,
    mask,
    masked,
    merge_time,
    split_time,
    step_numbers,
)

DOUBLE = TensorProto.DOUBLE


def paced_name(p: PacedParams) -> str:
    return f"Paced_lag{p.lag}"


def paced_neuron(p: PacedParams, windowed: bool) -> onnx.FunctionProto:
    """``PacedParams.step`` as a Scan over time, the same operations in the same order; always
    ``windowed``.

    Function inputs: current (steps * batch, ...), bias, v_threshold, v_init, steps, begin (of the
    bias), fire (first step with spikes), length of both windows."""
    b = Body()
    x = split_time(b, "current", steps="steps")
    first = b.add("Squeeze", b.add("Slice", x, b.ints(0), b.ints(1), b.ints(0)), b.ints(0))
    zero = b.add("Sub", first, first)
    threshold, start = (b.add("Cast", x, to=DOUBLE) for x in ("v_threshold", "v_init"))
    due = b.add("Add", b.add("Cast", zero, to=DOUBLE), b.add("Sub", threshold, start))
    t, length = _steps_of_window(b, "fire", length="length", total="steps")
    # Within Scan all but the current are scalars: no broadcasting over an unknown rank.
    scanned = [x, mask(b, "begin", "length", "steps"), _weights(b, t, p.lag, length=length)]
    scanned += _progress(b, t, p.lag, length=length)
    b.nodes.append(
        helper.make_node(
            "Scan",
            [b.add("Cast", zero, to=DOUBLE), due, *scanned],
            ["final_charge", "final_due", "spikes"],
            body=_step_graph(),
            num_scan_inputs=len(scanned),
        )
    )
    merge_time(b, "spikes", out="y")
    doc = "Paced neurons: even spikes behind a start lag, read by when they come."
    inputs = ["current", "bias", "v_threshold", "v_init", "steps", "begin", "fire", "length"]
    return function(paced_name(p), inputs, "y", b, doc)


def _steps_of_window(b: Body, fire: str, *, length: str, total: str) -> tuple[str, str]:
    """For every step its number in the window from ``fire`` on, from 1, (total,), int64; and the
    window's length as a scalar."""
    one = b.constant(1, np.int64)
    every = b.add("Range", b.constant(0, np.int64), b.add("Squeeze", total, b.ints(0)), one)
    return b.add("Add", b.add("Sub", every, fire), one), b.add("Squeeze", length, b.ints(0))


def _clipped(b: Body, t: str, *, length: str) -> str:
    return b.add("Min", b.add("Max", t, b.constant(1, np.int64)), length)


def _weights(b: Body, t: str, lag: int, *, length: str) -> str:
    """T + 1 - k in double precision, (total,)."""
    k = _clipped(b, b.add("Add", t, b.constant(lag, np.int64)), length=length)
    left = b.add("Sub", b.add("Add", length, b.constant(1, np.int64)), k)
    return b.add("Cast", left, to=DOUBLE)


def _progress(b: Body, t: str, lag: int, *, length: str) -> list[str]:
    """2 t and m (2 T + 1 - m) in double precision; and 1 where the neurons may fire, else 0."""
    one, two = b.constant(1, np.int64), b.constant(2, np.int64)
    now = _clipped(b, t, length=length)
    m = b.add("Min", b.add("Add", now, b.constant(lag, np.int64)), length)
    whole = b.add("Add", b.add("Mul", two, length), one)
    sides = (b.add("Mul", two, now), b.add("Mul", m, b.add("Sub", whole, m)))
    inside = b.add("And", b.add("GreaterOrEqual", t, one), b.add("LessOrEqual", t, length))
    return [*(b.add("Cast", x, to=DOUBLE) for x in sides), b.add("Cast", inside, to=FLOAT)]


def _step_graph() -> onnx.GraphProto:
    b = Body("s_")
    current = b.add("Add", "I", b.add("Mul", "bias", "shown"))
    current, threshold = (b.add("Cast", x, to=DOUBLE) for x in (current, "v_threshold"))
    b.add("Add", "charge", b.add("Mul", current, "weight"), out="charge_next")
    left, right = b.add("Mul", "charge_next", "over"), b.add("Mul", "due", "arrived")
    fired = b.add("Cast", b.add("GreaterOrEqual", left, right), to=FLOAT)
    b.add("Mul", fired, "may_fire", out="k")
    sent = b.add("Mul", b.add("Cast", "k", to=DOUBLE), threshold)
    b.add("Add", "due", sent, out="due_next")
    value = helper.make_tensor_value_info
    return helper.make_graph(
        b.nodes,
        "step",
        [
            *(value(s, DOUBLE, None) for s in ("charge", "due")),
            *(value(s, FLOAT, None) for s in ("I", "shown")),
            *(value(s, DOUBLE, None) for s in ("weight", "over", "arrived")),
            value("may_fire", FLOAT, None),
        ],
        [
            *(value(s, DOUBLE, None) for s in ("charge_next", "due_next")),
            value("k", FLOAT, None),
        ],
    )


def paced_readout() -> onnx.FunctionProto:
    """The weighted mean input so far in the window that begins at ``begin``: (length, batch, ...).

    What arrived before the window counts into its first step, as in the NumPy engine."""
    b = Body()
    x = split_time(b, "x", steps="steps")
    x = b.add("Add", x, masked(b, x, value="bias", begin="begin", length="length", total="steps"))
    t, length = _steps_of_window(b, "begin", length="length", total="steps")
    rank = b.add("Size", b.add("Shape", x))
    axes = b.add("Range", b.constant(1, np.int64), rank, b.constant(1, np.int64))
    weights = b.add("Cast", _weights(b, t, 0, length=length), to=FLOAT)
    x = b.add("Mul", x, b.add("Unsqueeze", weights, axes))
    sums = b.add("CumSum", x, b.constant(0, np.int64))
    end = b.add("Add", "begin", "length")
    shown = b.add("Slice", sums, "begin", end, b.ints(0))
    m = step_numbers(b, shown, steps="length")
    twice = b.add("Cast", b.add("Add", b.add("Mul", length, b.constant(2, np.int64)),
                                b.constant(1, np.int64)), to=FLOAT)  # fmt: skip
    whole = b.add("Mul", b.add("Mul", m, b.add("Sub", twice, m)), b.constant(0.5))
    b.add("Div", shown, whole, out="y")
    doc = "Neurons that integrate and never fire; early steps of their window weigh more."
    return function("PacedReadout", ["x", "bias", "begin", "length", "steps"], "y", b, doc)
