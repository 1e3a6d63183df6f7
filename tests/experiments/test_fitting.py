"""What a recipe does not have is left out of a plan, and said; nothing left of it is an error."""

from __future__ import annotations

from typing import Any

import pytest

from onnx2snn.errors import UsageError
from onnx2snn.experiments.plan import Series, Steps, fitting, plan


def planned(*recipes: str, steps: Steps, each: bool = True, **more: Any) -> tuple[Series, ...]:
    options = more.pop("options", {})
    return plan(recipes, options, grid=more, steps=steps, each=each)


def test_steps_that_windows_do_not_have() -> None:
    listed = Steps(answers=(4, 16, 32), conversions=(4, 16, 32))
    (binary, few), out = fitting(planned("binary", "few-spike", steps=listed))
    assert binary.steps == listed
    assert few.steps == Steps(answers=(4, 16), conversions=(4, 16))
    assert len(out) == 1 and out[0].startswith("few-spike: T=32 left out: recipe 'few-spike' has")
    (few,), out = fitting(planned("few-spike", steps=Steps.span(1, 64), each=False))
    assert few.steps == Steps.span(1, 16)
    assert "T=17 to 64 left out" in out[0]


def test_combinations_of_a_grid_that_do_not_go_together() -> None:
    steps = Steps.span(4, 4)
    left, out = fitting(planned("binary", steps=steps, lag=(0, 2), copies=(1, 2)))
    assert [one.label for one in left] == [
        "binary lag=0 copies=1",
        "binary lag=0 copies=2",
        "binary lag=2 copies=1",
    ]
    assert len(out) == 1 and out[0].startswith("binary lag=2 copies=2: left out: copies of the")
    left, out = fitting(planned("signed", steps=steps, tune=(True, False)))
    assert [one.label for one in left] == ["signed tune=true", "signed tune=false"]
    assert out == ()


@pytest.mark.parametrize(
    ("recipe", "lag", "code"),
    [("few-spike", 2, "E114"), ("synchronous", 1, "E114"), ("differential", 1, "E114")],
)
def test_nothing_left_of_a_recipe_is_an_error(recipe: str, lag: int, code: str) -> None:
    steps = Steps.span(4, 4)
    with pytest.raises(UsageError) as raised:
        fitting(planned("binary", recipe, steps=steps, options={"lag": lag}))
    assert raised.value.code == code
