"""check and verify from Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..arguments import checked
from ..converter import frontend
from ..converter.frontend import CheckReport
from ..display import counted, shown
from ..evaluation.verify import TOLERANCE, Verification
from ..evaluation.verify import verify as run_verify
from ..hwtargets import Screening
from ..reports import documents
from ..reports.pictures.bars import bars_figure
from ..runtime.ops import Array
from . import AnyModel, chips_for, read_model, refuse_infinite
from .results import Result, Rows, told


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class CheckResult(Result, CheckReport):
    """What becomes of every node, and by chip whether a conversion may fit."""

    chips: Mapping[str, Screening] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of `check`."""
        return documents.check(self, self.chips)

    def headline(self) -> str:
        name, count = shown(Path(self.path).name), len(self.nodes)
        analog = self.totals["analog"]["nodes"]
        if not self.convertible:
            return (
                f"{name} does not convert: {self.totals['unsupported']['nodes']} of "
                f"{counted(count, 'node')}"
            )
        chips = ", ".join(n for n, found in self.chips.items() if found.may_fit) or "none"
        return (
            f"{name} converts, {analog} of {counted(count, 'node')} analog; chips it may "
            f"fit: {chips}"
        )

    def rows(self) -> Rows:
        header = ("node", "operation", "verdict", "reason", "remedy", "macs")
        return header, [[n.name, n.op, n.verdict, n.reason, n.remedy, n.macs] for n in self.nodes]

    def plot(self) -> Any:
        """Multiply-accumulates by verdict, as a matplotlib figure. Raises UsageError (E101)."""
        macs = {verdict: float(total["macs"]) for verdict, total in self.totals.items()}
        return bars_figure(
            list(macs),
            values=list(macs.values()),
            label="multiply-accumulates per sample",
            title=self.headline(),
        )


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class VerifyResult(Result, Verification):
    """Analog mode against ONNX Runtime, layer by layer."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of `verify`."""
        return told(documents.verification(self))

    def headline(self) -> str:
        verdict = "equal" if self.equal else "DIFFERENT"
        return (
            f"analog mode and ONNX Runtime are {verdict} on "
            f"{counted(self.samples, 'sample')}: largest "
            f"difference {self.relative_diff:.1e} of the range, limit {TOLERANCE:.0e}"
        )

    def rows(self) -> Rows:
        header = ("layer", "tensor", "relative_diff")
        return header, [[c.name, c.tensor, c.relative_diff] for c in self.layers]

    def plot(self) -> Any:
        """Every layer's difference beside the limit, as a matplotlib figure. Raises UsageError
        (E101)."""
        return bars_figure(
            [c.name for c in self.layers],
            values=[c.relative_diff for c in self.layers],
            label="difference, relative to the range",
            title=self.headline(),
            limit=TOLERANCE,
        )


@checked
def check(
    model: AnyModel, *, input_shapes: Mapping[str, tuple[int, ...]] | None = None
) -> CheckResult:
    """What becomes of every node of ``model``, and which chips may hold it.

    Parameters:
        model: a path, bytes, a ModelProto, or what ``load_onnx`` gives.
        input_shapes: as of ``load_onnx``, for sizes that the model leaves open.

    Raises ModelError where the model cannot be read; what does not convert is a finding.
    """
    report = frontend.check(model, input_shapes=input_shapes)
    refuse_infinite(report)
    chips = {} if report.graph is None else chips_for(report.graph)
    return CheckResult(chips=chips, **{f.name: getattr(report, f.name) for f in fields(report)})


@checked
def verify(
    model: AnyModel,
    inputs: Mapping[str, Array] | None = None,
    *,
    samples: int = 4,
    seed: int = 0,
) -> VerifyResult:
    """Whether the network is understood: analog mode against ONNX Runtime, layer by layer.

    Parameters:
        model: a path, bytes, a ModelProto, or what ``load_onnx`` gives.
        inputs: preprocessed samples (samples, *shape) by input name; None: ``samples`` random ones
            of this ``seed``.

    Raises ModelError, UnsupportedOps.
    """
    found = run_verify(read_model(model), inputs, samples=samples, seed=seed)
    return VerifyResult(**{f.name: getattr(found, f.name) for f in fields(found)})
