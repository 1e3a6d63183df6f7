"""Decoded signals over time, some steps after others: what a whole window of a wide layer would
take is never held, and arrays are small enough to be used again (memory that is new to the process
costs more than most products do).

A signal is computed from the spikes that are kept (``trains``). Populations whose spikes are not
kept fire again on the way, as they did, and so do max pools and islands: whatever has a state keeps
it from block to block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from math import prod
from typing import Any, Protocol

import numpy as np

from ...runtime import graph as snn
from ...runtime.neurons import Neuron, State
from ...runtime.ops import Array
from ...runtime.semantics.encoding import encode
from ...runtime.semantics.spiking import run_expectation
from ...runtime.semantics.walk import ask
from ..statistics.kernels import Kernels
from .charge import charging, keeps_charge
from .trains import Train

BLOCK = 4 << 20  # bytes of the largest signal of a block
PIECE = 1 << 15  # neurons that step together: what a core's own cache holds
Where = tuple[slice, ...]
Take = Callable[[int, Where, Array], None]


class Replaying(Protocol):
    """What signals are computed from (``replay.Replay``)."""

    nodes: dict[str, snn.Node]
    neurons: dict[str, Neuron]
    trains: dict[str, Train]
    onset: dict[str, int]
    steady: frozenset[str]
    kernels: Kernels
    steps: int
    seed: int

    @property
    def samples(self) -> int: ...

    def input(self, name: str, part: slice) -> Array: ...

    def start(self, name: str) -> int: ...

    def widest(self, name: str) -> int: ...

    def window(self, name: str) -> tuple[int, int]: ...


def blocks(replay: Replaying, name: str, part: slice, end: int) -> Iterator[tuple[int, int, Array]]:
    """The decoded signal at ``name`` for the samples ``part`` from its first step up to ``end``:
    the step that a block begins with, how many it has, and (steps, batch, *shape); one step that
    holds for all of the block where nothing varies."""
    first = replay.start(name)
    each = 4 * replay.widest(name) * (part.stop - part.start)
    count = max(1, min(end - first, BLOCK // each))
    kept: dict[Any, Any] = {}
    for t0 in range(first, end, count):
        steps = min(count, end - t0)
        block = Block(replay, part, t0, steps, kept=kept)
        yield t0, steps, ask(replay.nodes, block, name, {})


class Firing:
    """The neurons of one population on some samples: their state, from block to block.

    Neurons do not know of each other, so that they go through a block a piece after the other.
    """

    def __init__(self, replay: Replaying, name: str, batch: int) -> None:
        neuron, node = replay.neurons[name], replay.nodes[name]
        assert isinstance(node, snn.Population)
        self.steps = replay.steps
        self.begin, self.fire = replay.window(name)
        self.first = replay.start(node.inputs[0])
        outside = "bias" not in neuron.traits
        bias = node.bias if outside else np.zeros((), np.float32)
        self.pieces = list(_pieces(neuron, np.asarray(bias), batch=batch, shape=node.shape))

    def run(self, current: Array, t0: int, count: int, take: Take) -> None:
        """``take`` is given the firing window's step, the neurons and their spikes, for
        ``current`` (``count`` steps or one that holds for all, batch, *shape) from ``t0`` on."""
        for piece in self.pieces:
            self._run(piece, current, t0, count=count, take=take)

    def _run(self, piece: _Piece, current: Array, t0: int, *, count: int, take: Take) -> None:
        begin, fire, steps, now = self.begin, self.fire, self.steps, piece.now
        for t in range(max(t0, self.first), min(t0 + count, fire + steps)):
            comes = current[t - t0 if len(current) > 1 else 0][piece.where]
            if begin <= t < begin + steps:
                np.add(comes, piece.bias, out=now)
            else:
                np.copyto(now, comes)
            if fire <= t and piece.charging is not None:
                piece.charging()
            else:
                piece.neuron.step(
                    piece.state,
                    now,
                    piece.spikes,
                    may_fire=fire <= t,
                    position=t - fire,
                    steps=steps,
                )
            if t >= fire:
                take(t - fire, piece.where, piece.spikes)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Piece:
    """Some neurons: where they are in (batch, *shape), and what they work on."""

    where: Where
    neuron: Neuron
    bias: Array
    state: State
    now: Array
    spikes: Array
    charging: Callable[[], None] | None


def _pieces(neuron: Neuron, bias: Array, *, batch: int, shape: tuple[int, ...]) -> Iterator[_Piece]:
    """Neurons cut along their first axis."""
    length = shape[0] if shape else 1
    each = max(1, PIECE // max(1, batch * prod(shape[1:])))
    kind = np.dtype(np.bool_ if keeps_charge(neuron) else np.float32)
    largest = batch * min(each, length) * prod(shape[1:])
    # What all of them work on one after the other stays in the cache.
    room, fired = np.empty(largest, np.float32), np.empty(largest, kind)
    for at in range(0, length, each):
        rows = slice(at, min(at + each, length))
        own = (rows.stop - rows.start, *shape[1:]) if shape else ()
        part = neuron if own == shape else _rows(neuron, rows, shape=shape)
        now, spikes = (x[: batch * prod(own)].reshape(batch, *own) for x in (room, fired))
        state = part.initial_state(batch, own, np.dtype(np.float32))
        step = None
        if keeps_charge(part):
            threshold = _whole(part.v_threshold, own)
            step = charging(state["v"], current=now, threshold=threshold, spikes=spikes)
            part = part.having(v_threshold=threshold)
        yield _Piece(
            where=(slice(None), rows) if shape else (slice(None),),
            neuron=part,
            bias=_whole(_cut(bias, rows, shape=shape), own),
            state=state,
            now=now,
            spikes=spikes,
            charging=step,
        )


def _whole(x: Array, shape: tuple[int, ...]) -> Array:
    """float32, not repeated: what is repeated along the last axes takes two to three times as
    long."""
    return np.ascontiguousarray(np.broadcast_to(x, shape), np.float32)


def _rows(neuron: Neuron, rows: slice, *, shape: tuple[int, ...]) -> Neuron:
    """The neurons of some rows of the first axis of their population."""
    own = {f.name: getattr(neuron, f.name) for f in fields(neuron)}
    arrays = {name: x for name, x in own.items() if isinstance(x, np.ndarray)}
    return neuron.having(**{name: _cut(x, rows, shape=shape) for name, x in arrays.items()})


def _cut(x: Array, rows: slice, *, shape: tuple[int, ...]) -> Array:
    """The rows of what broadcasts to ``shape``."""
    varies = x.ndim == len(shape) > 0 and len(x) > 1
    return x[rows] if varies else x


class Block(snn.Rules[Array]):
    """The decoded signals of ``count`` steps from ``t0`` on; ``kept``: what lasts from block to
    block, of nodes at a delay of ``shift`` steps."""

    def __init__(
        self,
        replay: Replaying,
        part: slice,
        t0: int,
        count: int,
        *,
        kept: dict[Any, Any],
        shift: int = 0,
    ) -> None:
        self.replay, self.part, self.t0, self.count = replay, part, t0, count
        self.kept, self.shift = kept, shift
        self.batch = part.stop - part.start

    def _inside(self, onset: int) -> tuple[int, int]:
        """Which steps of the window that begins at ``onset`` are in this block, counted from
        there; none: (0, 0)."""
        first = max(self.t0 - onset, 0)
        last = min(self.t0 + self.count - onset, self.replay.steps)
        return (first, last) if first < last else (0, 0)

    def _placed(self, y: Array, onset: int, *, first: int, last: int) -> Array:
        """``y`` (those steps of its window, or one for all of them) where it is in the block, and
        silence around it."""
        if last - first == self.count:
            return y
        if first == last:
            return np.zeros((1, *y.shape[1:]), y.dtype)
        out = np.zeros((self.count, *y.shape[1:]), y.dtype)
        at = onset + first - self.t0
        out[at : at + last - first] = y
        return out

    def input(self, node: snn.Input, xs: Sequence[Array]) -> Array:
        x = self.replay.input(node.name, self.part)
        first, last = self._inside(0)
        if node.encoding != "constant" and last > first:
            index = np.arange(self.replay.samples)[self.part]
            seed, steps = self.replay.seed, last - first
            y = encode(node, x, first_step=first, steps=steps, seed=seed, offset=index)
            return self._placed(y.astype(np.float32, copy=False), 0, first=first, last=last)
        return self._placed(x[np.newaxis], 0, first=first, last=last)

    def population(self, node: snn.Population, xs: Sequence[Array]) -> Array:
        train = self.replay.trains.get(node.name)
        return self._again(node, xs[0]) if train is None else self.sent(node.name, train)

    def sent(self, name: str, train: Train) -> Array:
        """What population ``name`` sends in this block, or the part of it that ``train`` is of."""
        onset = self.replay.onset[name]
        first, last = self._inside(onset)
        if first == last:
            return np.zeros(
                (1, self.batch, *np.shape(train.spikes[self.part.start])[2:]), np.float32
            )
        y = train.decoded(self.part, first=first, count=last - first)
        return self._placed(y, onset, first=first, last=last)

    def _again(self, node: snn.Population, current: Array) -> Array:
        """The spikes of a population that are not kept."""
        key = node.name, self.shift
        if key not in self.kept:
            self.kept[key] = Firing(self.replay, node.name, self.batch)
        out = np.zeros((self.count, self.batch, *node.shape), np.float32)
        before = self.t0 - self.replay.onset[node.name]
        threshold = self.replay.neurons[node.name].v_threshold.astype(np.float32)
        threshold = np.broadcast_to(threshold, (self.batch, *node.shape))

        def take(at: int, where: Where, spikes: Array) -> None:
            np.multiply(spikes, threshold[where], out=out[at - before][where])

        self.kept[key].run(current, self.t0, self.count, take)
        return out

    def delay(self, node: snn.Delay, xs: Sequence[Array]) -> Array:
        earlier = Block(
            self.replay,
            self.part,
            self.t0 - node.steps,
            self.count,
            kept=self.kept,
            shift=self.shift + node.steps,
        )
        return ask(self.replay.nodes, earlier, node.inputs[0], {})

    def synapse(self, node: snn.Synapse, xs: Sequence[Array]) -> Array:
        constant = node.name in self.replay.steady and self._inside(0) == (
            self.t0,
            self.t0 + self.count,
        )
        if constant and node.name in self.kept:
            held: Array = self.kept[node.name]
            return held
        arrays = list(xs)
        if any(len(x) > 1 for x in arrays):
            arrays = [self._whole(x) for x in arrays]
        time, batch = arrays[0].shape[:2]
        y = self.replay.kernels.apply(node.op, *[x.reshape(-1, *x.shape[2:]) for x in arrays])
        y = y.reshape(time, batch, *y.shape[1:])
        if constant:
            self.kept[node.name] = y
        return y

    def max_pool(self, node: snn.MaxPool | snn.Analog, xs: Sequence[Array]) -> Array:
        state = self.kept.setdefault((node.name, self.shift), {})
        return run_expectation(
            node,
            [self._whole(x) for x in xs],
            state,
            t0=self.t0,
            count=self.count,
            begin=self.replay.onset[node.name],
            length=self.replay.steps,
        )

    analog = max_pool

    def _whole(self, x: Array) -> Array:
        return x if len(x) == self.count else np.broadcast_to(x, (self.count, *x.shape[1:]))

    readout = snn.refused("what a readout gives is read by no node")
