"""Sweeps from Python: what `onnx2snn sweep` does, and its record.

found = onnx2snn.sweep("net.onnx", data="d.npz:x,y", calibration="d.npz:x_calib", steps=[4, 8, 16])
found.plot(); found.to_dataframe(); found.save("out")
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from .. import api
from ..api import AnyModel, Data
from ..api.results import Result, Rows, told
from ..arguments import checked, meant
from ..converter.frontend import LoadedModel
from ..converter.recipes.options import Options
from ..converter.statistics.thresholds import Method
from ..data import Preprocessing, Samples
from ..display import counted, json_text, shown
from ..errors import UsageError
from ..evaluation.evaluate import evaluate
from ..evaluation.sweep import Sweep, SweepRun, knee
from ..hwtargets import load_target
from ..reports import documents
from ..reports.comparison import sweep_rows
from ..reports.pictures.sweep import sweep_figure
from ..reports.text import curve_rows
from ..results import claim
from ..results.marks import Kind
from ..runtime.engine import EngineOptions
from ..spelling import spelled
from .chips import check_targets
from .plan import Steps, fitting, parse_grid, plan
from .run import sweep as run_sweep
from .saving import (
    chart_kinds,
    network_names,
    page_name,
    write_chart,
    write_networks,
    write_placements,
)
from .shards.cluster import executor
from .shards.delivery import By
from .store import Store, in_memory, opened
from .watching import Unwatched, Watcher
from .work import Work, work_on

# Keyword arguments of ``evaluate`` that a sweep passes on.
ENGINE = (
    *(
        name
        for name, p in inspect.signature(evaluate).parameters.items()
        if p.kind is p.KEYWORD_ONLY
    ),
    *(field.name for field in fields(EngineOptions)),
)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class SweepResult(Result):
    """The record of a sweep, and what can be made of it.

    Attributes:
        record: all curves; ``runs`` are those.
        names: of the converted networks' files, in the order of the series.
        work: what was done it on: samples, chips.
    """

    record: Sweep
    names: tuple[str, ...]
    work: Work

    @property
    def runs(self) -> tuple[SweepRun, ...]:
        return self.record.runs

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of `sweep`."""
        return told(documents.sweep(self.record))

    def headline(self) -> str:
        best = [f"{shown(run.recipe)} T={_fewest(run)}" for run in self.runs]
        listed = ", ".join(best)
        return (
            f"{shown(self.record.model)}, {counted(self.record.samples, 'sample')}; near "
            f"the ANN: {listed}"
        )

    def rows(self) -> Rows:
        """A row for each curve and T with the columns of `sweep.csv`."""
        return sweep_rows(self.record)

    def shown_rows(self) -> Rows:
        tables = [curve_rows(run.evaluation) for run in self.runs]
        header = ["recipe", *tables[0][0]]
        return header, [
            [run.recipe, *row]
            for run, (_, rows) in zip(self.runs, tables, strict=True)
            for row in rows
        ]

    def plot(self) -> Any:
        """The chart as a matplotlib figure. Raises UsageError (E101) without matplotlib."""
        return sweep_figure(self.record)

    def save(self, folder: str | Path, *, force: bool = False) -> None:
        """Write what `sweep -o` writes. Raises DataError (E220 to E225)."""
        kinds = chart_kinds("sweep") | dict.fromkeys(self.names, Kind.NETWORK)
        chips = [chip.name for chip in self.work.targets]
        kinds |= {page_name(n, chip=chip): Kind.HTML for n in self.names for chip in chips}
        results = claim(Path(folder), kinds, inputs=(), force=force)
        linked = write_placements(self.work, self.record, self.names, results)
        write_chart(self.record, self.to_dict(), results, "sweep", placements=linked)
        write_networks(self.record, self.names, results, self.work.samples)


@checked
def sweep(
    model: AnyModel,
    *,
    data: Data,
    calibration: Data | None,
    steps: int | range | Sequence[int] = range(1, 65),
    recipes: Sequence[str] | str = ("binary",),
    grid: Mapping[str, Sequence[Any]] | None = None,
    convert_each: bool = False,
    seeds: int = 1,
    targets: Sequence[str | Path] | str = (),
    method: Method = "mmse",
    percentile: float = 99.9,
    per_channel: bool = True,
    reset: Literal["subtract", "zero"] = "subtract",
    leak: float = 0.0,
    refractory: int = 0,
    levels: int | None = None,
    tune: bool = True,
    spike_cost: float = 0.0,
    v_init: float = 0.5,
    lag: int = 0,
    pace: bool = True,
    copies: int | None = None,
    maxpool: Literal["exact", "tree"] = "exact",
    islands: Literal["currents", "spikes"] = "currents",
    encoding: str = "constant",
    readout: Literal["membrane", "count"] = "membrane",
    seed: int = 0,
    regression: bool = False,
    preprocessing: Preprocessing | None = None,
    limit: int | None = None,
    engine: Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
    scheduler: str | None = None,
    data_by: By | None = None,
    watch: Watcher | None = None,
) -> SweepResult:
    """Accuracy against time steps of the model's conversions.

    Parameters:
        model: a path, bytes, a ModelProto, or what ``load_onnx`` gives.
        data, calibration: what ``load_samples`` takes: DATA in files, with ``preprocessing``,
            (x, y) arrays, an iterable of batches, or samples; calibration None converts on assumed
            statistics.
        steps: one T, a range of them, or a list.
        recipes: one, or several on one chart.
        grid: values by conversion option, a curve for each combination.
        convert_each: a network of its own for every T.
        seeds: how often each is converted, with other samples drawn.
        targets: chips in whose integers every network is run too.
        method, percentile, per_channel, reset, leak, refractory, levels, tune, spike_cost, v_init:
            of the conversions, as of ``convert``; so are lag, pace, copies, maxpool, islands,
            encoding, readout and seed.
        regression: the outputs are values, also where they look like one score per class.
        limit: the first N samples of ``data``.
        engine: keyword arguments of ``evaluate``.
        folder: where what is finished is kept until the sweep is; None: nowhere, and an
            interrupted sweep begins anew.
        scheduler: address of a Dask scheduler, whose workers do the work; None: this machine.
        data_by: how workers get the samples: "path": they read the same file, "value": they are
            sent them; None: by path where they were read from a file.
        watch: is told how it goes on (``experiments.watching``).

    Raises ModelError, UnsupportedOps, DataError, TargetError, ClusterError or UsageError.
    """
    given = locals()
    options = {
        f.name: given[f.name]
        for f in fields(Options)
        if f.name in given and f.name != "steps" and given[f.name] != f.default
    }
    engine = {**({"regression": True} if regression else {}), **(engine or {})}
    unknown = [name for name in engine if name not in ENGINE]
    if unknown:
        raise UsageError(
            f"{spelled('engine')} takes no '{unknown[0]}'", remedy=meant(unknown[0], ENGINE)
        )
    planned = plan(
        (recipes,) if isinstance(recipes, str) else tuple(recipes),
        options,
        grid=parse_grid([f"{name}={_listed(values)}" for name, values in (grid or {}).items()]),
        steps=_steps(steps),
        each=convert_each,
    )
    if seeds < 1:
        raise UsageError(f"{spelled('seeds')} is at least 1, got {seeds}", code="E116")
    series, left_out = fitting(planned)
    loaded = api.read_model(model)
    test = _samples(data, loaded, preprocessing, limit)
    fitted = None if calibration is None else _samples(calibration, loaded, preprocessing, None)
    chips = tuple(
        load_target(name) for name in ([targets] if isinstance(targets, str) else targets)
    )
    if chips:
        regression = bool(engine.get("regression", False))
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
            record = run_sweep(work, series, seeds=seeds, executor=home, left_out=left_out)
        store.finish()
    names = network_names(loaded.path, series)
    return SweepResult(record=record, names=tuple(names.values()), work=work)


def _store(folder: str | Path | None) -> AbstractContextManager[Store]:
    return nullcontext(in_memory()) if folder is None else opened(Path(folder))


def _samples(
    given: Data, model: LoadedModel, preprocessing: Preprocessing | None, limit: int | None
) -> Samples:
    """Arrays are taken as the network takes them."""
    in_files = isinstance(given, str | PathLike)
    return api.load_samples(given, model, preprocessing if in_files else None, limit=limit)


def _fewest(run: SweepRun) -> str:
    """The T of the knee."""
    found = knee(run.evaluation)
    return "none" if found is None else str(found["T"])


def _steps(given: int | range | Sequence[int]) -> Steps:
    asked = [given] if isinstance(given, str) or not isinstance(given, Iterable) else [*given]
    if not all(isinstance(t, Integral) for t in asked):
        raise UsageError(
            f"steps are whole numbers, got {given!r}",
            remedy="Such as 8, [4, 8, 16] or range(1, 65).",
            code="E110",
        )
    chosen = tuple(sorted({int(t) for t in asked}))
    if not chosen or chosen[0] < 1:
        raise UsageError(f"steps are at least 1, got {given}", code="E110")
    if isinstance(given, range) and given.step == 1:
        return Steps.span(chosen[0], chosen[-1])
    return Steps(answers=chosen, conversions=chosen)


def _listed(values: Sequence[Any]) -> str:
    return ",".join(json_text(v).strip('"') for v in values)
