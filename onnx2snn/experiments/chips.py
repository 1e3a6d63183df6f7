"""The networks of a sweep in the integers of chips, shard by shard as everything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Protocol

import numpy as np

from ..converter.frontend import LoadedModel
from ..data import Samples
from ..errors import TargetError, UsageError
from ..evaluation.ann import onnx_ann
from ..evaluation.chips import ChipCurve, ChipPoint, chip_counts, chip_point, merged
from ..evaluation.evaluate import CHUNK
from ..hwtargets import HardwareTarget, Mapped, PlaceData, PlacementReport, mapped, place
from ..runtime.facts import GraphFacts
from ..runtime.graph import Readout, SpikingGraph
from ..runtime.ops import Array
from ..runtime.semantics import labels as reader
from ..runtime.semantics.samples import spread_over
from ..spelling import spelled
from . import fingerprint as keys
from .shards.packing import MALFORMED, packed, unpacked
from .store import Store
from .watching import Watcher

PLACED_ON = 32  # samples that tell rates and accuracy of a placement page
SEARCHED = 1.0  # seconds, at most, for where its cores lie


class Work(Protocol):
    """What is used of ``work.Work``."""

    @property
    def model(self) -> LoadedModel: ...
    @property
    def samples(self) -> Samples: ...
    @property
    def calibration(self) -> Samples | None: ...
    @property
    def store(self) -> Store: ...
    @property
    def watch(self) -> Watcher: ...
    @property
    def targets(self) -> tuple[HardwareTarget, ...]: ...
    @property
    def conversions(self) -> str: ...
    @property
    def simulations(self) -> str: ...


def check_targets(network: SpikingGraph, samples: Samples, *, regression: bool) -> None:
    """Raise TargetError or UsageError where no chip's answers can be judged."""
    _only(samples.section(0, 1))
    if not reader.read(network, samples.labels, regression=regression).classes:
        raise UsageError(
            "chips are judged by the class that they say, and this network says values",
            remedy=f"Leave {spelled('targets')} out; `onnx2snn place` compares values.",
        )


def curves_on(
    work: Work,
    networks: Sequence[tuple[SpikingGraph, int]],
    *,
    answers: Sequence[int],
    label: str,
) -> tuple[ChipCurve, ...]:
    """One curve per chip: of the last network the answers after each of ``answers`` steps, of every
    network before it that after its own steps. Raises TargetError for a chip that nothing can be
    run on."""
    return tuple(_curve(work, chip, networks, answers, label=label) for chip in work.targets)


def _curve(
    work: Work,
    chip: HardwareTarget,
    networks: Sequence[tuple[SpikingGraph, int]],
    answers: Sequence[int],
    *,
    label: str,
) -> ChipCurve:
    trials = [_Trial(work=work, chip=chip, network=n, steps=t) for n, t in networks]
    points: list[ChipPoint] = []
    said: dict[int, Array] = {}
    whole = trials[-1].mapped
    for trial in () if whole.violations else trials:
        counts = trial.counts(label)
        for steps in answers if trial is trials[-1] else (trial.steps,):
            if counts is not None:
                points.append(trial.point(counts, steps))
                said[steps] = counts["said"][steps - 1]
    cores = whole.cores.count
    return ChipCurve(
        target=chip.name,
        points=tuple(points),
        refused=_refusals([(v.rule, v.node, v.remedy) for v in whole.violations]),
        cores=cores,
        chips=ceil(cores / int(chip.limit("cores_per_chip"))),
        available=chip.largest_board,
        said=said,
    )


def _refusals(violations: Sequence[tuple[str, str, str]]) -> tuple[str, ...]:
    """A sentence for each rule that is broken, of (rule, node, remedy): layers break one alike, and
    the placement's page has them all."""
    nodes: dict[str, list[str]] = {}
    remedies: dict[str, str] = {}
    for rule, node, remedy in violations:
        nodes.setdefault(rule, []).append(node)
        remedies.setdefault(rule, remedy)
    return tuple(
        f"{rule} of '{first}'{f' and {len(more):,} more' if more else ''}: {remedies[rule]}"
        for rule, (first, *more) in nodes.items()
    )


def placed(work: Work, network: SpikingGraph, chip: HardwareTarget, steps: int) -> PlacementReport:
    """Where a network lies on one chip, as `place` says it, with rates and accuracy of some of the
    samples, spread over all."""
    few = work.samples.at(spread_over(len(work.samples), most=PLACED_ON))
    calib = None if work.calibration is None else _only(work.calibration)
    data = PlaceData(x=_only(few), y=few.labels, calib=calib)
    return place(network, chip, data=data, steps=steps, seconds=SEARCHED)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Trial:
    """One network, converted for ``steps``, on one chip."""

    work: Work
    chip: HardwareTarget
    network: SpikingGraph
    steps: int

    @cached_property
    def mapped(self) -> Mapped:
        calibration = self.work.calibration
        calib = None if calibration is None else _only(calibration)
        found = mapped(self.network, self.chip, steps=self.steps, calib=calib)
        if found.run is None and not found.violations:
            raise TargetError(
                f"no network can be run in the integers of '{self.chip.name}'",
                remedy="Leave it out; `place` reports on it.",
            )
        return found

    @cached_property
    def labels(self) -> Array | None:
        samples = self.work.samples
        return reader.read(self.network, samples.labels, where=samples.source).numbers

    def counts(self, label: str) -> dict[str, Array] | None:
        """Over all samples; None where the network does not fit."""
        samples = self.work.samples
        show = self.work.watch.stage(
            f"running on {self.chip.name} ({label}, T={self.steps})", samples=True
        )
        key, count, total = self._key(), len(samples), None
        for start in range(0, count, CHUNK):
            stop = min(start + CHUNK, count)
            part = self._stored(key, start=start, stop=stop)
            if part is None:
                if self.mapped.violations:
                    return None
                labels = None if self.labels is None else self.labels[start:stop]
                part = self._counted(samples.section(start, stop), labels)
                self.work.store.keep_shard(
                    self.work.simulations, key=key, start=start, stop=stop, content=packed(part)
                )
            total = part if total is None else merged(total, part)
            show(stop, count)
        return total

    def point(self, counts: Mapping[str, Array], steps: int) -> ChipPoint:
        latency = GraphFacts(self.network).latency
        return chip_point(counts, steps, latency=latency, labels=self.labels is not None)

    def _counted(self, samples: Samples, labels: Array | None) -> dict[str, Array]:
        assert self.mapped.run is not None
        readout = self.network.of(Readout)[0]
        ann = onnx_ann(self.work.model, self.network)(samples.whole())[readout.name]
        run = self.mapped.run(_only(samples), self.steps)
        return chip_counts(run, ann, labels, readout.shape)

    def _key(self) -> str:
        """With the chip's numbers: a user's own file may change."""
        chip, work = self.chip, [self.work.simulations, self.work.conversions]
        limits = {name: number.value for name, number in chip.limits.items()}
        numbers = [chip.mapping, limits, chip.capabilities, chip.options]
        return keys.fingerprint([work, self.network.nodes, self.steps, chip.name, numbers])

    def _stored(self, key: str, *, start: int, stop: int) -> dict[str, Array] | None:
        content = self.work.store.shard(key, start=start, stop=stop)
        try:
            return None if content is None else unpacked(content)
        except MALFORMED:
            return None


def _only(samples: Samples) -> Array:
    """The samples of the one input, as the network takes them."""
    inputs = samples.whole()
    if len(inputs) != 1:
        raise TargetError(
            f"chips take networks with one input, this one has {list(inputs)}",
            remedy=f"Leave {spelled('targets')} out.",
        )
    return np.asarray(next(iter(inputs.values())), np.float32)
