"""place from Python: a converted network on a chip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from .. import hwtargets
from ..arguments import checked
from ..data import Preprocessing
from ..display import counted
from ..errors import TargetError
from ..evaluation.energy.events import Events, simulated
from ..hwtargets import HardwareTarget, PlaceData, PlacementReport
from ..reports import documents
from ..reports.pictures.placement import resources_figure
from ..reports.placement import render_text
from ..runtime.facts import GraphFacts
from ..runtime.graph import SpikingGraph
from ..runtime.ops import Array
from ..spelling import spelled
from . import Data, Network, load_samples, own_steps, read_network
from .results import Result, Rows, told


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class PlacementResult(Result, PlacementReport):
    """How a network fits a chip. ``done``: what it did on the samples in floating point; None
    without samples."""

    done: Events | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of `place`."""
        return told(documents.placement(self, self.done))

    def headline(self) -> str:
        if not self.fits:
            broken = "; ".join(dict.fromkeys(v.rule for v in self.violations))
            return f"{self.target}: does not fit ({broken})"
        size = f"{counted(self.cores, 'core')} on {counted(self.chips, 'chip')}"
        margin = f"binding limit {self.binding['name']}" if self.binding else "no binding limit"
        chip = self.accuracy.get("chip")
        return f"{self.target}: fits, {size}, {margin}" + (
            "" if chip is None else f", accuracy on chip {100 * chip:.2f} %"
        )

    def rows(self) -> Rows:
        """A row for each layer."""
        kept = ("name", "kind", "shape", "cores", "neurons", "fan_in", "synapses", "weights")
        header = (*kept, "binding")
        found = [asdict(row) for row in self.layers]
        return header, [[layer[key] for key in header] for layer in found]

    def summary(self) -> str:
        """The text of `place`."""
        return render_text(self, self.done)

    def plot(self) -> Any:
        """How full the fullest core is, as a matplotlib figure. Raises UsageError (E101)."""
        return resources_figure(self)


@checked
def place(
    network: Network,
    target: str | Path | HardwareTarget,
    data: Data | None = None,
    *,
    calibration: Data | None = None,
    steps: int | None = None,
    chips: int | None = None,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    seconds: float = 10.0,
    regression: bool = False,
    preprocessing: Preprocessing | None = None,
    limit: int | None = None,
) -> PlacementResult:
    """Put a converted network on a chip. One that does not fit gives a result that says why.

    Parameters:
        network: what ``convert`` or ``load`` gave, or a converted file.
        target: a name (`onnx2snn targets`), a TOML file, or its record.
        data: what ``load_samples`` takes, for rates and accuracy in the chip's integers; None:
            rates are assumed.
        calibration: samples for tuning in the chip's integers.
        steps: T; None: the one that the network was converted for.
        chips: how many there are; None: the largest known board.
        options: of the chip's mapping, by name: ``{"input": "bias"}``; docs/placement.md has them.
        seed, seconds: of the search for where cores are: random numbers, and work at most.
        regression: the outputs are values, whatever they look like.
        preprocessing: of what ``data`` holds; None: of files the one that the network remembers.
        limit: the first N samples of ``data``.

    Raises TargetError, DataError or UsageError (E514: an option that the chip does not have).
    """
    read = read_network(network)
    known = None
    if data is not None or calibration is not None:
        x, y = _arrays(read, data, preprocessing, limit)
        tuning, _ = _arrays(read, calibration, preprocessing, None)
        known = PlaceData(x=x, y=y, calib=tuning, regression=regression)
    report = hwtargets.place(
        read,
        target,
        data=known,
        steps=own_steps(read) if steps is None else steps,
        chips=chips,
        options=options,
        seed=seed,
        seconds=seconds,
    )
    done = None
    if report.floating is not None:
        done = simulated(GraphFacts(read), report.floating, int(report.facts["steps"]))
    return PlacementResult(done=done, **{f.name: getattr(report, f.name) for f in fields(report)})


def _arrays(
    network: SpikingGraph,
    data: Data | None,
    preprocessing: Preprocessing | None,
    limit: int | None,
) -> tuple[Array | None, Array | None]:
    """The samples of the one input as the network takes them, and their labels."""
    if data is None:
        return None, None
    samples = load_samples(data, network, preprocessing, limit=limit)
    inputs = samples.whole()
    if len(inputs) != 1:
        raise TargetError(
            f"placement with data needs one input, the network has {list(inputs)}",
            remedy=f"Leave {spelled('data')} out: rates are then assumed.",
        )
    return next(iter(inputs.values())), samples.labels
