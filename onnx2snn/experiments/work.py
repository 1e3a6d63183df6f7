"""What all configurations of a sweep share, and what the store has of each.

A shard is a slice of the samples through one converted network. Every network goes through the
store's form of it, stored now or earlier: what is simulated is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ..converter.frontend import LoadedModel
from ..data import Samples
from ..errors import ModelError
from ..evaluation.tally import Tally
from ..hwtargets import HardwareTarget
from ..runtime.file.packed import unpack
from ..runtime.graph import SpikingGraph
from . import fingerprint as keys
from .plan import Series
from .shards.packing import MALFORMED, packed, unpacked
from .store import Store
from .watching import Watcher


def work_on(
    model: LoadedModel,
    samples: Samples,
    *,
    calibration: Samples | None,
    store: Store,
    engine: Mapping[str, Any] | None = None,
    watch: Watcher,
    targets: Sequence[HardwareTarget] = (),
) -> Work:
    """The work, with keys of everything that was read."""
    return Work(
        model=model,
        samples=samples,
        calibration=calibration,
        store=store,
        engine=engine or {},
        watch=watch,
        conversions=keys.conversions(model, calibration),
        inputs=keys.inputs(model, samples),
        targets=tuple(targets),
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class Work:
    """What all series of a sweep share.

    Attributes:
        calibration: None converts on assumed statistics.
        store: keeps what is finished.
        engine: keyword arguments of ``evaluate``.
        watch: is told what is gone on from, and how it goes.
        conversions, inputs: keys (``fingerprint``), see ``work_on``.
        targets: chips that every network is also run on.
        whole: the layers' errors are measured too.
    """

    model: LoadedModel
    samples: Samples
    calibration: Samples | None
    store: Store
    engine: Mapping[str, Any]
    watch: Watcher
    conversions: str
    inputs: str
    targets: tuple[HardwareTarget, ...] = ()
    whole: bool = True

    @cached_property
    def simulations(self) -> str:
        return keys.simulations(self.inputs, self.engine)

    def seeded(self, seed: int) -> Work:
        """With the seed of stochastic encodings that much higher; chips and layers are looked at
        with the first only."""
        if seed == 0:
            return self
        engine = {**self.engine, "seed": self.engine.get("seed", 0) + seed}
        return replace(self, engine=engine, targets=(), whole=False)

    def conversion_key(self, series: Series, steps: int) -> str:
        return keys.fingerprint([self.conversions, series.options, steps])

    def shards(self, series: Series, network: SpikingGraph, steps: int) -> StoredShards:
        return StoredShards(
            store=self.store,
            simulations=self.simulations,
            key=keys.simulation(self.simulations, network, steps),
            network=network,
            steps=steps,
            title=f"{series.label} (T={steps})",
            say=self.watch.say,
        )

    def stored(self, series: Series, steps: int) -> SpikingGraph | None:
        """The conversion that the store has."""
        found = self.stored_content(series, steps)
        return None if found is None else found[0]

    def stored_content(self, series: Series, steps: int) -> tuple[SpikingGraph, bytes] | None:
        """With its ``packed`` form."""
        content = self.store.conversion(self.conversion_key(series, steps))
        if content is None:
            return None
        try:
            return unpack(content), content
        except ModelError:
            title = f"{series.label} (T={steps})"
            self.watch.say(f"the stored conversion of {title} is damaged: converted again")
            return None


@dataclass(frozen=True, eq=False, kw_only=True)
class StoredShards:
    """The shards of one network's evaluation, in the store under ``key``. ``title``: what the
    evaluation is called in what there is to ``say``."""

    store: Store
    simulations: str
    key: str
    network: SpikingGraph
    steps: int
    title: str
    say: Callable[[str], None]

    @property
    def done(self) -> int:
        """How many samples are stored."""
        return sum(stop - start for start, stop in self.store.slices(self.key))

    def seconds(self) -> float:
        """What their simulation took."""
        stored = (self.get(start, stop) for start, stop in self.store.slices(self.key))
        return sum(float(tally.state["seconds"]) for tally in stored if tally is not None)

    def get(self, start: int, stop: int) -> Tally | None:
        content = self.store.shard(self.key, start=start, stop=stop)
        if content is None:
            return None
        try:
            return Tally.restored(unpacked(content), self.network, self.steps)
        except MALFORMED:
            self.say(f"stored results of {self.title} are damaged: simulated again")
            return None

    def put(self, start: int, stop: int, tally: Tally) -> None:
        self.keep(start, stop, packed(tally.state))

    def keep(self, start: int, stop: int, content: bytes) -> None:
        """The ``packed`` counts of a shard."""
        self.store.keep_shard(
            self.simulations, key=self.key, start=start, stop=stop, content=content
        )
