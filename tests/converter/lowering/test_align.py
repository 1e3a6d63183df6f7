"""Delays bring the inputs of a node together, and change nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx2snn.converter.lowering.align import aligned
from onnx2snn.runtime import graph as g
from onnx2snn.runtime import ops
from onnx2snn.runtime.neurons import NeuronParams
from onnx2snn.runtime.semantics.analog import run_analog
from onnx2snn.runtime.semantics.upstream import onsets


def block(lags: tuple[int, ...], *, shared: bool = False) -> g.SpikingGraph:
    """Populations one after the other, each also reading the one before the last; ``shared``: the
    scaled skip is read by a readout as well."""
    unit = np.ones((), np.float32)

    def population(name: str, source: str, lag: int) -> g.Population:
        neuron = NeuronParams(v_threshold=unit, v_init=unit / 2, lag=lag)
        return g.Population(name=name, shape=(3,), inputs=(source,), neuron=neuron)

    nodes: list[g.Node] = [g.Input(name="x", shape=(3,)), population("p0", "x", lags[0])]
    for i, lag in enumerate(lags[1:], 1):
        before = f"p{i - 2}" if i > 1 else "x"
        scale = ops.Scale(scale=np.float32(0.5))
        nodes += [
            g.Synapse(name=f"s{i}", shape=(3,), inputs=(before,), op=scale),
            g.Synapse(name=f"a{i}", shape=(3,), inputs=(f"p{i - 1}", f"s{i}"), op=ops.Add()),
            population(f"p{i}", f"a{i}", lag),
        ]
        if shared:
            nodes.append(g.Readout(name=f"r{i}", shape=(3,), inputs=(f"s{i}",)))
    nodes.append(g.Readout(name="out", shape=(3,), inputs=(f"p{len(lags) - 1}",)))
    return g.SpikingGraph(nodes=tuple(nodes))


@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.booleans())
def test_all_inputs_begin_together(lags: list[int], shared: bool) -> None:
    before = block(tuple(lags), shared=shared)
    after = aligned(before)
    onset = onsets(after)
    for node in after.nodes:
        assert len({onset[name] for name in node.inputs}) <= 1, node.name
    # Nothing is later than it was: a delay fills what one path waits for the other.
    assert {n: onset[n] for n in onsets(before) if n.startswith("p")} == {
        n: t for n, t in onsets(before).items() if n.startswith("p")
    }
    x = np.random.default_rng(0).random((2, 3), np.float32)
    for name, y in run_analog(before, x).items():
        np.testing.assert_array_equal(run_analog(after, x)[name], y)


def test_spikes_are_delayed_and_not_the_currents_that_only_one_node_reads() -> None:
    after = aligned(block((0, 2, 3)))
    found = after.of(g.Delay)
    assert [(d.inputs, d.steps) for d in found] == [(("p0",), 2)]
    assert after["s2"].inputs == (found[0].name,)


def test_a_current_that_others_read_at_once_is_delayed_for_the_one_that_waits() -> None:
    after = aligned(block((0, 2, 3), shared=True))
    assert [d.inputs for d in after.of(g.Delay)] == [("s2",)]
    assert after["s2"].inputs == ("p0",)


def test_without_lags_nothing_changes() -> None:
    graph = block((0, 0, 0))
    assert aligned(graph).nodes == graph.nodes


@pytest.mark.parametrize("lag", [0, 3])
def test_aligning_twice_changes_nothing_more(lag: int) -> None:
    once = aligned(block((lag, lag, 1)))
    assert [n.name for n in aligned(once).nodes] == [n.name for n in once.nodes]
