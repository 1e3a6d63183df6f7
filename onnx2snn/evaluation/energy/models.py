"""What an event costs: three published models, each with its constants, their source and its range.

Every model prices the same events (``events``), linearly:

    SNN = synops a + updates u + spikes s + macs m      (a graded synop costs g in place of a)
    ANN = macs_ann m' + values_ann v

so that each has one spike count at which the verdict turns. A ``variant`` is the same model under
another defensible assumption: the range of a verdict is over all of them. None is a measurement of
silicon; chips' own published constants are in placement reports.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ...runtime.cost import (
    BYTE_MULTIPLY,
    CACHE_BYTE,
    FLOAT_ADD,
    FLOAT_MAC,
    FLOAT_MULTIPLY,
    HOROWITZ,
    WHOLE_ADD,
)
from .events import Events, LayerEvents

YAN = (
    "Yan et al., arXiv 2409.08290 (22 nm), with the memory constants of the replication in the "
    "spyx project (research/new/honest_energy_accounting)"
)
# Yan et al.: accumulate, compare and subtract alike; pJ per bit off the chip, on it, and over a
# network of event packets.
ACCUMULATE = 0.05448
OFF_CHIP, ON_CHIP, ROUTED = 20.0, 0.25, 3.0
WEIGHT_BITS = STATE_BITS = 8  # of the SNN
STATE_BYTES = ADDRESS_BYTES = 2


@dataclass(frozen=True, kw_only=True)
class Prices:
    """pJ per event.

    Attributes:
        synop, graded, update, spike, mac: of the SNN; ``graded``: a synaptic operation of a spike
            that carries a number.
        ann_mac, ann_value: of the ANN: a multiply-accumulate, and an activation, which is written
            once and read once.
    """

    synop: float
    graded: float
    update: float
    spike: float
    mac: float
    ann_mac: float
    ann_value: float

    def snn(self, found: Events) -> float:
        """pJ per sample."""
        return sum(map(self.layer, found.layers.values())) + found.macs * self.mac

    def layer(self, found: LayerEvents) -> float:
        """pJ per sample of one layer's spikes and neurons."""
        return self.by_spikes(found) + found.updates * self.update

    def by_spikes(self, found: LayerEvents) -> float:
        """pJ per sample that grow with its spikes."""
        synop = self.graded if found.graded else self.synop
        return found.synops * synop + found.spikes * self.spike

    def ann(self, found: Events) -> float:
        """pJ per sample."""
        return found.macs_ann * self.ann_mac + found.values_ann * self.ann_value


@dataclass(frozen=True, eq=False, kw_only=True)
class Variant:
    """The same model under another assumption, in words."""

    what: str
    prices: Prices


@dataclass(frozen=True, eq=False, kw_only=True)
class Model:
    """One way to price events.

    Attributes:
        name, title: key of JSON documents; what reports call it.
        against: the ANN it compares with.
        source: of the constants; ``counts``, ``leaves_out``: what is in it and what is not.
        prices: under its own assumptions; ``variants``: under others.
    """

    name: str
    title: str
    against: str
    source: str
    counts: str
    leaves_out: str
    prices: Prices
    variants: tuple[Variant, ...]


def compute_only(bits: int) -> Model:
    """Arithmetic alone, the figure that most papers quote; whatever the precision in ``bits``."""
    del bits
    floats = FLOAT_MAC
    whole = WHOLE_ADD + BYTE_MULTIPLY
    prices = Prices(
        synop=FLOAT_ADD,
        graded=floats,
        update=0.0,
        spike=0.0,
        mac=floats,
        ann_mac=floats,
        ann_value=0.0,
    )
    integers = replace(prices, synop=WHOLE_ADD, graded=whole, mac=whole, ann_mac=whole)
    return Model(
        name="compute",
        title="by arithmetic alone",
        against="the float32 ANN",
        source=f"{HOROWITZ}: 32-bit float add 0.9 pJ, multiply 3.7 pJ",
        counts="an add per synaptic operation; a multiply and an add per MAC",
        leaves_out="memory, potentials, spikes: most of what real hardware spends",
        prices=prices,
        variants=(Variant(what="8-bit integers (0.1 and 0.3 pJ)", prices=integers),),
    )


def with_memory(bits: int) -> Model:
    """8-bit weights in on-chip memory, potentials and spikes included; whatever the ``bits``."""
    del bits
    weight, state, address = CACHE_BYTE, STATE_BYTES * CACHE_BYTE, ADDRESS_BYTES * CACHE_BYTE
    mac = WHOLE_ADD + BYTE_MULTIPLY + weight
    prices = Prices(
        synop=WHOLE_ADD + weight,
        graded=mac,
        update=WHOLE_ADD + 2 * state,
        spike=2 * address,
        mac=mac,
        ann_mac=mac,
        ann_value=2 * CACHE_BYTE,
    )
    by_event = replace(
        prices, synop=prices.synop + 2 * state, graded=prices.graded + 2 * state
    )  # fmt: skip
    reused = replace(prices, ann_mac=WHOLE_ADD + BYTE_MULTIPLY)
    return Model(
        name="memory",
        title="with memory",
        against="an 8-bit ANN",
        source=f"{HOROWITZ}: 32-bit integer add 0.1 pJ, 8-bit multiply 0.2 pJ, 64-bit read of an "
        "8 kB cache 10 pJ",
        counts="a weight read per operation; 16-bit potentials read and written once per neuron "
        "and step; spikes written and read as 16-bit addresses; activations as bytes",
        leaves_out="instructions, wires between cores, off-chip memory",
        prices=prices,
        variants=(
            Variant(what="potentials read and written per synaptic operation", prices=by_event),
            Variant(what="an ANN accelerator that reads no weight twice", prices=reused),
        ),
    )


def same_precision(bits: int) -> Model:
    """Against an ANN quantized to ``bits``, weights from off-chip memory."""
    weight = WEIGHT_BITS * OFF_CHIP
    prices = Prices(
        synop=ACCUMULATE + weight,
        graded=_mac(WEIGHT_BITS) + weight,
        update=ACCUMULATE + 2 * STATE_BITS * ON_CHIP,
        spike=ACCUMULATE,
        mac=_mac(WEIGHT_BITS) + weight,
        ann_mac=_mac(bits) + bits * OFF_CHIP,
        ann_value=2 * ACCUMULATE + bits * ON_CHIP,
    )
    alike = replace(prices, synop=ACCUMULATE + bits * OFF_CHIP, graded=prices.ann_mac)
    packets = WEIGHT_BITS * ROUTED
    routed = replace(prices, synop=prices.synop + packets, graded=prices.graded + packets)
    return Model(
        name="precision",
        title="at the same precision",
        against=f"a {bits}-bit ANN",
        source=f"{YAN}: accumulate, compare, subtract 0.05448 pJ; 20 pJ per bit off chip, 0.25 on "
        "it; a b-bit MAC 3.7 (b / 32)^2 + 0.9 b / 32 pJ",
        counts=f"an 8-bit weight from off-chip memory per synaptic operation, a {bits}-bit one per "
        "MAC; 8-bit potentials read and written once per neuron and step; activations",
        leaves_out="reuse of weights that are on the chip already, on either side",
        prices=prices,
        variants=(
            Variant(what=f"the SNN's weights in {bits} bits too", prices=alike),
            Variant(what="weights over a network of event packets (3 pJ per bit)", prices=routed),
        ),
    )


def _mac(bits: int) -> float:
    """pJ: a multiplier grows with the square of the bits, an adder with them."""
    return FLOAT_MULTIPLY * (bits / 32) ** 2 + FLOAT_ADD * bits / 32


# Each takes the bits of activations as precise as the neurons'.
MODELS: tuple[Callable[[int], Model], ...] = (compute_only, with_memory, same_precision)
