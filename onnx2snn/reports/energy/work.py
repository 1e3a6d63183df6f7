"""The busiest core and link of a placement, what bounds its steps, and what other numbers that are
stated of the chip come to, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from ...display import counted
from ...hwtargets.energy.bounds import SAID, StepBound
from ...hwtargets.placement.report import PlacementReport
from .chips import si

KINDS = {
    "synops": "synaptic operations", "updates": "neuron updates", "reads": "words of memory read",
}  # fmt: skip


def lines(r: PlacementReport) -> Iterator[str]:
    """The busiest core, and the links, where they are known."""
    for kind, label in KINDS.items():
        found = r.work.get(kind)
        if found and found["most"] > 0:
            times = f"{found['most'] / found['mean']:.1f} times the mean"
            yield (
                f"Busiest core per step: {_number(found['most'])} {label} "
                f"('{found['layer']}', core {found['core']}, {times})."
            )
    t = r.traffic
    if t.get("link_packets"):
        yield (
            f"Links where routes are shared, those of cores counted: {_number(t['link_packets'])} "
            f"packets per step, no placement has less than {_number(t['link_packets_least'])} "
            f"(gap {100 * t['link_gap']:.0f} %); {_number(t['router_link_packets'])} of them "
            f"between routers, bound {_number(t['router_link_packets_least'])}."
        )
        yield (
            f"Busiest link: {_number(t['busiest_link'])} packets per step, no placement has less "
            f"than {_number(t['busiest_link_least'])}."
        )


def step(r: PlacementReport) -> str:
    """What a step takes at the least, and what binds; "" where nothing is known."""
    bound = r.latency.bound
    if bound is None:
        return ""
    low, high = bound.inference
    return (
        f"A step takes at least {_span(bound.low, high=bound.high)}, an inference "
        f"{_span(low, high=high)}: {binding(bound)} (times are ranges, not verified)."
    )


def binding(bound: StepBound) -> str:
    """Which term is the largest."""
    low, high = (SAID[name] for name in bound.binds)
    return f"{low} bind" if low == high else f"{low} bind, or {high}"


def terms(bound: StepBound) -> list[tuple[str, str, str, str]]:
    """Per term: what is counted, how many, how long they take, and where that comes from."""
    return [
        (SAID[t.name], _number(t.count), _span(t.low, high=t.high), t.of.source)
        for t in bound.terms
    ]


def otherwise(r: PlacementReport) -> Iterator[str]:
    """What the network takes with what others state of the chip."""
    for other in r.otherwise:
        stated = ", ".join(f"{name} {value:,.0f}" for name, value in other["limits"].items())
        takes = f"{counted(other['cores'], 'core')} on {counted(other['chips'], 'chip')}"
        yield f"As {other['by']} has it ({stated}): {takes}."


def _span(low: float, *, high: float) -> str:
    return f"{si(low, 's')} to {si(high, 's')}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
