"""What a diagnosis says first, and which layer it names: on records made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from onnx2snn.diagnosis.advice import adds_most, jump, of_no_loss, stands_out
from onnx2snn.diagnosis.layers import PARTS, LayerError
from onnx2snn.diagnosis.loss import Loss
from onnx2snn.diagnosis.measure import Measured
from onnx2snn.diagnosis.trials import _variants
from onnx2snn.reports.pictures.diagnosis import parts_of
from onnx2snn.runtime.neurons import NeuronParams


def layer(name: str, kind: str = "population", error: float = 0.3, **parts: float) -> LayerError:
    """A layer whose own error is its parts' but what it inherits."""
    own = sum(value**2 for part, value in parts.items() if part != "inherited") ** 0.5
    given: dict[str, Any] = dict.fromkeys(PARTS, 0.0) | parts if kind == "population" else parts
    return LayerError(
        name=name, kind=kind, neurons=4, activation=1.0, error=error, own=own, adds=own, **given
    )


def measured(*layers: LayerError) -> Measured:
    return Measured(steps=8, latency=8, samples=4, layers=layers, findings=(), unmatched=())


USUAL = [layer(f"block{i}", unevenness=0.08, quantization=0.05) for i in range(5)]


def test_the_layer_that_adds_clearly_most_is_named_not_the_first_that_stands_out() -> None:
    """As in EfficientNet-Lite0, whose head adds 28 % where a block in the middle adds 15.7."""
    block, head = layer("block5", unevenness=0.157), layer("head", error=0.77, unevenness=0.28)
    found = measured(*USUAL, block, head)
    assert jump(found) is head is adds_most(found)
    assert stands_out(head, found)


def test_coarse_spikes_are_named_before_the_unevenness_that_they_cause() -> None:
    coarse, behind = layer("coarse", quantization=0.3), layer("behind", unevenness=0.5)
    assert jump(measured(coarse, behind, *USUAL)) is coarse
    clipped = layer("clipped", clipping=0.5)
    assert jump(measured(coarse, clipped, *USUAL)) is clipped


def test_coarse_spikes_far_before_it_do_not_hide_the_layer_that_adds_most() -> None:
    """As in EfficientNet-Lite0, signed, T = 32: clipping two blocks before the head."""
    coarse, between = layer("coarse", clipping=0.08), layer("between", unevenness=0.03)
    head = layer("head", unevenness=0.128, error=0.3)
    quiet = [layer(f"block{i}", unevenness=0.04, clipping=0.01) for i in range(5)]
    found = measured(*quiet, coarse, between, head)
    assert jump(found) is head is of_no_loss(found)


def test_where_nothing_is_lost_the_layer_that_adds_most_is_marked() -> None:
    one, two = layer("one", unevenness=0.2), layer("two", unevenness=0.25)
    assert of_no_loss(measured(*USUAL, one, two)) is two


def test_where_no_layer_adds_clearly_most_the_first_that_stands_out_is_named() -> None:
    one, two = layer("one", unevenness=0.2), layer("two", unevenness=0.25)
    found = measured(*USUAL, one, two)
    assert adds_most(found) is None
    assert jump(found) is one


@pytest.mark.parametrize(
    ("measure", "lost", "low", "nothing"),
    [
        ("accuracy", 0.0, -0.02, True),
        ("accuracy", -0.03, -0.06, True),  # gained
        ("accuracy", 0.004, -0.01, True),
        ("accuracy", 0.004, 0.001, False),  # little, and sure
        ("accuracy", 0.0078, -0.01, False),  # more than half a point
        ("agreement", 0.0, 0.0, True),
        ("agreement", 1 / 128, 0.001, False),
        ("error", 0.04, None, True),
        ("error", 0.06, None, False),
    ],
)
def test_nothing_is_lost_within_the_limits_of_the_knee_and_of_chance(
    measure: Any, lost: float, low: float | None, nothing: bool
) -> None:
    loss = Loss(
        measure=measure,
        lost=lost,
        low=low,
        high=None,
        agreement=None,
        agreement_low=None,
        agreement_high=None,
    )
    assert loss.is_nothing == nothing


def test_aparts_of_is_as_long_as_the_whole_error_whatever_its_parts() -> None:
    """Parts as in SE networks: 10, 7, 2 and 11 % in a layer that is 6.7 % off."""
    parts = {"inherited": 0.099, "clipping": 0.067, "quantization": 0.023, "unevenness": 0.107}
    found = parts_of(layer("spiking", error=0.067, **parts))
    assert sum(found.values()) == pytest.approx(6.7)
    assert found["unevenness"] / found["clipping"] == pytest.approx((0.107 / 0.067) ** 2)
    assert parts_of(layer("readout", kind="readout", error=0.5))["inherited"] == pytest.approx(50)
    assert sum(parts_of(layer("exact", error=0.0)).values()) == 0


def test_a_lag_is_not_tried_where_the_network_cannot_have_one() -> None:
    neuron = NeuronParams(v_threshold=1.0, v_init=0.5)
    with_lags, without = (_variants(neuron, 8, None, lags=lags) for lags in (True, False))
    gone = {c for c in with_lags if c is not None and c not in without}
    assert {c.family for c in gone} == {"lag"}
