"""Runs a graph of NIR, step by step: an interpreter that knows only what stands in the file.

It shares nothing with onnx2snn's engines: naive loops in double precision, over the nodes of the
``nir`` package. What metadata of ours does not say is as NIR has it: a step adds r times the
current to an IF's potential, a neuron fires at its threshold and begins again at ``v_reset``.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np

from ...runtime.ops import Array
from .conventions import from_metadata

NEURONS = ("IF", "LIF", "Threshold")
Fields: TypeAlias = Mapping[str, Any]  # "dt", and what the metadata say of a node


@dataclass(frozen=True, eq=False, kw_only=True)
class Ran:
    """``spikes``: per node of neurons, (samples, *shape), the sum of what each sent in its steps;
    ``outputs``: per output, the sum of what reached it."""

    spikes: Mapping[str, Array]
    outputs: Mapping[str, Array]


def order(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Nodes so that each comes after those it reads, and those on a cycle or behind one."""
    readers = defaultdict(list)
    for a, b in dict.fromkeys(edges):
        readers[a].append(b)
    left = Counter(b for _, b in dict.fromkeys(edges))
    ready = deque(name for name in nodes if not left[name])
    out: list[str] = []
    while ready:
        name = ready.popleft()
        out.append(name)
        for reader in readers[name]:
            left[reader] -= 1
            if not left[reader]:
                ready.append(reader)
    done = set(out)
    return out, [name for name in nodes if name not in done]


def execute(
    graph: Any,
    feed: Callable[[str, int], Array],
    steps: int,
    *,
    late: Mapping[str, int],
    dt: float | None = None,
) -> Ran:
    """Run a nir.NIRGraph until every node has had ``steps`` steps.

    Parameters:
        feed: what an input sends in a step, (samples, *shape).
        late: for every node of neurons, in how many steps what it counts begins (delays).
        dt: the length of a step, where the file does not say; of files without times any.
    """
    about, told = from_metadata(graph.metadata)
    length = float(about.get("dt", dt) or 1.0)
    sequence, _ = order(list(graph.nodes), graph.edges)
    sources: dict[str, list[str]] = {name: [] for name in sequence}
    for a, b in graph.edges:
        sources[b].append(a)
    states: dict[str, dict[str, Any]] = {name: {} for name in sequence}
    spikes: dict[str, Array] = {}
    outputs: dict[str, Array] = {}
    for t in range(steps + max(late.values(), default=0)):
        values: dict[str, Array] = {}
        for name in sequence:
            node = graph.nodes[name]
            kind = type(node).__name__
            if kind == "Input":
                values[name] = np.asarray(feed(name, t), np.float64)
                continue
            x = sum((values[a] for a in sources[name][1:]), values[sources[name][0]])
            y = NODES[kind](node, x, states[name], {"dt": length, **told.get(name, {})})
            values[name] = y = (
                y
                if hasattr(node, "bias")
                else _on_grid(y, bias=np.zeros(()), told=told.get(name, {}))
            )
            if kind in NEURONS and 0 <= t - late.get(name, 0) < steps:
                spikes[name] = spikes.get(name, 0) + y
            elif kind == "Output":
                outputs[name] = outputs.get(name, 0) + y
    return Ran(spikes=spikes, outputs=outputs)


def _neurons(node: Any, x: Array, state: dict[str, Any], told: Fields) -> Array:
    if not state:
        start = np.asarray(told.get("v_init", node.v_reset), np.float64)
        state["v"] = np.zeros(x.shape) + start
        state["sent"], state["wait"] = np.zeros(x.shape), np.zeros(x.shape)
    v, active = state["v"], state["wait"] == 0
    if hasattr(node, "tau"):
        share = told.get("leak", None)
        share = told["dt"] / node.tau.astype(np.float64) if share is None else share
        charged = v * (1 - share) + share * (node.v_leak + node.r.astype(np.float64) * x)
        if told.get("leak", None) is not None:  # r is 1 / leak, but for rounding
            charged = v * (1 - share) + x
    else:
        charged = v + node.r.astype(np.float64) * x
    v = np.where(active, charged, v)
    lowest = told.get("v_min", None)
    v = v if lowest is None else np.maximum(v, lowest)
    threshold = node.v_threshold.astype(np.float64)
    levels = told.get("levels", 1)
    low = -np.minimum(state["sent"], levels) if told.get("signed", 0) else 0.0
    k = np.clip(np.floor(v / threshold), low, levels) * active
    if told.get("reset", "zero") == "subtract":
        v = v - k * threshold
    else:
        v = np.where(k != 0, node.v_reset, v)
    state["wait"] = np.maximum(state["wait"] - 1, 0)
    state["wait"][k != 0] = told.get("refractory", 0)
    state["v"], state["sent"] = v, state["sent"] + k
    return np.asarray(k)


def _threshold(node: Any, x: Array, state: dict[str, Any], told: Fields) -> Array:
    return (x >= node.threshold.astype(np.float64)).astype(np.float64)


def _pair(value: Any, rank: int) -> list[int]:
    flat = np.ravel(value).astype(int).tolist()
    return flat * rank if len(flat) == 1 else flat


def _conv(node: Any, x: Array, state: dict[str, Any], told: Fields) -> Array:
    weight = node.weight.astype(np.float64)
    rank, groups = weight.ndim - 2, int(node.groups)
    stride, dilation = _pair(node.stride, rank), _pair(node.dilation, rank)
    if isinstance(node.padding, str):  # "same": as many positions as there are, or none
        whole = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        pads = [(n // 2, n - n // 2) if node.padding == "same" else (0, 0) for n in whole]
    else:
        pads = [(p, p) for p in _pair(node.padding, rank)]
    x = np.pad(x, [(0, 0), (0, 0), *pads])
    sizes = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(x.shape[2:], weight.shape[2:], stride, dilation, strict=True)
    ]
    outs, ins = len(weight) // groups, weight.shape[1]
    weight = weight.reshape(groups, outs, *weight.shape[1:])
    x = x.reshape(len(x), groups, ins, *x.shape[2:])
    y = np.zeros((len(x), groups, outs, *sizes))
    for tap in product(*(range(k) for k in weight.shape[3:])):
        at: tuple[Any, ...] = tuple(
            slice(o * d, o * d + s * (n - 1) + 1, s)
            for o, d, s, n in zip(tap, dilation, stride, sizes, strict=True)
        )
        read = x[(slice(None), slice(None), slice(None), *at)].reshape(len(x), groups, ins, -1)
        matrix = weight[(slice(None), slice(None), slice(None), *tap)]
        y += (matrix @ read).reshape(y.shape)
    y = y.reshape(len(y), -1, *sizes)
    return _on_grid(y, bias=_broad(node.bias, rank), told=told)


def _broad(bias: Array, rank: int) -> Array:
    return bias.astype(np.float64).reshape(-1, *(1,) * rank)


def _on_grid(y: Array, *, bias: Array, told: Fields) -> Array:
    grid = told.get("grid", None)
    return y + bias if grid is None else np.rint(y / grid) * grid + bias


def _affine(node: Any, x: Array, state: dict[str, Any], told: Fields) -> Array:
    y = x @ node.weight.astype(np.float64).T
    bias = getattr(node, "bias", np.zeros(1)).astype(np.float64)
    return _on_grid(y, bias=bias, told=told)


def _pool(node: Any, x: Array, state: dict[str, Any], told: Fields) -> Array:
    kernel, stride, pad = (_pair(v, 2) for v in (node.kernel_size, node.stride, node.padding))
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in pad)])
    sizes = [(n - k) // s + 1 for n, k, s in zip(x.shape[2:], kernel, stride, strict=True)]
    y = np.zeros((*x.shape[:2], *sizes))
    for i, j in product(*map(range, kernel)):
        y += x[:, :, i : i + stride[0] * (sizes[0] - 1) + 1 : stride[0],
               j : j + stride[1] * (sizes[1] - 1) + 1 : stride[1]]  # fmt: skip
    return y / (kernel[0] * kernel[1]) if type(node).__name__ == "AvgPool2d" else y


def _flatten(node: Any, x: Array, state: dict[str, Any], told: Fields) -> Array:
    shape = x.shape[1:]
    first, last = int(node.start_dim) % len(shape), int(node.end_dim) % len(shape)
    return x.reshape(len(x), *shape[:first], -1, *shape[last + 1 :])


def _delay(node: Any, x: Array, state: dict[str, Any], told: Fields) -> Array:
    steps = round(float(np.ravel(node.delay)[0]) / told["dt"])
    held = state.setdefault("held", [np.zeros_like(x)] * steps)
    held.append(x)
    return np.asarray(held.pop(0))


NODES: Mapping[str, Callable[[Any, Array, dict[str, Any], Fields], Array]] = {
    "IF": _neurons,
    "LIF": _neurons,
    "Threshold": _threshold,
    "Conv1d": _conv,
    "Conv2d": _conv,
    "Affine": _affine,
    "Linear": _affine,
    "Scale": lambda node, x, state, told: x * node.scale.astype(np.float64),
    "SumPool2d": _pool,
    "AvgPool2d": _pool,
    "Flatten": _flatten,
    "Delay": _delay,
    "Output": lambda node, x, state, told: x,
}
