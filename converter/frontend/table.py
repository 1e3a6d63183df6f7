"""The table of operations: what each becomes, from the registry, for `ops` and the manual."""

from __future__ import annotations

from dataclasses import dataclass

from .importing import DROPPED
from .refusals import REASONS
from .registry import OPERATIONS


@dataclass(frozen=True, eq=False, kw_only=True)
class OperationRow:
    """verdict: "spiking" or "unsupported"; whatever is not in the table is analog."""

    op: str
    verdict: str
    becomes: str
    remedy: str = ""


def operations() -> tuple[OperationRow, ...]:
    """Every operation with a rule of its own, by name; all others run as analog islands."""
    spiking = [
        OperationRow(op=o.op, verdict="spiking", becomes=o.becomes) for o in OPERATIONS.values()
    ]
    dropped = [
        OperationRow(
            op=op, verdict="spiking", becomes="left out, where only an output reads it; else analog"
        )
        for op in DROPPED
    ]
    unsupported = [
        OperationRow(op=op, verdict="unsupported", becomes=reason, remedy=remedy)
        for op, (reason, remedy) in REASONS.items()
    ]
    rank = {"spiking": 0, "unsupported": 1}
    return tuple(sorted((*spiking, *dropped, *unsupported), key=lambda r: (rank[r.verdict], r.op)))


def operations_markdown() -> str:
    """The table as Markdown, as docs/operations.md holds it."""
    lines = ["| operation | becomes |", "|---|---|"]
    rows = operations()
    lines += [f"| {r.op} | {r.becomes} |" for r in rows if r.verdict == "spiking"]
    lines += ["", "| refused | because | instead |", "|---|---|---|"]
    lines += [f"| {r.op} | {r.becomes} | {r.remedy} |" for r in rows if r.verdict == "unsupported"]
    return "\n".join(lines) + "\n"
