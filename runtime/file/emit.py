"""SpikingGraph -> executable ONNX graph: what stock ONNX Runtime runs.

Inputs of the emitted graph: one per network input, (batch, *shape), and ``steps`` (see ``naming``),
an int64 vector of length one. Outputs: one per readout, (steps, batch, *shape), the answer after
every step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ...errors import GraphError
from .. import graph as snn
from .. import ops
from ..facts import GraphFacts
from ..neurons import Neuron
from ..ops import Array, Shape
from ..semantics.constants import constant_currents
from ..semantics.windows import READ
from ..tables import entry, entry_named
from .changes import arguments_of, function_of
from .islands import island_function
from .naming import TOTAL, FileNames
from .neurons import NAME, NEURONS
from .neurons import integrate_and_fire as fn
from .neurons.paced import paced_readout
from .neurons.windowed import few_spike_readout, window_change, window_mean, window_sum
from .operations import Place, emit_op
from .opsets import OLDEST, ir_version, needed, raised

ENCODERS = {"rate": "RateEncode", "poisson": "PoissonEncode"}  # functions, of spiking inputs


def emit_graph(
    graph: snn.SpikingGraph, arrays: Mapping[str, Array], names: FileNames
) -> onnx.ModelProto:
    """The executable model of ``graph``; ``arrays`` become its initializers where read.

    Raises ModelError (E327) where an analog island has no form in the file's operation set.
    """
    emission = _Emission(graph, names)
    for node in graph.nodes:
        emission.visit(node)
    # ONNX Runtime warns of initializers that no node reads: those travel in the metadata.
    read = {name for node in emission.nodes for name in node.input}
    initializers = [
        numpy_helper.from_array(np.array(a, order="C"), n) for n, a in arrays.items() if n in read
    ]
    model_graph = helper.make_graph(
        emission.nodes,
        "spiking",
        emission.inputs,
        emission.outputs,
        [*initializers, *emission.constants.values()],
        value_info=emission.signals,
    )
    called = {node.op_type for node in emission.nodes if node.domain == fn.DOMAIN}
    functions = [made() for name, made in fn.TIME_FUNCTIONS.items() if name in called]
    functions += emission.functions.values()
    opset = helper.make_opsetid("", emission.opset)
    for function in functions:
        del function.opset_import[:]
        function.opset_import.append(opset)
    return helper.make_model(
        model_graph,
        functions=functions,
        opset_imports=[opset, helper.make_opsetid(fn.DOMAIN, 1)],
        ir_version=ir_version(emission.opset),
    )


def emit_chain(
    nodes: Sequence[snn.Synapse], sources: Sequence[str], shapes: Mapping[str, Shape]
) -> onnx.ModelProto:
    """A chain of synapses as a model of its own: sources (N, *shape) in, last synapse out."""
    protos: list[onnx.NodeProto] = []
    constants: dict[str, onnx.TensorProto] = {}

    def add(op: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        name = out or f"{op}_{len(protos)}"
        protos.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def constant(value: Array) -> str:
        name = f"constant_{len(constants)}"
        constants[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    for node in nodes:
        array = node.op.array
        weight = constant(getattr(node.op, array)) if array else ""
        at = Place(xs=node.inputs, out=node.name, weight=weight, add=add, constant=constant)
        emit_op(node.op, at)

    def info(name: str) -> onnx.ValueInfoProto:
        dims: list[str | int | None] = ["N", *shapes[name]]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)

    inputs, outputs = [info(s) for s in sources], [info(nodes[-1].name)]
    graph = helper.make_graph(protos, "chain", inputs, outputs, list(constants.values()))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OLDEST)], ir_version=9)


class _Emission(snn.Rules[None]):
    """The parts of an ONNX graph as they are collected, node by node."""

    def __init__(self, graph: snn.SpikingGraph, names: FileNames) -> None:
        self.names = names
        self.islands = {
            node.model: onnx.load_from_string(node.model) for node in graph.of(snn.Analog)
        }
        self.opset = needed(self.islands.values())
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.functions: dict[str, onnx.FunctionProto] = {}
        self.constant_signals: set[str] = set()  # the same in every step: no time axis
        self.repeated: dict[str, str] = {}
        self.inputs = [helper.make_tensor_value_info(names.steps, TensorProto.INT64, [1])]
        self.outputs: list[onnx.ValueInfoProto] = []
        self.signals: list[onnx.ValueInfoProto] = []
        facts = GraphFacts(graph)
        self.shapes = facts.shapes
        self.current = ""
        self.grids = constant_currents(facts).grids
        self.onset, self.latency = facts.onsets, facts.latency
        # Layers whose windows follow one another: every signal has the time of its own window.
        self.local = facts.windowed
        if self.local:
            self.onset, self.latency = dict.fromkeys(facts.onsets, 0), 0
        self.total = self._total_steps()

    def _total_steps(self) -> str:
        """The name of the number of simulated steps: ``steps`` and the start lags."""
        if not self.latency:
            return self.names.steps
        latency = self.constant(np.array([self.latency], np.int64))
        total = self.names.new(TOTAL)
        self.nodes.append(helper.make_node("Add", [self.names.steps, latency], [total]))
        return total

    def add(self, op: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        name = out or self.names.new(f"{self.current}/{op}_{len(self.nodes)}")
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def operation(self, op: ops.Operation, xs: Sequence[str], out: str, weight: str = "") -> None:
        emit_op(op, Place(xs=xs, out=out, weight=weight, add=self.add, constant=self.constant))

    def call(self, function: str, *inputs: str, out: str | None = None) -> str:
        return self.add(function, *inputs, out=out, domain=fn.DOMAIN)

    def named(self, function: str, node: str, part: str, *inputs: str) -> str:
        """A call that gives something of ``node``, named after it."""
        return self.call(function, *inputs, out=self.names.new(f"{node}/{part}"))

    def declare(self, name: str, shape: Shape, kind: int = TensorProto.FLOAT) -> None:
        """Say that value ``name`` is (steps * batch, *shape)."""
        dims: list[str | int | None] = [None, *shape]
        self.signals.append(helper.make_tensor_value_info(name, kind, dims))

    def constant(self, value: Array) -> str:
        value = np.asarray(value)
        text = "_".join(str(v) for v in value.ravel().tolist())
        key = f"const/{value.dtype}_{value.ndim}d_{text}"
        if key not in self.constants:
            self.constants[key] = numpy_helper.from_array(value, self.names.new(key))
        return self.constants[key].name

    def array(self, node: snn.Node, *fields: str) -> str:
        """The initializer of one of the node's arrays."""
        return self.names.array((node.name, *fields))

    def visit(self, node: snn.Node) -> None:
        self.current = node.name
        snn.visit(self, node, ())
        if not isinstance(node, snn.Input | snn.Readout):  # their values are declared there
            # ONNX Runtime's Scan needs the rank of what it scans, which it cannot always infer.
            self.declare(self.names.value(node.name), node.shape)

    def delay(self, node: snn.Delay, xs: Sequence[None]) -> None:
        if self.local:
            self.add("Identity", self._varying(node.inputs[0]), out=self.names.value(node.name))
            return
        amount = self.constant(np.array([node.steps], np.int64))
        source = self._varying(node.inputs[0])
        self.call("Delay", source, amount, self.total, out=self.names.value(node.name))

    def _varying(self, name: str) -> str:
        """The signal with a time axis."""
        if name not in self.constant_signals:
            return self.names.value(name)
        if name not in self.repeated:
            repeated = self.named("Repeat", name, "repeated", self.names.value(name), self.total)
            if self.latency:
                repeated = self.named("Window", name, "shown", repeated, *self._window(0))
            self.declare(repeated, self.shapes[name])
            self.repeated[name] = repeated
        return self.repeated[name]

    def _window(self, begin: int) -> tuple[str, str, str]:
        """Arguments of the functions that know a window: its first step, its length, all steps."""
        return self.constant(np.array([begin], np.int64)), self.names.steps, self.total

    def input(self, node: snn.Input, xs: Sequence[None]) -> None:
        info = helper.make_tensor_value_info(node.name, TensorProto.FLOAT, ["batch", *node.shape])
        self.inputs.insert(len(self.inputs) - 1, info)
        self.constant_signals.add(node.name)
        if node.encoding == "constant":
            return
        encode = entry_named(ENCODERS, node.encoding, name="runtime.file.emit.ENCODERS")
        spikes = self.named(encode, node.name, "spikes", node.name, self.total)
        if self.latency:
            spikes = self.named("Window", node.name, "shown", spikes, *self._window(0))
        self.declare(spikes, node.shape)
        self.repeated[node.name] = spikes

    def synapse(self, node: snn.Synapse, xs: Sequence[None]) -> None:
        # An encoded input is not constant: its spikes are in ``repeated`` from the start.
        constant = all(n in self.constant_signals and n not in self.repeated for n in node.inputs)
        sources = [self.names.value(n) if constant else self._varying(n) for n in node.inputs]
        if constant:
            self.constant_signals.add(node.name)
        weight = self._weights(node) if node.op.array else ""
        grid = self.grids.get(node.name)
        value = self.names.value(node.name)
        out = value if grid is None else self.names.new(f"{node.name}/exact")
        self.operation(node.op, sources, out, weight)
        if grid is not None:
            self._round(out, grid, out=value)

    def _weights(self, node: snn.Synapse) -> str:
        """The initializer of an operation's numbers, or what a change makes of the ANN's."""
        name = self.array(node, "op", node.op.array)
        if node.change is not None:
            function = function_of(node.change)
            self.functions.setdefault(function.name, function)
            fields = arguments_of(node.change)
            arrays = [self.array(node, "ann_op", node.op.array)]
            arrays += [self.array(node, "change", field) for field in fields]
            self.call(function.name, *arrays, out=name)
            shape = np.shape(getattr(node.op, node.op.array))
            self.signals.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def _round(self, name: str, grid: Array, *, out: str) -> None:
        """A constant current to whole steps of its ``grid``, as in the engines: in single precision
        all but a few then are the same numbers, and so are the spikes."""
        sizes = {"grid": grid, "steps": 1 / grid}
        at = {key: self.names.new(f"{out}/{key}") for key in sizes}
        for key, values in sizes.items():
            constant = numpy_helper.from_array(values.astype(np.float32), at[key])
            self.constants[at[key]] = constant
        whole = self.add("Round", self.add("Mul", name, at["steps"]))
        self.add("Mul", whole, at["grid"], out=out)

    def population(self, node: snn.Population, xs: Sequence[None]) -> None:
        self._neurons(node, node.neuron, self.names.value(node.name))

    def _neurons(self, node: snn.Population | snn.Readout, p: Neuron, out: str) -> None:
        form = entry(NEURONS, p, NAME)
        if form.windowed == "never" and self.latency:
            raise GraphError(
                f"neurons of the model '{p.name}' have no ONNX form in a network with start lags",
                where=f"node '{node.name}'",
            )
        windowed = form.windowed == "always" or (form.windowed == "lagged" and bool(self.latency))
        function = form.function(p, windowed)
        self.functions.setdefault(function.name, function)
        arguments = [self._varying(node.inputs[0])]
        arguments += [self.array(node, *path.split(".")) for path in form.arguments]
        arguments.append(self.total)
        if windowed:
            begin = max(self.onset[n] for n in node.inputs)
            fire = self.constant(np.array([self.onset[node.name]], np.int64))
            arguments += [self.constant(np.array([begin], np.int64)), fire, self.names.steps]
        bounds = [getattr(p, field) for field in form.bounds]
        arguments += [self.constant(np.asarray(b, np.float32)) for b in bounds if b is not None]
        self.call(function.name, *arguments, out=out)

    def _decoded(self, name: str) -> str:
        """The running mean of a differential signal."""
        changes = self.call("RunningMean", self._varying(name), self.total)
        return self.call("Accumulate", changes, self._zero(), self.total)

    def _as_differential(self, mean: str, *, out: str) -> None:
        """The differential signal whose running mean is ``mean``."""
        change = self.call("Difference", mean, self.total)
        self.call("FromMean", change, self.total, out=out)

    def _accumulated(self, name: str, *, bias: str, begin: int = 0) -> str:
        """The running sum of a signal and a bias that arrive in the window from ``begin`` on."""
        if self.latency:
            window = self._window(begin)
            return self.call("AccumulateWindow", self._varying(name), bias, *window)
        return self.call("Accumulate", self._varying(name), bias, self.total)

    def _zero(self) -> str:
        return self.constant(np.zeros((), np.float32))

    def _of_window(self, function: onnx.FunctionProto, *inputs: str, out: str | None = None) -> str:
        """A call of a function of a signal's whole window."""
        self.functions.setdefault(function.name, function)
        return self.call(function.name, *inputs, self.total, out=out)

    def _check_local(self, node: snn.Node) -> None:
        if not self.local:
            raise GraphError(
                "what reads whole windows has no ONNX form where windows overlap",
                where=f"node '{node.name}'",
            )

    def max_pool(self, node: snn.MaxPool, xs: Sequence[None]) -> None:
        out = self.names.value(node.name)
        bias = self.array(node, "bias") if np.any(node.bias) else self._zero()
        pooled = self.names.new(f"{node.name}/pooled")
        if node.coding in READ:
            self._check_local(node)
            digits = node.coding == "few-spike"
            sums = self._of_window(window_sum(digits), self._varying(node.inputs[0]), bias)
            self._pooled(node, sums, out=pooled)
            change = window_change(digits)
            self._of_window(change, pooled, out=out)
            return
        if node.coding == "differential":
            mean = self.add("Add", self._decoded(node.inputs[0]), bias)
            self._pooled(node, mean, out=pooled)
            self._as_differential(pooled, out=out)
            return
        sums = self._accumulated(node.inputs[0], bias=bias, begin=self.onset[node.name])
        self._pooled(node, sums, out=pooled)
        self.call("Difference", pooled, self.total, out=out)

    def _pooled(self, node: snn.MaxPool, total: str, *, out: str) -> None:
        """The maxima of ``total``, whose shape ONNX does not find behind a function of a window."""
        kind = TensorProto.DOUBLE if node.coding in READ else TensorProto.FLOAT
        self.declare(total, self.shapes[node.inputs[0]], kind)
        self.operation(node.op, [total], out)
        self.declare(out, node.shape, kind)

    def analog(self, node: snn.Analog, xs: Sequence[None]) -> None:
        out = self.names.value(node.name)
        if node.coding in READ:
            self._check_local(node)
        elif self.latency or node.lag:
            raise GraphError(
                "a start lag before an analog island has no ONNX form",
                where=f"node '{node.name}'",
            )
        name = f"Island_{len(self.functions)}"
        self.functions[name] = island_function(
            node, name, raised(self.islands[node.model], self.opset)
        )
        means = []
        for i, source in enumerate(node.inputs):
            biased = bool(node.biases) and np.any(node.biases[i])
            bias = self.array(node, "biases", str(i)) if biased else self._zero()
            if node.coding in READ:
                decode = window_mean(node.coding == "few-spike")
                means.append(self._of_window(decode, self._varying(source), bias))
                continue
            if node.coding == "differential":
                means.append(self.add("Add", self._decoded(source), bias))
                continue
            sums = self._accumulated(source, bias=bias)
            means.append(self.call("RunningMean", sums, self.total))
        if node.coding in READ:  # sent as a constant current
            self.call(name, *means, out=out)
            self.constant_signals.add(node.name)
            return
        mean = self.named(name, node.name, "mean", *means)
        if node.coding == "differential":
            self._as_differential(mean, out=out)
            return
        total = self.call("FromMean", mean, self.total)
        self.call("Difference", total, self.total, out=out)

    def readout(self, node: snn.Readout, xs: Sequence[None]) -> None:
        out = self.names.value(node.name)
        bias = self.array(node, "bias")
        if node.mode == "count" and node.neuron is not None:
            counts = self.names.new(f"{node.name}/counts")
            self._neurons(node, node.neuron, counts)
            self.declare(counts, node.shape)
            threshold = self.array(node, "neuron", "v_threshold")
            signal, bias = self.add("Mul", counts, threshold), self._zero()
        elif node.coding == "differential":
            total = self.call("FromMean", self._decoded(node.inputs[0]), self.total)
            signal = self.call("Difference", total, self.total)
        else:
            signal = self._varying(node.inputs[0])
        if node.coding == "few-spike":
            self._check_local(node)
            self.functions.setdefault("FewSpikeReadout", few_spike_readout())
            self.call("FewSpikeReadout", signal, bias, self.total, out=out)
        elif self.latency or node.coding == "paced":
            begin = self.constant(np.array([self.onset[node.name]], np.int64))
            kind = "ReadoutWindow"
            if node.coding == "paced":
                kind = "PacedReadout"
                self.functions.setdefault(kind, paced_readout())
            self.call(kind, signal, bias, begin, self.names.steps, self.total, out=out)
        else:
            self.call("Readout", signal, bias, self.total, out=out)
        shape: list[str | int | None] = ["steps", "batch", *node.shape]
        self.outputs.append(helper.make_tensor_value_info(out, TensorProto.FLOAT, shape))
