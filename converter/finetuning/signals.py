"""A network as a function of tensors that gradients pass: layer by layer, over a stretch of steps.

Operations are those of the exported modules (``runtime.engine.torch.operations``), neurons those of
``spikes``. A signal is (steps, batch, *shape); one that is the same in every step has one. Networks
whose neurons send one number per window (``neurons.windowed``) are computed on the numbers: one
step, in which what arrives counts as it does over the whole window.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

from ...runtime import graph as snn
from ...runtime.facts import GraphFacts
from ...runtime.neurons import WindowedNeuron
from ...runtime.neurons.model import Coding, counts
from ...runtime.ops import MultiplyingOp
from ...runtime.semantics.constants import constant_currents
from .operations import Operation, even_spikes, pooled
from .parameters import Parameter, gained
from .spikes import FIRING, Arriving, Learnable, State, numbers

Tensor: TypeAlias = torch.Tensor
States: TypeAlias = dict[str, State]


class Signals(snn.Rules[Tensor]):
    """A network's nodes as functions of the signals that they read.

    Attributes:
        steps: T of a window; total: with those until the last answer.
        span: the steps that are computed now.
        states: behind them, by node.
        answers: what the readouts got so far, (batch, *shape): their answer times what a constant
            input counts.
        decoded, sent: of a population, summed over its window: what its spikes stand for, times T,
            and their sizes.
    """

    def __init__(
        self,
        network: snn.SpikingGraph,
        parameters: Iterable[Parameter],
        steps: int,
        how: Learnable,
        *,
        priced: bool = True,
    ) -> None:
        """``priced``: gradients pass what is counted in ``sent``."""
        self.network, self.facts, self.how = network, GraphFacts(network), how
        self.priced = priced
        self.steps, self.whole = steps, self.facts.windowed
        self.total = 1 if self.whole else steps + self.facts.latency
        self.onset = self.facts.onsets
        self.constants = constant_currents(self.facts)
        self.grids = {k: torch.as_tensor(v.copy()) for k, v in self.constants.grids.items()}
        self.parameters = {p.key: p for p in parameters}
        self.start = {p.key: torch.as_tensor(p.start.copy()) for p in parameters}
        shapes = self.facts.shapes
        self.operations = {
            node.name: Operation(node.op, [shapes[name] for name in node.inputs])
            for node in network.of(snn.Synapse)
        }
        self.divided = {
            synapse.name: population
            for population, synapses in gained(network).items()
            if f"thresholds/{population}" in self.parameters
            for synapse in synapses
        }
        self.kept: dict[str, Tensor] = {}
        self.values: Mapping[str, Tensor] = {}
        self.begin(range(0), {}, {})

    def begin(self, span: range, values: Mapping[str, Tensor], states: States) -> None:
        """Compute ``span`` next, with these ``values`` (d by parameter), behind ``states``."""
        self.span, self.values, self.before = span, values, states
        self.states: States = {}
        self.answers: dict[str, Tensor] = {}
        self.decoded: dict[str, Tensor] = {}
        self.sent: dict[str, Tensor] = {}

    def _array(self, name: str, array: Any) -> Tensor:
        if name not in self.kept:
            self.kept[name] = torch.as_tensor(array.copy())
        return self.kept[name]

    def _number(self, kind: str, node: snn.Node, array: Any) -> Tensor:
        """An array of the network as it is now."""
        key = f"{kind}/{node.name}"
        if key not in self.parameters:
            return self._array(key, array)
        return self.start[key] + self.parameters[key].unit * self.values[key]

    def _gain(self, node: str) -> Tensor | None:
        d = self.values.get(f"thresholds/{node}")
        return None if d is None else d.exp()

    def _shared(self, kind: str, node: snn.Node, array: Any) -> Tensor:
        """A number of a population, which its gain divides."""
        number, gain = self._number(kind, node, array), self._gain(node.name)
        return number if gain is None else number / gain

    # Signals that do not change are computed once; with lags they last for a window.

    def input(self, node: snn.Input, xs: Sequence[Tensor]) -> Tensor:
        x = xs[0][None]
        if self.whole:
            return x * float(self._window_neuron().total(self.steps))
        if node.encoding == "constant":
            return x
        made = [_encoded(node, x[0], t) if t < self.steps else x[0] * 0 for t in self.span]
        return torch.stack(made)

    def _window_neuron(self) -> WindowedNeuron:
        neuron = self.network.of(snn.Population)[0].neuron
        assert isinstance(neuron, WindowedNeuron)
        return neuron

    def synapse(self, node: snn.Synapse, xs: Sequence[Tensor]) -> Tensor:
        factors = self._factors(node)
        constant = node.name in self.facts.constant
        # A constant current is in double precision, then on its grid, as everywhere.
        alike = xs if constant else [self._lasting(*of) for of in zip(node.inputs, xs, strict=True)]
        flat = [x.flatten(0, 1).double() if constant else x.flatten(0, 1).float() for x in alike]
        y = self.operations[node.name](*flat, factors=factors)
        if constant and self.grids.get(node.name) is not None and not self.whole:
            grid = self.grids[node.name]
            y = y + ((y / grid).round() * grid - y).detach()
        return y.reshape(len(alike[0]), -1, *y.shape[1:])

    def _factors(self, node: snn.Synapse) -> Tensor | None:
        """What it multiplies with, where that is trained: divided by the gain of its population,
        which is far cheaper than dividing what arrives."""
        trained = f"weights/{node.name}" in self.parameters
        gain = self._gain(self.divided.get(node.name, ""))
        if not trained and gain is None:
            return None
        assert isinstance(node.op, MultiplyingOp)
        factors = self._number("weights", node, node.op.factors)
        if gain is None:
            return factors
        numbers = np.arange(gain.numel()).reshape(gain.shape)
        return factors / gain.flatten()[torch.as_tensor(node.op.per_output(numbers).copy())]

    def _lasting(self, name: str, x: Tensor) -> Tensor:
        """The signal of ``name`` in every step of the span: a constant one ends with its window."""
        if self.whole or name not in self.facts.constant:
            return x
        here = torch.tensor([t < self.steps for t in self.span], dtype=x.dtype)
        return x * here.reshape(-1, *(1,) * (x.ndim - 1))

    def _arriving(self, node: snn.Population | snn.Readout, x: Tensor) -> Arriving:
        """In the window of the input with the bias."""
        return Arriving(
            x=x.float(),
            bias=self._shared("biases", node, node.bias),
            still=node.inputs[0] in self.facts.constant,
            first=self.span.start,
            begin=max((self.onset[name] for name in node.inputs), default=0),
            window=self.steps,
        )

    def population(self, node: snn.Population, xs: Sequence[Tensor]) -> Tensor:
        if self.whole:
            return self._whole_number(node, xs[0])
        spikes = self._fired(node, node.neuron, xs[0])
        threshold = self._array(f"threshold/{node.name}", node.neuron.v_threshold)
        sizes = self._sizes(node, node.neuron.coding, spikes.ndim)
        counted = spikes if bool((sizes == 1).all()) else spikes * sizes
        self.decoded[node.name] = threshold * counted.sum(0)
        paid = spikes if self.priced else spikes.detach()
        self.sent[node.name] = paid.abs().sum(0).flatten(1).sum(1)
        return spikes

    def _fired(self, node: snn.Population | snn.Readout, neuron: Any, x: Tensor) -> Tensor:
        """The spikes of the span."""
        threshold = self._array(f"threshold/{node.name}", neuron.v_threshold)
        fire = FIRING[type(neuron)]
        spikes, self.states[node.name] = fire(
            neuron,
            threshold,
            v_init=self._shared("potentials", node, neuron.v_init),
            how=self.how,
            current=self._arriving(node, x),
            first=self.onset[node.name],
            window=self.steps,
            steps=self.span,
            state=self.before.get(node.name),
        )
        return spikes

    def _sizes(self, node: snn.Node, coding: Coding, rank: int) -> Tensor:
        """What each step of the span counts in the node's window, 0 outside of it."""
        at = np.arange(self.span.start, self.span.stop) - self.onset[node.name]
        worth = counts(coding, at, self.steps) * ((at >= 0) & (at < self.steps))
        return torch.as_tensor(worth.astype(np.float32)).reshape(-1, *(1,) * (rank - 1))

    def _whole_number(self, node: snn.Population, x: Tensor) -> Tensor:
        neuron = node.neuron
        assert isinstance(neuron, WindowedNeuron)
        threshold = self._array(f"threshold/{node.name}", neuron.v_threshold)
        v_init = self._shared("potentials", node, neuron.v_init)
        total = neuron.total(self.steps)
        charge = x[0] + total * self._shared("biases", node, node.bias)
        n, spikes = numbers(
            neuron, charge.float() + v_init, threshold=threshold, how=self.how, steps=self.steps
        )
        self.decoded[node.name] = threshold * n * (self.steps / total)
        self.sent[node.name] = spikes if self.priced else spikes.detach()
        return n[None]

    def max_pool(self, node: snn.MaxPool, xs: Sequence[Tensor]) -> Tensor:
        bias = self._array(f"biases/{node.name}", node.bias)
        x = self._lasting(node.inputs[0], xs[0])
        if self.whole:
            total = float(self._window_neuron().total(self.steps))
            return pooled(node, x[0] + total * bias)[None]
        begin = max((self.onset[name] for name in node.inputs), default=0)
        here = torch.tensor([float(begin <= t < begin + self.steps) for t in self.span])
        x = x + bias * here.reshape(-1, *(1,) * (x.ndim - 1))
        before = self.before.get(node.name)
        total_before, top_before = before if before else (torch.zeros_like(x[0]), None)
        sums = x.cumsum(0) + total_before
        tops = pooled(node, sums.flatten(0, 1))
        tops = tops.reshape(len(self.span), -1, *tops.shape[1:])
        last = torch.zeros_like(tops[0]) if top_before is None else top_before
        self.states[node.name] = (sums[-1], tops[-1])
        return torch.diff(tops, dim=0, prepend=last[None])

    def delay(self, node: snn.Delay, xs: Sequence[Tensor]) -> Tensor:
        if self.whole:
            return xs[0]
        x = self._lasting(node.inputs[0], xs[0])
        held = self.before.get(node.name)
        queue = torch.zeros((node.steps, *x.shape[1:])) if held is None else held[0]
        line = torch.cat([queue, x])
        self.states[node.name] = (line[len(x) :],)
        return line[: len(x)]

    analog = snn.refused("it was refused before")

    def readout(self, node: snn.Readout, xs: Sequence[Tensor]) -> Tensor:
        if self.whole:
            total = float(self._window_neuron().total(self.steps))
            bias = self._number("biases", node, node.bias)
            self.answers[node.name] = (xs[0][0] / total + bias) * self.steps
        elif node.mode == "count":
            assert node.neuron is not None
            spikes = self._fired(node, node.neuron, xs[0])
            threshold = self._array(f"threshold/{node.name}", node.neuron.v_threshold)
            sizes = self._sizes(node, "rate", spikes.ndim)
            self.answers[node.name] = threshold * (spikes * sizes).sum(0)
        else:
            current = self._arriving(node, xs[0])
            x = torch.stack([current(t) for t in self.span])
            self.answers[node.name] = (x * self._sizes(node, node.coding, x.ndim)).sum(0)
        return xs[0]


def _encoded(node: snn.Input, x: Tensor, t: int) -> Tensor:
    """Spikes that say the input: even, or drawn."""
    if node.encoding == "rate":
        return even_spikes(x, t)
    return (torch.rand_like(x) < x.abs()).to(x.dtype) * x.sign()
