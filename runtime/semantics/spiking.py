"""One node over a block of time steps, on plain arrays (time, batch, *shape).

The definition of what each node does, without the engine's memory layouts and buffers: calibration
in the spiking loop and diagnosis call these layer by layer. Times are absolute steps from 0. A
signal that is the same in every step may have a time axis of length one.

With start lags (``NeuronParams.lag``) every layer has its own window of ``steps`` steps, later
than its input's by its lag (``graph.onsets``): currents and biases arrive in the input's window,
spikes leave in the layer's own.
"""

from __future__ import annotations

import numpy as np

from ..graph import Analog, Delay, MaxPool, Population, SpikingGraph, Synapse
from ..neurons import State
from ..ops import Array
from . import islands as analog


def last_uses(graph: SpikingGraph) -> dict[int, list[str]]:
    """Node index -> signals that nobody reads after it."""
    last = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    out: dict[int, list[str]] = {}
    for name, i in last.items():
        out.setdefault(i, []).append(name)
    return out


def gate(x: Array, t0: int, count: int, begin: int, length: int) -> Array:
    """``x`` (time or 1, batch, ...) with zeros outside the window [begin, begin + length)."""
    if begin <= t0 and t0 + count <= begin + length:
        return x
    t = np.arange(t0, t0 + count)
    inside = ((t >= begin) & (t < begin + length)).reshape(-1, *(1,) * (x.ndim - 1))
    return np.asarray(x * inside.astype(x.dtype))


def gate_bias(x: Array, bias: Array, t0: int, count: int, begin: int, length: int) -> Array:
    """``x`` plus ``bias`` in the window [begin, begin + length)."""
    if not np.any(bias):
        return x
    constant = bias.astype(x.dtype)[np.newaxis]
    return np.asarray(
        x + gate(np.broadcast_to(constant, (1, *x.shape[1:])), t0, count, begin, length)
    )


def apply_synapse(node: Synapse, xs: list[Array]) -> Array:
    """A linear op on signals (time or 1, batch, ...): time and batch are one axis to it."""
    count = max(len(x) for x in xs)
    merged = [
        (x if len(x) == count else np.broadcast_to(x, (count, *x.shape[1:]))).reshape(
            -1, *x.shape[2:]
        )
        for x in xs
    ]
    out = node.op.apply(*merged)
    return out.reshape(count, -1, *out.shape[1:]).astype(xs[0].dtype, copy=False)


def run_population(
    node: Population, current: Array, state: State, t0: int, count: int, fire: tuple[int, int]
) -> Array:
    """Spikes (count, batch, *shape) of steps t0..; the neurons fire in [fire[0], fire[1])."""
    batch = current.shape[1]
    if not state:
        state.update(node.neuron.initial_state(batch, node.shape, current.dtype))
    spikes = np.empty((count, batch, *node.shape), current.dtype)
    for i in range(count):
        may_fire = fire[0] <= t0 + i < fire[1]
        now = current[i if len(current) > 1 else 0]
        node.neuron.step(state, now, spikes[i], may_fire, t0 + i - fire[0], fire[1] - fire[0])
    return spikes


def run_delay(node: Delay, x: Array, state: State, count: int) -> Array:
    """``x`` (time or 1, batch, *shape) some steps later: (count, batch, *shape)."""
    if len(x) == 1:
        x = np.broadcast_to(x, (count, *x.shape[1:]))
    held = state.get("held", np.zeros((node.steps, *x.shape[1:]), x.dtype))
    both = np.concatenate([held, x])
    state["held"] = both[count:]
    return np.asarray(both[:count])


def run_expectation(
    node: MaxPool | Analog,
    xs: list[Array],
    state: State,
    t0: int,
    count: int,
    begin: int,
    length: int,
) -> Array:
    """Expectation compensation: the output's running sum is t f(running mean of the input).

    Max pooling is homogeneous, t f(S/t) = f(S): integers in, integers out.
    """
    biases = (node.bias,) if isinstance(node, MaxPool) else node.biases
    if node.coding == "differential":
        return _run_differential(node, xs, state, t0, count, biases)
    if biases:
        xs = [gate_bias(x, b, t0, count, begin, length) for x, b in zip(xs, biases, strict=True)]
    if not state:
        for j, x in enumerate(xs):
            state[f"sum{j}"] = np.zeros(x.shape[1:], x.dtype)
        state["before"] = np.zeros((xs[0].shape[1], *node.shape), xs[0].dtype)
    out = np.empty((count, xs[0].shape[1], *node.shape), xs[0].dtype)
    for i in range(count):
        t = t0 + i - begin + 1
        for j, x in enumerate(xs):
            state[f"sum{j}"] += x[i if len(x) > 1 else 0]
        if not 1 <= t <= length:
            # Before its window nothing arrives; after it the answer stands.
            out[i] = 0
            continue
        sums = [state[f"sum{j}"] for j in range(len(xs))]
        if isinstance(node, MaxPool):
            total = node.op.apply(*sums)
        else:
            total = t * analog.evaluate(node.model, node.output, [s / t for s in sums])
        np.subtract(total, state["before"], out=out[i])
        state["before"] = total.astype(out.dtype, copy=False)
    return out


def _run_differential(
    node: MaxPool | Analog,
    xs: list[Array],
    state: State,
    t0: int,
    count: int,
    biases: tuple[Array, ...],
) -> Array:
    """Running means R(t) = R(t-1) + x(t) / t in, t (f(R(t)) - f(R(t-1))) out."""
    if not state:
        for j, x in enumerate(xs):
            state[f"mean{j}"] = np.zeros(x.shape[1:], x.dtype)
            state[f"mean{j}"] += biases[j] if biases else 0
        state["before"] = np.zeros((xs[0].shape[1], *node.shape), xs[0].dtype)
    out = np.empty((count, xs[0].shape[1], *node.shape), xs[0].dtype)
    for i in range(count):
        t = t0 + i + 1
        for j, x in enumerate(xs):
            state[f"mean{j}"] += x[i if len(x) > 1 else 0] / t
        means = [state[f"mean{j}"] for j in range(len(xs))]
        if isinstance(node, MaxPool):
            now = node.op.apply(*means)
        else:
            now = analog.evaluate(node.model, node.output, means)
        np.multiply(now - state["before"], t, out=out[i])
        state["before"] = now.astype(out.dtype, copy=False)
    return out
