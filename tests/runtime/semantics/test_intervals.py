import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx2snn.runtime.semantics.intervals import paired_points, unpaired_score, wilson


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


@pytest.mark.parametrize(
    ("lost", "won", "count", "significant"),
    [(4, 0, 360, False), (0, 0, 50, False), (20, 2, 360, True), (2, 20, 360, True)],
)
def test_a_paired_interval_is_symmetric_and_needs_more_than_a_few_samples(
    lost: int, won: int, count: int, significant: bool
) -> None:
    """Four samples that only one side has right are no difference: McNemar's exact p is 1 in 8."""
    found, low, high = paired_points(lost=lost, won=won, count=count)
    assert found == 100 * (lost - won) / count and low < found < high
    assert (low > 0 or high < 0) == significant
    other = paired_points(lost=won, won=lost, count=count)
    assert other == pytest.approx((-found, -high, -low))


def test_a_paired_interval_refuses_more_differences_than_samples() -> None:
    with pytest.raises(ValueError, match="3 and 3 of 5"):
        paired_points(lost=3, won=3, count=5)


def test_an_unpaired_interval_is_the_published_one() -> None:
    # Newcombe 1998, table II, method 10: 56/70 - 48/80.
    shares = [(n / of, *wilson(n, count=of)) for n, of in ((48, 80), (56, 70))]
    assert unpaired_score(*shares) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)
