"""Sweeps from Python: what `onnx2snn sweep` does, and its record.

found = onnx2snn.sweep("net.onnx", data="d.npz:x,y", calibration="d.npz:x_calib", steps=[4, 8, 16])
found.plot(); found.to_dataframe(); found.save("out")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import api
from ..converter.frontend import LoadedModel, load_onnx
from ..data import Preprocessing, Samples
from ..display import json_text
from ..errors import UsageError
from ..evaluation.sweep import Sweep, SweepRun
from ..hwtargets import load_target
from ..reports import documents
from ..reports.comparison import sweep_rows
from ..reports.pictures.sweep import sweep_figure
from ..results import claim
from ..results.marks import Kind
from .chips import check_targets
from .plan import Steps, parse_grid, plan
from .run import sweep as run_sweep
from .saving import chart_kinds, network_names, write_chart, write_networks
from .shards.cluster import executor
from .shards.delivery import By
from .store import Store, in_memory, opened
from .watching import Unwatched, Watcher
from .work import work_on


@dataclass(frozen=True, eq=False, kw_only=True)
class SweepResult:
    """The record of a sweep, and what can be made of it.

    Attributes:
        record: all curves; ``runs`` are those.
        names: of the converted networks' files, in the order of the series.
        test: the samples.
    """

    record: Sweep
    names: tuple[str, ...]
    test: Samples

    @property
    def runs(self) -> tuple[SweepRun, ...]:
        return self.record.runs

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of `sweep`."""
        return documents.sweep(self.record) | {"read": [], "warnings": []}

    def plot(self) -> Any:
        """The chart as a matplotlib figure. Raises UsageError (E101) without matplotlib."""
        return sweep_figure(self.record)

    def to_dataframe(self) -> Any:
        """A pandas DataFrame, a row for each curve and T with the columns of `sweep.csv`. Raises
        UsageError (E102) without pandas."""
        try:
            import pandas
        except ImportError as error:
            raise UsageError(
                "data frames need pandas",
                remedy="pip install pandas; `.to_dict()` does without.",
                code="E102",
            ) from error
        header, rows = sweep_rows(self.record)
        return pandas.DataFrame(rows, columns=header)

    def save(self, folder: str | Path, *, force: bool = False) -> None:
        """Write what `sweep -o` writes. Raises DataError (E220 to E225)."""
        kinds = chart_kinds("sweep") | dict.fromkeys(self.names, Kind.NETWORK)
        results = claim(Path(folder), kinds, inputs=(), force=force)
        write_chart(self.record, self.to_dict(), results, "sweep")
        write_networks(self.record, self.names, results, self.test)


def sweep(
    model: LoadedModel | str | Path,
    *,
    data: Samples | str,
    calibration: Samples | str | None,
    steps: int | range | Sequence[int] = range(1, 65),
    recipes: Sequence[str] = ("binary",),
    grid: Mapping[str, Sequence[Any]] | None = None,
    convert_each: bool = False,
    seeds: int = 1,
    targets: Sequence[str | Path] = (),
    preprocessing: Preprocessing | None = None,
    engine: Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
    scheduler: str | None = None,
    data_by: By | None = None,
    watch: Watcher | None = None,
    **options: Any,
) -> SweepResult:
    """Accuracy against time steps of the model's conversions.

    Parameters:
        data, calibration: samples, or DATA as on the command line, with ``preprocessing``;
            calibration None converts on assumed statistics.
        steps: one T, a range of them, or a list.
        grid: values by conversion option, a curve for each combination.
        convert_each, seeds, targets: see `onnx2snn sweep --help`.
        engine: keyword arguments of ``evaluate``.
        folder: where what is finished is kept until the sweep is; None: nowhere, and an
            interrupted sweep begins anew.
        scheduler: address of a Dask scheduler, whose workers do the work; None: this machine.
        data_by: how workers get the samples: "path": they read the same file, "value": they are
            sent them; None: by path where they were read from a file.
        watch: is told how it goes on (``experiments.watching``).
        options: of the conversion, fields of ``converter.recipes.options.Options``.

    Raises ModelError, UnsupportedOps, DataError, TargetError, ClusterError or UsageError.
    """
    series = plan(
        tuple(recipes),
        options,
        grid=parse_grid([f"{name}={_listed(values)}" for name, values in (grid or {}).items()]),
        steps=_steps(steps),
        each=convert_each,
    )
    loaded = model if isinstance(model, LoadedModel) else load_onnx(model)
    test = _samples(data, loaded, preprocessing)
    fitted = None if calibration is None else _samples(calibration, loaded, preprocessing)
    chips = tuple(load_target(name) for name in targets)
    if chips:
        regression = bool((engine or {}).get("regression", False))
        check_targets(api.lowered(loaded), test, regression=regression)
    with _store(folder) as store:
        work = work_on(
            loaded,
            test,
            calibration=fitted,
            store=store,
            engine=engine,
            watch=watch or Unwatched(),
            targets=chips,
        )
        with executor(scheduler, loaded, test, fitted, by=data_by) as home:
            record = run_sweep(work, series, seeds=seeds, executor=home)
        store.finish()
    names = network_names(loaded.path, series)
    return SweepResult(record=record, names=tuple(names.values()), test=test)


def _store(folder: str | Path | None) -> AbstractContextManager[Store]:
    return nullcontext(in_memory()) if folder is None else opened(Path(folder))


def _samples(
    given: Samples | str, model: LoadedModel, preprocessing: Preprocessing | None
) -> Samples:
    return given if isinstance(given, Samples) else api.load_samples(given, model, preprocessing)


def _steps(given: int | range | Sequence[int]) -> Steps:
    if isinstance(given, int):
        given = [given]
    chosen = tuple(sorted(set(given)))
    if not chosen or chosen[0] < 1:
        raise UsageError(f"steps are at least 1, got {given}", code="E110")
    if isinstance(given, range) and given.step == 1:
        return Steps.span(chosen[0], chosen[-1])
    return Steps(answers=chosen, conversions=chosen)


def _listed(values: Sequence[Any]) -> str:
    return ",".join(json_text(v).strip('"') for v in values)
