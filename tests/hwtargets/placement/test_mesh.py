"""The mesh: geometry, and what a placement costs on it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx2snn.hwtargets.placement import hops, mesh

from .flows import random_flows


@settings(max_examples=25, deadline=None)
@given(width=st.integers(1, 14), height=st.integers(1, 14))
def test_the_curve_visits_every_cell_once_in_short_steps(width: int, height: int) -> None:
    cells = list(mesh.curve_of(width, height=height))
    assert len(cells) == len(set(cells)) == width * height
    assert all(0 <= x < width and 0 <= y < height for x, y in cells)
    steps = np.abs(np.diff(np.array(cells), axis=0)).sum(1) if len(cells) > 1 else np.ones(1)
    assert steps.max() <= 2  # one diagonal step where both sides are odd


def test_link_loads_and_metrics_equal_a_walk_along_every_route() -> None:
    grid = mesh.Mesh(width=4, height=3, chips=4, across=2)
    xy = grid.slots[np.random.default_rng(1).permutation(48)[:20]]
    flows = random_flows(20, 60)
    loads = np.zeros((8, 6, 4))
    walked = 0.0
    for a, b, w in zip(flows.source, flows.destination, flows.weight, strict=True):
        (x, y), (x1, y1) = xy[a], xy[b]
        while (x, y) != (x1, y1):
            if x != x1:
                direction, step = (0, 1) if x1 > x else (1, -1)
                loads[x, y, direction] += w
                x += step
            else:
                direction, step = (2, 1) if y1 > y else (3, -1)
                loads[x, y, direction] += w
                y += step
            walked += w
    links = hops.link_loads(grid.routers(xy), flows, grid.router_grid)
    np.testing.assert_allclose(links, loads)
    assert np.array_equal(links > 0, loads > 0)  # nothing on idle links, not even 1e-16
    found = hops.metrics(xy, flows, grid)
    assert found["spike_hops"] == pytest.approx(walked)
    assert found["max_link"] == pytest.approx(loads.max())
    same = (xy[flows.source] // (4, 3) == xy[flows.destination] // (4, 3)).all(1)
    assert found["chip_crossings"] == pytest.approx(flows.weight[~same].sum())
