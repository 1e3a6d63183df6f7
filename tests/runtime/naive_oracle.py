"""The oracle of the runtime's tests: one Python loop per sample, step and neuron.

It shares nothing with the engine: its own convolution, pooling and neuron loops on Python floats,
step by step through the whole network (not layer by layer), so it is slow and easy to check by eye.
Values in the tests are dyadic, so that float32 sums are exact in any order.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import floor, prod

import numpy as np

from onnx2snn.runtime import graph as g
from onnx2snn.runtime import ops
from onnx2snn.runtime.neurons import CubaParams, FewSpikeParams, PacedParams, TtfsParams
from onnx2snn.runtime.neurons.differential import DifferentialParams


def simulate(graph, x, steps):
    """Spikes (total steps, samples, *shape) per population, readouts (steps, samples, *shape)."""
    onset = naive_onsets(graph)
    total = steps + max(onset[r.name] for r in graph.of(g.Readout))
    spikes = {p.name: np.zeros((total, len(x), *p.shape)) for p in graph.of(g.Population)}
    readouts = {r.name: np.zeros((steps, len(x), *r.shape)) for r in graph.of(g.Readout)}
    for i, sample in enumerate(x):
        _one_sample(graph, sample, steps, total, onset, i, spikes, readouts)
    return spikes, readouts


def naive_onsets(graph):
    out = {}
    for node in graph.nodes:
        out[node.name] = max([out[n] for n in node.inputs], default=0)
        if isinstance(node, g.Population):
            out[node.name] += node.neuron.lag
        if isinstance(node, g.Delay):
            out[node.name] += node.steps
    return out


def _one_sample(graph, sample, steps, total, onset, i, spikes, readouts):
    memory = {}
    for t in range(total):
        values = {}
        for node in graph.nodes:
            before = [values[name] for name in node.inputs]
            begin = max([onset[n] for n in node.inputs], default=0)
            window = 1 if begin <= t < begin + steps else 0
            if isinstance(node, g.Input):
                values[node.name] = np.asarray(sample, float) * window
                continue
            if isinstance(node, g.Synapse):
                values[node.name] = linear(node.op, before)
                continue
            if isinstance(node, g.Delay):
                held = memory.setdefault(node.name, {"line": []})["line"]
                held.append(before[0])
                late = len(held) > node.steps
                values[node.name] = held[t - node.steps] if late else np.zeros(node.shape)
                continue
            bias = np.broadcast_to(node.bias, graph[node.inputs[0]].shape).astype(float)
            current = before[0] + bias * window
            state = memory.setdefault(node.name, {})
            if isinstance(node, g.Population):
                at = t - onset[node.name]
                if isinstance(node.neuron, DifferentialParams):
                    out = correct(node.neuron, node.shape, current, state, t + 1)
                elif isinstance(node.neuron, PacedParams):
                    out = pace(node.neuron, node.shape, current, state, at, steps)
                elif isinstance(node.neuron, FewSpikeParams | TtfsParams):
                    out = say(node.neuron, node.shape, current, state, at, steps)
                else:
                    out = fire(node.neuron, node.shape, current, state, 0 <= at < steps)
                spikes[node.name][t, i] = values[node.name] = out
            elif isinstance(node, g.MaxPool):
                pooling = _max_pool if node.coding == "rate" else _windowed_max_pool
                values[node.name] = pooling(node, current, state, window)
            else:
                _read(node, current, state, t - onset[node.name], steps, i, readouts)


def _max_pool(node, current, state, window):
    total = state["sum"] = state.get("sum", 0.0) + current
    if not window:
        return np.zeros(node.shape)
    pooled = pool(node.op, total, max)
    out = pooled - state.get("before", 0.0)
    state["before"] = pooled
    return out


def _windowed_max_pool(node, current, state, window):
    """What was said so far: few-spike, the number of the digits; else each spike once more in every
    step. Its maximum, and of that what is new."""
    if not window:
        return np.zeros(node.shape)
    seen = state.setdefault("seen", [])
    seen.append(current)
    digits = node.coding == "few-spike"
    said = sum((2**i if digits else i + 1) * x for i, x in enumerate(reversed(seen)))
    pooled = state.setdefault("pooled", [np.zeros(node.shape)] * 2)
    pooled.append(pool(node.op, said, max))
    return pooled[-1] - 2 * pooled[-2] + (0 if digits else pooled[-3])


def _read(node, current, state, t, steps, i, readouts):
    unit = 1.0
    if node.coding == "differential":  # the bias is there from the start, a spike counts 1 / t
        bias = np.broadcast_to(node.bias, node.shape).astype(float)
        state["mean"] = state.get("mean", bias) + (current - bias) / (t + 1)
        readouts[node.name][t, i] = state["mean"]
        return
    if node.coding == "few-spike":
        seen = state.setdefault("seen", [])
        seen.append(current)
        if 0 <= t < steps:
            worth = [2 ** (steps - 1 - k) for k in range(t + 1)]
            said = sum(w * x for w, x in zip(worth, seen[-t - 1 :], strict=True))
            readouts[node.name][t, i] = said / sum(worth)
        return
    if node.coding == "paced":
        _read_paced(node, current, state, t, steps, i, readouts)
        return
    if node.mode == "count":
        current = fire(node.neuron, node.shape, current, state, 0 <= t < steps)
        unit = np.broadcast_to(node.neuron.v_threshold, node.shape).astype(float)
    state["sum"] = state.get("sum", 0.0) + current
    if 0 <= t < steps:
        readouts[node.name][t, i] = state["sum"] / (t + 1) * unit


def _read_paced(node, current, state, t, steps, i, readouts):
    """The mean of all currents so far, each counting as many times as steps were left."""
    state.setdefault("seen", []).append(current)
    if 0 <= t < steps:
        early = len(state["seen"]) - 1 - t  # before the window: as its first step
        counts = [steps] * early + [steps - k for k in range(t + 1)]
        total = sum(c * x for c, x in zip(counts, state["seen"], strict=True))
        readouts[node.name][t, i] = total / sum(counts[early:])


def pace(neuron, shape, current, state, at, steps):
    """Paced neurons, one after the other, the whole past summed up anew in every step, in
    fractions."""
    state.setdefault("seen", []).append(current)
    theta = np.broadcast_to(neuron.v_threshold, shape)
    v_init = np.broadcast_to(neuron.v_init, shape)
    sent = state.setdefault("sent", np.zeros(shape, int))
    out = np.zeros(shape)
    first = at + neuron.lag - (len(state["seen"]) - 1)  # of what was seen, in the input's window
    for where in np.ndindex(*shape) if 0 <= at < steps else ():
        charge = Fraction(0)
        for n, seen in enumerate(state["seen"]):
            charge += (steps - min(max(first + n, 0), steps - 1)) * Fraction(float(seen[where]))
        arrived = sum(steps - k for k in range(min(steps, at + 1 + neuron.lag)))
        reached = charge / arrived * (at + 1) + Fraction(float(v_init[where]))
        out[where] = reached - sent[where] * Fraction(float(theta[where])) >= theta[where]
    sent += out.astype(int)
    return out


def say(neuron, shape, current, state, at, steps):
    """Neurons that send a number after their input's window: its digits, or one spike that says
    it."""
    if 0 <= at + neuron.lag < steps:
        state.setdefault("seen", []).append(current)
    out = np.zeros(shape)
    for where in np.ndindex(*shape) if 0 <= at < steps else ():
        charge = Fraction(float(np.broadcast_to(neuron.v_init, shape)[where]))
        for k, seen in enumerate(state["seen"]):
            worth = 2 ** (steps - 1 - k) if isinstance(neuron, FewSpikeParams) else steps - k
            charge += worth * Fraction(float(seen[where]))
        theta = Fraction(float(np.broadcast_to(neuron.v_threshold, shape)[where]))
        number = max(0, floor(charge / theta))
        if isinstance(neuron, FewSpikeParams):
            out[where] = int(f"{min(number, 2**steps - 1):0{steps}b}"[at])
        else:
            out[where] = min(number, steps) == steps - at
    return out


def correct(neuron, shape, current, state, t):
    """Differential neurons, one after the other, in step ``t`` from 1."""
    theta = np.broadcast_to(neuron.v_threshold, shape).astype(float)
    if "v" not in state:
        state["v"], state["sent"] = np.zeros(shape), np.zeros(shape)
        state["received"] = np.broadcast_to(neuron.bias, shape).astype(float).copy()
    out = np.zeros(shape)
    for at in np.ndindex(*shape):
        m = state["v"][at] + current[at] + state["received"][at] - state["sent"][at]
        if neuron.source == "differential":
            state["received"][at] += current[at] / t
        room = state["sent"][at] * t
        if m >= 0:
            room = np.inf if neuron.ceiling is None else (neuron.ceiling - state["sent"][at]) * t
        for j in range(neuron.powers):
            level = theta[at] * 2**j
            if abs(m) >= 0.75 * level and room >= level - 1e-3 * theta[at]:
                out[at] = 2**j if m >= 0 else -(2**j)
        state["v"][at] = m - out[at] * theta[at]
        state["sent"][at] += out[at] * theta[at] / t
    return out


def fire(neuron, shape, current, state, may_fire):
    """One step of every neuron, one after the other."""
    if "v" not in state:
        state["v"] = np.broadcast_to(neuron.v_init, shape).astype(float)
        state["sent"] = np.zeros(shape)
        state["wait"] = np.zeros(shape)
        state["i"] = np.zeros(shape)
    theta = np.broadcast_to(neuron.v_threshold, shape).astype(float)
    out = np.zeros(shape)
    for at in np.ndindex(*shape):
        one = _fire_behind_current if isinstance(neuron, CubaParams) else _fire_one
        out[at] = one(neuron, float(theta[at]), float(current[at]), state, at, may_fire)
    return out


def _fire_one(neuron, theta, current, state, at, may_fire):
    v, resting = state["v"][at], state["wait"][at] > 0
    if resting:
        state["wait"][at] -= 1
    else:
        v = v * (1 - neuron.leak) + current
    if neuron.v_min is not None:
        v = max(v, neuron.v_min)
    k = 0
    if may_fire and not resting:
        lowest = -min(neuron.levels, state["sent"][at]) if neuron.signed else 0
        k = max(lowest, min(neuron.levels, floor(v / theta)))
    if k != 0:
        v = v - k * theta if neuron.reset == "subtract" else neuron.v_reset
        state["wait"][at] = neuron.refractory
    state["v"][at] = v
    state["sent"][at] += k
    return k


def _fire_behind_current(neuron, theta, current, state, at, may_fire):
    state["i"][at] += neuron.synaptic_leak * (current - state["i"][at])
    v = state["v"][at] * (1 - neuron.leak) + state["i"][at]
    k = int(may_fire and v >= theta)
    if k:
        start = np.broadcast_to(neuron.v_reset, state["v"].shape).astype(float)[at]
        v = v - theta if neuron.reset == "subtract" else start
    state["v"][at] = v
    return k


def linear(op, xs):
    """The operation, from its definition, with loops."""
    match op:
        case ops.Linear():
            return np.array(
                [sum(float(w) * v for w, v in zip(row, xs[0], strict=True)) for row in op.weight]
            )
        case ops.Conv():
            return _conv(op, xs[0])
        case ops.SumPool():
            return pool(op, xs[0], sum)
        case ops.Scale():
            return xs[0] * op.scale.astype(float)
        case ops.Add():
            return sum(xs)
        case ops.Concat():
            return np.concatenate(xs, axis=op.axis)
        case ops.Reshape():
            return xs[0].reshape(op.shape)
    raise TypeError(op)


def _taps(op, at, spatial):
    """Input positions under the window at output position ``at`` that are not padding."""
    for tap in product(*(range(k) for k in op.kernel)):
        where = tuple(
            a * s + k * d - b
            for a, s, k, d, b in zip(at, op.strides, tap, op.dilations, op.pads, strict=False)
        )
        if all(0 <= w < n for w, n in zip(where, spatial, strict=True)):
            yield tap, where


def _conv(op, x):
    out = np.zeros(op.output_shape(x.shape))
    per_in, per_out = op.weight.shape[1], op.weight.shape[0] // op.groups
    for o, *at in np.ndindex(*out.shape):
        group = o // per_out
        for tap, where in _taps(op, at, x.shape[1:]):
            for i in range(per_in):
                weight = float(op.weight[(o, i, *tap)])
                out[(o, *at)] += weight * x[(group * per_in + i, *where)]
    return out


def pool(op, x, reduce):
    out = np.zeros(op.output_shape(x.shape))
    for c, *at in np.ndindex(*out.shape):
        out[(c, *at)] = reduce(x[(c, *where)] for _, where in _taps(op, at, x.shape[1:]))
    return out


def neurons(graph):
    return sum(prod(p.shape) for p in graph.of(g.Population))
