"""What `check`, `verify` and `targets` say, the verdict first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..converter.frontend import CheckReport
from ..display import counted, table
from ..evaluation.verify import Verification
from ..hwtargets import HardwareTarget, Screening
from ..hwtargets.target import Limit, Range
from ..spelling import spelled
from .figures import count


def verify_text(name: str, v: Verification, every: bool) -> str:
    """The verdict, then the layer that differs most; a row per layer where they differ, and with
    ``every``."""
    header = ["layer", "tensor", "relative difference"]
    rows = [[c.name, c.tensor, f"{c.relative_diff:.2e}"] for c in v.layers]
    verdict = "equal" if v.equal else "DIFFERENT"
    undefined = (
        f" {counted(v.undefined, 'value')} of the outputs are no finite numbers in ONNX "
        "Runtime: not compared."
        if v.undefined
        else ""
    )
    dropped = (
        f"\nLeft out at the output (softmax, sigmoid, argmax): {', '.join(v.dropped)}."
        if v.dropped
        else ""
    )
    purpose = "".join(
        f"\nOn purpose, so that a difference is expected: {t}." for t in v.approximated
    )
    said = (
        f"{name}: analog mode and ONNX Runtime are {verdict} on "
        f"{counted(v.samples, 'sample')}: largest difference {v.max_abs_diff:.2e}, "
        f"{v.relative_diff:.2e} of the output range.{undefined}{dropped}{purpose}"
    )
    if rows and (every or not v.equal):
        return f"{said}\n\n{table(header, rows)}"
    if rows:
        worst = max(v.layers, key=lambda layer: layer.relative_diff)
        said += (
            f"\nOf {len(rows)} layers '{worst.name}' differs most"
            if len(rows) > 1
            else (f"\nThe layer '{worst.name}' differs")
        )
        said += f", {worst.relative_diff:.2e}; "
        said += f"{spelled('verbose')} lists them"
    return said


def _screened(chip: str, found: Screening) -> list[str]:
    """A row of the chips' table: what is certain, and what is not."""
    lacks = dict.fromkeys(
        f"{v.rule}: {_amount(v.used)}, limit {_amount(v.limit)} ({v.node})"
        if v in found.sizes
        else f"{v.rule}: {v.used} ({v.node})"
        for v in found.violations
    )
    more = f" and {len(lacks) - 3} more" if len(lacks) > 3 else ""
    remedy = f"; yes with {found.remedy}" if found.remedy else ""
    why = ", ".join(list(lacks)[:3]) + more + remedy
    if found.may_fit:
        board = f" ({found.board})" if found.board and found.chips > 1 else ""
        chips = f" on {counted(found.chips, 'chip')}{board}" if found.chips > 1 else ""
        known = [f"at least {found.cores:,} core{'s' * (found.cores != 1)}{chips}"]
        why = "; ".join((known if found.cores else []) + list(found.conditions))
    return [chip, "yes" if found.may_fit else "no", why]


def _amount(value: float | str) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else value


def check_text(report: CheckReport, chips: Mapping[str, Screening], every: bool) -> str:
    """The verdict, then which chips may hold the network, totals, and a row per node that is not
    simply spiking, or (``every``) of all."""
    parts = [_converts(report)]
    for label, infos in (("input", report.inputs), ("output", report.outputs)):
        parts += [f"{label} {i.name}: {'x'.join(map(str, i.shape)) or 'scalar'}" for i in infos]
    if chips:
        rows = [_screened(chip, found) for chip, found in chips.items()]
        parts.append("\n" + table(["chip", "fits", "why not, or on what condition"], rows))
        parts.append(
            "no: certain for the network as it is, whatever the calibration. yes: kinds and sizes "
            "do not rule it out, on the condition named; `place` says what it takes and what "
            "accuracy is left."
        )
    totals = [
        [verdict, t["nodes"], count(t["macs"])]
        for verdict, t in report.totals.items()
        if t["nodes"]
    ]
    parts.append("\n" + table(["verdict", "nodes", "MACs"], totals))
    said = [n for n in report.nodes if every or n.verdict != "spiking"]
    rows = [
        [
            n.name,
            n.op,
            n.verdict,
            f"{n.reason.removesuffix('.')}. {n.remedy}" if n.remedy else n.reason,
        ]
        for n in said
    ]
    if rows:
        parts.append("\n" + table(["node", "op", "verdict", "reason"], rows))
    if len(said) < len(report.nodes):
        left = counted(len(report.nodes) - len(said), "spiking node")
        parts.append(f"{left}: {spelled('verbose')} lists them")
    return "\n".join(parts)


def _converts(report: CheckReport) -> str:
    name = Path(report.path).name
    if report.convertible:
        return f"{name} converts."
    bad = report.totals["unsupported"]["nodes"]
    return f"{name} does not convert: {bad} unsupported node{'s' * (bad != 1)}."


def _capability(value: object) -> object:
    """What a chip can do, as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list | tuple) else value


def target_text(target: HardwareTarget) -> str:
    """The numbers of a chip, and where they come from."""
    rows = []
    for key, n in (*target.limits.items(), *target.energy.items()):
        rows.append([key, f"{n.value:g}", *_whence(n)])
        rows += [[f"  {key}, {o.by}", f"{o.value:g}", *_whence(o)] for o in n.others]
    rows += [
        [f"time {t.name}", f"{t.low:g} to {t.high:g}", *_whence(t)] for t in target.times.values()
    ]
    parts = [
        f"{target.name}: {target.title}\n",
        table(["number", "value", "unit", "verified", "source"], rows),
        "\n"
        + table(
            ["capability", "value"], [[k, _capability(v)] for k, v in target.capabilities.items()]
        ),
    ]
    if target.boards:
        boards = ", ".join(f"{name} ({counted(n, 'chip')})" for name, n in target.boards.items())
        parts.append(f"\nboards: {boards}")
    return "\n".join([*parts, *(f"note: {note}" for note in target.notes)])


def _whence(number: Limit | Range) -> list[str]:
    """Unit, whether it was verified, and where it comes from and how it came here."""
    how = f"[{number.basis}] " if number.basis else ""
    return [number.unit, "yes" if number.verified else "NO", how + number.source]
