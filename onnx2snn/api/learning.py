"""learn from Python: a layer that learns while the network before it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..arguments import checked
from ..data import Preprocessing
from ..display import counted
from ..provenance.learned import Learning, Stages
from ..provenance.learned import learn as learn_from
from ..reports import conversion
from ..reports.pictures.bars import bars_figure
from ..reports.text import percent
from ..runtime.engine import DEFAULT, Device
from . import Data, Network, load_samples, read_network
from .results import Result, Rows, told


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class LearningResult(Result, Learning):
    """What `learn` did; ``network`` is the one that has learned."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of `learn`; no file was written."""
        return told(conversion.learned(self, output=""), said=self.said)

    def headline(self) -> str:
        right = "" if self.accuracy is None else f", {percent(self.accuracy)} named right now"
        return (
            f"{self.head.rule.name} on '{self.at}': {counted(self.neurons, 'neuron')}, "
            f"{counted(self.samples, 'sample')}{right}"
        )

    def rows(self) -> Rows:
        """Events while it learned, in all and per sample that was shown."""
        shown = max(self.samples * self.passes, 1)
        found = asdict(self.events)
        return ("event", "in all", "per sample"), [[n, v, v / shown] for n, v in found.items()]

    def plot(self) -> Any:
        """Events per sample, as a matplotlib figure. Raises UsageError (E101)."""
        _, rows = self.rows()
        return bars_figure(
            [row[0] for row in rows],
            values=[row[2] for row in rows],
            label="per sample that was shown",
            title=self.headline(),
        )


@checked
def learn(
    network: Network,
    data: Data,
    *,
    rule: str | None = None,
    at: str | None = None,
    neurons: int | None = None,
    steps: int | None = None,
    passes: int | None = None,
    seed: int = 0,
    settings: Mapping[str, float | str] | None = None,
    preprocessing: Preprocessing | None = None,
    limit: int | None = None,
    engine: str = DEFAULT,
    device: Device | None = None,
    threads: int | None = None,
    mem_limit: int | None = None,
    progress: Stages = lambda stage: lambda done, total: None,
) -> LearningResult:
    """Let a plastic layer learn from ``data`` while the network before it runs.

    Parameters:
        network: converted, or one that has learned: that goes on where it stopped.
        data: samples, with labels for a rule that needs them.
        rule: "stdp" or "prototype"; None: that of a network that has learned.
        at: the population to put the layer on [the last hidden one].
        neurons: of the layer [what the rule says].
        steps: of every sample [what the network was converted for].
        passes: over the samples [what the rule says].
        seed: draws the first weights and the order of the samples.
        settings: parameters of the rule, by name.
        preprocessing: of the stored values [the network's].
        limit: the first so many samples.
        engine, device, threads, mem_limit: of the network before the layer, as of ``evaluate``.
        progress: called with the name of a stage, gives what is called with (done, total).

    Raises UsageError (E130 to E133, E110) and DataError (E24x).
    """
    graph = read_network(network)
    samples = load_samples(data, graph, preprocessing, limit=limit)
    done = learn_from(
        graph,
        samples,
        rule=rule,
        at=at,
        neurons=neurons,
        steps=steps,
        passes=passes,
        seed=seed,
        settings=settings,
        engine=engine,
        device=device,
        threads=threads,
        mem_limit=mem_limit,
        progress=progress,
    )
    return LearningResult(**{f.name: getattr(done, f.name) for f in fields(done)})
