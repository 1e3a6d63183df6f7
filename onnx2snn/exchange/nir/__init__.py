"""NIR, the Neuromorphic Intermediate Representation (Pedersen et al. 2024): out, and in again.

A file is written only after an interpreter that reads nothing else (``execute``) has sent the
engine's spikes with it, neuron by neuron.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import GraphError, ModelError, UsageError
from ...evaluation.written import effort
from ...provenance import Provenance
from ...results.marks import Kind
from ...runtime.facts import GraphFacts
from ...runtime.graph import Input, SpikingGraph
from ...runtime.ops import Array
from ...runtime.semantics.encoding import encode
from ...spelling import spelled
from ..counts import Done, count, samples, window
from ..format import Choices, Format, Written
from ..refusal import refuse, refuse_inexact
from .build import network_of
from .execute import Ran, execute
from .read import read, wrong
from .write import NirGraph, nir_graph

MOST_STEPS = 32  # of the check
NEAR = 0.99  # where sums are rounded: the share of neurons that must send the same
KEPT = ("recipe", "preprocessing", "source", "sha256", "T")  # of what an exported file says
TOLERANCE, ROUGH = 1e-9, 0.05  # of an answer, relative to the largest; where sums are rounded


def needed() -> Any:
    """The package ``nir``. Raises UsageError where it is not installed."""
    try:
        import nir
    except ImportError:
        raise UsageError(
            "NIR files need the package nir", remedy="Install it: pip install 'onnx2snn[nir]'."
        ) from None
    return nir


def _write(network: SpikingGraph, name: str, choices: Choices) -> Written:
    nir = needed()
    made = nir_graph(network)
    refuse("nir", made.never)
    if made.declared and not choices.approximate:
        refuse(
            "nir",
            made.declared,
            remedy=f"{spelled('approximate', True)} writes them all the same, with this convention "
            "declared in the file's metadata; tools that do not read it do something else.",
        )
    notes = refuse_inexact("nir", network, choices.approximate)
    content = _content(nir, made)
    graph = nir.read(io.BytesIO(content), type_check=False)
    check(network, made.names, graph, least=NEAR if notes else 1.0)
    if made.declared:
        kinds = sorted({part for _, why in made.declared for part in why.split("; ")})
        notes += (f"declared in the metadata alone: {', '.join(kinds)}",)
    return Written(contents={name: content}, notes=notes)


def _content(nir: Any, made: NirGraph) -> bytes:
    """The file. A reset to zero, which is what NIR means without one, is left out: nir 1.0.4 reads
    no other."""
    import h5py

    out = io.BytesIO()
    nir.write(out, made.graph)
    with h5py.File(out, "r+") as file:
        for node in file["node/nodes"].values():
            if "v_reset" in node and not np.any(node["v_reset"][()]):
                del node["v_reset"]
    return out.getvalue()


def check(
    network: SpikingGraph,
    names: Mapping[str, str],
    graph: Any,
    *,
    least: float = 1.0,
    dt: float | None = None,
) -> None:
    """Raise GraphError (E431) unless ``graph``, run by ``execute``, sends the spikes of ``network``
    and gives its answers; ``names``: its nodes by those of the network. ``least``: the share of a
    population's neurons that must send the same, where sums are not exact; ``dt``: see
    ``execute``."""
    number, fitting = effort(network)
    steps = max(1, min(window(network), fitting, MOST_STEPS)) if number else 1
    given = samples(network, max(number, 1))
    done = count(network, given, steps)
    feed = _feed(network, names, given, steps)
    onsets = GraphFacts(network).onsets
    late = {new: onsets.get(name, 0) for name, new in names.items()}
    ran = execute(graph, feed, steps, late=late, dt=dt)
    wrong = [
        f"'{name}' ({int(np.sum(ran.spikes[names[name]] != spikes))} of {spikes.size} neurons)"
        for name, spikes in done.spikes.items()
        if np.mean(ran.spikes[names[name]] == spikes) < least
    ]
    wrong += [f"output '{k}' (not finite)" for k, x in done.answers.items() if _wild(x)]
    tolerance = TOLERANCE if least == 1 else ROUGH
    wrong += _other_answers(network, names, done, ran, tolerance=tolerance)
    if wrong:
        raise GraphError(
            f"the file does not do what the network does: {', '.join(wrong)} differ",
            remedy="Nothing was written.",
            code="E431",
        )


def _wild(x: Array) -> bool:
    return not np.all(np.isfinite(x))


def _other_answers(
    network: SpikingGraph, names: Mapping[str, str], done: Done, ran: Ran, *, tolerance: float
) -> list[str]:
    if GraphFacts(network).latency:
        return []  # answers are those of a window
    out = []
    for name, answer in done.answers.items():
        node: Any = network[name]
        unit = 1.0 if node.neuron is None else node.neuron.v_threshold.astype(np.float64)
        found = ran.outputs[names[name]] / done.steps * unit
        if np.abs(found - answer).max() > tolerance * max(1.0, float(np.abs(answer).max())):
            out.append(f"output '{name}'")
    return out


def _feed(
    network: SpikingGraph, names: Mapping[str, str], given: Mapping[str, Array], steps: int
) -> Callable[[str, int], Array]:
    """What an input of the file sends in a step."""
    inputs = {names[node.name]: node for node in network.of(Input)}

    def feed(name: str, t: int) -> Array:
        node = inputs[name]
        x = given[node.name]
        if t >= steps:
            return np.zeros_like(x)
        return encode(node, x, first_step=t, steps=1, seed=0, offset=0)[0]

    return feed


def import_nir(path: Path, *, steps: int | None = None, dt: float | None = None) -> SpikingGraph:
    """The network in a NIR file; see ``exchange.import_network``."""
    needed()
    file = read(path)
    known = {k: file.about[k] for k in KEPT if k in file.about}
    here = {"path": path.name, "sha256": file.sha256}
    meta = {"source": here, **known, "notes": [f"imported from the NIR file {path.name}"]}
    if steps is not None:
        meta["T"] = steps
    try:
        network = network_of(file, dt=dt, meta=meta)
        _check_provenance(network)
        names = {node.name: node.name for node in network.nodes}
        check(network, names, file.graph, least=NEAR, dt=dt)
    except (ModelError, GraphError) as error:
        error.where = str(path)
        raise
    return network


def _check_provenance(network: SpikingGraph) -> None:
    """Raise ModelError (E340) where the metadata say of their source what cannot be."""
    try:
        Provenance.of(network)
    except ModelError as error:
        raise wrong(f"its metadata 'onnx2snn' are damaged ({error.what})") from error


NIR = Format(
    name="nir",
    summary="the Neuromorphic Intermediate Representation",
    files=lambda name: {name: Kind.NIR},
    write=_write,
    takes=frozenset(("approximate",)),
)

__all__ = ["NIR", "check", "import_nir", "needed"]
