"""A network on one sample for SANA-FE's model of Loihi: its neurons, synapses and mapping in YAML.

SANA-FE (Boyle et al. 2025, GPL) simulates a mapped network step by step and adds up energy and
time; it stays outside. What its Loihi model does otherwise, the file makes up for, exactly:

* It computes in whole numbers (potentials are cut to 1/64): every neuron's weights, threshold and
  biases are given in units of the finest power of two among them.
* A neuron fires above its threshold: potentials begin 1/2 higher, since they are whole otherwise.
* Potentials begin at 0: the input neuron ``start`` sends what they begin with, in step 1 or, where
  that could make a neuron fire before its window, just before it.
* A spike arrives one step later: layer l (from 0) does in steps l + 2 .. l + 1 + T what ours does
  in 1 .. T. What a bias adds before is taken from the first potential; where a bias alone would
  make a neuron fire, the input neuron ``drive`` sends it in the window.

The first layer's current, which the sample makes, is its neurons' bias.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from ..errors import GraphError, UsageError
from ..results.marks import TEXT_MARK, Kind
from ..runtime.facts import GraphFacts, Identifiers
from ..runtime.graph import Delay, Input, MaxPool, Population, Readout, SpikingGraph, Synapse
from ..runtime.neurons import NeuronParams
from ..runtime.ops import Array
from ..runtime.semantics.constants import constant_currents
from ..spelling import spelled
from .counts import window
from .format import Choices, Format, Written
from .refusal import refuse, refuse_inexact

PER_CORE, CORES, PER_TILE = 1024, 128, 4  # of SANA-FE's loihi.yaml
MOST_SYNAPSES = 2_000_000  # of a file that can still be read
MOST_ENTRIES = 2**27  # of a layer's matrix
UNITS = (
    "soma_hw_name: loihi_lif, dendrite_hw_name: loihi_dendrites, "
    "synapse_hw_name: loihi_dense_synapse"
)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Layer:
    """Neurons in whole numbers: per neuron ``threshold``, ``start`` and ``bias`` (per step);
    ``sources``: (source group, matrix (sources, neurons)); ``depth``: of layers before it."""

    name: str
    depth: int
    threshold: Array
    start: Array
    bias: Array
    sources: Sequence[tuple[str, Array]]


def _write(network: SpikingGraph, name: str, choices: Choices) -> Written:
    if choices.sample is None:
        raise UsageError(
            f"a file for SANA-FE holds one sample: {spelled('sample')} is missing",
            remedy="Give DATA, whose first sample is taken.",
        )
    refuse("sanafe", list(_unsayable(network)))
    notes = refuse_inexact("sanafe", network, choices.approximate)
    layers = _layers(network, choices.sample)
    steps = window(network)
    if sum(sum(np.count_nonzero(m) for _, m in layer.sources) for layer in layers) > MOST_SYNAPSES:
        raise GraphError(
            f"the network has more than {MOST_SYNAPSES:,} synapses, one line of the file each",
            remedy="Nothing was written.",
            code="E430",
        )
    cores = 1 + sum(-(-len(layer.threshold) // PER_CORE) for layer in layers)
    if cores > CORES:
        raise GraphError(
            f"the network needs {cores} cores, and SANA-FE's chip has {CORES}",
            remedy="Nothing was written.",
            code="E430",
        )
    text = "\n".join([*_network(layers, steps), *_mappings(layers), ""])
    windows = "; ".join(
        f"{layer.name} in steps {layer.depth + 2} to {layer.depth + 1 + steps}" for layer in layers
    )
    notes += (f"simulate {steps + layers[-1].depth + 1} steps, and count {windows}",)
    return Written(contents={name: text.encode()}, notes=notes)


def _unsayable(network: SpikingGraph) -> Iterator[tuple[str, str]]:
    for node in network.nodes:
        if isinstance(node, Input) and node.encoding != "constant":
            yield node.name, f"an input that is encoded ('{node.encoding}')"
        elif isinstance(node, Population):
            more = node.neuron.traits - {"if", "subtract", "v_init"}
            if type(node.neuron) is not NeuronParams or more:
                yield node.name, f"neurons with {', '.join(sorted(more))}"
        elif isinstance(node, Readout) and (node.mode, node.coding) != ("membrane", "rate"):
            yield node.name, "an output that counts or weighs spikes"
        elif not isinstance(node, Input | Synapse | Readout):
            kinds = {MaxPool: "a max pool", Delay: "a delay"}
            yield node.name, kinds.get(type(node), "an analog island")


def _layers(network: SpikingGraph, sample: Mapping[str, Array]) -> list[_Layer]:
    """The populations with spiking sources or a constant current, and the outputs, in order."""
    facts = GraphFacts(network)
    first = {name: np.asarray(x[:1], np.float32) for name, x in sample.items()}
    currents = constant_currents(facts).of(first)
    values = {**{n.name: first[n.name].astype(np.float64) for n in network.of(Input)}, **currents}
    names = Identifiers(network, ("start", "drive")).of
    depth: dict[str, int] = {}
    out = []
    for node in network.nodes:
        if not isinstance(node, Population | Readout):
            continue
        current, matrices = _reached(network, facts, node.inputs[0], values)
        depths = {depth[source] for source in matrices}
        if len(depths) > 1 or (depths and np.any(current)):
            raise GraphError(
                f"the format sanafe cannot say node '{node.name}': it reads layers of several "
                "depths, whose spikes arrive in different steps",
                remedy="Nothing was written.",
                code="E430",
            )
        depth[node.name] = max(depths, default=-1) + 1
        made = _whole(node, current, matrices)
        sources = [(names[k], m) for k, m in made[3].items()]
        out.append(
            _Layer(
                name=names[node.name], depth=depth[node.name], threshold=made[0], start=made[1],
                bias=made[2], sources=sources,
            )
        )  # fmt: skip
    return out


def _reached(
    network: SpikingGraph, facts: GraphFacts, name: str, values: Mapping[str, Array]
) -> tuple[Array, dict[str, Array]]:
    """What reaches a node: its constant part, flat, and the matrix from every population."""
    if name in values:
        return np.asarray(values[name], np.float64).ravel(), {}
    node = network[name]
    count = prod(node.shape)
    if isinstance(node, Population):
        return np.zeros(count), {name: np.eye(count)}
    assert isinstance(node, Synapse)
    parts = [_reached(network, facts, source, values) for source in node.inputs]
    shapes = [facts.shapes[source] for source in node.inputs]

    def apply(at: int, rows: Array) -> Array:
        given = [np.zeros((len(rows), *shape)) for shape in shapes]
        given[at] = rows.reshape(len(rows), *shapes[at])
        return np.asarray(node.op.apply(*given), np.float64).reshape(len(rows), -1)

    constant = np.zeros(count)
    matrices: dict[str, Array] = {}
    for at, (fixed, found) in enumerate(parts):
        constant = constant + apply(at, fixed[np.newaxis])[0]
        for source, matrix in found.items():
            if len(matrix) * count > MOST_ENTRIES:
                raise GraphError(
                    f"node '{name}' connects too many neurons to list its synapses",
                    remedy="Nothing was written.",
                    code="E430",
                )
            matrices[source] = matrices.get(source, 0) + apply(at, matrix)
    return constant, matrices


def _whole(
    node: Population | Readout, current: Array, matrices: Mapping[str, Array]
) -> tuple[Array, Array, Array, dict[str, Array]]:
    """Threshold, first potential, bias, weights in units of each neuron's finest power of two."""
    shape, count = node.shape, prod(node.shape)

    def flat(value: Array) -> Array:
        return np.broadcast_to(np.asarray(value, np.float64), shape).ravel()

    bias = current + flat(node.bias)
    silent = isinstance(node, Readout) or node.neuron is None
    threshold = np.zeros(count) if silent else flat(node.neuron.v_threshold)  # type: ignore[union-attr]
    start = np.zeros(count) if silent else flat(node.neuron.v_init)  # type: ignore[union-attr]
    finest = np.min(
        [_lowest_bit(x) for x in (bias, threshold, start)]
        + [_lowest_bit(m).min(axis=0) for m in matrices.values()],
        axis=0,
    )
    unit = 2.0 ** -np.where(np.isfinite(finest), finest, 0)
    numbers = {name: matrix * unit for name, matrix in matrices.items()}
    most = max([np.abs(bias * unit).max(), *(np.abs(m).max(initial=0) for m in numbers.values())])
    if most >= 2**24:
        raise GraphError(
            f"node '{node.name}' has weights that are no whole numbers of one small unit",
            remedy="Nothing was written.",
            code="E430",
        )
    limit = np.full(count, 2.0**40) if silent else threshold * unit
    return limit, start * unit, bias * unit, numbers


def _lowest_bit(x: Array) -> Array:
    """The exponent of the lowest bit that is set; infinite of 0."""
    mantissa, exponent = np.frexp(x)
    whole = (mantissa * 2.0**53).astype(np.int64)
    low = (whole & -whole).astype(np.float64)
    with np.errstate(divide="ignore"):
        return np.where(whole == 0, np.inf, exponent - 53 + np.log2(low))


def _n(value: float) -> str:
    return f"{value:.17g}"


def _network(layers: Sequence[_Layer], steps: int) -> Iterator[str]:
    yield f"# {TEXT_MARK} For the Loihi model of SANA-FE 2.2: sanafe.load_loihi()."
    yield "network:"
    yield "  name: onnx2snn"
    yield "  groups:"
    depths = sorted({layer.depth for layer in layers})
    yield "    - name: start"
    yield "      attributes: [log_spikes: false]"
    yield "      neurons:"
    for depth in depths:  # neuron l sends just before layer l's window
        yield f"        - {depth}: [spikes: [{', '.join(['0'] * depth + ['1'])}]]"
    yield "    - name: drive"
    yield "      attributes: [log_spikes: false]"
    yield "      neurons:"
    for depth in depths:
        yield f"        - {depth}: [spikes: [{', '.join(['0'] * depth + ['1'] * steps)}]]"
    edges: list[str] = []
    for layer in layers:
        yield f"    - name: {layer.name}"
        yield (
            "      attributes: [log_spikes: true, reset_mode: soft, leak_decay: 1.0, "
            f"input_decay: 0.0, reverse_reset_mode: none, force_update: true, {UNITS}]"
        )
        yield "      neurons:"
        driven = layer.bias > layer.threshold
        steady = np.where(driven, 0.0, layer.bias)
        for i, (threshold, bias) in enumerate(zip(layer.threshold, steady, strict=True)):
            yield f"        - {i}: [threshold: {_n(threshold)}, bias: {_n(bias)}]"
        edges += _edges(layer, driven=driven, steady=steady)
    yield "  edges:"
    yield from edges


def _edges(layer: _Layer, *, driven: Array, steady: Array) -> Iterator[str]:
    start = layer.start + 0.5 - (layer.depth + 1) * steady
    sender = np.where(steady < 0, layer.depth, 0)  # late, or a falling bias would seem to fire
    for at, value in enumerate(start):
        yield f"    - start.{sender[at]} -> {layer.name}.{at}: [weight: {_n(value)}]"
    for i in np.flatnonzero(driven):
        yield f"    - drive.{layer.depth} -> {layer.name}.{i}: [weight: {_n(layer.bias[i])}]"
    for source, matrix in layer.sources:
        for a, b in zip(*np.nonzero(matrix), strict=True):
            yield f"    - {source}.{a} -> {layer.name}.{b}: [weight: {_n(matrix[a, b])}]"


def _mappings(layers: Sequence[_Layer]) -> Iterator[str]:
    """Input neurons on a core of their own, then layer after layer, each from a new core on."""
    yield "mappings:"
    depths = sorted({layer.depth for layer in layers})
    for at, name in enumerate(f"{kind}.{d}" for kind in ("start", "drive") for d in depths):
        yield f'  - {name}: [core: 0.0, soma: "loihi_inputs[{at}]"]'
    core = 1
    for layer in layers:
        for begin in range(0, len(layer.threshold), PER_CORE):
            end = min(begin + PER_CORE, len(layer.threshold)) - 1
            where = f"{core // PER_TILE}.{core % PER_TILE}"
            yield f"  - {layer.name}.{begin}..{end}: [core: {where}]"
            core += 1


SANAFE = Format(
    name="sanafe",
    summary="one sample for SANA-FE's model of Loihi, in YAML",
    files=lambda name: {name: Kind.SANAFE},
    write=_write,
    takes=frozenset(("approximate", "sample")),
)
