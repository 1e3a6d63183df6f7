"""Integrate-and-fire layers whose synapses add to the membrane potentials in place.

Signals and potentials are (lanes, C/B, H, W, B), see ``products.blocked``. The update that follows
the synapses goes over pieces that stay in a core's cache, all passes on one piece before the next;
with the extra ``fast`` it is one pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np

from ....graph import Population
from ....neurons import State
from ....ops import Array
from ...profile import Clock
from ..buffers import copied, zeros
from ..counting import Counter
from ..native import loaded
from ..products.blocked import BlockedTerm, block_shape, to_blocks
from .base import Window

PIECE = 65536  # neurons of an update's piece: all its passes find it in half of L2
ROW = 16384  # thresholds of a row, where they repeat: they stay in L1, the loops are still long
_Piece: TypeAlias = tuple[Array, Array, Array, Array, Array, slice, slice]


class BlockedCell:
    """Binary integrate-and-fire with soft reset; ``terms`` of the current read ``xs`` in order.

    ``constant``: there are no terms, and the only source is a constant current (1, lanes, C, H, W).
    ``compiled``: by the kernel in ``step_kernels``.
    The arithmetic is that of ``NeuronParams.step`` apart from the order of the sum v + I + bias.
    """

    def __init__(
        self,
        node: Population,
        lanes: int,
        size: int,
        counter: Counter,
        clock: Clock,
        *,
        constant: bool,
        compiled: bool = False,
    ) -> None:
        self.size, self.counter, self.clock = size, counter, clock
        self.lanes, self.shape = lanes, node.shape
        self.v = zeros((lanes, *block_shape(node.shape, size)), np.float32)
        self.flat = self.v.reshape(lanes, -1)
        self.theta = self._table(node.neuron.v_threshold)
        self.v_init = self._table(node.neuron.v_init)
        per_channel = node.bias.ndim < 3 or node.bias.shape[-2:] == (1, 1)
        bias = np.broadcast_to(node.bias, node.shape).astype(np.float32)
        self.has_bias = bool(np.any(bias))
        self.in_product = self.has_bias and (node.bias.size == 1 or per_channel)
        self.bias_table = self._table(bias)
        self.channel_bias = copied(bias[:, 0, 0], np.float32)
        self.bias_now = zeros(node.shape[0], np.float32)
        self.spare = zeros(min(PIECE, self.flat.size), np.float32)
        self.terms: list[BlockedTerm] = []
        self.steady = zeros(self.flat.shape, np.float32) if constant else None
        self.steady_for: tuple[bool, bool] | None = None
        self.plain = loaded().plain if compiled else None
        self.pieces = [self._piece(*where) for where in _pieces(lanes, neurons=self.flat.shape[1])]

    def _piece(self, lanes: slice, neurons: slice) -> _Piece:
        """Views of the potentials and the scratch, and thresholds to combine them with: where the
        thresholds of a channel block repeat along the map, a short row of them that stays in the
        L1 cache, and the views as rows of its length."""
        v = self.flat[lanes, neurons]
        spare = self.spare[: v.size].reshape(v.shape)
        if self.theta.size == 1:
            theta = self.theta
            if self.plain is not None:  # which takes one for every neuron of a lane
                theta = copied(np.broadcast_to(theta, (1, v.shape[1])), np.float32)
            return (v, v, theta, spare, spare, lanes, neurons)
        area = self.shape[1] * self.shape[2]
        each = max(k for k in range(1, area + 1) if area % k == 0 and k * self.size <= ROW)
        theta = self.theta.reshape(-1, area // each, each * self.size)
        whole = neurons.stop - neurons.start == self.flat.shape[1]
        if not whole or np.any(theta != theta[:, :1]):
            return (v, v, self.theta[:, neurons], spare, spare, lanes, neurons)
        rows = (len(v), *theta.shape)
        short = copied(theta[np.newaxis, :, :1], np.float32)
        return (v, v.reshape(rows), short, spare, spare.reshape(rows), lanes, neurons)

    def _table(self, values: Array) -> Array:
        """(1, neurons) in memory order, or (1, 1) for a single value."""
        if values.size == 1:
            return np.asarray(values, np.float32).reshape(1, 1)
        full = np.broadcast_to(values, self.shape).astype(np.float32)
        return copied(to_blocks(full, self.size), np.float32).reshape(1, -1)

    def reset(self) -> None:
        self.flat[...] = self.v_init
        self.steady_for = None

    def states(self) -> State:
        return {"v": self.v} if self.steady is None else {"v": self.v, "steady": self.steady}

    def run(self, xs: Sequence[Array | None], out: Array, window: Window, owned: bool) -> int:
        """As ``Cell.run``; ``xs`` None: a silent source, which adds nothing."""
        with self.clock.synapse:
            current = None if self.terms else self._constant(xs[0], window)
        fired = out.view(np.bool_).reshape(len(out), *self.flat.shape)
        events: list[int] = []
        # Where no synapse comes in between, all steps of a piece before the next piece.
        each = 1 if self.terms else len(out)
        for i in range(0, len(out), each):
            if self.terms:
                with self.clock.synapse:
                    self._integrate(xs, i, window)
            with self.clock.neuron:
                if window.fires:
                    events += self._fire(fired[i : i + each], current, window.at + i)
                    continue
                out[i : i + each] = 0
                if current is not None:
                    for _ in range(each):
                        np.add(self.flat, current, out=self.flat)
        with self.clock.counting:
            self.counter.settle(window.at, fired, events)
        return sum(events)

    def _constant(self, x: Array | None, window: Window) -> Array:
        """The constant current of one step with its bias, in blocks; made once per tile."""
        assert self.steady is not None
        now = (x is not None, window.arrives)
        if self.steady_for == now:
            return self.steady
        if x is None:
            self.steady[...] = 0
        else:
            np.copyto(self.steady.reshape(self.v.shape), to_blocks(x[0], self.size))
        if self.has_bias and window.arrives:
            np.add(self.steady, self.bias_table, out=self.steady)
        self.steady_for = now
        return self.steady

    def _integrate(self, xs: Sequence[Array | None], i: int, window: Window) -> None:
        pending = self.has_bias and window.arrives
        for term, x in zip(self.terms, xs, strict=True):
            if x is None:
                continue
            with self.clock.copies:
                term.fill(x[i])
            inside = pending and self.in_product
            self.bias_now[...] = self.channel_bias if inside else 0
            pending = pending and not inside
            term.add()
        if pending:
            np.add(self.flat, self.bias_table, out=self.flat)

    def _fire(self, fired: Array, current: Array | None, first: int) -> list[int]:
        """Steps with spikes into ``fired`` (steps, lanes, neurons), counted: how many in each."""
        totals = [0] * len(fired)
        update = self._by_passes if self.plain is None else self._in_one_pass
        for piece in self.pieces:
            *_, spare, _, lanes, neurons = piece
            now = None if current is None else current[lanes, neurons]
            flags = fired[:, lanes, neurons]
            for i, events in enumerate(update(piece, now, flags)):
                totals[i] += events
                if events and self.counter.constant is None:
                    np.copyto(spare, flags[i].view(np.int8))
                    with self.clock.counting:
                        self.counter.add_part(first + i, lanes, neurons=neurons, fired=spare)
        return totals

    def _by_passes(self, piece: _Piece, current: Array | None, flags: Array) -> Iterator[int]:
        """How many neurons of a piece fired in each step, ``flags`` says which; as ``PlainCell``
        does it."""
        v, v_rows, theta, spare, spare_rows, *_ = piece
        bits = v.view(np.uint32)
        for flag in flags:
            if current is not None:
                np.add(v, current, out=v)
            np.subtract(v_rows, theta, out=spare_rows)
            np.greater_equal(spare, 0, out=flag)
            events = int(np.count_nonzero(flag))
            if events:
                np.minimum(bits, spare.view(np.uint32), out=bits)
            yield events

    def _in_one_pass(self, piece: _Piece, current: Array | None, flags: Array) -> Iterator[int]:
        """The same by the compiled kernel."""
        v, v_rows, theta, *_ = piece
        assert self.plain is not None
        # Thresholds repeat along the rows of a channel block, and from lane to lane.
        shape = v_rows.shape if v_rows.ndim == 4 else (len(v), 1, 1, v.shape[1])
        now = v if current is None else current
        places = (x.ctypes.data for x in (v, now, theta, flags))
        self.plain(*places, len(flags), 0, self.flat.size, *shape, current is not None)
        for flag in flags:
            yield int(np.count_nonzero(flag))


def _pieces(lanes: int, *, neurons: int) -> list[tuple[slice, slice]]:
    """Ranges of lanes and neurons that are contiguous and at most ``PIECE`` large."""
    if neurons <= PIECE:
        each = PIECE // neurons
        return [(slice(a, min(a + each, lanes)), slice(0, neurons)) for a in range(0, lanes, each)]
    return [
        (slice(lane, lane + 1), slice(a, min(a + PIECE, neurons)))
        for lane in range(lanes)
        for a in range(0, neurons, PIECE)
    ]
