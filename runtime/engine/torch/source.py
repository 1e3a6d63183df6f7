"""The source text of a network as a PyTorch module, and the numbers that it reads.

One class with the network's layers in their order. Only those classes and functions of ``parts``
are copied that it needs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import graph as snn
from ...facts import GraphFacts, Identifiers
from ...ops import Array, WeightedOp
from ...semantics.constants import constant_currents
from ...tables import entry, entry_named
from .copying import copied, defined
from .neurons import NEURONS
from .operations import Code, code_of, torch_pads
from .places import Held, Place
from .spans import spans

# Names that mean something in the module's source, or to ``nn.Module``.
TAKEN = frozenset(
    (
        *("self", "t", "steps", "torch", "nn", "F", "np", "Path", "product", "still", "step"),
        *("forward", "reset", "check", "network", "read", "layer", "x", "answers", "load"),
        *("Network", "isinstance", "len", "dict", "map", "tuple", "any", "zip", "range", "self"),
        *("add_module", "apply", "bfloat16", "buffers", "call_super_init", "children", "compile"),
        *("cpu", "cuda", "double", "dump_patches", "eval", "extra_repr", "float", "get_buffer"),
        *("get_extra_state", "get_parameter", "get_submodule", "half", "ipu", "load_state_dict"),
        *("modules", "mtia", "named_buffers", "named_children", "named_modules", "parameters"),
        *("named_parameters", "register_backward_hook", "register_buffer", "register_module"),
        *("register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"),
        *("register_parameter", "register_state_dict_pre_hook", "requires_grad_", "xpu"),
        *("register_load_state_dict_post_hook", "register_full_backward_pre_hook", "type"),
        *("set_extra_state", "set_submodule", "share_memory", "state_dict", "to", "to_empty"),
        *("train", "training", "zero_grad", "T_destination", "delete_submodule", "seen"),
        *("register_load_state_dict_pre_hook", "register_state_dict_post_hook"),
        *("currents", "kind", "names", "places"),
    )
)
SPIKES = {"rate": "EvenSpikes", "poisson": "PoissonSpikes"}  # encoding -> layer


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """``text``: the file; ``arrays``: what it reads, by parameter or buffer; ``names``: the module
    of every population and the key of every readout, by node; ``places``: where in the network
    each of the arrays stands, but for what is made of others (grids of constant currents) and the
    biases of analog islands, which have no ``function`` in it.
    """

    text: str
    arrays: Mapping[str, Array]
    names: Mapping[str, str]
    places: Mapping[str, Place]


def source_of(network: snn.SpikingGraph, steps: int, title: str) -> Source:
    """``network`` as a module that runs for ``steps`` steps unless told otherwise.

    ``title``: its first line. Raises GraphError E420 for what has no entry in the tables.
    """
    made = _Source(network)
    for node in network.nodes:
        snn.visit(made, node, ())
    body = made.text(steps)
    text = f'"""{title}"""\n\n{copied(body)}\n\n{body}'
    return Source(text=text, arrays=made.arrays, names=made.names, places=made.places)


class _Source(snn.Rules[None]):
    """The lines of the class as they are collected, node by node."""

    def __init__(self, network: snn.SpikingGraph) -> None:
        self.network, self.facts = network, GraphFacts(network)
        self.constants = constant_currents(self.facts)
        self.constant = {node.name for node in self.constants.synapses}
        self.identifiers = Identifiers(network, TAKEN | defined())
        self.names = self.identifiers.of
        self.arrays: dict[str, Array] = {}
        self.places: dict[str, Place] = {}
        self.layers: list[str] = []
        self.once: list[str] = []
        self.lines: list[str] = []
        self.answers: list[str] = []
        self.onset, self.latency = self.facts.onsets, self.facts.latency
        self.spans = spans(self.facts)

    def xs(self, node: snn.Node) -> list[str]:
        return [self.names[name] for name in node.inputs]

    def _layer(
        self, node: snn.Node, *, made: str, arrays: Mapping[str, Held], me: str | None = None
    ) -> None:
        me = self.names[node.name] if me is None else me
        self.layers.append(f"self.{me} = {made}")
        for name, held in arrays.items():
            self.arrays[f"{me}.{name}"] = _single(held.array)
            if held.attribute:
                self.places[f"{me}.{name}"] = Place(node.name, held.attribute)

    def _window(self, node: snn.Node, rules: Mapping[str, Any]) -> str:
        """Arguments of a layer with a state: where its windows begin, and the rest."""
        begin = max((self.onset[name] for name in node.inputs), default=0)
        windows = {"begin": begin, "first": self.onset[node.name]}
        given = {**{k: v for k, v in windows.items() if v}, **rules}
        return "".join(f", {k}={v!r}" for k, v in given.items())

    def _made(self, node: snn.Node, kind: str, arrays: Mapping[str, Held], **rules: Any) -> str:
        shapes = ", ".join(f"{name}={np.shape(held.array)}" for name, held in arrays.items())
        return f"{kind}({shapes}{self._window(node, rules)})"

    def input(self, node: snn.Input, xs: Sequence[None]) -> None:
        me = self.names[node.name]
        if node.encoding != "constant":
            made = entry_named(SPIKES, node.encoding, name="runtime.engine.torch.source.SPIKES")
            self._layer(node, made=f"{made}()", arrays={})
            self.lines.append(f"{me} = self.{me}({me}, t, steps)")
        elif self.latency and not self._only_constant(node):
            self.lines.append(f"{me} = {me} * within(t, 0, steps)")

    def _only_constant(self, node: snn.Node) -> bool:
        return all(reader.name in self.constant for reader in self.facts.consumers[node.name])

    def synapse(self, node: snn.Synapse, xs: Sequence[None]) -> None:
        me = self.names[node.name]
        code = code_of(node.op, [self.facts.shapes[name] for name in node.inputs])
        if code.layer:
            self._layer(node, made=code.layer, arrays=code.arrays)
        if node.name not in self.constant:
            call = code.call.format(*self.xs(node), me=f"self.{me}")
            self.lines.append(f"{me} = {self._while_something_comes(node, call)}")
            return
        self._once(node, me, code)

    def _while_something_comes(self, node: snn.Synapse, call: str) -> str:
        """``call``, but zeros at once in steps in which none of the inputs can send anything: with
        long windows these are most of them."""
        span = self.spans[node.name]
        if not self.latency or span is None or not isinstance(node.op, WeightedOp):
            return call
        begin, last = span
        x, shape = self.xs(node)[0], ", ".join(map(str, node.shape))
        return f"{call} if {begin} <= t < {last} + steps else {x}.new_zeros(len({x}), {shape})"

    def _once(self, node: snn.Synapse, me: str, code: Code) -> None:
        """A current that is the same in every step: in double precision, then on its grid."""
        call = code.call.format(*self.xs(node), me=f"in_double_(self.{me})")
        call = re.sub(r"in_double_\((\S+?)\)\(", r"in_double(\1, ", call)
        self.once.append(f"{me} = {call}")
        if self._only_constant(node):
            return
        grid = self.constants.grids.get(node.name)
        kept = f"{me}.to(kind)"
        if grid is not None:
            self.arrays[f"{me}_grid"] = grid
            self.layers.append(
                f'self.register_buffer("{me}_grid", torch.ones({grid.shape}, dtype=torch.float64))'
            )
            kept = f"to_grid({me}, self.{me}_grid).to(kind)"
        self.once.append(f'still["{me}"] = {kept}')
        gated = " * within(t, 0, steps)" if self.latency else ""
        self.lines.append(f'{me} = self.currents["{me}"]{gated}')

    def population(self, node: snn.Population, xs: Sequence[None]) -> None:
        self._neurons(node, node.neuron, self.names[node.name])

    def _neurons(self, node: snn.Population | snn.Readout, neuron: Any, me: str) -> None:
        code = entry(NEURONS, neuron, "runtime.engine.torch.neurons.NEURONS")(neuron)
        arrays = {"bias": _bias(node), **code.arrays}
        made = self._made(node, code.kind, arrays, **code.options)
        self._layer(node, made=made, arrays=arrays, me=me)
        self.lines.append(f"{me} = self.{me}({self.xs(node)[0]}, t, steps)")

    def max_pool(self, node: snn.MaxPool, xs: Sequence[None]) -> None:
        me, op = self.names[node.name], node.op
        windows = f"{op.kernel}, {op.strides}, {op.dilations}, {torch_pads(op.pads)}"
        shapes = f"{node.shape}, {np.shape(node.bias)}"
        made = f"MaxPool({shapes}, {windows}{self._window(node, _coding(node))})"
        self._layer(node, made=made, arrays={"bias": _bias(node)})
        self.lines.append(f"{me} = self.{me}({self.xs(node)[0]}, t, steps)")

    def delay(self, node: snn.Delay, xs: Sequence[None]) -> None:
        me = self.names[node.name]
        self._layer(node, made=f"Delay({node.steps})", arrays={})
        self.lines.append(f"{me} = self.{me}({self.xs(node)[0]})")

    def analog(self, node: snn.Analog, xs: Sequence[None]) -> None:
        """Its function is no part of the source: ``module`` gives it to the layer."""
        me, coding = self.names[node.name], _coding(node)
        given = {**coding, "lag": node.lag} if node.lag else coding
        shapes = "".join(f", {bias.shape}" for bias in node.biases)
        made = f"Island({node.shape}{shapes}{self._window(node, given)})"
        arrays = {f"bias{i}": Held(bias, "") for i, bias in enumerate(node.biases)}
        self._layer(node, made=made, arrays=arrays)
        self.lines.append(f"{me} = self.{me}({', '.join(self.xs(node))}, t, steps)")

    def readout(self, node: snn.Readout, xs: Sequence[None]) -> None:
        me = self.names[node.name]
        if node.mode == "count" and node.neuron is not None:
            neurons = self.identifiers.new(f"{me}_neurons")
            self._neurons(node, node.neuron, neurons)
            arrays = {"threshold": Held(node.neuron.v_threshold, "neuron.v_threshold")}
            first = {"first": self.onset[node.name]} if self.onset[node.name] else {}
            given = "".join(f", {k}={v}" for k, v in first.items())
            made = f"Mean({np.shape(node.neuron.v_threshold)}{given})"
            self._layer(node, made=made, arrays=arrays)
            self.lines.append(f"{me} = self.{me}({neurons}, t, steps)")
        else:
            arrays = {"bias": _bias(node)}
            made = self._made(node, "Readout", arrays, **_coding(node))
            self._layer(node, made=made, arrays=arrays)
            self.lines.append(f"{me} = self.{me}({self.xs(node)[0]}, t, steps)")
        self.answers.append(node.name)

    def text(self, steps: int) -> str:
        """The class, and what runs it."""
        given = ", ".join(self.names[node.name] for node in self.network.of(snn.Input))
        methods = [
            self._about(),
            [
                "def __init__(self):",
                "    super().__init__()",
                *_in(self.layers),
                "    self.reset()",
            ],
            _RESET.splitlines(),
            self._forward(given, steps),
            self._step(given, steps),
            self._still(given),
        ]
        lines = [line for method in methods for line in (*_in(method), "")]
        return "\n".join(["class Network(nn.Module):", *lines]).rstrip() + _TAIL

    def _about(self) -> list[str]:
        shapes = ", ".join(
            f"{self.names[n.name]} ({', '.join(map(str, ('batch', *n.shape)))})"
            for n in self.network.of(snn.Input)
        )
        late = f"Answers come {self.latency} steps after their input. " if self.latency else ""
        return [
            f'"""Inputs: {shapes}; samples as they were preprocessed for conversion.',
            "",
            "forward: the answers after every step, (steps, batch, ...). step: one time step of a",
            f"window of ``steps``. {late}A sample enters in every step of its window;",
            "call ``reset`` before the next.",
            '"""',
        ]

    def _forward(self, given: str, steps: int) -> list[str]:
        total = f"steps + {self.latency}" if self.latency else "steps"
        windows = [
            f"[{self.onset[name]} : {self.onset[name]} + steps]" if self.latency else ""
            for name in self.answers
        ]
        if len(windows) == 1:
            stacked = f"torch.stack(answers){windows[0]}"
        else:
            each = [f"torch.stack([a[{i}] for a in answers]){end}" for i, end in enumerate(windows)]
            stacked = f"({', '.join(each)})"
        return [
            f"def forward(self, {given}, steps={steps}):",
            "    self.reset()",
            f"    answers = [self.step({given}, steps) for _ in range({total})]",
            f"    return {stacked}",
        ]

    def _step(self, given: str, steps: int) -> list[str]:
        names = [self.names[name] for name in self.answers]
        return [
            f"def step(self, {given}, steps={steps}):",
            f"    if self.seen is None or any(a is not b for a, b in zip(self.seen, ({given},))):",
            f"        self.seen, self.currents = ({given},), self.still({given})",
            "    t, self.t = self.t, self.t + 1",
            *_in(self.lines),
            f"    return {names[0] if len(names) == 1 else '(' + ', '.join(names) + ')'}",
        ]

    def _still(self, given: str) -> list[str]:
        inputs = given.split(", ") if self.once else []
        return [
            f"def still(self, {given}):",
            '    """Currents that are the same in every step: once, in double precision."""',
            "    still = {}",
            *(f"    kind = {name}.dtype" for name in inputs[:1]),
            *(f"    {name} = {name}.double()" for name in inputs),
            *_in(self.once),
            "    return still",
        ]


def _coding(node: snn.MaxPool | snn.Analog | snn.Readout) -> dict[str, Any]:
    return {} if node.coding == "rate" else {"coding": node.coding.replace("-", "_")}


def _bias(node: snn.Population | snn.Readout | snn.MaxPool) -> Held:
    return Held(node.bias, "bias")


def _single(array: Array) -> Array:
    """As a layer holds it: PyTorch multiplies numbers of one precision only."""
    array = np.asarray(array)
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _in(lines: Sequence[str]) -> list[str]:
    """Lines one level further in."""
    return [f"    {line}" if line else "" for line in lines]


_RESET = """\
def reset(self):
    self.t, self.seen, self.currents = 0, None, {}
    for layer in self.modules():
        if isinstance(layer, Layer):
            layer.reset()"""
_TAIL = '''


def load(file=None):
    """The network with its weights, from the .npz file beside this one."""
    network = Network()
    with np.load(file or Path(__file__).with_suffix(".npz")) as arrays:
        known = {k: arrays[k] for k in arrays.files if "/" not in k}
    network.load_state_dict({k: torch.from_numpy(v) for k, v in known.items()})
    return network.eval()


def check(file=None):
    """Compares with what onnx2snn counted: how many neurons sent another number of spikes."""
    network, counts = load(file), {}

    def listen(name):
        def add(module, given, spikes):
            counts[name] = counts.get(name, 0) + spikes.double()

        return add

    with np.load(file or Path(__file__).with_suffix(".npz")) as arrays:
        kept = {k: torch.from_numpy(arrays[k]) for k in arrays.files if "/" in k}
    wanted = {k.partition("/")[2]: v for k, v in kept.items() if k.startswith("spikes/")}
    for name in wanted:
        getattr(network, name).register_forward_hook(listen(name))
    samples = [v for k, v in kept.items() if k.startswith("inputs/")]
    with torch.no_grad():
        answers = network(*samples, int(kept["steps/"]))
    other = {k: int((counts[k] != v).sum()) for k, v in wanted.items()}
    answers = answers if isinstance(answers, tuple) else (answers,)
    right = [v for k, v in kept.items() if k.startswith("answers/")]
    apart = [float((a[-1] - b).abs().max()) for a, b in zip(answers, right)]
    spikes = sum(int(v.abs().sum()) for v in wanted.values())
    return {"spikes": spikes, "neurons that differ": other, "answers differ by": max(apart)}


if __name__ == "__main__":
    print(check())
'''
