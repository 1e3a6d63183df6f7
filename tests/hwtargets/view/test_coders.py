"""Networks that code their inputs: the host sends these spikes, and no core is needed for them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from converter.digits_nets import ann, converted, samples

from onnx2snn.converter.convert import convert
from onnx2snn.converter.recipes.options import Options
from onnx2snn.hwtargets import PlaceData, load_target, place
from onnx2snn.hwtargets.view.coders import sent_by_host
from onnx2snn.hwtargets.view.network import chip_view
from onnx2snn.runtime import graph as g
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.facts import GraphFacts

CODED = {"population:3": ("binary", 6), "few-spike": ("few-spike", 4), "ttfs": ("ttfs", 6)}
SHIFT = 0.25  # so that some values are negative


@cache
def network(encoding: str) -> g.SpikingGraph:
    recipe, steps = CODED[encoding]
    options = {"recipe": recipe, "steps": steps, "encoding": encoding, "tune": False}
    return converted("digits_mlp", **options).graph


@pytest.mark.parametrize("encoding", CODED)
def test_the_host_sends_what_the_neurons_would_and_the_chip_runs_on_it(encoding: str) -> None:
    net, steps, x = network(encoding), CODED[encoding][1], samples("x_test")[:60]
    view = chip_view(net)
    coders = {p.name for p in net.of(g.Population) if p.name.startswith("input/")}
    assert view.coders == coders != set() and not chip_view(replace(net, meta={})).coders
    chip = load_target("loihi2")
    hosted = place(net, chip, data=PlaceData(x=x), steps=steps, seconds=0)
    on_cores = place(
        net, chip, data=PlaceData(x=x), steps=steps, seconds=0, options={"input": "bias"}
    )
    assert {row.name for row in hosted.layers} == {p.name for p in view.layers} - coders
    assert {row.name for row in on_cores.layers} == {p.name for p in view.layers}
    assert hosted.fits and hosted.input_mode == "spikes" and on_cores.input_mode == "bias"
    assert hosted.cores < on_cores.cores
    count = len(coders) * x[0].size
    assert hosted.facts["input"]["host_messages_per_step_at_most"] == count
    assert any(f"spikes of {count:,} neurons that code the input" in n for n in hosted.notes)
    agreement = hosted.accuracy["agreement"]
    assert agreement is not None and agreement >= 0.95
    # A window of its own is not waited for, where the host knows the values.
    waits = max(GraphFacts(net).onsets[name] for name in coders)
    assert on_cores.latency.lag_steps - hosted.latency.lag_steps == waits
    # Events: the synapses that the spikes meet, no neurons.
    sent = simulate(net, x, steps)
    spikes = sum(float(sent.spikes[name].sum()) for name in coders) / len(x)
    reader = next(row for row in hosted.layers if row.name == "/2/Relu")
    fan_out = reader.synapses / count
    others = {name: float(sent.spikes[name].sum()) / len(x) for name in ("/2/Relu", "/5/Relu")}
    synops = spikes * fan_out + others["/2/Relu"] * 32 + others["/5/Relu"] * 10
    assert hosted.energy.counts["synop"] == pytest.approx(synops, rel=0.05)
    neurons = 64 + 32 + 10
    lag = hosted.latency.lag_steps
    assert hosted.energy.counts["neuron_update"] == neurons * (steps + lag)


def test_spikes_of_both_signs_in_their_own_window() -> None:
    """Against the engine's counts, with coders of negative values."""
    x = samples("x_test")[:20] - np.float32(SHIFT)
    net = _signed()
    facts = GraphFacts(net)
    name = net.of(g.Input)[0].name
    coders = chip_view(net).coders
    assert len(coders) == 2
    found = sent_by_host(facts, sorted(coders), {name: x.astype(np.float64)}, 4)
    counted = simulate(net, x, 4).spikes
    for coder, spikes in found.items():
        assert spikes.shape == (4, *x.shape) and 0 < spikes.mean() < 1
        assert spikes.sum() == counted[coder].sum()


@cache
def _signed() -> g.SpikingGraph:

    options = Options(recipe="few-spike", steps=4, encoding="few-spike", tune=False)
    return convert(ann("digits_mlp"), samples() - np.float32(SHIFT), options).graph


def test_a_chip_without_such_neurons_takes_the_others_alone() -> None:
    """Coders need nothing of the chip: each layer that is refused is one behind them."""
    report = place(network("few-spike"), load_target("loihi1"), steps=4, seconds=0)
    assert {v.node for v in report.violations if v.rule == "neurons with windows"} == {
        "/2/Relu",
        "/5/Relu",
    }
