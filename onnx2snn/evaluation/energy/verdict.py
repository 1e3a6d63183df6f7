"""Who needs less energy, by how much, under which model, and when that would turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..evaluate import Point
from .events import Events, LayerEvents
from .models import MODELS, Model, Prices

# Spikes per synapse and inference up to which integrate-and-fire networks can compete, depending on
# how well the ANN is implemented.
DAMPFHOFFER = "Dampfhoffer et al., IEEE TETCI 7(3), 2023"
BREAK_EVEN = (0.15, 1.38)


@dataclass(frozen=True, eq=False, kw_only=True)
class Verdict:
    """Of one model.

    Attributes:
        snn_joules, ann_joules: per sample.
        ratio: SNN to ANN; below 1 the SNN needs less; ``low``, ``high``: over the variants.
        turns_at: spikes per neuron at which both need the same, at the same distribution over
            layers; 0 where the SNN needs more even without a spike, None where it has no spikes.
        layers: SNN to ANN per layer: what its spikes and neurons cost, to what its values cost the
            ANN in the layers that read them.
    """

    model: Model
    snn_joules: float
    ann_joules: float
    ratio: float
    low: float
    high: float
    turns_at: float | None
    layers: Mapping[str, float]

    @property
    def loses(self) -> tuple[str, ...]:
        """Layers whose spikes cost more than the ANN's values, worst first."""
        worse = [name for name, ratio in self.layers.items() if ratio > 1]
        return tuple(sorted(worse, key=lambda name: -self.layers[name]))


def verdicts(found: Events) -> tuple[Verdict, ...]:
    """One per model; none where the ANN has no multiply-accumulates to compare with."""
    if not found.macs_ann:
        return ()
    return tuple(_verdict(model(found.bits), found) for model in MODELS)


def _verdict(model: Model, found: Events) -> Verdict:
    prices = model.prices
    snn, ann = prices.snn(found), prices.ann(found)
    ratios = [p.snn(found) / p.ann(found) for p in (prices, *(v.prices for v in model.variants))]
    return Verdict(
        model=model,
        snn_joules=snn * 1e-12,
        ann_joules=ann * 1e-12,
        ratio=snn / ann,
        low=min(ratios),
        high=max(ratios),
        turns_at=turns_at(prices, found),
        layers={
            name: _layer(prices, layer) for name, layer in found.layers.items() if layer.ann_macs
        },
    )


def ratio_at(prices: Prices, found: Events, point: Point) -> float | None:
    """SNN to ANN for the answer of one ``point`` of the network that did ``found``; None without an
    ANN to compare with."""
    if not found.macs_ann:
        return None
    share = found.graded / found.synops if found.synops else 0.0
    synop = share * prices.graded + (1 - share) * prices.synop
    snn = (
        point.synops_per_sample * synop
        + point.updates_per_sample * prices.update
        + point.spikes_per_neuron * found.neurons * prices.spike
        + point.macs_per_sample * prices.mac
    )
    return snn / prices.ann(found)


def turns_at(prices: Prices, found: Events) -> float | None:
    """See ``Verdict.turns_at``."""
    by_spikes = sum(map(prices.by_spikes, found.layers.values()))
    if not by_spikes:
        return None
    left = prices.ann(found) - (prices.snn(found) - by_spikes)
    return max(left / by_spikes, 0.0) * found.spikes_per_neuron


def _layer(prices: Prices, layer: LayerEvents) -> float:
    return prices.layer(layer) / (layer.ann_macs * prices.ann_mac + layer.values * prices.ann_value)
