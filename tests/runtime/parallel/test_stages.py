"""Long work deep inside other work is heard by who watches, and by nobody else."""

from __future__ import annotations

import numpy as np
import pytest

from onnx2snn.hwtargets.mapping import Traffic
from onnx2snn.hwtargets.placement import mesh, search
from onnx2snn.runtime.parallel.stages import Progress, stage, watched_by


def test_a_stage_is_told_where_it_is_watched() -> None:
    heard: list[tuple[str, int, int]] = []

    def begin(text: str) -> Progress:
        return lambda done, total: heard.append((text, done, total))

    stage("before")(1, 2)
    with watched_by(begin):
        with watched_by(lambda text: begin(f"inner {text}")):
            stage("search")(1, 2)
        stage("search")(2, 2)
    stage("after")(1, 2)
    assert heard == [("inner search", 1, 2), ("search", 2, 2)]


@pytest.mark.parametrize("dense", [search.DENSE, 0], ids=["search", "anneal"])
def test_the_search_on_the_mesh_says_how_far_it_is(
    dense: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "DENSE", dense)
    heard: list[tuple[str, int, int]] = []
    source = np.arange(20)
    traffic = Traffic(source=source, destination=(3 * source + 1) % 20, weight=np.ones(20))
    grid = mesh.mesh_for(20, cores_per_chip=25, width=5, height=5)
    with watched_by(lambda text: lambda done, total: heard.append((text, done, total))):
        search.place_on_mesh(20, traffic, grid, 0.05, seed=0)
    for said in {text for text, _, _ in heard}:
        done = [one for text, one, _ in heard if text == said]
        whole = {total for text, _, total in heard if text == said}
        assert len(done) > 1 and done == sorted(done) and {done[-1]} == whole
