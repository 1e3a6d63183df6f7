"""Learning by a network that remembers how it learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from ..converter.learning.cut import cut_at, plastic_synapse, spike_trains
from ..converter.learning.layer import Head, source_of, with_head
from ..converter.learning.learn import learn_from
from ..data import Samples
from ..errors import DataError, UsageError, did_you_mean
from ..questions.inputs import KEPT, digests, packed
from ..runtime.engine import DEFAULT, Device, Engine, make_engine
from ..runtime.graph import Population, Readout, SpikingGraph
from ..runtime.ops import Array
from ..runtime.plasticity import (
    NO_LABEL,
    RULES,
    LayerState,
    LearningEvents,
    Rule,
    with_settings,
)
from ..runtime.semantics.decision import score_count
from ..runtime.semantics.labels import read
from ..runtime.semantics.samples import spread_over
from ..spelling import spelled
from . import LearningSession, Provenance

Stages = Callable[[str], Callable[[int, int], None]]  # progress of a stage, by its name
CHUNK = 200
MOST_CLASSES = 10_000
NOTE = (
    "a layer that has learned stands for the model's outputs: what is called ANN is the same layer "
    "on the trained network's activations"
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Learning:
    """What `learn` did.

    Attributes:
        network: with the plastic layer as it is now.
        head: that layer: its rule, what it has learned, for how many steps and classes.
        at: the population whose spikes it learned from.
        samples, passes: what was presented, and how often.
        events: of all presentations together.
        new_classes: that the network could not name before.
        lost_classes: that it could, and that no neuron stands for now.
        accuracy: share of these very samples that the network names right now, as saved; None
            without labels.
        said: how the labels were read, a sentence each.
        seconds: learning alone.
    """

    network: SpikingGraph
    head: Head
    at: str
    samples: int
    passes: int
    events: LearningEvents
    new_classes: tuple[int, ...]
    lost_classes: tuple[int, ...]
    accuracy: float | None
    said: tuple[str, ...]
    seconds: float

    @property
    def classes(self) -> int:
        """How many the network names."""
        return self.head.classes

    @property
    def neurons(self) -> int:
        return self.head.state.neurons

    @property
    def named(self) -> int:
        """Neurons that stand for a class."""
        return int((self.head.state.labels != NO_LABEL).sum())


def learn(
    network: SpikingGraph,
    samples: Samples,
    *,
    rule: str | None = None,
    at: str | None = None,
    neurons: int | None = None,
    steps: int | None = None,
    passes: int | None = None,
    seed: int = 0,
    settings: Mapping[str, float | str] | None = None,
    engine: str = DEFAULT,
    device: Device | None = None,
    threads: int | None = None,
    mem_limit: int | None = None,
    progress: Stages = lambda stage: lambda done, total: None,
) -> Learning:
    """Let a plastic layer learn from ``samples`` while the network before it runs.

    Parameters:
        network: converted, or one that has learned: that goes on where it stopped.
        rule: a key of ``runtime.plasticity.RULES``; None: that of a network that has learned.
        at: the population to put the layer on [the last hidden one].
        neurons: of the layer [what the rule says].
        steps: of every sample [what the network was converted for].
        passes: over the samples [what the rule says].
        seed: draws the first weights and the order of the samples.
        settings: parameters of the rule, by name.
        engine, device, threads, mem_limit: of the network before the layer, see
            ``runtime.engine.interface.EngineOptions``.
        progress: called with the name of a stage, gives what is called with (done, total).

    Raises UsageError (E130 to E133, E110) and DataError (E24x).
    """
    for name, value in ((spelled("neurons"), neurons), (spelled("passes"), passes)):
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1, got {value}")
    asked = _rule(network, rule, settings or {})
    cut, state = _layer(network, asked, at=at, neurons=neurons, seed=seed)
    head = Head(
        rule=asked,
        state=state,
        classes=_classes(network, samples.labels),
        steps=_steps(network, steps),
        largest=cut.neuron.levels,
    )
    labels, said = _labels(network, cut.name, head, samples)
    trains = _trains(
        network,
        cut.name,
        samples,
        head.steps,
        progress=progress("simulating"),
        engine=make_engine(engine, device=device, threads=threads, mem_limit=mem_limit),
        seed=seed,
    )
    began = perf_counter()
    often = asked.usual[1] if passes is None else passes
    done = learn_from(
        head, trains, labels=labels, passes=often, seed=seed, progress=progress("learning")
    )
    now, before = {*done.head.state.labels.tolist()}, _known(network, state)
    learned = Learning(
        network=with_head(network, cut.name, done.head),
        head=done.head,
        at=cut.name,
        samples=len(samples),
        passes=often,
        events=done.events,
        new_classes=tuple(sorted(now - before - {NO_LABEL})),
        lost_classes=tuple(sorted(before - now - {NO_LABEL})),
        accuracy=done.right,
        said=said,
        seconds=perf_counter() - began,
    )
    return replace(learned, network=_remembering(learned, samples))


def _steps(network: SpikingGraph, asked: int | None) -> int:
    steps = Provenance.of(network).steps if asked is None else asked
    if steps is not None and steps >= 1:
        return steps
    what = "the network's file does not say for how many time steps it was converted"
    if steps is not None:
        what = f"the number of time steps must be at least 1, got {steps}"
    raise UsageError(what, remedy=f"Give {spelled('steps')}.", code="E110")


def _layer(
    network: SpikingGraph, rule: Rule, *, at: str | None, neurons: int | None, seed: int
) -> tuple[Population, LayerState]:
    """The population that the layer reads, and what it has learned so far."""
    synapse = plastic_synapse(network)
    if synapse is None:
        cut = cut_at(network, at)
        size = rule.usual[0] if neurons is None else neurons
        inputs = prod(cut.shape)
        return cut, rule.initial_state(inputs=inputs, neurons=size, seed=seed)
    own = synapse.state.neurons
    if at is not None or neurons not in (None, own):
        raise UsageError(
            f"the network has a plastic layer of {own} neurons already, which goes on learning as "
            "it is",
            remedy=f"Leave {spelled('at')} and {spelled('neurons')} out, or begin with the "
            "converted network.",
            code="E133",
        )
    node = network[synapse.inputs[0]]
    if not isinstance(node, Population):  # what puts its values in a row
        node = network[node.inputs[0]]
    assert isinstance(node, Population)
    return node, synapse.state


def _known(network: SpikingGraph, state: LayerState) -> set[int]:
    """The classes that the network named before."""
    if plastic_synapse(network) is None:
        return set(range(_own_classes(network)))
    return {*state.labels.tolist()}


def _rule(network: SpikingGraph, name: str | None, settings: Mapping[str, Any]) -> Rule:
    synapse = plastic_synapse(network)
    if name is not None and name not in RULES:
        raise UsageError(
            f"unknown learning rule '{name}'", remedy=did_you_mean(name, RULES), code="E130"
        )
    if synapse is None and name is None:
        raise UsageError(
            "a learning rule is needed",
            remedy=f"Choose one of: {', '.join(RULES)} ({spelled('rule', next(iter(RULES)))}).",
            code="E130",
        )
    if synapse is not None and name not in (None, synapse.rule.name):
        raise UsageError(
            f"the network's layer learns by the rule '{synapse.rule.name}', not '{name}'",
            remedy="Leave the rule out, or begin with the converted network.",
            code="E130",
        )
    given = {key: str(value) for key, value in settings.items()}
    return with_settings(RULES[name or ""] if synapse is None else synapse.rule, given)


def _own_classes(network: SpikingGraph) -> int:
    return score_count(network.of(Readout)[0].shape) or 0


def _classes(network: SpikingGraph, labels: Array | None) -> int:
    """How many the network can name afterwards: its own, and those up to the largest label."""
    largest = 0
    if labels is not None and labels.size == len(labels) and labels.dtype.kind in "iuf":
        largest = int(np.nan_to_num(labels, posinf=0, neginf=0).max(initial=0))
    own = _own_classes(network)
    return max(own, 2, largest + 1 if largest < MOST_CLASSES else 0)


def _labels(
    network: SpikingGraph, cut: str, head: Head, samples: Samples
) -> tuple[Array | None, tuple[str, ...]]:
    if samples.labels is None:
        named = bool((head.state.labels != NO_LABEL).any())
        if named and not head.rule.supervised:
            return None, ()
        why = "learns from them" if head.rule.supervised else "names its neurons by them afterwards"
        raise DataError(
            f"there are no labels, and the rule '{head.rule.name}' {why}",
            where=samples.source,
            remedy="Name their key: DATA.npz:x,y.",
            code="E244",
        )
    found = read(with_head(network, cut, head), samples.labels, where=samples.source)
    if not found.classes or found.numbers is None:
        raise DataError(
            "the labels are no class numbers, and neurons stand for classes",
            where=samples.source,
            remedy="Give one class number per sample.",
            code="E244",
        )
    return found.numbers, found.said


def _trains(
    network: SpikingGraph,
    cut: str,
    samples: Samples,
    steps: int,
    *,
    progress: Callable[[int, int], None],
    engine: Engine,
    seed: int,
) -> Array:
    def batches() -> Iterator[tuple[int, Mapping[str, Array]]]:
        for start, batch in samples.batches(CHUNK):
            yield start, batch
            progress(min(start + CHUNK, len(samples)), len(samples))

    source = source_of(network, cut)
    return spike_trains(network, source, batches(), steps, engine=engine, seed=seed)


def _remembering(done: Learning, samples: Samples) -> SpikingGraph:
    """The network, whose provenance says what it learned."""
    made = Provenance.of(done.network)
    session = LearningSession(
        rule=done.head.rule.name,
        at=done.at,
        source=Path(samples.source).name,
        samples=done.samples,
        passes=done.passes,
        steps=done.head.steps,
        updates=done.events.updates,
        digests=packed(digests(samples.at(spread_over(len(samples), most=KEPT)).whole())),
    )
    here = {node.name for node in done.network.nodes}
    kept = {name: one for name, one in (made.thresholds or {}).items() if name in here}
    made = replace(
        made,
        notes=made.notes if made.learned else (*made.notes, NOTE),
        steps=done.head.steps,
        thresholds=kept if made.thresholds is not None else None,
        learned=(*(made.learned or ()), session),
    )
    return replace(done.network, meta=made.to_json())
