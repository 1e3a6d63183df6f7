"""Rounding with error feedback, against all levels there are."""

from __future__ import annotations

from itertools import product

import numpy as np

from onnx2snn.hwtargets.fitting.feedback import Feedback, Levels


def test_it_comes_near_the_best_of_all_levels_and_never_further_than_plain_rounding() -> None:
    rng, levels = np.random.default_rng(3), Levels(lowest=-2, highest=2)
    x = rng.random((200, 1)) + 0.3 * rng.random((200, 4))
    given = Feedback(x.T @ x / len(x))
    weights, delta = rng.uniform(-2.4, 2.4, (30, 4)), np.linspace(0.7, 1.3, 30)
    every = np.array(list(product(range(-2, 3), repeat=4)))

    def errors(found: np.ndarray) -> np.ndarray:
        off = weights - found * delta[:, None]
        return np.einsum("of,fg,og->o", off, given.damped, off)

    first = given.fed_back(weights, levels, delta=delta)
    found = given.settled(weights, levels, delta=delta, first=first)
    best = np.min([errors(np.tile(q, (30, 1))) for q in every], axis=0)
    plain = levels.nearest(weights / delta[:, None])
    assert set(np.unique(found)) <= set(range(-2, 3))
    assert errors(found).sum() < 0.5 * errors(plain).sum()
    assert errors(found).sum() < 1.5 * best.sum()
