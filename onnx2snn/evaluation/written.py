"""The content of a converted file, once stock ONNX Runtime has given the engine's numbers with it.

Both sum in single precision and in their own order. Where sums are not exact (``is_exact``) a
neuron may fire a step earlier in one of them, and behind many layers all that follows differs
(EfficientNet-Lite0, recipe signed: the answers of file and engine, and of two engines, are the same
for 3 to 6 steps and differ by 10 to 20 % then, both 37 % off the ANN's after 13). Such a file must
give the same until its answers have begun to move, or be as near to the ANN as the engine is; one
that is written wrongly (other operations, other weights) is off by far more.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from ..converter.lowering.grid import is_exact
from ..errors import ModelError
from ..runtime.engine import simulate
from ..runtime.facts import GraphFacts
from ..runtime.file import to_bytes
from ..runtime.graph import Input, SpikingGraph
from ..runtime.onnx_runtime import onnx_runtime
from ..runtime.ops import Array
from ..runtime.semantics.analog import run_analog

SAMPLES = 2
STEPS = 16
LARGEST = 2**25  # numbers in the largest signal of all steps and samples
MOST_NUMBERS = 2**29  # in all signals of one sample and step: some ten seconds
MOST_NODES = 4000  # ONNX Runtime loads 3,000 nodes in 2 seconds, 15,000 in a minute
TOLERANCE = 0.1  # of the answers' norm
UNCHECKED = (
    "the converted file was not run in ONNX Runtime before it was written: the network is too large"
)
FEWER = "the network is large: the converted file was run in ONNX Runtime with no more than"
# Where sums are not exact: how many times the engine's distance from the ANN, and of its answers'
# norm while there was no time to part.
AS_NEAR, AT_FIRST = 1.25, 1e-3


def checked_bytes(
    network: SpikingGraph,
    inputs: Mapping[str, Array] | None = None,
    form: Callable[[SpikingGraph], bytes] | None = None,
) -> bytes:
    """What to write for ``network``.

    Parameters:
        inputs: samples (count, *shape) by input, of which two are tried; None draws some.
        form: what makes the content of the file, for ONNX Runtime; None: ``to_bytes``.

    Warns where the network is so large that nothing is run, or one sample only. Raises ModelError
    (E326) where ONNX Runtime does not run it or gives other numbers.
    """
    form = form or to_bytes
    content = form(network)
    count, steps = effort(network)
    if not count:
        warnings.warn(UNCHECKED, stacklevel=2)
        return content
    if count < SAMPLES:
        warnings.warn(f"{FEWER} {count} sample(s) and {steps} step(s)", stacklevel=2)
    samples = {name: x[:count] for name, x in _samples(network, inputs).items()}
    found = _stock(content, samples, steps)
    random = [node for node in network.of(Input) if node.encoding == "poisson"]
    if random:  # other spikes in every run: the rest is the same with even ones
        network = network.with_nodes(replace(node, encoding="rate") for node in random)
        found = _stock(form(network), samples, steps)
    engine = simulate(network, samples, steps).readouts
    analog = run_analog(network, samples)
    for file, (name, ours) in zip(found, engine.items(), strict=True):
        _compare(name, file, ours=ours, analog=analog[name], exact=lambda: is_exact(network))
    return content


def _samples(network: SpikingGraph, inputs: Mapping[str, Array] | None) -> dict[str, Array]:
    if inputs is not None:
        return {name: np.asarray(x[:SAMPLES], np.float32) for name, x in inputs.items()}
    rng = np.random.default_rng(0)
    return {n.name: rng.random((SAMPLES, *n.shape), np.float32) for n in network.of(Input)}


def effort(network: SpikingGraph) -> tuple[int, int]:
    """Samples and steps to try: as many steps as the network was made for, if their signals fit
    into memory, at most ``STEPS``; fewer samples where no step would fit; (0, 0) where that would
    take more than some ten seconds."""
    sizes = [prod(node.shape) for node in network.nodes]
    latency = GraphFacts(network).latency
    if len(sizes) > MOST_NODES or sum(sizes) * (1 + latency) > MOST_NUMBERS:
        return 0, 0
    fitting = LARGEST // (max(sizes) * SAMPLES) - latency
    if fitting < 1:
        return 1, 1
    return SAMPLES, min(int(network.meta.get("T", STEPS)), STEPS, fitting)


def _stock(content: bytes, samples: Mapping[str, Array], steps: int) -> list[Array]:
    """The outputs (steps, samples, *shape) of the file in ONNX Runtime, in their order."""
    ort = onnx_runtime()
    options: Any = ort.SessionOptions()
    options.log_severity_level = 4  # what it says is in the error
    try:
        session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        last = session.get_inputs()[-1].name
        outputs: list[Array] = session.run(None, {**samples, last: np.array([steps], np.int64)})
    except Exception as error:
        text = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise _refused(f"ONNX Runtime does not run the converted file: {text[:300]}") from error
    return outputs


def _compare(
    name: str, file: Array, *, ours: Array, analog: Array, exact: Callable[[], bool]
) -> None:
    """Raise ModelError where the file's answers are not the engine's, or, where sums are not
    ``exact``, have nothing of them."""
    same = file.shape == ours.shape and np.array_equal(np.isfinite(file), np.isfinite(ours))
    error = float("inf")
    if same:
        finite = np.isfinite(ours)
        scale = np.sqrt(len(ours)) * np.linalg.norm(np.nan_to_num(analog))
        size = max(float(np.linalg.norm(ours[finite])), float(scale), 1e-9)
        error = float(np.linalg.norm(file[finite] - ours[finite])) / size
    if same and error > TOLERANCE and not exact():  # NaN is never near
        near = _as_near(file[-1], ours=ours[-1], analog=analog)
        error *= not (near or _begin_the_same(file, ours=ours))
    if not error <= TOLERANCE:
        how = f"differ by {100 * error:.3g} %" if same else "have another shape, or are no numbers"
        raise _refused(
            f"the converted file does not give the engine's answers in ONNX Runtime: those of "
            f"'{name}' {how}"
        )


def _begin_the_same(file: Array, *, ours: Array) -> bool:
    """Whether the answers (steps, ...) are the same until the engine's have moved."""
    moved = np.flatnonzero([np.any(now != ours[0]) for now in ours])
    until = int(moved[0]) + 1 if len(moved) else 0
    apart = float(np.linalg.norm(file[:until] - ours[:until]))
    return until > 0 and apart <= AT_FIRST * float(np.linalg.norm(ours[:until]))


def _as_near(file: Array, *, ours: Array, analog: Array) -> bool:
    """Whether the last answers are as near to the ANN's as the engine's, and both are near."""
    size = float(np.linalg.norm(analog))
    far, near = (float(np.linalg.norm(x - analog)) for x in (file, ours))
    allowed = AS_NEAR * near + TOLERANCE * size
    return far <= allowed < size


def _refused(what: str) -> ModelError:
    return ModelError(
        what,
        remedy="Nothing was written. `onnx2snn check` names the analog parts, the likely cause; "
        "please report it.",
        code="E326",
    )
