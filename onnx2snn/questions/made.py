"""The questions that a converted network's memory answers, and those of a model's data."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..converter.frontend import LoadedModel
from ..data import Preprocessing, Samples
from ..provenance import Provenance
from ..runtime.graph import Population, Readout, SpikingGraph
from ..runtime.neurons import windowed
from ..runtime.semantics.analog import run_analog
from ..runtime.semantics.decision import decisions
from ..runtime.semantics.labels import read
from ..runtime.semantics.samples import spread_over
from ..runtime.semantics.values import value_score
from ..spelling import spelled
from . import Question
from .answers import questions_of_answers
from .calibration import (
    CALIBRATED,
    LEARNED,
    questions_of_count,
    questions_of_overlap,
    questions_of_pattern,
    questions_of_silence,
)
from .inputs import (
    KEPT,
    LOOKED_AT,
    digests,
    questions_of_range,
    questions_of_scale,
    ranges,
    unpacked,
)

CHUNK = 32  # samples at once
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
    found = samples.at(spread_over(len(samples), most=LOOKED_AT)).whole()
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
            asked += questions_of_range(
                now, then=made.inputs, count=len(samples), where=samples.source
            )
        if given is not None and made.preprocessing is not None:
            asked += _other_preprocessing(
                given, made=made.preprocessing, samples=samples, far=bool(asked)
            )
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
    given: Preprocessing, *, made: Preprocessing, samples: Samples, far: bool
) -> Iterator[Question]:
    if (given.mean, given.std) == (made.mean, made.std):
        return
    if not (given.mean or given.std or far):
        return  # the data are stored normalized, and in calibration's range
    mean, std = spelled("mean", given.mean or (0.0,)), spelled("std", given.std or (1.0,))
    yield Question(
        code="W422",
        what=f"{mean} and {std}, but the network was calibrated with mean "
        f"{_values(made.mean, 0)} and std {_values(made.std, 1)}",
        remedy="Leave them out: the converted file remembers its own.",
        where=samples.source,
    )


def _values(values: tuple[float, ...], default: float) -> str:
    return ",".join(f"{v:g}" for v in values or (default,))


def ask_of_overlap(test: Samples, network: SpikingGraph) -> Iterator[Question]:
    """Whether test samples are those that ``network`` was calibrated on, or has learned from."""
    made = Provenance.of(network)
    seen = {
        CALIBRATED: [] if made.calibration is None else unpacked(made.calibration.digests or "")
    }
    known = [session.digests for session in made.learned or ()]
    known += [session.digests for session in made.finetuned or ()]
    lessons = [unpacked(packed or "") for packed in known]
    seen[LEARNED] = list({d for lesson in lessons for d in lesson})
    which = spread_over(len(test), most=KEPT)[: None if any(seen.values()) else 0]
    parts = (test.at(which[at : at + CHUNK]) for at in range(0, len(which), CHUNK))
    own = [digest for part in parts for digest in digests(part.whole())]
    for how, found in seen.items():
        if found:
            yield from questions_of_overlap(own, seen=found, how=how, where=test.source)


def ask_of_answers(
    network: SpikingGraph, samples: Samples, *, regression: bool
) -> Iterator[Question]:
    """Whether what the ANN inside ``network`` answers to ``samples`` belongs to their labels."""
    known = read(network, samples.labels, regression=regression, where=samples.source)
    if known.numbers is None:
        return
    first = network.of(Readout)[0]
    parts = [run_analog(network, x)[first.name] for _, x in samples.batches(CHUNK)]
    found = np.concatenate(parts).reshape(len(samples), *first.shape)
    yield from questions_of_answers(
        known,
        first.shape,
        said=decisions(found, first.shape) if known.classes else None,
        values=None if known.classes else value_score(found, targets=known.numbers),
        where=samples.source,
    )


def ask_of_calibration(network: SpikingGraph) -> Iterator[Question]:
    """What is doubtful about the calibration that ``network`` had."""
    made = Provenance.of(network)
    if made.calibration is None:
        return
    known, where = made.calibration, made.calibration.source
    different = len(set(unpacked(known.digests or "")))
    yield from questions_of_count(
        given=known.samples,
        used=known.used,
        different=different,
        where=where,
        windowed=any(windowed(p.neuron) for p in network.of(Population)),
    )
    yield from questions_of_pattern(made.inputs or {}, where)
    layers = made.thresholds or {}
    dead = [name for name, given in layers.items() if given.reach == 0 and not given.beside]
    yield from questions_of_silence(dead, len(layers), where)
