import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx2snn.runtime.semantics.intervals import paired_score, unpaired_score, wilson


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


def constrained(difference: float, *, lost: int, won: int, count: int) -> float:
    """Tango's statistic, with the likeliest probability of ``lost`` found by trying many."""
    rare = np.linspace(max(0, -difference), (1 - difference) / 2, 100_001)[1:-1]
    counts = (lost, won, count - lost - won)
    cells = (rare, rare + difference, 1 - 2 * rare - difference)
    likelihood = sum(n * np.log(p) for n, p in zip(counts, cells, strict=True) if n)
    best = rare[np.argmax(likelihood)]
    spread = count * (2 * best + difference - difference**2)
    return float((won - lost - count * difference) / np.sqrt(spread))


@pytest.mark.parametrize(
    ("lost", "won", "count"), [(2, 12, 50), (0, 3, 20), (7, 5, 40), (1, 0, 100)]
)
def test_a_paired_interval_ends_where_the_score_test_rejects(
    lost: int, won: int, count: int
) -> None:
    found, low, high = paired_score(lost=lost, won=won, count=count)
    assert found == (won - lost) / count
    counts = {"lost": lost, "won": won, "count": count}
    assert constrained(low, **counts) == pytest.approx(1.96, abs=1e-3)
    assert constrained(high, **counts) == pytest.approx(-1.96, abs=1e-3)


def test_a_paired_interval_is_known_where_nothing_or_everything_differs() -> None:
    found, low, high = paired_score(lost=0, won=0, count=50)
    assert (found, low) == (0, pytest.approx(-high))
    assert high == pytest.approx(1.96**2 / (50 + 1.96**2), abs=1e-4)  # of n equal pairs
    assert paired_score(lost=5, won=0, count=5)[:2] == (-1, -1)
    with pytest.raises(ValueError, match="3 and 3 of 5"):
        paired_score(lost=3, won=3, count=5)


def test_an_unpaired_interval_is_the_published_one() -> None:
    # Newcombe 1998, table II, method 10: 56/70 - 48/80.
    shares = [(n / of, *wilson(n, count=of)) for n, of in ((48, 80), (56, 70))]
    assert unpaired_score(*shares) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)
