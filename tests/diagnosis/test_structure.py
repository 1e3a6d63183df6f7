"""The structure check on nodes that a conversion does not make."""

from __future__ import annotations

import numpy as np
import pytest
from runtime.semantics.test_signals import _sigmoid_island

from onnx2snn.converter.tune.replay import Replay
from onnx2snn.diagnosis.structure import StructureCheck, partners
from onnx2snn.runtime import graph as g
from onnx2snn.runtime.semantics.analog import run_analog


@pytest.mark.parametrize("bias", [0.0, 0.25])
def test_islands_with_and_without_biases_are_themselves(bias):
    """Without biases both once were a ValueError of ``zip``."""
    graph = _sigmoid_island(bias)
    x = np.random.default_rng(0).uniform(-1, 1, (4, 3)).astype(np.float32)
    seen = {}
    run_analog(graph, x, observe=lambda node, pre, out: seen.update({node.name: (pre, out)}))
    check = StructureCheck(graph, lowered=graph, pairs=partners(graph, lowered=graph), steps=8)
    check.add({"x": x}, seen)
    assert set(check.results) == {"i", "out"} and not check.differs
    assert all(result.count == 4 and result.squared == 0 for result in check.results.values())
    replay = Replay(graph, {"x": x}, 8, {})
    np.testing.assert_array_equal(replay.value("i", slice(0, 4)), seen["i"][1])


def test_what_a_readout_gives_is_not_replayed():
    graph = g.SpikingGraph(
        nodes=(
            g.Input(name="x", shape=(3,)),
            g.Readout(name="out", inputs=("x",), shape=(3,)),
        )
    )
    replay = Replay(graph, {"x": np.ones((2, 3), np.float32)}, 8, {})
    for ask in (replay.value, replay.mean, lambda *at: next(replay.signal(*at, 8))):
        with pytest.raises(TypeError, match=r"has no Readout \('out'\)"):
            ask("out", slice(0, 2))
