"""diagnose from Python: where a converted network loses accuracy, and what to try."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from .. import diagnosis
from ..arguments import checked
from ..converter.statistics.measure import Progress
from ..data import Preprocessing
from ..diagnosis import Diagnosis
from ..diagnosis.loss import Loss, loss_of
from ..display import shown
from ..evaluation.ann import onnx_ann
from ..evaluation.evaluate import evaluate
from ..evaluation.sweep import SweepRun
from ..provenance import Provenance
from ..reports import diagnosis as reports
from ..reports.pictures.sweep import sweep_figure
from . import AnyModel, Data, Network, load_samples, own_steps, read_model, read_network
from .results import Result, Rows, told

SAMPLES = 128  # tell a loss to a few points, in less than a minute for small networks


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class DiagnosisResult(Result, Diagnosis):
    """What costs accuracy, layer by layer, and what to try."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of `diagnose`."""
        found = self.curves[0].evaluation
        return told(reports.document(self), said=found.said, asked=found.questions)

    def headline(self) -> str:
        return shown(reports.summary(self)[0])

    def rows(self) -> Rows:
        layers = self.to_dict()["layers"]
        header = list(layers[0]) if layers else ["name"]
        return header, [[layer[key] for key in header] for layer in layers]

    def shown_rows(self) -> Rows:
        return reports.HEADER, reports.rows(self.measured)

    def summary(self) -> str:
        """The text of `diagnose`."""
        return reports.text(self)

    def plot(self) -> Any:
        """The accuracy after every step, as a matplotlib figure. Raises UsageError (E101)."""
        return sweep_figure(self.sweep())


@checked
def diagnose(
    model: AnyModel,
    network: Network,
    data: Data,
    *,
    steps: int | None = None,
    seed: int = 0,
    regression: bool = False,
    preprocessing: Preprocessing | None = None,
    limit: int | None = SAMPLES,
    progress: Progress = lambda done, total: None,
) -> DiagnosisResult:
    """Why ``network`` is worse than the ``model`` it was converted from, layer by layer.

    Parameters:
        model: a path, bytes, a ModelProto, or what ``load_onnx`` gives.
        network: what ``convert`` or ``load`` gave, or a converted file.
        data: what ``load_samples`` takes: DATA, (x, y) arrays, an iterable of batches, or samples.
        steps: T; None: the one that the network was converted for.
        seed: of stochastic encodings.
        regression: the outputs are values, whatever they look like.
        preprocessing: of what ``data`` holds; None: of files the one that the network remembers.
        limit: the first N samples; None: all.
        progress: is told how many of how many parts are done.

    Raises ModelError, DataError (E230: not converted from this model) or UsageError.
    """
    loaded, read = read_model(model), read_network(network)
    samples = load_samples(data, read, preprocessing, limit=limit)
    last = own_steps(read) if steps is None else steps
    made = Provenance.of(read)
    curves: list[SweepRun] = []

    def lost() -> Loss:
        found = evaluate(
            read, samples, last, onnx_ann(loaded, read), seed=seed, regression=regression
        )
        curves.append(
            SweepRun(
                recipe="this network", steps=last, evaluation=found, notes=made.notes, network=read
            )
        )
        return loss_of(found)

    found = diagnosis.diagnose(
        loaded,
        read,
        samples,
        last,
        name="this network" if made.source is None else made.source.path,
        seed=seed,
        lost=lost,
        progress=progress,
    )
    found = replace(found, curves=tuple(curves))
    return DiagnosisResult(**{f.name: getattr(found, f.name) for f in fields(found)})
