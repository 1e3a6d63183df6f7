"""The questions that a converted network's memory answers, and those of a model's data."""

from __future__ import annotations

from collections.abc import Iterator

from ..converter.frontend import LoadedModel
from ..data import Preprocessing, Samples
from ..provenance import Provenance
from ..runtime.graph import SpikingGraph
from ..runtime.semantics.samples import spread_over
from . import Question
from .calibration import questions_of_count, questions_of_overlap, questions_of_silence
from .inputs import (
    KEPT,
    LOOKED_AT,
    digests,
    questions_of_range,
    questions_of_scale,
    ranges,
    unpacked,
)

SCALING = {
    *("Mul", "Div", "Sub", "Add", "BatchNormalization", "InstanceNormalization"),
    *("LayerNormalization", "QuantizeLinear", "DequantizeLinear"),
}
PASSING = {"Cast", "Transpose", "Reshape", "Identity", "Squeeze", "Unsqueeze", "Pad", "Flatten"}


def ask_of_samples(
    model: LoadedModel | SpikingGraph, samples: Samples, given: Preprocessing | None = None
) -> Iterator[Question]:
    """What is doubtful about ``samples`` for a model, or for a converted network with memory.

    Parameters:
        given: the preprocessing that was asked for; None: the converted network's own.
    """
    found = samples.at(spread_over(len(samples), LOOKED_AT)).whole()
    now, pre = ranges(found), samples.preprocessing
    asked: list[Question] = []
    for name, stored in samples.arrays.items():
        itself = isinstance(model, SpikingGraph) or _scales_itself(model, name)
        asked += questions_of_scale(
            stored, now[name], pre.scale, scales_itself=itself, where=samples.source
        )
    if isinstance(model, SpikingGraph):
        made = Provenance.of(model)
        if not asked and made.inputs is not None:
            asked += questions_of_range(now, made.inputs, len(samples), samples.source)
        if given is not None and made.preprocessing is not None:
            asked += _other_preprocessing(given, made.preprocessing, samples, bool(asked))
    yield from asked


def _scales_itself(model: LoadedModel, name: str) -> bool:
    """Whether the model takes integers, or scales or normalizes this input first."""
    if any(info.name == name and "float" not in info.dtype for info in model.inputs):
        return True
    reached, seen = {name}, set()
    for node in model.original.graph.node:  # in execution order
        if reached & set(node.input):
            seen.add(node.op_type)
            if node.op_type in PASSING:
                reached |= set(node.output)
    return bool(seen & SCALING)


def _other_preprocessing(
    given: Preprocessing, made: Preprocessing, samples: Samples, far: bool
) -> Iterator[Question]:
    if (given.mean, given.std) == (made.mean, made.std):
        return
    if not (given.mean or given.std or far):
        return  # the data are stored normalized, and in calibration's range
    yield Question(
        code="W422",
        what=f"--mean {_values(given.mean, 0)} and --std {_values(given.std, 1)}, but the network "
        f"was calibrated with mean {_values(made.mean, 0)} and std {_values(made.std, 1)}",
        remedy="Leave them out: the converted file remembers its own.",
        where=samples.source,
    )


def _values(values: tuple[float, ...], default: float) -> str:
    return ",".join(f"{v:g}" for v in values or (default,))


def ask_of_overlap(test: Samples, network: SpikingGraph) -> Iterator[Question]:
    """Whether test samples are those that ``network`` was calibrated on."""
    made = Provenance.of(network).calibration
    if made is not None and made.digests:
        own = digests(test.at(spread_over(len(test), KEPT)).whole())
        yield from questions_of_overlap(own, unpacked(made.digests), test.source)


def ask_of_calibration(network: SpikingGraph) -> Iterator[Question]:
    """What is doubtful about the calibration that ``network`` had."""
    made = Provenance.of(network)
    if made.calibration is None:
        return
    known, where = made.calibration, made.calibration.source
    yield from questions_of_count(given=known.samples, used=known.used, where=where)
    layers = made.thresholds or {}
    dead = [name for name, given in layers.items() if given.reach == 0]
    yield from questions_of_silence(dead, len(layers), where)
