import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx2snn.runtime.semantics.intervals import wilson


def test_wilson_gives_published_intervals() -> None:
    # Newcombe 1998, table I: 81/263 and 0/20.
    assert wilson(81, count=263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, count=20) == pytest.approx((0.0, 0.1611), abs=1e-4)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_contains_the_proportion(case: tuple[int, int]) -> None:
    low, high = wilson(case[0], count=case[1])
    assert 0 <= low <= case[0] / case[1] <= high <= 1


def test_wilson_refuses_more_successes_than_samples() -> None:
    with pytest.raises(ValueError, match="3 successes of 2"):
        wilson(3, count=2)
