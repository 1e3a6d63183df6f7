"""Whether the frontend understands a network: analog mode against ONNX Runtime, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path

import numpy as np

from ..converter.ann.evaluate import ann_outputs
from ..converter.ann.graph import Input as AnnInput
from ..converter.ann.passes import default_passes, run_passes
from ..converter.frontend import LoadedModel, Reference, TensorInfo, import_onnx, load_onnx
from ..converter.lowering.fold_thresholds import set_thresholds
from ..converter.lowering.lower import lower
from ..converter.statistics.measure import channel_axis
from ..runtime.facts import GraphFacts
from ..runtime.graph import Population, Readout, SpikingGraph
from ..runtime.neurons import NeuronParams
from ..runtime.ops import Array
from ..runtime.semantics.analog import run_analog

TOLERANCE = 1e-4  # of a tensor's range
# Both sides sum in single precision and in their own order. That leaves differences of some 1e-7 of
# what is summed: a tensor that is constant, or cancels to nothing, has them without any range.
# Ranges are therefore taken as at least 0.01 (terms of order 1: 1e-6 is let pass, 8 units in the
# last place of 1) and at least 0.01 of the largest value.
SMALLEST = 0.01


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerCheck:
    """One tensor in analog mode against ONNX Runtime."""

    name: str
    tensor: str
    relative_diff: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Verification:
    """Analog mode against ONNX Runtime: largest difference, relative to the output's range
    (``_relative``); ``equal``: at most ``TOLERANCE`` of it. ``undefined``: how many values of the
    outputs are no finite numbers in ONNX Runtime, so that there is nothing to compare.
    ``approximated``: what is read otherwise on purpose, so that a difference is expected."""

    max_abs_diff: float
    relative_diff: float
    samples: int
    layers: tuple[LayerCheck, ...]
    dropped: tuple[str, ...]
    undefined: int = 0
    approximated: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        return self.relative_diff <= TOLERANCE


def verify(
    model: LoadedModel | str | Path,
    inputs: Mapping[str, Array] | None = None,
    *,
    samples: int = 4,
    seed: int = 0,
) -> Verification:
    """Compare the network as onnx2snn understood it with ONNX Runtime, layer by layer.

    The layers are those of the ANN graph after its passes; the outputs are those of the spiking
    graph in analog mode after thresholds were folded into the weights, so that lowering and folding
    are checked too. Without ``inputs``, standard normal ones; of bytes any, and of other
    integers, which may be indices, 0 and 1.
    """
    loaded = model if isinstance(model, LoadedModel) else load_onnx(model)
    if inputs is None:
        rng = np.random.default_rng(seed)
        inputs = {i.name: _drawn(i, samples, rng) for i in loaded.inputs}
    ann = import_onnx(loaded)
    rewritten = run_passes(ann, default_passes())
    lowered = lower(rewritten)
    known = [n for n in rewritten.nodes if n.tensor and not isinstance(n.layer, AnnInput)]
    wanted = dict.fromkeys([*(n.tensor for n in known), *(o.tensor for o in ann.outputs)])
    expected = Reference(loaded).run(inputs, list(wanted))
    computed = ann_outputs(rewritten, inputs)
    layers = tuple(
        LayerCheck(
            name=n.name,
            tensor=n.tensor,
            relative_diff=_relative(computed[n.name], expected=expected[n.tensor])[1],
        )
        for n in known
    )
    folded = run_analog(_with_arbitrary_thresholds(lowered, seed), inputs)
    differences = [
        _relative(folded[r.name], expected=expected[r.tensor]) for r in lowered.of(Readout)
    ]
    return Verification(
        max_abs_diff=max(d[0] for d in differences),
        relative_diff=max(d[1] for d in differences),
        samples=len(next(iter(inputs.values()))),
        layers=layers,
        dropped=tuple(op for output in ann.outputs for op in output.dropped),
        undefined=sum(int((~np.isfinite(expected[o.tensor])).sum()) for o in ann.outputs),
        approximated=tuple(dict.fromkeys(f"{op}, {why}" for _, op, why in loaded.approximated)),
    )


def _drawn(info: TensorInfo, samples: int, rng: np.random.Generator) -> Array:
    shape, kind = (samples, *info.shape), np.dtype(info.dtype)
    if kind.kind not in "iub":
        return rng.standard_normal(shape).astype(np.float32)
    low, high = (np.iinfo(kind).min, np.iinfo(kind).max) if kind in (np.uint8, np.int8) else (0, 1)
    return rng.integers(low, high, shape, endpoint=True).astype(np.float32)


def _relative(got: Array, *, expected: Array) -> tuple[float, float]:
    """Largest absolute difference, and that relative to the expected values' range, which is taken
    as at least ``SMALLEST``. Values that are no finite numbers must be the same in both, else the
    difference is infinite."""
    got, finite = got.reshape(expected.shape), np.isfinite(expected)
    if not np.array_equal(got[~finite], expected[~finite], equal_nan=True):
        return inf, inf
    got, expected = got[finite], expected[finite]
    if not np.isfinite(got).all():
        return inf, inf
    difference = float(np.abs(got - expected).max(initial=0))
    largest = float(np.abs(expected).max(initial=0))
    span = max(float(np.ptp(expected)) if expected.size else 0.0, SMALLEST * max(largest, 1.0))
    return difference, difference / span


def _with_arbitrary_thresholds(lowered: SpikingGraph, seed: int) -> SpikingGraph:
    """Per-channel thresholds that differ, so that a wrong fold shows."""
    rng = np.random.default_rng(seed)
    neurons, facts = {}, GraphFacts(lowered)
    for p in lowered.of(Population):
        axis = channel_axis(facts, p.name)
        shape = tuple(n if i == axis else 1 for i, n in enumerate(p.shape))
        theta = rng.uniform(0.5, 2.0, shape).astype(np.float32)
        neurons[p.name] = NeuronParams(v_threshold=theta, v_init=theta / 2)
    return set_thresholds(lowered, neurons)
