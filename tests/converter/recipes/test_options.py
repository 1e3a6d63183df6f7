"""The choices of a conversion: what they do not take is refused, never taken for something else."""

from __future__ import annotations

from typing import Any

import pytest

from onnx2snn.converter.recipes.options import Options, choosable
from onnx2snn.errors import UsageError
from onnx2snn.runtime.tables import choices


@pytest.mark.parametrize("name", sorted(choices(Options)))
def test_a_word_that_a_choice_does_not_take_is_named(name: str) -> None:
    words = choices(Options)[name]
    with pytest.raises(UsageError, match=f"{name} is '{words[-1]}s'.*Did you mean") as error:
        Options(**{name: f"{words[-1]}s"})
    assert error.value.code == "E116"
    assert getattr(Options(**{name: words[-1]}), name) == words[-1]


def test_every_choice_of_words_is_checked() -> None:
    assert set(choices(Options)) == {
        "method", "prefer", "reset", "maxpool", "islands", "readout",
    }  # fmt: skip


SMALLEST = {c.name: c.smallest for c in choosable(auto=False)}
COUNTED = {name: smallest for name, smallest in SMALLEST.items() if smallest is not None}


def test_what_is_counted_is_known() -> None:
    assert COUNTED == {"lag": 0, "copies": 1, "levels": 1, "refractory": 0, "spike_cost": 0}


@pytest.mark.parametrize("name", COUNTED)
def test_what_is_counted_has_a_smallest_value(name: str) -> None:
    """0 copies or levels were once taken for the recipe's own."""
    allowed: dict[str, Any] = {name: COUNTED[name]}
    Options(**allowed)
    with pytest.raises(UsageError, match=f"{name} is at least {COUNTED[name]}"):
        Options(**{name: COUNTED[name] - 1})


@pytest.mark.parametrize("leak", [-0.1, 1.0, float("nan")])
def test_a_leak_is_a_share(leak: float) -> None:
    with pytest.raises(UsageError, match="leak is at least 0 and below 1"):
        Options(leak=leak)
