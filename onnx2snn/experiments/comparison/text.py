"""A comparison in words and rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from ...reports.figures import count
from ...reports.text import percent, table
from ..plan import LADDER
from . import Change, Comparison, CurvePair, Difference, PointPair

SHORT = {"spikes_per_neuron": "spikes", "synops_per_sample": "synops", "energy_to_ann": "energy"}
CHANGED = ["what", "A", "B"]
DIGEST = 12  # characters of a sha256


def text(found: Comparison) -> str:
    """The verdicts, what changed, and a table per pair of curves."""
    parts = ["\n".join([*verdicts(found), "", f"A: {found.first}", f"B: {found.second}"])]
    if found.changes:
        parts.append(f"what changed:\n{table(CHANGED, change_rows(found.changes))}")
    for pair in found.curves:
        lines = [title(pair)]
        if pair.changes:
            lines += ["", "what changed:", table(CHANGED, change_rows(pair.changes))]
        lines += ["", "\n\n".join(table(*part) for part in tables(pair)), how(pair)]
        parts.append("\n".join(lines))
    parts += alone(found)
    return "\n\n".join(parts)


def verdicts(found: Comparison) -> list[str]:
    """The answer, a line per pair of curves: of the last answers that both have."""
    if not found.curves:
        return ["Nothing to compare: no curve is in both."]
    return [verdict(pair) for pair in found.curves]


def verdict(pair: CurvePair) -> str:
    last = pair.points[-1]
    judged = last.judged
    said = [] if judged is None else [_told(*judged)]
    if judged is None and "error" in last.costs:
        a, b = last.costs["error"]
        said.append(f"error of the outputs {a:.4g} in A, {b:.4g} in B, without an interval")
    for name, (a, b) in last.costs.items():
        if name in SHORT and a > 0:
            said.append(f"{SHORT[name]} x{b / a:.2f}")
    latency = last.costs.get("latency")
    if latency is not None:
        a, b = latency
        said.append(f"latency {a} steps in both" if a == b else f"latency {a} steps, then {b}")
    if pair.unpaired:
        said.append(f"not paired by sample ({pair.unpaired})")
    return f"{title(pair)}, {steps(last)}: {'; '.join(said)}."


def title(pair: CurvePair) -> str:
    return pair.first if pair.first == pair.second else f"{pair.first} (A), {pair.second} (B)"


def steps(point: PointPair) -> str:
    a, b = point.T
    return f"T={a}" if a == b else f"T={a} in A, T={b} in B"


def _told(name: str, found: Difference) -> str:
    which = "better" if found.difference > 0 else "worse"
    points = f"{abs(100 * found.difference):.2f} points of {name}"
    if found.low is None:
        return f"B is {points} {which}, without an interval"
    said = f"95 % interval {bounds(found)}"
    if found.told:
        return f"B is {points} {which} than A ({said})"
    return f"no difference of {name} that these samples tell: {signed(found.difference)} ({said})"


def signed(fraction: float) -> str:
    return f"{round(100 * fraction, 2) + 0.0:+.2f}"  # no negative zero


def change_rows(changes: Sequence[Change]) -> list[list[str]]:
    return [[c.what, _plain(c.what, c.first), _plain(c.what, c.second)] for c in changes]


def _plain(what: str, value: Any) -> str:
    if value is None:
        return "-"
    if what.endswith("sha256"):
        return str(value)[:DIGEST]
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def shown_points(pair: CurvePair) -> list[PointPair]:
    """A few per octave where there are many, and the last."""
    few = [p for p in pair.points if p.T[0] in LADDER or p is pair.points[-1]]
    return few if len(pair.points) > 12 else list(pair.points)


def tables(pair: CurvePair) -> list[tuple[list[str], list[list[str]]]]:
    """Headers and rows, a row per pair of answers, each table no wider than a terminal: what the
    two are judged by, what else their answers are, and what they cost."""
    points = shown_points(pair)
    parts = [_shares(pair, points, first=True), _shares(pair, points, first=False), _costs(points)]
    return [
        (["T", *header], [[_T(point), *row] for point, row in zip(points, rows, strict=True)])
        for header, rows in parts
        if header
    ]


Part: TypeAlias = tuple[list[str], list[list[str]]]


def _shares(pair: CurvePair, points: Sequence[PointPair], *, first: bool) -> Part:
    """``first``: the share that is judged by, with the difference; else the other one, and sample
    by sample."""
    known = [name for name in ("accuracy", "agreement") if name in points[0].shares]
    header: list[str] = []
    rows: list[list[str]] = [[] for _ in points]
    for name in known[:1] if first else known[1:]:
        header += [f"{name} A", "B", *(["B - A", "95 % interval"] if first else [])]
        for row, d in zip(rows, (point.shares[name] for point in points), strict=True):
            row += [percent(d.first), percent(d.second)]
            row += [signed(d.difference), bounds(d)] if first else []
    if known and not first and not pair.unpaired:
        right = "A alone right" if "accuracy" in known else "A alone agrees"
        header += [right, "B alone", "same"]
        for row, point in zip(rows, points, strict=True):
            if point.judged is not None:
                d = point.judged[1]
                row += [str(d.only_first), str(d.only_second), percent(point.same)]
    return header, rows


def _costs(points: Sequence[PointPair]) -> Part:
    names = [name for name in points[0].costs if name != "latency" or _moved(points)]
    header = [title for name in names for title in (f"{name.split('_')[0]} A", "B")]
    return header, [[cost(n, v) for n in names for v in point.costs[n]] for point in points]


def _T(point: PointPair) -> str:  # noqa: N802 - the field's symbol
    a, b = point.T
    return f"{a}" if a == b else f"{a}, {b}"


def bounds(found: Difference) -> str:
    """The interval; "" where there is none."""
    if found.low is None or found.high is None:
        return ""
    return f"{signed(found.low)} to {signed(found.high)}"


def _moved(points: Sequence[PointPair]) -> bool:
    return any(a != b for a, b in (p.costs["latency"] for p in points if "latency" in p.costs))


def cost(name: str, value: float) -> str:
    return count(value) if name == "synops_per_sample" else f"{value:.4g}"


def how(pair: CurvePair) -> str:
    """What the differences are."""
    if pair.unpaired:
        return (
            f"NOT paired by sample ({pair.unpaired}): intervals are those of two independent draws "
            "(Newcombe 1998), wider than of the same samples."
        )
    return (
        "B - A in points, on the same samples, with its 95 % interval (Agresti and Min 2005); "
        "same: samples with the same answer, right or wrong."
    )


def alone(found: Comparison) -> list[str]:
    """Curves without a counterpart."""
    sides = (("A", found.only_first), ("B", found.only_second))
    return [f"only in {side}: {', '.join(names)}" for side, names in sides if names]
