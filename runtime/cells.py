"""What a node with state does to a block of steps, with all buffers prepared.

Each cell has ``reset`` (a new tile), ``run`` (some steps) and ``states`` (its state arrays as
(lanes, ...) views, to move samples between tiles).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from . import analog
from .buffers import zeros
from .counting import Counter
from .graph import Analog, MaxPool, Population
from .kernels import pool_taps
from .layout import Layout
from .neuron import Neuron, State
from .ops import Array, Shape
from .plan_terms import is_plain
from .profile import Clock


@dataclass
class Window:
    """The steps a cell is asked for, all on the same side of every window border.

    Attributes:
        arrives: whether inputs and biases arrive (the input's window).
        fires: whether the cell may emit (its own window).
        first: position of the first step in the cell's own window, from 0.
        at: position of the first step in the block.
        steps: length of the windows.
    """

    arrives: bool
    fires: bool
    first: int
    at: int
    steps: int


class Cell(Protocol):
    """A node with state."""

    def reset(self) -> None: ...

    def run(self, xs: list[Array], out: Array, window: Window, owned: bool) -> int:
        """Steps in place: ``xs`` are (steps or 1, *inner), ``out`` (steps, *inner). ``owned``: xs
        may be overwritten. Returns how many events there were (0: silent)."""
        ...

    def states(self) -> State: ...


def population_cell(
    node: Population, layout: Layout, dtype: np.dtype, chunk: int, counter: Counter, clock: Clock
) -> Cell:
    """The cell for a population: a fast one for plain integrate-and-fire neurons."""
    bias = Bias(node.bias, node.shape, layout, dtype, chunk)
    kind = PlainCell if is_plain(node.neuron) else GeneralCell
    return kind(node.neuron, node.shape, bias, layout, dtype, counter, clock)


def spike_dtype(neuron: Neuron, dtype: np.dtype) -> np.dtype:
    """The narrowest type that holds what a neuron emits in one step."""
    if neuron.levels <= np.iinfo(np.int8).max:
        return np.dtype(np.int8)
    return dtype


class Bias:
    """Adds a bias current while the window is open, into the input itself or into a buffer."""

    def __init__(
        self, bias: Array, shape: Shape, layout: Layout, dtype: np.dtype, chunk: int
    ) -> None:
        self.bias: Array | None = None
        if np.any(bias):
            self.bias = layout.long_rows(layout.parameter(bias, shape, dtype), shape)
        self.buffer: Array | None = None
        self.shape, self.dtype = (chunk, *layout.inner(shape)), dtype

    def add(self, x: Array, arrives: bool, owned: bool) -> Array:
        """``x`` plus the bias; a float array that the caller may overwrite."""
        out = x
        if not owned:
            if self.buffer is None:
                self.buffer = zeros(self.shape, self.dtype)
            out = self.buffer[: len(x)]
            if x.dtype != out.dtype:  # ufuncs on mixed types are several times slower
                np.copyto(out, x)
                x = out
        if self.bias is not None and arrives:
            rows = (-1, self.bias.size)
            np.add(x.reshape(rows), self.bias, out=out.reshape(rows))
        elif x is not out:
            np.copyto(out, x)
        return out


class PlainCell:
    """Integrate-and-fire with soft reset and binary spikes: four passes over the potentials.

    The same numbers as from ``NeuronParams.step``. With w = v - threshold a neuron fires where
    w >= 0, and has w left there and v elsewhere. As the bits of a float are ordered, taken as an
    unsigned integer (first the positive numbers, by magnitude, then the negative ones, by
    magnitude), that is the smaller of w and v: with a positive threshold w < 0 comes after v,
    whatever v's sign. The current's own buffer, dead after the addition, holds w.
    """

    def __init__(
        self,
        neuron: Neuron,
        shape: Shape,
        bias: Bias,
        layout: Layout,
        dtype: np.dtype,
        counter: Counter,
        clock: Clock,
    ) -> None:
        theta = layout.parameter(neuron.v_threshold, shape, dtype)
        self.theta = layout.long_rows(theta, shape)
        self.v_init = layout.parameter(neuron.v_init, shape, dtype)
        self.v = zeros(layout.inner(shape), dtype)
        length = self.v.size if theta.ndim == 0 else self.theta.size
        self.rows = (self.v.size // length, length)
        self.flat = self.v.reshape(self.rows)
        self.bits = np.dtype(f"u{dtype.itemsize}")
        self.spare: Array | None = None
        self.bias, self.layout, self.counter, self.clock = bias, layout, counter, clock

    def reset(self) -> None:
        self.v[...] = self.v_init

    def states(self) -> State:
        return {"v": self.layout.natural(self.v[np.newaxis])[0]}

    def run(self, xs: list[Array], out: Array, window: Window, owned: bool) -> int:
        with self.clock.neuron:
            current = self.bias.add(xs[0], window.arrives, owned).reshape(-1, *self.rows)
            if window.fires:
                return self._steps(out.view(np.bool_).reshape(-1, *self.rows), current, window)
            steady = len(current) != len(out)
            for i in range(len(out)):
                np.add(self.flat, current[0 if steady else i], out=self.flat)
            out[...] = 0
            return 0

    def _steps(self, fired: Array, current: Array, window: Window) -> int:
        """Steps with spikes, (steps, *rows), counted; ``current`` (steps or 1, *rows) may be
        overwritten where every step has its own."""
        steady, total = len(current) != len(fired), 0
        for i, flag in enumerate(fired):
            now = current[0 if steady else i]
            np.add(self.flat, now, out=self.flat)
            total += self._fire(flag, self._spare() if steady else now, window.at + i)
        return total

    def _spare(self) -> Array:
        if self.spare is None:
            self.spare = zeros(self.rows, self.flat.dtype)
        return self.spare

    def _fire(self, fired: Array, spare: Array, step: int) -> int:
        np.subtract(self.flat, self.theta, out=spare)
        np.greater_equal(spare, 0, out=fired)
        events = int(np.count_nonzero(fired))
        if events == 0:
            return 0
        bits = self.flat.view(self.bits)
        np.minimum(bits, spare.view(self.bits), out=bits)
        with self.clock.counting:
            self.counter.add_spikes(step, fired, events, spare)
        return events


class GeneralCell:
    """Any neuron model, through its own ``initial_state`` and ``step``.

    State arrays are kept in the engine's memory order and handed over as (batch, *shape) views, so
    elementwise models run over contiguous memory whatever they compute.
    """

    def __init__(
        self,
        neuron: Neuron,
        shape: Shape,
        bias: Bias,
        layout: Layout,
        dtype: np.dtype,
        counter: Counter | None,
        clock: Clock,
    ) -> None:
        self.neuron, self.bias, self.layout, self.counter = neuron, bias, layout, counter
        self.initial = {
            name: self._relayout(array, shape)
            for name, array in neuron.initial_state(layout.lanes, shape, dtype).items()
        }
        self.state: State = {}
        self.spikes = zeros((1, *layout.inner(shape)), dtype)
        self.fired = zeros(layout.inner(shape), dtype)
        self.clock = clock

    def _relayout(self, array: Array, shape: Shape) -> Array:
        if array.shape != (self.layout.lanes, *shape):
            return array
        inner = zeros((1, *self.layout.inner(shape)), array.dtype)
        natural = self.layout.natural(inner)[0]
        natural[...] = array
        return natural

    def reset(self) -> None:
        for name, array in self.initial.items():
            held = self.state.get(name)
            if (
                isinstance(held, np.ndarray)
                and held.shape == array.shape
                and held.dtype == array.dtype
            ):
                held[...] = array
            else:  # the first tile, or the model put another array in its place
                self.state[name] = array.copy(order="K")

    def states(self) -> State:
        return self.state

    def run(self, xs: list[Array], out: Array, window: Window, owned: bool) -> int:
        with self.clock.neuron:
            steady = len(xs[0]) != len(out)
            current = self.layout.natural(self.bias.add(xs[0], window.arrives, owned))
            spikes, total = self.layout.natural(self.spikes)[0], 0
            for i in range(len(out)):
                now = current[0 if steady else i]
                when = window.first + i
                self.neuron.step(self.state, now, spikes, window.fires, when, window.steps)
                np.copyto(out[i], self.spikes[0], casting="unsafe")
                events = int(np.count_nonzero(out[i])) if window.fires else 0
                total += events
                if events and self.counter is not None:
                    with self.clock.counting:
                        np.not_equal(self.spikes[0], 0, out=self.fired)
                        self.counter.add(window.at + i, self.fired, events)
            return total


class DelayCell:
    """A ring of the last ``steps`` values of a signal, in the memory order and type it has."""

    def __init__(
        self, steps: int, shape: Shape, dtype: np.dtype, layout: Layout, clock: Clock
    ) -> None:
        self.ring = zeros((steps, *layout.inner(shape)), dtype)
        self.layout, self.clock, self.at = layout, clock, np.zeros((), np.int64)

    def reset(self) -> None:
        self.ring[...] = 0
        self.at[...] = 0

    def states(self) -> State:
        natural = self.layout.natural(self.ring)
        return {"at": self.at, **{f"held{i}": held for i, held in enumerate(natural)}}

    def run(self, xs: list[Array], out: Array, window: Window, owned: bool) -> int:
        with self.clock.copies:
            steady = len(xs[0]) != len(out)
            for i in range(len(out)):
                held = self.ring[int(self.at)]
                out[i] = held
                held[...] = xs[0][0 if steady else i]
                self.at[...] = (self.at + 1) % len(self.ring)
            return int(np.count_nonzero(out))


class ExpectationCell:
    """Max pooling or an analog island: the output's running sum is t f(running mean of input).

    ``counter`` is there where what it passes on are spikes.
    """

    def __init__(
        self,
        node: MaxPool | Analog,
        shapes: list[Shape],
        layout: Layout,
        dtype: np.dtype,
        chunk: int,
        counter: Counter | None,
        clock: Clock,
    ) -> None:
        self.node, self.layout, self.counter, self.clock = node, layout, counter, clock
        self.differential = node.coding == "differential"
        self.constants = (node.bias,) if isinstance(node, MaxPool) else node.biases
        biases = (node.bias,) if isinstance(node, MaxPool) else node.biases
        self.biases = [
            Bias(b, s, layout, dtype, chunk) for b, s in zip(biases, shapes, strict=False)
        ]
        self.sums = [zeros((chunk, *layout.inner(s)), dtype) for s in shapes]
        self.carry = [zeros(layout.inner(s), dtype) for s in shapes]
        self.before = zeros(layout.inner(node.shape), dtype)
        self.total = zeros((chunk, *layout.inner(node.shape)), dtype)
        self.taps = pool_taps(node.op, shapes[0]) if isinstance(node, MaxPool) else []
        self.fired = zeros(layout.inner(node.shape), dtype)

    def reset(self) -> None:
        self.before[...] = 0
        for j, carry in enumerate(self.carry):
            carry[...] = 0
            if self.differential and j < len(self.constants):
                mean = self.layout.natural(carry[np.newaxis])[0]
                mean += self.constants[j]

    def states(self) -> State:
        named = {f"sum{j}": carry for j, carry in enumerate(self.carry)}
        named["before"] = self.before
        return {k: self.layout.natural(v[np.newaxis])[0] for k, v in named.items()}

    def run(self, xs: list[Array], out: Array, window: Window, owned: bool) -> int:
        if self.differential:
            return self._run_differential(xs, out, window)
        with self.clock.neuron:
            n = len(out)
            for j, x in enumerate(xs):
                if j < len(self.biases) and self.biases[j].bias is not None:
                    x = self.biases[j].add(x, window.arrives, False)
                self._accumulate(j, x, n)
            if not window.fires:
                out[...] = 0
                return 0
            total = self.total[:n]
            self._evaluate(total, window.first)
            np.subtract(total[1:], total[:-1], out=out[1:])
            np.subtract(total[0], self.before, out=out[0])
            self.before[...] = total[-1]
            return self._count(out, window)

    def _run_differential(self, xs: list[Array], out: Array, window: Window) -> int:
        """Running means R in and out: each step emits t times the change of f(R)."""
        with self.clock.neuron:
            for i in range(len(out)):
                t = out.dtype.type(window.first + i + 1)
                for j, x in enumerate(xs):
                    np.divide(x[i if len(x) > 1 else 0], t, out=self.sums[j][0])
                    np.add(self.carry[j], self.sums[j][0], out=self.carry[j])
                    self.sums[j][0] = self.carry[j]
                mean = self.total[:1]
                self._evaluate(mean, 0)
                np.subtract(mean[0], self.before, out=out[i])
                out[i] *= t
                self.before[...] = mean[0]
            return self._count(out, window)

    def _accumulate(self, j: int, x: Array, n: int) -> None:
        sums, before = self.sums[j], self.carry[j]
        for i in range(n):
            np.add(before, x[i if len(x) > 1 else 0], out=sums[i])
            before = sums[i]
        self.carry[j][...] = before

    def _evaluate(self, total: Array, first: int) -> None:
        """t f(S / t) for each step; max pooling is homogeneous, t f(S / t) = f(S)."""
        natural, n = self.layout.natural(total), len(total)
        sums = [self.layout.natural(s[:n]) for s in self.sums]
        if isinstance(self.node, MaxPool):
            total[...] = np.finfo(total.dtype).min
            for target, source in self.taps:
                part = natural[target]
                np.maximum(part, sums[0][source], out=part)
            return
        for i in range(n):
            t = first + i + 1
            means = [s[i] / t for s in sums]
            natural[i] = t * analog.evaluate(self.node.model, self.node.output, means)

    def _count(self, out: Array, window: Window) -> int:
        if self.counter is None:
            return 1
        events_in_all = 0
        with self.clock.counting:
            for i in range(len(out)):
                events = int(np.count_nonzero(out[i]))
                events_in_all += events
                if events:
                    np.not_equal(out[i], 0, out=self.fired)
                    self.counter.add(window.at + i, self.fired, events)
        return events_in_all
