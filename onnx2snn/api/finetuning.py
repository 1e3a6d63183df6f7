"""finetune from Python: a converted network trained further with surrogate gradients.

The record ``converter.finetuning.settings.Settings`` is where options, their types and their
defaults are kept; the signature repeats them for help() and editors, and a test holds it to the
record.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from ..arguments import checked
from ..converter.finetuning.settings import Settings
from ..data import Preprocessing
from ..display import counted
from ..provenance.finetuned import FineTuning, states_in
from ..provenance.finetuned import finetune as finetune_on
from ..provenance.learned import Stages
from ..reports import conversion
from ..reports.pictures.bars import epochs_figure
from . import Data, Network, load_samples, read_network
from .results import Result, Rows, told


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class FineTuningResult(Result, FineTuning):
    """What `finetune` did; ``network`` is the one that was trained, or as it was (``kept``)."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of `finetune`; no file was written."""
        return told(conversion.finetuned(self, output=""), said=self.said)

    def headline(self) -> str:
        result = "no better on samples held out, kept as it was" if self.kept else "fine-tuned"
        return (
            f"{result}: T={self.steps}, {counted(self.samples, 'sample')}, epoch {self.best} of "
            f"{len(self.history) - 1}"
        )

    def rows(self) -> Rows:
        """Every epoch; the first is before training."""
        header = ("epoch", "loss", "held_loss", "held_score", "held_spikes")
        return header, [[n, *asdict(one).values()] for n, one in enumerate(self.history)]

    def plot(self) -> Any:
        """Losses over epochs, as a matplotlib figure. Raises UsageError (E101)."""
        series = {
            "samples learned from": [one.loss for one in self.history],
            "samples held out": [one.held_loss for one in self.history],
        }
        return epochs_figure(series, best=self.best, title=self.headline())


@checked
def finetune(
    network: Network,
    data: Data,
    *,
    steps: int | None = None,
    train: tuple[str, ...] = ("weights", "biases", "thresholds", "potentials"),
    surrogate: Literal["arctan", "triangle", "sigmoid"] = "arctan",
    width: float = 0.25,
    detach: bool = False,
    epochs: int = 30,
    rate: float = 0.002,
    decay: float = 0.0,
    batch: int = 32,
    hold_out: float = 0.125,
    patience: int = 10,
    average: float = 0.98,
    match: float = 1.0,
    temperature: float = 1.0,
    spike_penalty: float = 0.0,
    spike_target: float = 0.0,
    augment: tuple[str, ...] = (),
    seed: int = 0,
    mem_limit: int = 2 << 30,
    threads: int | None = None,
    checkpoint: str | PathLike[str] | None = None,
    preprocessing: Preprocessing | None = None,
    limit: int | None = None,
    regression: bool = False,
    progress: Stages = lambda stage: lambda done, total: None,
) -> FineTuningResult:
    """Train a converted network further with surrogate gradients (extra ``torch``).

    Parameters:
        network: converted, with spikes throughout (no analog island).
        data: samples to learn from; without labels the ANN inside the network answers.
        steps: time steps T of every sample [what the network was converted for].
        train: which of weights, biases, thresholds and (initial) potentials.
        surrogate, width: what stands for the derivative of a spike, and how wide it is in
            thresholds.
        detach: the reset is a constant to gradients.
        epochs, patience: passes at most, and without a better loss before it stops.
        rate: the largest learning rate, as a share of the size of what is trained.
        decay: draws values back to the converted ones.
        batch: samples per step of training.
        hold_out: share of the samples that judge, and from which nothing is learned.
        average: the values that are kept are a running mean, of which one step changes the share
            1 - average.
        match: weight of mean activations being the ANN's.
        temperature: of the softmax in distillation from the ANN.
        spike_penalty: price of one spike per neuron; spike_target: so many cost nothing.
        augment: variations of the samples: "flip", "shift:N", "noise:X", "contrast:X", "mix:X",
            "cut:X".
        seed: draws order, variations and spikes.
        mem_limit: bytes for the signals that gradients need.
        threads: of PyTorch [all cores, or one where layers are small].
        checkpoint: a folder for the state after every epoch, from which a run goes on.
        preprocessing: of the stored values [the network's].
        limit: the first so many samples.
        regression: the outputs are values, not class scores.
        progress: called with the name of a stage, gives what is called with (done, total).

    Raises UsageError (E110, E140, E142; E100 without PyTorch), GraphError (E421) and DataError
    (E141, E226, E24x).
    """
    given = locals()
    chosen = {field.name: given[field.name] for field in fields(Settings)}
    settings = Settings(**{**chosen, "train": tuple(train), "augment": tuple(augment)})
    graph = read_network(network)
    samples = load_samples(data, graph, preprocessing, limit=limit)
    folder = None if checkpoint is None else Path(checkpoint)
    done = finetune_on(
        graph,
        samples,
        settings,
        steps=steps,
        regression=regression,
        threads=threads,
        states=None if folder is None else states_in(folder, inputs=()),
        progress=progress,
    )
    return FineTuningResult(**{f.name: getattr(done, f.name) for f in fields(done)})
