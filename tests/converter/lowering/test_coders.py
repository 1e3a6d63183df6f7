"""Inputs that enter as the spikes of neurons: what these say, and that all engines say the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from converter.digits_nets import ann, converted, lowered, samples
from onnx2snn.converter.ann.graph import AnnGraph, AnnNode, AnnOutput, Input, Relu
from onnx2snn.converter.auto import KINDS, choose
from onnx2snn.converter.convert import convert
from onnx2snn.converter.lowering.coders import signed_in, with_coders
from onnx2snn.converter.lowering.copies import gathered
from onnx2snn.converter.recipes.options import Options
from onnx2snn.diagnosis.advice import advise_coder
from onnx2snn.diagnosis.measure import measure
from onnx2snn.errors import UsageError
from onnx2snn.hwtargets import chip_view, load_target, place
from onnx2snn.hwtargets.cores.integers import simulate_integers
from onnx2snn.hwtargets.cores.quantize import quantize
from onnx2snn.reports.remedies import advice_text
from onnx2snn.runtime import file as onnxfile
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime import ops
from onnx2snn.runtime.engine import simulate
from runtime import naive_oracle

SIZE = 6


def network() -> AnnGraph:
    """Six values, eight hidden neurons, three outputs."""
    rng = np.random.default_rng(0)

    def linear(name: str, source: str, out: int, size: int) -> AnnNode:
        weight = rng.normal(size=(out, size)).astype(np.float32)
        bias = rng.normal(size=out).astype(np.float32) / 4
        layer = ops.Linear(weight=weight)
        return AnnNode(name=name, layer=layer, inputs=(source,), shape=(out,), bias=bias)

    return AnnGraph(
        nodes=(
            AnnNode(name="x", layer=Input(), shape=(SIZE,)),
            linear("a", "x", 8, SIZE),
            AnnNode(name="r", layer=Relu(), inputs=("a",), shape=(8,)),
            linear("b", "r", 3, 8),
        ),
        outputs=(AnnOutput(name="y", node="b", tensor="y"),),
    )


def values(count: int = 40, *, signed: bool = True) -> np.ndarray:
    x = np.random.default_rng(1).normal(size=(count, SIZE)).astype(np.float32)
    x[:, 0] *= 20  # channels of very different ranges, and more on one side of zero
    x[:, 1] += 2
    return x if signed else np.abs(x)


CASES: list[tuple[str, str, int, dict[str, Any], bool]] = [
    ("population:4", "binary", 5, {}, True),
    ("population:3", "signed", 4, {}, True),
    ("population:2", "binary", 6, {"lag": 3}, True),
    ("population:2", "graded", 3, {}, False),
    ("population:1", "synchronous", 3, {}, True),
    ("few-spike:4", "few-spike", 4, {}, True),
    ("ttfs", "ttfs", 5, {}, False),
]


@pytest.mark.parametrize(("encoding", "recipe", "steps", "more", "signed"), CASES)
def test_engines_the_file_and_a_naive_loop_say_the_same(
    encoding: str, recipe: str, steps: int, more: dict[str, Any], signed: bool
) -> None:
    x = values(signed=signed)
    options = Options(encoding=encoding, recipe=recipe, steps=steps, **more)
    net = convert(network(), x, options).graph
    fast, slow = (simulate(net, x[:3], steps, engine=engine) for engine in ("fast", "numpy"))
    session = ort.InferenceSession(onnxfile.to_bytes(net), providers=["CPUExecutionProvider"])
    stock = session.run(None, {"x": x[:3], "steps": np.array([steps], np.int64)})[0]
    np.testing.assert_array_equal(fast.readouts["y"], slow.readouts["y"])
    np.testing.assert_array_equal(fast.readouts["y"], stock)
    assert fast.macs_once == fast.macs_per_step == 0  # the network reads spikes only
    for name, spikes in fast.spikes.items():
        np.testing.assert_array_equal(spikes, slow.spikes[name])
    # The oracle knows no rounding of constant currents, which is to 2^-16 of a threshold.
    trains, answers = naive_oracle.simulate(net, x[:3], steps)
    np.testing.assert_allclose(answers["y"], fast.readouts["y"], rtol=1e-5, atol=1e-5)
    for name, train in trains.items():
        assert (train != 0).sum() == fast.spikes[name].sum()
        assert set(np.unique(train)) <= ({0, 1} if name.startswith("x/") else set(range(-15, 16)))
    wanted = {"x/positive", "x/negative"} if signed else {"x/positive"}
    assert {name.split("/copy")[0] for name in trains if name.startswith("x/")} == wanted


@pytest.mark.parametrize("count", [1, 5, 16])
def test_a_population_is_a_thermometer_that_keeps_what_it_rounds_away(count: int) -> None:
    steps, x = 6, values()
    options = Options(encoding=f"population:{count}", steps=steps)
    net = convert(network(), x, options).graph
    trains, _ = naive_oracle.simulate(net, x[:4], steps)
    thetas = {}
    for sign, part in ((1, "x/positive"), (-1, "x/negative")):
        own = [p for p in net.of(snn.Population) if p.name.split("/copy")[0] == part]
        assert len(own) == count
        theta = thetas[part] = own[0].neuron.v_threshold.astype(float)
        sent = sum(trains[p.name] for p in own)
        level = theta / count
        thermometer = [sign * x[:4] >= (i - 0.5) * level for i in range(1, count + 1)]
        np.testing.assert_array_equal(sent[0], np.sum(thermometer, axis=0))
        whole = np.clip(np.floor(sign * x[:4] * steps / level + 0.5), 0, steps * count)
        np.testing.assert_array_equal(sent.sum(axis=0), whole)
        seen = np.maximum(sign * x, 0).max(axis=0)
        assert np.all(theta >= 0.9 * seen)  # levels reach as far as each channel's values
    ratio = thetas["x/negative"] / thetas["x/positive"]
    assert np.all(np.log2(ratio) == np.rint(np.log2(ratio)))


@pytest.mark.parametrize(("coded", "steps", "levels"), [("few-spike", 4, 15), ("ttfs", 6, 6)])
def test_windows_of_inputs_say_the_nearest_level(coded: str, steps: int, levels: int) -> None:
    x = values()
    net = convert(network(), x, Options(encoding=coded, recipe=coded, steps=steps)).graph
    trains, _ = naive_oracle.simulate(net, x[:4], steps)
    node = net["x/positive"]
    assert isinstance(node, snn.Population)
    total = node.neuron.weight(np.arange(steps), steps).sum()
    level = node.neuron.v_threshold.astype(float) / total
    train = trains["x/positive"][steps : 2 * steps]
    weights = node.neuron.weight(np.arange(steps), steps)
    numbers = np.tensordot(weights, train, axes=1)
    wanted = np.clip(np.floor(np.maximum(x[:4], 0) / level + 0.5), 0, levels)
    np.testing.assert_array_equal(numbers, wanted)


@pytest.mark.parametrize(
    ("encoding", "more", "code"),
    [
        ("population", {}, "E116"),
        ("population:0", {}, "E116"),
        ("rate:3", {}, "E116"),
        ("few-spike:x", {"recipe": "few-spike"}, "E116"),
        ("populatoin:4", {}, "E116"),
        ("population:4", {"recipe": "few-spike"}, "E114"),
        ("population:4", {"recipe": "differential"}, "E114"),
        ("population:4", {"copies": 2}, "E114"),
        ("few-spike", {}, "E114"),
        ("ttfs:8", {"recipe": "ttfs", "steps": 4}, "E114"),
        ("ttfs:8", {"recipe": "auto"}, "E114"),
    ],
)
def test_what_does_not_go_together_is_refused(
    encoding: str, more: dict[str, Any], code: str
) -> None:
    with pytest.raises(UsageError) as refused:
        Options(encoding=encoding, **more)
    assert refused.value.code == code


def test_diagnosis_sees_the_coders_as_layers_and_no_fault() -> None:
    net = converted("digits_mlp", steps=8, encoding="population:3").graph
    gathered_net, counts = gathered(net)
    assert set(counts.values()) == {3} and not signed_in(gathered_net)
    whole, _ = with_coders(lowered("digits_mlp"), signed_in(gathered_net))
    found = measure(lowered=whole, net=net, batches=[{"input": samples("x_test")[:20]}], steps=8,
                    total=20)  # fmt: skip
    assert found.layers[0].name.endswith("/positive") and not found.unmatched
    assert found.layers[0].structure is not None and found.layers[0].structure < 1e-3
    assert all(finding.kind != "operation" for finding in found.findings)
    coder = gathered_net[found.layers[0].name]
    assert isinstance(coder, snn.Population)
    advice = advise_coder(found.layers[0], "quantization", coder.neuron)
    assert 'encoding="population:6"' in advice_text(advice)


@pytest.mark.parametrize("mode", ["bias", "graded"])
def test_chips_place_them_as_neurons_and_run_them_in_integers(mode: str) -> None:
    steps, x = 16, values(signed=True)
    net = convert(network(), x, Options(encoding="population:4", steps=steps)).graph
    hosted = place(net, "loihi2", steps=steps, seconds=0)
    report = place(net, "loihi2", steps=steps, seconds=0, options={"input": mode})
    coders = {p.name for p in net.of(snn.Population) if p.name.startswith("x/")}
    assert hosted.fits and report.fits and len(coders) == 8
    assert not coders & {la.name for la in hosted.layers}  # the host sends what they would
    assert {la.name for la in report.layers if la.neurons == SIZE} == coders
    chip, largest = chip_view(net), float(np.abs(x).max())
    quantized = quantize(chip, load_target("loihi2"), mode, largest, steps)
    got, floating = simulate_integers(chip, quantized, x, steps), simulate(net, x, steps)
    sent = sum(got.rates[name].sum() * len(x) * steps for name in coders)
    assert sent == pytest.approx(sum(floating.spikes[n].sum() for n in coders), rel=0.03)


def test_auto_weighs_the_recipes_that_read_them() -> None:
    options = Options(recipe="auto", steps=4, encoding="few-spike", max_drop=100)
    made = choose(ann("digits_mlp"), samples()[:48], options, kinds=KINDS[:5])
    assert made.chosen.recipe == "few-spike"
    left = made.conversion.graph.meta["auto"]["left_out"]
    assert sum("are read by the recipe 'few-spike'" in reason for reason in left) == 4


@pytest.mark.parametrize("count", [7, 130])
def test_copies_may_be_any_number(count: int) -> None:
    """Copies are the same one layer later, of any number; more than a byte's levels too."""
    net = converted("digits_mlp", steps=4, copies=count).graph
    assert set(gathered(net)[1].values()) == {count}
    x = samples("x_test")[:8]
    fast, slow = (simulate(net, x, 4, engine=engine) for engine in ("fast", "numpy"))
    (name,) = fast.readouts
    np.testing.assert_array_equal(fast.readouts[name], slow.readouts[name])
