"""Energy verdicts: the published crossover, sums by hand, and what the verdict turns at."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from onnx2snn.evaluation.energy.events import Events, LayerEvents
from onnx2snn.evaluation.energy.models import MODELS, compute_only, same_precision, with_memory
from onnx2snn.evaluation.energy.verdict import verdicts

# Yan et al., arXiv 2409.08290, as the spyx project replicates them: the rate, in percent, below
# which a rate-coded network of T steps needs less than an ANN of ceil(log2(T + 1)) bits.
CROSSOVERS = {5: 7.50, 6: 6.25, 7: 5.36, 8: 6.25, 9: 5.56, 10: 5.00}
WIDTHS = (256, 128, 10)


def perceptron(steps: int, rate: float) -> Events:
    """Of a network of the replication's widths whose every neuron fires at one rate."""
    layers = {}
    for i, (width, after) in enumerate(pairwise(WIDTHS)):
        spikes = width * steps * rate
        layers[str(i)] = LayerEvents(
            name=str(i),
            values=width,
            neurons=width,
            spikes=spikes,
            synops=spikes * after,
            updates=after * steps,
            ann_macs=width * after,
            graded=False,
        )
    macs = sum(layer.ann_macs for layer in layers.values())
    return Events(
        steps=steps,
        neurons=sum(WIDTHS[:-1]),
        levels=steps,
        macs=0,
        macs_ann=int(macs),
        values_ann=sum(WIDTHS[1:]),
        layers=layers,
    )


@pytest.mark.parametrize(("steps", "percent"), CROSSOVERS.items())
def test_the_crossover_rates_are_the_published_ones(steps: int, percent: float) -> None:
    found = perceptron(steps, rate=0.2)
    verdict = next(v for v in verdicts(found) if v.model.name == "precision")
    assert verdict.turns_at is not None
    assert round(100 * verdict.turns_at / steps, 2) == pytest.approx(percent, abs=0.005)


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_where_a_verdict_turns_both_need_the_same(model) -> None:
    found = perceptron(8, rate=0.2)
    verdict = next(v for v in verdicts(found) if v.model.name == model(4).name)
    there = perceptron(8, rate=0.2 * verdict.turns_at / found.spikes_per_neuron)
    (same,) = (v.ratio for v in verdicts(there) if v.model.name == verdict.model.name)
    assert same == pytest.approx(1)


def test_energies_are_the_events_times_their_prices() -> None:
    layer = LayerEvents(
        name="a", values=4, neurons=4, spikes=6, synops=30, updates=40, ann_macs=20, graded=False
    )
    found = Events(
        steps=10, neurons=4, levels=10, macs=7, macs_ann=50, values_ann=4, layers={"a": layer}
    )
    by = {v.model.name: v for v in verdicts(found)}
    assert found.bits == 4 and found.spikes_per_neuron == 1.5 and found.spikes_per_synapse == 1.5
    assert by["compute"].snn_joules == pytest.approx((30 * 0.9 + 7 * 4.6) * 1e-12)
    assert by["compute"].ann_joules == pytest.approx(50 * 4.6 * 1e-12)
    # 8-bit weights 1.25 pJ, potentials 2 x 2.5, addresses 2 x 2.5, activations 2 x 1.25
    memory = by["memory"]
    assert memory.snn_joules == pytest.approx((30 * 1.35 + 40 * 5.1 + 6 * 5 + 7 * 1.55) * 1e-12)
    assert memory.ann_joules == pytest.approx((50 * 1.55 + 4 * 2.5) * 1e-12)
    assert memory.layers["a"] == pytest.approx((30 * 1.35 + 40 * 5.1 + 6 * 5) / (20 * 1.55 + 10))
    assert memory.turns_at == 0  # the potentials alone cost more than the ANN
    assert memory.loses == ("a",) and by["compute"].loses == ()


def test_the_range_holds_the_verdict_and_every_variant() -> None:
    found = perceptron(8, rate=0.1)
    for verdict in verdicts(found):
        ratios = [v.prices.snn(found) / v.prices.ann(found) for v in verdict.model.variants]
        assert verdict.low == min(verdict.ratio, *ratios)
        assert verdict.high == max(verdict.ratio, *ratios)


def test_graded_spikes_cost_a_multiplication() -> None:
    plain = perceptron(8, rate=0.1)
    graded = replace(
        plain, layers={k: replace(v, graded=True) for k, v in plain.layers.items()}
    )  # fmt: skip
    for model in (compute_only(4), with_memory(4), same_precision(4)):
        more = model.prices.snn(graded) - model.prices.snn(plain)
        assert more == pytest.approx(plain.synops * (model.prices.graded - model.prices.synop))


def test_a_network_without_spikes_turns_nowhere_and_one_without_an_ann_has_no_verdict() -> None:
    analog = replace(perceptron(8, rate=0.1), layers={}, macs=10 * 34_048)
    assert [v.turns_at for v in verdicts(analog)] == [None, None, None]
    assert all(v.ratio > 9 for v in verdicts(analog))
    assert verdicts(replace(analog, macs_ann=0)) == ()
