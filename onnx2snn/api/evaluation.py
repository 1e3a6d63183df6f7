"""evaluate from Python: a network's curve, and what can be made of it.

As in ``conversion``, the signature repeats the record ``runtime.engine.interface.EngineOptions``
for help() and editors, and a test holds it to that.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..arguments import checked
from ..data import Preprocessing
from ..display import counted, shown
from ..evaluation.ann import Ann, onnx_ann
from ..evaluation.evaluate import CHUNK, Evaluation, Progress
from ..evaluation.evaluate import evaluate as run_evaluate
from ..evaluation.sweep import Sweep, SweepRun, early_notes
from ..evaluation.tally import Shards
from ..provenance import Provenance
from ..reports import documents
from ..reports.comparison import sweep_rows
from ..reports.pictures.sweep import sweep_figure
from ..reports.text import curve_rows, percent
from ..runtime.engine import DEFAULT, Device, EarlyExit
from ..runtime.graph import SpikingGraph
from . import AnyModel, Data, Network, load_samples, own_steps, read_model, read_network
from .results import Result, Rows, told


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class EvaluationResult(Result, Evaluation):
    """The curve of one network: a point for each T. ``network``: which one; ``source``: what the
    samples are called."""

    network: SpikingGraph
    source: str

    @property
    def run(self) -> SweepRun:
        """As one curve of a chart."""
        made, steps = Provenance.of(self.network), self.points[-1].T
        name = "network" if made.source is None else Path(made.source.path).stem
        notes = made.notes + early_notes(self.network, [p.T for p in self.points], sweeps=False)
        return SweepRun(
            recipe=name, steps=steps, evaluation=self, notes=notes, network=self.network
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of `run`."""
        document = documents.run(self.run, seconds=self.seconds)
        return told(document, said=self.said, asked=self.questions)

    def headline(self) -> str:
        last, run = self.points[-1], self.run
        scored = "" if last.accuracy is None else f"accuracy {percent(last.accuracy)}, "
        ann = "" if self.ann_accuracy is None else f"ANN {percent(self.ann_accuracy)}, "
        agrees = (
            f"agreement {percent(last.agreement)}" if self.classes else f"error {last.error:.3f}"
        )
        name = shown(run.recipe)
        return f"{name} at T={last.T}: {scored}{ann}{agrees}, {counted(self.samples, 'sample')}"

    def rows(self) -> Rows:
        """A row for each T with the columns of `sweep.csv`."""
        return sweep_rows(self._sweep())

    def shown_rows(self) -> Rows:
        return curve_rows(self)

    def plot(self) -> Any:
        """The chart as a matplotlib figure. Raises UsageError (E101) without matplotlib."""
        return sweep_figure(self._sweep())

    def _sweep(self) -> Sweep:
        run = self.run
        return Sweep(model=run.recipe, data=self.source, samples=self.samples, runs=(run,))


@checked
def evaluate(
    network: Network,
    samples: Data,
    steps: int | None = None,
    ann: Ann | AnyModel | None = None,
    *,
    first: int = 1,
    engine: str = DEFAULT,
    tile: int | None = None,
    block: int | None = None,
    dtype: np.dtype | type = np.float32,
    threads: int | None = None,
    mem_limit: int | None = None,
    device: Device | None = None,
    events: Literal["auto", "never", "always"] = "auto",
    seed: int = 0,
    early_exit: EarlyExit | None = None,
    regression: bool = False,
    preprocessing: Preprocessing | None = None,
    limit: int | None = None,
    shards: Shards | None = None,
    chunk: int = CHUNK,
    progress: Progress = lambda done, total: None,
) -> EvaluationResult:
    """Accuracy, agreement with the ANN and cost after each of steps ``first`` .. ``steps``.

    Parameters:
        network: what ``convert`` or ``load`` gave, or a converted file: its path, its bytes, or a
            ModelProto.
        samples: what ``load_samples`` takes: DATA, (x, y) arrays, an iterable of batches, or
            samples.
        steps: the last T; None: the one that the network was converted for.
        ann: the model to compare with, or a function (``onnx_ann``); None: the network's own
            analog mode.
        engine: "fast"; "numpy", the definition; or "torch", PyTorch.
        tile: samples simulated together; block: steps computed together; threads: tiles at once;
            mem_limit: bytes for buffers. None: the engine's choice.
        device: of the engine "torch": "cpu" [it], or "cuda", a GPU.
        dtype: of currents and potentials, single or double precision.
        events: layers driven by their spikes: where that is cheaper, never, or always (needs
            numba).
        seed: of stochastic encodings.
        early_exit: stop a sample whose winner leads far enough.
        regression: the outputs are values, also where they look like one score per class.
        preprocessing: of what ``samples`` hold; None: of files the one that the network remembers.
        limit: the first N samples.
        shards, chunk: where counts of every ``chunk`` samples are kept.
        progress: is told how many of how many samples are done.

    Raises ModelError, DataError or UsageError.
    """
    read = read_network(network)
    data = load_samples(samples, read, preprocessing, limit=limit)
    reference = ann if ann is None or callable(ann) else onnx_ann(read_model(ann), read)
    found = run_evaluate(
        read,
        data,
        own_steps(read) if steps is None else steps,
        reference,
        first=first,
        shards=shards,
        progress=progress,
        chunk=chunk,
        seed=seed,
        early_exit=early_exit,
        regression=regression,
        engine=engine,
        tile=tile,
        block=block,
        dtype=dtype,
        threads=threads,
        mem_limit=mem_limit,
        device=device,
        events=events,
    )
    kept = {f.name: getattr(found, f.name) for f in fields(found)}
    return EvaluationResult(network=read, source=data.source, **kept)
