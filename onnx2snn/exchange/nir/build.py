"""A graph of NIR as a spiking network.

Edges into one node are a sum; biases, which stand in NIR's weighted nodes, move to the neurons and
outputs that they reach. What metadata of ours say of a neuron holds; else it is NIR's: a neuron
fires at its threshold, begins at ``v_reset`` and again there after a spike, and one time step adds
r times the current to an IF's potential.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias, cast

import numpy as np

from ...errors import GraphError, ModelError, UsageError
from ...runtime import graph as snn
from ...runtime import ops
from ...runtime.neurons import CubaParams, Neuron, NeuronParams
from ...runtime.ops import Array, Shape
from ...runtime.ops.arrays import narrowed
from ...runtime.semantics.upstream import onsets
from ...spelling import spelled
from .read import LARGEST, NirFile, wrong

MOST_VALUES = 2**26  # of a signal of one sample, padding included
MOST_GATHERED = 2**28  # numbers under all windows of a layer
MOST_WORK = 2**31  # multiply-adds of one sample and step, of all windows
PER_TAP = 2**14  # multiply-adds that a position of a window costs at least (``execute``)
MOST_DELAY = 4096  # steps, on one way through the network
TAKEN = ("reset", "levels", "signed", "refractory", "v_min")


@dataclass(frozen=True, eq=False, kw_only=True)
class Signal:
    """What a node gives: the name and shape of a node of ours, and what it gives of nothing (of
    biases alone), which ours leave out."""

    name: str
    shape: Shape
    offset: Array


def network_of(file: NirFile, *, dt: float | None, meta: Mapping[str, Any]) -> snn.SpikingGraph:
    """The network. ``dt``: the length of a time step, where the file does not say and needs it.

    Raises ModelError (E340) for what has no form here, UsageError where ``dt`` is missing.
    """
    builder = _Builder(file, dt)
    for name in file.sequence:
        try:
            builder.add(name)
        except (GraphError, ValueError, TypeError, OverflowError) as error:
            if isinstance(error, UsageError):
                raise
            said = error.what if isinstance(error, GraphError) else str(error)
            raise wrong(said, name) from error
    try:
        network = snn.SpikingGraph(nodes=tuple(builder.nodes), meta=meta)
    except GraphError as error:
        raise wrong(error.what) from error
    for name, begins in onsets(network).items():
        if begins > MOST_DELAY:
            raise wrong(f"{begins:,} steps late, at most {MOST_DELAY:,} are read", name)
    return network


class _Builder:
    def __init__(self, file: NirFile, dt: float | None) -> None:
        self.file, self.dt = file, dt
        self.nodes: list[snn.Node] = []
        self.signals: dict[str, Signal] = {}
        self.names = snn.Names(file.graph.nodes)
        self.work = 0

    def add(self, name: str) -> None:
        node = self.file.graph.nodes[name]
        kind = type(node).__name__
        if kind == "Input":
            shape = _shape(node.input_type["input"])
            told = self.file.about.get("encoding")
            encodings = told if isinstance(told, dict) else {}
            encoding = cast(Any, encodings.get(name, "constant"))
            self.nodes.append(snn.Input(name=name, shape=shape, encoding=encoding))
            self.signals[name] = Signal(name=name, shape=shape, offset=np.zeros(shape))
            return
        add: Adder = ADDERS[kind]
        add(self, node, name, self._sum(name))

    def _sum(self, name: str) -> Signal:
        """What reaches a node."""
        parts = [self.signals[source] for source in self.file.sources[name]]
        if len(parts) == 1:
            return parts[0]
        if len({part.shape for part in parts}) > 1:
            listed = ", ".join(f"'{p.name}' {p.shape}" for p in parts)
            raise wrong(f"it adds up signals of several shapes: {listed}", name)
        total = self.names.new(f"{name}/sum")
        shape = parts[0].shape
        inputs = tuple(part.name for part in parts)
        self.nodes.append(snn.Synapse(name=total, inputs=inputs, shape=shape, op=ops.Add()))
        return Signal(name=total, shape=shape, offset=np.sum([p.offset for p in parts], axis=0))

    def linear(self, name: str, op: ops.LinearOp, x: Signal, bias: Array | None = None) -> Signal:
        """``op`` on ``x`` as a node of this name, which NIR's may read."""
        shape = op.output_shape(x.shape)
        if prod(shape) > MOST_VALUES:
            raise ValueError(f"an output of shape {shape} is too large")
        if isinstance(op, ops.Conv | ops.SumPool):
            self._check_work(op, given=x.shape, shape=shape)
        self.nodes.append(snn.Synapse(name=name, inputs=(x.name,), shape=shape, op=op))
        grid = self.file.told.get(name, {}).get("grid", 1.0)
        _fitting(grid, "grid", shape)
        with np.errstate(over="ignore", invalid="ignore"):
            offset = np.asarray(op.apply(x.offset[np.newaxis])[0], np.float64)
        if bias is not None:
            if bias.shape != shape[:1]:
                raise ValueError(f"a bias of shape {bias.shape} for {shape[0]} channels")
            offset = offset + bias.astype(np.float64).reshape(-1, *(1,) * (len(shape) - 1))
        if not np.all(np.abs(offset) <= np.finfo(np.float32).max):
            raise ValueError("biases that add up to more than single precision holds")
        self.signals[name] = Signal(name=name, shape=shape, offset=offset)
        return self.signals[name]

    def _check_work(self, op: ops.Conv | ops.SumPool, *, given: Shape, shape: Shape) -> None:
        """Raise ValueError where windows are so large or so many that nobody could run them."""
        taps, channels = prod(op.kernel), given[0]
        if taps * channels * prod(shape[1:]) > MOST_GATHERED:
            raise ValueError(f"windows of {op.kernel} on maps of {given}: too much to run")
        ins = op.weight.shape[1] if isinstance(op, ops.Conv) else 1
        self.work += taps * (ins * prod(shape) + PER_TAP)
        if self.work > MOST_WORK:
            raise ValueError(f"windows of {op.kernel} and those before: too much to run")

    def neurons(self, name: str, x: Signal, neuron: Neuron, *, bias: Array) -> None:
        """A population of this name that reads ``x``."""
        kept = _small(np.broadcast_to(bias, x.shape))
        self.nodes.append(
            snn.Population(name=name, inputs=(x.name,), shape=x.shape, neuron=neuron, bias=kept)
        )
        self.signals[name] = Signal(name=name, shape=x.shape, offset=np.zeros(x.shape))

    def step(self, name: str) -> float:
        """The length of a time step."""
        dt = self.file.about.get("dt", self.dt)
        if not isinstance(dt, int | float) or not dt > 0:
            raise UsageError(
                f"node '{name}' has a time, and the file says nothing of time steps",
                remedy=f"Give their length in its unit of time with {spelled('dt', 0.001)}.",
            )
        return float(dt)


def _shape(value: Any) -> Shape:
    shape = tuple(int(n) for n in np.ravel(value))
    whole = all(n == own for n, own in zip(shape, np.ravel(value), strict=True))
    if not whole or any(n < 1 for n in shape) or prod(shape) > MOST_VALUES:
        raise ValueError(f"an input of shape {tuple(np.ravel(value).tolist())}")
    return shape


def _small(value: Any) -> Array:
    """An array without the axes along which it is constant."""
    out = narrowed(np.asarray(value, np.float32))
    return out.reshape(()) if out.size == 1 else out


def _affine(b: _Builder, node: Any, name: str, x: Signal) -> None:
    if node.weight.ndim != 2 or min(node.weight.shape) < 1 or len(x.shape) != 1:
        raise ValueError(f"a weight of shape {node.weight.shape} on a signal of shape {x.shape}")
    op = ops.Linear(weight=np.asarray(node.weight, np.float32))
    b.linear(name, op, x, getattr(node, "bias", None))


def _pairs(value: Any, rank: int) -> Shape:
    flat = tuple(int(n) for n in np.ravel(value))
    flat = flat * rank if len(flat) == 1 else flat
    if len(flat) != rank:
        raise ValueError(f"{len(flat)} numbers for {rank} axes")
    return flat


def _check_padded(shape: Shape, *, pads: Shape) -> None:
    """Raise ValueError where maps of ``shape`` become too large when padded."""
    rank = len(pads) // 2
    sizes = (n + a + e for n, a, e in zip(shape[1:], pads[:rank], pads[rank:], strict=True))
    if min(pads) < 0 or shape[0] * prod(sizes) > MOST_VALUES:
        raise ValueError(f"padding of {pads} around maps of shape {shape}")


def _conv(b: _Builder, node: Any, name: str, x: Signal) -> None:
    rank = node.weight.ndim - 2
    if rank < 1 or min(node.weight.shape) < 1:
        raise ValueError(f"a weight of shape {node.weight.shape}")
    strides, dilations = _pairs(node.stride, rank), _pairs(node.dilation, rank)
    if isinstance(node.padding, str | bytes):
        same = node.padding in ("same", b"same")
        if same and set(strides) != {1}:
            raise ValueError("padding 'same' with a stride")
        whole = [d * (k - 1) * same for d, k in zip(dilations, node.weight.shape[2:], strict=True)]
        pads = (*(w // 2 for w in whole), *(w - w // 2 for w in whole))
    else:
        pads = _pairs(node.padding, rank) * 2
    if min(*strides, *dilations, int(node.groups)) < 1 or min(pads) < 0:
        raise ValueError("a stride, dilation or number of groups below 1, or a negative padding")
    if node.input_shape is not None and _pairs(node.input_shape, rank) != x.shape[1:]:
        raise ValueError(f"it takes maps of {node.input_shape}, and reads {x.shape[1:]}")
    _check_padded(x.shape, pads=pads)
    op = ops.Conv(
        weight=np.asarray(node.weight, np.float32),
        strides=strides,
        dilations=dilations,
        pads=pads,
        groups=int(node.groups),
    )
    b.linear(name, op, x, node.bias)


def _scale(b: _Builder, node: Any, name: str, x: Signal) -> None:
    b.linear(name, ops.Scale(scale=_fitting(node.scale, "scale", x.shape)), x)


def _fitting(value: Any, key: str, shape: Shape) -> Array:
    if not np.all(np.abs(np.asarray(value, np.float64)) <= LARGEST):
        raise ValueError(f"'{key}' has values that are no finite numbers in single precision")
    array = np.asarray(value, np.float32)
    pairs = zip(array.shape[::-1], shape[::-1], strict=False)
    if array.ndim > len(shape) or any(own not in (1, n) for own, n in pairs):
        raise ValueError(f"'{key}' of shape {array.shape} on a signal of shape {shape}")
    return _small(array)


def _pool(b: _Builder, node: Any, name: str, x: Signal) -> None:
    kernel, pad = _pairs(node.kernel_size, 2), _pairs(node.padding, 2)
    strides = _pairs(node.stride, 2)
    if len(x.shape) != 3 or min(*kernel, *strides) < 1 or min(pad) < 0:
        raise ValueError(f"windows of {kernel} on a signal of shape {x.shape}")
    _check_padded(x.shape, pads=pad * 2)
    op = ops.SumPool(kernel=kernel, strides=strides, dilations=(1, 1), pads=pad * 2)
    if type(node).__name__ == "SumPool2d":
        b.linear(name, op, x)
        return
    total = b.linear(b.names.new(f"{name}/sum"), op, x)
    b.linear(name, ops.Scale(scale=np.asarray(1 / prod(kernel), np.float32)), total)


def _flatten(b: _Builder, node: Any, name: str, x: Signal) -> None:
    rank = len(x.shape)
    first, last = int(node.start_dim), int(node.end_dim)
    first, last = first + rank * (first < 0), last + rank * (last < 0)
    _check_declared(node.input_type["input"], x)
    if not 0 <= first <= last < rank:
        raise ValueError(f"axes {first} to {last} of a signal of shape {x.shape}")
    shape = (*x.shape[:first], prod(x.shape[first : last + 1]), *x.shape[last + 1 :])
    b.linear(name, ops.Reshape(shape=shape), x)


def _check_declared(shape: Any, x: Signal) -> None:
    """Raise ValueError where a node that says what it takes reads something else."""
    if shape is not None and tuple(np.ravel(shape)) != x.shape:
        raise ValueError(f"it takes {tuple(np.ravel(shape).tolist())}, and reads {x.shape}")


def _delay(b: _Builder, node: Any, name: str, x: Signal) -> None:
    _fitting(node.delay, "delay", x.shape)
    steps = np.unique(np.asarray(node.delay, np.float64) / b.step(name))
    if len(steps) != 1 or abs(steps[0] - round(steps[0])) > 1e-6 or not 0 <= steps[0] < 1e6:
        raise ValueError(f"a delay that is not one whole number of steps (dt {b.step(name):g})")
    count = round(float(steps[0]))
    if np.any(x.offset):
        raise ValueError("a delay of a bias")
    if count:
        b.nodes.append(snn.Delay(name=name, inputs=(x.name,), shape=x.shape, steps=count))
    b.signals[name] = Signal(name=name if count else x.name, shape=x.shape, offset=x.offset)


def _neurons(b: _Builder, node: Any, name: str, x: Signal) -> None:
    told = b.file.told.get(name, {})
    resets = np.unique(np.asarray(node.v_reset, np.float32))
    if len(resets) != 1:
        raise ValueError("neurons with several v_reset")
    threshold = _fitting(node.v_threshold, "v_threshold", x.shape)
    given = {k: told[k] for k in TAKEN if k in told}
    reset = cast(Any, given.pop("reset", "zero"))
    leak, gain, rest = float(told.get("leak", 0.0)), np.ones(()), np.zeros(())
    if hasattr(node, "tau") and not leak:
        leak = _leak(b, node, name=name, key="tau")
        gain, rest = leak * np.asarray(node.r, np.float64), leak * np.asarray(node.v_leak)
    elif not hasattr(node, "tau"):
        gain = np.asarray(node.r, np.float64)
    x = _amplified(b, name, x, gain)
    v_init = _fitting(told.get("v_init", node.v_reset), "v_init", x.shape)
    neuron = NeuronParams(
        v_threshold=threshold, v_init=v_init, reset=reset, v_reset=float(resets[0]), leak=leak,
        **cast(Any, given),
    )  # fmt: skip
    b.neurons(name, x, neuron, bias=x.offset + rest)


def _leak(b: _Builder, node: Any, *, name: str, key: str) -> float:
    """What is lost in a time step with the time constant ``key``."""
    tau, dt = np.unique(np.asarray(getattr(node, key), np.float64)), b.step(name)
    if len(tau) != 1 or tau[0] < dt:
        raise ValueError(f"neurons with several {key}, or one shorter than a time step")
    return dt / float(tau[0])


def _cuba(b: _Builder, node: Any, name: str, x: Signal) -> None:
    """Potentials count from where they rest, which leaves nothing to do to ``v_leak``."""
    told = b.file.told.get(name, {})
    rest = np.asarray(node.v_leak, np.float64)
    if not np.all(node.v_threshold > rest):
        raise ValueError("a v_threshold that is not above v_leak: it would fire without an input")

    def above(key: str, value: Any) -> Array:
        return _fitting(np.asarray(value, np.float64) - rest, key, x.shape)

    gain = np.asarray(node.w_in, np.float64)
    if "synaptic_leak" in told:
        synaptic = float(told["synaptic_leak"])
    else:
        synaptic = _leak(b, node, name=name, key="tau_syn")
    if "leak" in told:
        leak = float(told["leak"])
    else:
        leak = _leak(b, node, name=name, key="tau_mem")
        gain = gain * (leak * np.asarray(node.r, np.float64))
    neuron = CubaParams(
        v_threshold=above("v_threshold", node.v_threshold),
        v_init=above("v_init", told.get("v_init", node.v_reset)),
        v_reset=above("v_reset", node.v_reset),
        reset=cast(Any, told.get("reset", "zero")),
        leak=leak,
        synaptic_leak=synaptic,
    )
    x = _amplified(b, name, x, gain)
    b.neurons(name, x, neuron, bias=x.offset)


def _threshold(b: _Builder, node: Any, name: str, x: Signal) -> None:
    """A comparison is a neuron that forgets all of its potential in every step."""
    neuron = NeuronParams(
        v_threshold=_fitting(node.threshold, "threshold", x.shape),
        v_init=np.zeros((), np.float32),
        reset="zero",
        leak=1.0,
    )
    b.neurons(name, x, neuron, bias=x.offset)


def _amplified(b: _Builder, name: str, x: Signal, gain: Array) -> Signal:
    if np.all(gain == 1):
        return x
    op = ops.Scale(scale=_fitting(gain, "r", x.shape))
    return b.linear(b.names.new(f"{name}/r"), op, x)


def _output(b: _Builder, node: Any, name: str, x: Signal) -> None:
    _check_declared(node.output_type["output"], x)
    bias = _small(x.offset)
    b.nodes.append(snn.Readout(name=name, inputs=(x.name,), shape=x.shape, bias=bias))
    b.signals[name] = Signal(name=name, shape=x.shape, offset=x.offset)


Adder: TypeAlias = Callable[[_Builder, Any, str, Signal], None]
ADDERS: Mapping[str, Adder] = {
    "IF": _neurons,
    "LIF": _neurons,
    "CubaLIF": _cuba,
    "Threshold": _threshold,
    "Conv1d": _conv,
    "Conv2d": _conv,
    "Affine": _affine,
    "Linear": _affine,
    "Scale": _scale,
    "SumPool2d": _pool,
    "AvgPool2d": _pool,
    "Flatten": _flatten,
    "Delay": _delay,
    "Output": _output,
}

__all__ = ["ModelError", "network_of"]
