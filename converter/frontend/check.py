"""What becomes of every node of a model, without converting it: the record behind `check`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal, TypeAlias

import onnx

from ...errors import DataError, ModelError, UnsupportedOps
from ...runtime.ops import Shape
from ...runtime.storage.atomic import write_atomically
from ..ann.graph import AnnGraph
from .file.load import (
    LoadedModel,
    ModelSource,
    PathLike,
    TensorInfo,
    load_onnx,
)
from .importing import Survey, named_nodes, survey
from .node import OnnxNode
from .reference import Reference
from .registry import OPERATIONS

Verdict: TypeAlias = Literal["spiking", "approximate", "analog", "unsupported"]
VERDICTS: tuple[Verdict, ...] = ("spiking", "approximate", "analog", "unsupported")
DROPPED_REASON = "left out at the output; the network gives the numbers that go into it"
LOGIT_RULE = "logits, above 0 where the Sigmoid is above 1/2"
VERDICT, REASON = "onnx2snn.verdict", "onnx2snn.reason"  # metadata of tagged nodes
ANALOG_REMEDY = "It runs on running means, and cannot be placed on a chip."


@dataclass(frozen=True, eq=False, kw_only=True)
class Finding:
    """One node of the cleaned-up model.

    Attributes:
        verdict: spiking (exact in the rate limit), approximate (spiking, with what is left out
            in ``reason``), analog (runs on running means, cannot be placed), unsupported.
        macs: multiply-accumulates per sample in the ANN; 0 for anything but products.
    """

    name: str
    op: str
    verdict: Verdict
    reason: str
    remedy: str = ""
    macs: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class CheckReport:
    """All findings. ``totals``: nodes and MACs by verdict; shapes are per sample. ``graph``: what
    was imported, None where that cannot be. ``finite``: False where the model gave infinite numbers
    or none on every input that was tried."""

    path: str
    convertible: bool
    nodes: tuple[Finding, ...]
    inputs: tuple[TensorInfo, ...] = ()
    outputs: tuple[TensorInfo, ...] = ()
    tagged: onnx.ModelProto | None = None
    graph: AnnGraph | None = None
    finite: bool = True

    @property
    def totals(self) -> dict[str, dict[str, int]]:
        return {
            verdict: {
                "nodes": sum(n.verdict == verdict for n in self.nodes),
                "macs": sum(n.macs for n in self.nodes if n.verdict == verdict),
            }
            for verdict in VERDICTS
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "schema": 1,
            "path": self.path,
            "convertible": self.convertible,
            "inputs": [{"name": i.name, "shape": list(i.shape)} for i in self.inputs],
            "outputs": [{"name": o.name, "shape": list(o.shape)} for o in self.outputs],
            "totals": self.totals,
            "nodes": [
                {
                    "name": n.name,
                    "op": n.op,
                    "verdict": n.verdict,
                    "reason": n.reason,
                    "remedy": n.remedy,
                    "macs": n.macs,
                }
                for n in self.nodes
            ],
        }


def check(
    source: ModelSource | LoadedModel, *, input_shapes: Mapping[str, tuple[int, ...]] | None = None
) -> CheckReport:
    """Run the real frontend and report on every node.

    Raises ModelError where the file cannot be read or run; operations that are not supported are
    findings, not errors.
    """
    if not isinstance(source, LoadedModel):
        return check_file(source, input_shapes=input_shapes)
    result = survey(source)
    findings = (
        *(
            Finding(name=name, op=op, verdict="approximate", reason=reason)
            for name, op, reason in source.approximated
            if name not in result.refused
        ),
        *(_finding(result, node) for node in result.source.nodes),
        *_dropped(result),
    )
    tagged = onnx.ModelProto()
    tagged.CopyFrom(source.cleaned)
    return CheckReport(
        path=source.path,
        convertible=not result.refused,
        nodes=findings,
        inputs=source.inputs,
        outputs=source.outputs,
        tagged=tagged,
        graph=result.graph,
        finite=result.graph is None or Reference(source).stays_finite(),
    )


def check_file(
    source: ModelSource, *, input_shapes: Mapping[str, tuple[int, ...]] | None = None
) -> CheckReport:
    """``check`` of a file, which may be a pipe. Raises ModelError where it cannot be read."""
    try:
        model = load_onnx(source, input_shapes=input_shapes)
    except UnsupportedOps as error:
        return _unloadable(error.where, error)
    return check(model)


def _finding(result: Survey, node: OnnxNode) -> Finding:
    macs = _macs(result, node)
    if node.name in result.refused:
        reason, remedy = result.refused[node.name]
        return _row(node, "unsupported", reason=reason, remedy=remedy, macs=macs)
    if node.name in result.analog:
        reason, remedy = result.analog[node.name]
        return _row(node, "analog", reason=reason, remedy=remedy or ANALOG_REMEDY, macs=macs)
    return _row(node, "spiking", reason=OPERATIONS[node.op].becomes, remedy="", macs=macs)


def _row(node: OnnxNode, verdict: Verdict, *, reason: str, remedy: str, macs: int) -> Finding:
    return Finding(
        name=node.name, op=node.op, verdict=verdict, reason=reason, remedy=remedy, macs=macs
    )


def _dropped(result: Survey) -> list[Finding]:
    names = {name for _, _, chain in result.source.outputs for name in chain}
    return [
        Finding(
            name=name,
            op=proto.op_type,
            verdict="spiking",
            reason=DROPPED_REASON + (f": {LOGIT_RULE}" if proto.op_type == "Sigmoid" else ""),
        )
        for name, proto in result.source.protos.items()
        if name in names
    ]


def _macs(result: Survey, node: OnnxNode) -> int:
    """Multiply-accumulates of a product: output numbers times terms per number."""

    def shape(tensor: str) -> Shape:
        known = result.source.shapes.get(tensor)
        held = result.source.constants.get(tensor)
        return known if known is not None else () if held is None else held.shape

    out = prod(shape(node.outputs[0]))
    first, second = (shape(node.input(i)) for i in (0, 1))
    match node.op:
        case "Conv" if len(second) > 2:
            return int(out * prod(second[1:]))
        case "ConvTranspose" if len(second) > 2:
            return int(prod(first) * prod(second[1:]))
        case "MatMul" if first:
            return int(out * first[-1])
        case "Gemm" if len(first) == 2:
            return int(out * first[0 if node.attrs.get("transA") else 1])
    return 0


def _unloadable(path: str, error: UnsupportedOps) -> CheckReport:
    """ONNX Runtime does not know some operation, so the graph itself cannot be analysed."""
    findings = tuple(
        Finding(name=name, op=op, verdict="unsupported", reason=reason)
        for name, op, reason in error.findings
    )
    return CheckReport(path=path, convertible=False, nodes=findings)


def save_tagged(report: CheckReport, path: PathLike) -> None:
    """Write ``tagged_bytes`` in one step, whatever file is there.

    Raises ModelError where there is no graph to write, or the file cannot be written.
    """
    content = tagged_bytes(report)
    try:
        write_atomically(Path(path), content)
    except DataError as error:
        raise ModelError(
            f"cannot write the tagged graph: {error.what}", where=str(path), code="E308"
        ) from error


def is_tagged(path: Path) -> bool:
    """Whether the file is a graph that ``tagged_bytes`` made. Raises where it is no ONNX file."""
    if path.stat().st_size >= 2**31:  # more than a protobuf message holds
        return False
    graph = onnx.load_from_string(path.read_bytes()).graph
    return any(entry.key == VERDICT for node in graph.node for entry in node.metadata_props)


def tagged_bytes(report: CheckReport) -> bytes:
    """The cleaned-up graph with each node's verdict as an ONNX file, for a viewer: in the node's
    metadata (onnx2snn.verdict, onnx2snn.reason) and its description.

    Raises ModelError where there is no graph to write, or it is too large for one file.
    """
    if report.tagged is None:
        raise ModelError("the graph could not be cleaned up, so it cannot be tagged")
    model = onnx.ModelProto()
    model.CopyFrom(report.tagged)
    model.ir_version = max(model.ir_version, 10)  # the first with metadata on nodes
    rows = {finding.name: finding for finding in report.nodes}
    for name, proto in named_nodes(model.graph):
        finding = rows.get(name)
        if finding is not None:
            proto.doc_string = f"{finding.verdict}: {finding.reason}"
            for key, value in ((VERDICT, finding.verdict), (REASON, finding.reason)):
                entry = proto.metadata_props.add()
                entry.key, entry.value = key, value
    try:
        return model.SerializeToString()
    except ValueError as error:
        raise ModelError(
            f"cannot write the tagged graph: {error}", where=report.path, code="E308"
        ) from error
