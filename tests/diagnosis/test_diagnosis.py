"""diagnose: the split against a plain loop, and faults applied on purpose, found by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from examples.adaptive_threshold import AdaptiveParams
from hypothesis import given, settings
from hypothesis import strategies as st

import onnx2snn
from onnx2snn.converter.ann.passes import run_passes
from onnx2snn.converter.convert import convert
from onnx2snn.converter.frontend import import_onnx, load_onnx
from onnx2snn.converter.lowering.fold_thresholds import set_thresholds
from onnx2snn.converter.lowering.lower import lower
from onnx2snn.converter.recipes.options import Options
from onnx2snn.converter.statistics.measure import calibrate
from onnx2snn.converter.statistics.thresholds import thresholds
from onnx2snn.data import Preprocessing, Samples
from onnx2snn.diagnosis.advice import advise, cause_of, jump
from onnx2snn.diagnosis.measure import Measured, measure
from onnx2snn.diagnosis.run import SpikingRun
from onnx2snn.diagnosis.trials import try_remedies
from onnx2snn.errors import DataError, UsageError
from onnx2snn.provenance import Provenance
from onnx2snn.reports.remedies import advice_text, trial_text
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime import ops
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.neurons import NeuronParams
from onnx2snn.runtime.neurons.differential import DifferentialParams
from onnx2snn.runtime.semantics.analog import run_analog

T = 16
CNN = {
    "first": "/stem/stem.2/Relu",
    "second": "/stem/stem.5/Relu",
    "block": "/block/Relu",
    "skip": "/block/Relu_1",
    "last": "/tail/tail.2/Relu",
}
POOL = "/stem/stem.6/MaxPool"


@cache
def samples(key: str = "x_test", count: int = 24) -> np.ndarray:
    with np.load(str(files("onnx2snn.models") / "digits.npz")) as data:
        return Preprocessing(scale=16.0, layout="NHWC").apply(data[key][:count])


@cache
def lowered(model: str = "digits_cnn") -> snn.SpikingGraph:
    return lower(
        run_passes(import_onnx(load_onnx(str(files("onnx2snn.models") / f"{model}.onnx"))))
    )


@cache
def plain_neurons(model: str = "digits_cnn", steps: int = T) -> dict[str, NeuronParams]:
    """Per-channel thresholds from data, nothing calibrated in the loop."""
    stats = calibrate(lowered(model), samples("x_calib", 128))
    out = {}
    for name, theta in thresholds(stats, steps=steps).items():
        if isinstance(lowered(model)[name], snn.Population):
            v = stats[name].broadcast(theta, len(lowered(model)[name].shape))
            out[name] = NeuronParams(v_threshold=v, v_init=v / 2)
    return out


def converted(
    model: str = "digits_cnn", changed: Mapping[str, float] | None = None, **params: Any
) -> snn.SpikingGraph:
    """The network with some layers' thresholds multiplied (their readers' weights follow)."""
    neurons = {
        name: replace(scaled(neuron, (changed or {}).get(name, 1.0)), **params)
        for name, neuron in plain_neurons(model).items()
    }
    return set_thresholds(lowered(model), neurons)


def scaled(neuron: Any, factor: float) -> Any:
    f = np.float32(factor)
    if not isinstance(neuron, NeuronParams):
        return replace(neuron, v_threshold=neuron.v_threshold * f)
    return replace(neuron, v_threshold=neuron.v_threshold * f, v_init=neuron.v_init * f)


@cache
def default_recipe(recipe: str = "binary", lag: int = 0, tune: bool = True) -> snn.SpikingGraph:
    """What a user gets."""
    with np.load(str(files("onnx2snn.models") / "digits.npz")) as data:
        stored = data["x_calib"][:64]
    pre = Preprocessing(scale=16.0, layout="NHWC")
    calibration = Samples(arrays={"input": stored}, labels=None, preprocessing=pre, source="digits")
    given = {"steps": T, "recipe": recipe, "lag": lag, "tune": tune}
    return onnx2snn.convert(str(files("onnx2snn.models") / "digits_cnn.onnx"), calibration, **given)


def with_threshold(net: snn.SpikingGraph, name: str, factor: float) -> snn.SpikingGraph:
    """Another threshold, its spikes worth what they now stand for."""
    nodes: list[snn.Node] = []
    for node in net.nodes:
        inputs = tuple(f"{i}/worth" if i == name else i for i in node.inputs)
        node = replace(node, inputs=inputs)
        if isinstance(node, snn.Population) and node.name == name:
            node = replace(node, neuron=scaled(node.neuron, factor))
        nodes.append(node)
        if node.name == name:
            op = ops.Scale(scale=np.asarray(factor, np.float32))
            nodes.append(snn.Synapse(name=f"{name}/worth", inputs=(name,), shape=node.shape, op=op))
    return replace(net, nodes=tuple(nodes))


def without_bias(net: snn.SpikingGraph, name: str) -> snn.SpikingGraph:
    node = net[name]
    assert isinstance(node, snn.Population | snn.Readout)
    none: dict[str, Any] = {"bias": np.zeros((), np.float32)}
    if isinstance(node.neuron, DifferentialParams):
        none["neuron"] = replace(node.neuron, **none)
    return net.with_nodes([replace(node, **none)])


def averaged(net: snn.SpikingGraph) -> snn.SpikingGraph:
    """Every max pool replaced by an average pool."""
    nodes: list[snn.Node] = []
    for node in net.nodes:
        if not isinstance(node, snn.MaxPool):
            nodes.append(node)
            continue
        geometry = {k: getattr(node.op, k) for k in ("kernel", "strides", "dilations", "pads")}
        total, area = f"{node.name}/sum", float(np.prod(node.op.kernel))
        shared: dict[str, Any] = {"shape": node.shape}
        nodes.append(
            snn.Synapse(name=total, inputs=node.inputs, op=ops.SumPool(**geometry), **shared)
        )
        scale = ops.Scale(scale=np.asarray(1 / area, np.float32))
        nodes.append(snn.Synapse(name=node.name, inputs=(total,), op=scale, **shared))
    return replace(net, nodes=tuple(nodes))


def measured(
    net: snn.SpikingGraph, model: str = "digits_cnn", steps: int = T, batch: int = 24
) -> Measured:
    x = samples()
    (entry,) = net.of(snn.Input)
    batches = ({entry.name: x[i : i + batch]} for i in range(0, len(x), batch))
    return measure(lowered=lowered(model), net=net, batches=batches, steps=steps, total=len(x))


def named(result: Measured) -> tuple[str, str, str]:
    """The layer where the error jumps, the cause there, and the node at fault."""
    layer = jump(result)
    assert layer is not None
    cause, fault = cause_of(layer, result)
    return layer.name, cause, layer.name if fault is None else fault.node


# The split


def test_every_part_is_that_of_a_plain_loop_with_the_closed_form_for_constant_input() -> None:
    """Two layers of neurons by hand: rates from a loop over steps, r_c from floor(zT/theta+1/2)."""
    net, result = converted("digits_mlp"), measured(converted("digits_mlp"), "digits_mlp")
    first, second = net.of(snn.Population)
    linear = [s.op for s in net.of(snn.Synapse) if isinstance(s.op, ops.Linear)]
    w1, w2 = (op.weight.astype(np.float64) for op in linear[:2])
    x = samples().reshape(24, -1).astype(np.float64)
    theta1, theta2 = (p.neuron.v_threshold.astype(np.float64) for p in (first, second))
    z1 = x @ w1.T + first.bias
    v1, v2 = np.zeros_like(z1) + theta1 / 2, np.zeros((24, len(w2))) + theta2 / 2
    count1, count2, mean2 = np.zeros_like(v1), np.zeros_like(v2), np.zeros_like(v2)
    for _ in range(T):
        v1 += z1
        k1 = (v1 >= theta1).astype(float)
        v1 -= k1 * theta1
        current = k1 @ w2.T + second.bias
        mean2 += current / T
        v2 += current
        k2 = (v2 >= theta2).astype(float)
        v2 -= k2 * theta2
        count1, count2 = count1 + k1, count2 + k2
    a: dict[str, np.ndarray] = {}
    run_analog(lowered("digits_mlp"), samples(), observe=lambda n, p, o: a.update({n.name: o}))
    for row, z, count, theta in zip(
        result.layers, (z1, mean2), (count1, count2), (theta1, theta2), strict=False
    ):
        act, truth, rate = np.maximum(z, 0), a[row.name], theta * count / T
        clipped = np.minimum(act, theta)
        constant = theta * np.clip(np.floor(z * T / theta + 0.5), 0, T) / T
        base = np.sqrt((truth**2).mean())
        expected = {
            "error": rate - truth,
            "inherited": act - truth,
            "clipping": clipped - act,
            "quantization": constant - clipped,
            "unevenness": rate - constant,
        }
        total = sum(v for k, v in expected.items() if k != "error")
        np.testing.assert_allclose(total, expected["error"], atol=1e-12)
        for part, value in expected.items():
            rms = np.sqrt((value**2).mean()) / base
            assert getattr(row, part) == pytest.approx(rms, abs=2e-3), (row.name, part)
        assert row.saturated == pytest.approx((count == T).mean())
        silent = (count == 0) & (truth > theta / (2 * T))
        assert row.silent == pytest.approx(silent.mean(), abs=1e-3)
        assert row.spikes_per_neuron == pytest.approx(count.mean(), abs=5e-3)


VARIANTS: dict[str, dict[str, Any]] = {
    "binary": {},
    "lag": {"lag": 3},
    "signed": {"signed": True},
    "graded": {"levels": 4, "signed": True},
    "leaky": {"leak": 0.05},
    "reset to zero": {"reset": "zero"},
    "refractory": {"refractory": 1},
}


@pytest.mark.parametrize("params", VARIANTS.values(), ids=VARIANTS.keys())
def test_spikes_and_answers_are_the_engines_for_every_neuron_model(params: dict[str, Any]) -> None:
    net = converted(**params)
    result, engine = measured(net), simulate(net, samples(), T)
    for row in result.layers:
        if row.kind == "population":
            expected = engine.spikes[row.name].sum() / (24 * row.neurons)
            assert row.spikes_per_neuron == pytest.approx(expected, rel=2e-3)
    out = run_analog(lowered(), samples())["logits"]
    error = np.sqrt(((engine.readouts["logits"][-1] - out) ** 2).mean() / (out**2).mean())
    assert result.layers[-1].error == pytest.approx(error, rel=0.02)


@pytest.mark.parametrize("params", VARIANTS.values(), ids=VARIANTS.keys())
def test_under_constant_current_the_first_layer_inherits_nothing_and_is_not_uneven(
    params: dict[str, Any],
) -> None:
    row = measured(converted(**params)).layers[0]
    # The current is rounded to 2^-16 of the threshold (runtime.semantics.constants).
    assert row.inherited == pytest.approx(0, abs=1e-4)
    assert row.unevenness == pytest.approx(0, abs=0.01)
    assert row.error == pytest.approx(row.own, rel=1e-4)


@settings(max_examples=5, deadline=None)
@given(batch=st.integers(1, 24), steps=st.integers(1, 12))
def test_the_batch_size_changes_nothing(batch: int, steps: int) -> None:
    net = converted("digits_mlp")
    one, other = (measured(net, "digits_mlp", steps, b) for b in (24, batch))
    for a, b in zip(one.layers, other.layers, strict=True):
        for part in ("error", "inherited", "clipping", "quantization", "unevenness", "structure"):
            one_value, other_value = getattr(a, part), getattr(b, part)
            assert (one_value is None) == (other_value is None)
            assert (one_value or 0) == pytest.approx(other_value or 0, rel=0.02, abs=1e-4)


def test_a_model_that_only_the_contract_describes_is_split_too_and_gets_other_thresholds() -> None:
    net = converted()
    node = net[CNN["block"]]
    assert isinstance(node, snn.Population)
    theta = node.neuron.v_threshold
    rising = AdaptiveParams(
        v_threshold=theta, v_init=theta / 2, rise=float(theta.mean()), decay=0.25
    )
    changed = net.with_nodes([replace(node, neuron=rising)])
    plain, row = (
        next(r for r in measured(n).layers if r.name == node.name) for n in (net, changed)
    )
    # A threshold that rises loses spikes of even a constant current.
    assert plain.quantization is not None and row.quantization is not None
    assert row.quantization > 2 * plain.quantization
    assert row.clipping == pytest.approx(plain.clipping) and row.inherited == plain.inherited
    batch = {"input": samples()[:8]}
    trials = try_remedies(lowered=lowered(), net=changed, batches=[batch], steps=T, name=node.name)
    assert {t.family for t in trials} == {"lower", "raise"}


def test_differential_coding_is_decoded_as_the_engine_does_and_its_bias_is_found() -> None:
    ann = import_onnx(load_onnx(str(files("onnx2snn.models") / "digits_cnn.onnx")))
    options = Options(recipe="differential", steps=4)
    net = convert(ann, samples("x_calib", 128), options).graph
    result, engine = measured(net, steps=4), simulate(net, samples(), 4)
    out = run_analog(lowered(), samples())["logits"]
    error = np.sqrt(((engine.readouts["logits"][-1] - out) ** 2).mean() / (out**2).mean())
    assert result.layers[-1].error == pytest.approx(error, rel=0.02)
    assert {f.kind for f in result.findings} <= {"calibrated"}
    populations = [r for r in result.layers if r.kind == "population"]
    assert all(r.unevenness is not None for r in populations)
    assert populations[0].unevenness == pytest.approx(0, abs=1e-4)  # a constant current
    node = net[CNN["block"]]
    assert isinstance(node, snn.Population)
    neuron = replace(node.neuron, bias=np.zeros((), np.float32))  # type: ignore[call-arg]
    assert named(measured(net.with_nodes([replace(node, neuron=neuron)]), steps=4)) == (
        CNN["block"],
        "bias",
        CNN["block"],
    )


# Faults on purpose


@pytest.mark.parametrize("name", CNN.values(), ids=CNN.keys())
def test_a_threshold_too_low_is_named_as_clipping_at_its_layer(name: str) -> None:
    assert named(measured(converted(changed={name: 0.3}))) == (name, "clipping", name)


@pytest.mark.parametrize("name", CNN.values(), ids=CNN.keys())
def test_a_threshold_too_high_is_named_as_quantization_at_its_layer(name: str) -> None:
    assert named(measured(converted(changed={name: 4.0}))) == (name, "quantization", name)


@pytest.mark.parametrize("name", CNN.values(), ids=CNN.keys())
def test_a_removed_bias_is_named_with_its_channels(name: str) -> None:
    result = measured(without_bias(converted(), name))
    assert named(result) == (name, "bias", name)
    (finding,) = result.findings
    bias = np.abs(converted()[name].bias.ravel())  # type: ignore[union-attr]
    assert finding.channels == tuple(np.argsort(-bias, kind="stable")[:5])
    assert finding.largest == pytest.approx(bias.max(), rel=1e-3)


def test_a_replaced_max_pool_is_named_where_it_was() -> None:
    result = measured(averaged(converted()))
    assert named(result) == (CNN["block"], "operation", POOL)
    (finding,) = result.findings
    assert "MaxPool (kernel 2x2" in finding.text and "SumPool" in finding.text


def test_a_bias_removed_from_the_output_is_found_though_nothing_jumps_there() -> None:
    (finding,) = measured(without_bias(converted(), "logits")).findings
    assert (finding.node, finding.kind) == ("logits", "bias")


@pytest.mark.parametrize(("factor", "word"), [(0.3, "too low"), (4.0, "too high")])
def test_a_threshold_changed_without_the_weights_that_read_it_is_named(
    factor: float, word: str
) -> None:
    net, name = converted(), CNN["block"]
    node = net[name]
    assert isinstance(node, snn.Population)
    result = measured(net.with_nodes([replace(node, neuron=scaled(node.neuron, factor))]))
    (finding,) = result.findings
    assert (finding.node, finding.kind) == (name, "threshold")
    assert word in finding.text


def test_foreign_weights_are_named_at_their_synapse() -> None:
    net = converted()
    node = net["/block/conv1/Conv"]
    assert isinstance(node, snn.Synapse) and isinstance(node.op, ops.Conv)
    weight = node.op.weight.copy()
    weight[3] *= -1
    result = measured(net.with_nodes([replace(node, op=replace(node.op, weight=weight))]))
    assert named(result) == (CNN["block"], "operation", "/block/conv1/Conv")


def test_two_faults_are_both_found() -> None:
    result = measured(averaged(without_bias(converted(), CNN["last"])))
    assert {(f.node, f.kind) for f in result.findings} == {
        (POOL, "operation"),
        (CNN["last"], "bias"),
    }


def test_a_sound_network_has_no_findings() -> None:
    assert measured(converted()).findings == ()
    assert all(r.structure is None or r.structure < 1e-4 for r in measured(converted()).layers)


RECIPES: dict[str, dict[str, Any]] = {
    "binary": {},
    "binary with lag": {"lag": 4},
    "not calibrated in the loop": {"tune": False},
    "signed": {"recipe": "signed"},
    "graded": {"recipe": "graded"},
    "differential": {"recipe": "differential"},
    "synchronous": {"recipe": "synchronous"},
}


# Others have such neurons here: with a lag (of the whole window), with the data's thresholds.
ALIKE = ("synchronous", "not calibrated in the loop")


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(given, id=name, marks=[pytest.mark.slow] * (name in ALIKE))
        for name, given in RECIPES.items()
    ],
)
def test_each_fault_is_found_in_a_network_of_every_recipe_and_nothing_else(
    given: dict[str, Any],
) -> None:
    net, name = default_recipe(**given), CNN["block"]
    faults = {
        (name, "clipping", name): with_threshold(net, name, 0.2),
        (name, "quantization", name): with_threshold(net, name, 20.0),
        (name, "bias", name): without_bias(net, name),
        (name, "operation", POOL): averaged(net),
    }
    sound = measured(net)
    assert not [f for f in sound.findings if f.kind != "calibrated"]
    for expected, broken in faults.items():
        result = measured(broken)
        assert named(result) == expected
        found = {(f.seen_at, f.kind, f.node) for f in result.findings if f.kind != "calibrated"}
        assert found <= {expected}


def test_paced_spikes_are_measured_as_they_are_read_and_delays_are_no_fault() -> None:
    net = default_recipe(lag=4)
    assert net.of(snn.Delay)
    result = measured(net)
    assert {f.kind for f in result.findings} <= {"calibrated"}
    first = result.layers[
        0
    ]  # reads a constant current: its spikes are what quantization makes them
    assert first.unevenness == pytest.approx(0, abs=1e-3)
    assert first.inherited is not None and first.inherited < 0.5 * first.error
    assert first.quantization == pytest.approx(first.error, rel=0.2)
    # By count alone the same spikes say less.
    plain = measured(net.with_nodes(_counted(p) for p in net.of(snn.Population))).layers[0]
    assert plain.quantization is not None and plain.quantization > 1.4 * first.error


def _counted(population: snn.Population) -> snn.Population:
    old = population.neuron
    neuron = NeuronParams(v_threshold=old.v_threshold, v_init=old.v_init, lag=old.lag)
    return replace(population, neuron=neuron)


def test_a_removed_bias_is_named_though_it_costs_next_to_nothing() -> None:
    """Calibration moves biases, and takes none away: an effect below the spikes' own is a fault."""
    net, name = default_recipe(), CNN["block"]
    node = lowered()[name]
    assert isinstance(node, snn.Population)
    faint = lowered().with_nodes([replace(node, bias=node.bias * np.float32(0.01))])
    x = {"input": samples()}
    result = measure(lowered=faint, net=without_bias(net, name), batches=[x], steps=T, total=24)
    assert named(result) == (name, "bias", name)
    assert next(r.structure for r in result.layers if r.name == name) < 0.03


def test_where_nothing_was_calibrated_in_the_loop_nothing_differs_on_purpose() -> None:
    net, name = default_recipe(tune=False), CNN["block"]
    node = net[name]
    assert isinstance(node, snn.Population)
    moved = net.with_nodes([replace(node, bias=node.bias * np.float32(0.97))])
    (finding,) = measured(moved).findings
    assert (finding.node, finding.kind) == (name, "bias")
    assert "on purpose" not in finding.text and "convert again" in finding.text


def test_a_bias_moved_by_calibration_in_the_loop_is_no_fault() -> None:
    net, x = converted(), samples("x_calib", 48)
    a: dict[str, np.ndarray] = {}
    run_analog(lowered(), x, observe=lambda n, p, o: a.update({n.name: o}))
    for name in CNN.values():
        node = net[name]
        assert isinstance(node, snn.Population)
        sent = SpikingRun(net, {"input": x}, T).measure().emitted[name]
        error = node.neuron.v_threshold * sent / T - a[name]
        shift = error.mean(axis=(0, 2, 3)).reshape(-1, 1, 1).astype(np.float32)
        net = net.with_nodes([replace(node, bias=node.bias - shift)])
    assert {f.kind for f in measured(net).findings} == {"calibrated"}
    faulty = measured(without_bias(net, CNN["skip"]))
    assert [f.node for f in faulty.findings if f.kind != "calibrated"] == [CNN["skip"]]


def test_charge_moved_from_the_initial_potential_to_the_bias_is_no_difference() -> None:
    net, name = converted(), CNN["block"]
    node = net[name]
    assert isinstance(node, snn.Population)
    theta = node.neuron.v_threshold
    late = replace(node.neuron, v_init=-theta / 2)
    moved = measured(net.with_nodes([replace(node, neuron=late, bias=node.bias + theta / T)]))
    row, before = (next(r for r in m.layers if r.name == name) for m in (moved, measured(net)))
    assert moved.findings == ()
    assert row.inherited == pytest.approx(before.inherited, rel=1e-3)
    assert row.unevenness < before.unevenness  # what it is good for


def test_poisson_input_is_named_where_it_costs_most() -> None:
    net = converted()
    net = net.with_nodes([replace(i, encoding="poisson") for i in net.of(snn.Input)])
    assert named(measured(net, steps=4)) == ("input", "encoding", "input")


# What to try


@pytest.mark.parametrize(
    ("changed", "remedy", "undo"),
    [(0.25, "thresholds times 4", {CNN["block"]: 1.0}), (4.0, "thresholds times 0.25", {})],
)
def test_a_recommended_threshold_does_what_the_sentence_says(
    changed: float, remedy: str, undo: dict[str, float]
) -> None:
    name = CNN["block"]
    net = converted(changed={name: changed})
    trials = {
        trial_text(t): t
        for t in try_remedies(
            lowered=lowered(), net=net, batches=[{"input": samples()}], steps=T, name=name
        )
    }
    applied = next(r for r in measured(converted(changed=undo)).layers if r.name == name)
    assert trials[remedy].after == pytest.approx(applied.own, rel=1e-3)
    assert trials[remedy].after < 0.5 * trials[remedy].before


def test_a_recommended_lag_does_what_the_sentence_says() -> None:
    name, net = CNN["block"], converted()
    trials = {
        trial_text(t): t
        for t in try_remedies(
            lowered=lowered(), net=net, batches=[{"input": samples()}], steps=T, name=name
        )
    }
    node = net[name]
    assert isinstance(node, snn.Population)
    late = net.with_nodes([replace(node, neuron=replace(node.neuron, lag=4))])
    row = next(r for r in measured(late).layers if r.name == name)
    assert trials["lag=4"].after == pytest.approx(row.own, rel=1e-3)
    assert trials["lag=4"].after < trials["lag=4"].before


@pytest.mark.parametrize(
    ("changed", "says"),
    [(0.3, 'raise it (method="max"'), (4.0, 'lower it (method="mmse" steps=16)')],
)
def test_the_sentence_names_layer_problem_and_remedy(changed: float, says: str) -> None:
    name = CNN["block"]
    net = converted(changed={name: changed})
    result = measured(net)
    layer = jump(result)
    assert layer is not None
    trials = try_remedies(
        lowered=lowered(), net=net, batches=[{"input": samples()}], steps=T, name=name
    )
    advice = advise(
        layer,
        *cause_of(layer, result),
        trials=trials,
        measured=result,
        made=Provenance(options={"method": "mmse"}),
    )
    assert advice.layer == name and name in advice_text(advice) and says in advice_text(advice)


def sentence(net: snn.SpikingGraph, name: str, samples_: np.ndarray | None = None) -> str:
    """The advice for one layer, as `diagnose` gives it."""
    x = samples() if samples_ is None else samples_
    result = measure(lowered=lowered(), net=net, batches=[{"input": x}], steps=T, total=len(x))
    layer = next(r for r in result.layers if r.name == name)
    made = Provenance.of(net)
    trials = try_remedies(
        lowered=lowered(),
        net=net,
        batches=[{"input": x}],
        steps=T,
        name=name,
        reach=made.reach(name),
    )
    return advice_text(
        advise(layer, *cause_of(layer, result), trials=trials, measured=result, made=made)
    )


def test_activations_beyond_those_calibrated_on_are_not_helped_by_another_method() -> None:
    text = sentence(default_recipe("graded"), CNN["block"], 3 * samples())
    assert "calibrate on more samples: activations here are larger" in text
    assert "so no other method raises it" in text


def test_a_threshold_that_somebody_changed_is_told_from_one_chosen_badly() -> None:
    net, name = default_recipe(), CNN["block"]
    assert "convert again: this threshold is 0.2 times" in sentence(
        with_threshold(net, name, 0.2), name
    )
    assert "convert again: this threshold is 20 times" in sentence(
        with_threshold(net, name, 20.0), name
    )


def test_thresholds_assumed_without_data_are_said_to_be_so_before_anything_else() -> None:
    path = str(files("onnx2snn.models") / "digits_cnn.onnx")
    text = sentence(onnx2snn.convert(path, None, steps=T), CNN["block"])
    assert ": give calibration data (calibration=DATA)" in text
    assert "mmse" not in text and "max" not in text


def test_what_lowers_a_threshold_of_the_differential_recipe_is_recommended() -> None:
    """Method mmse changes nothing there."""
    net, name = default_recipe("differential"), CNN["block"]
    high = with_threshold(net, name, 20.0)
    text = sentence(replace(high, meta={**high.meta, "thresholds": {}}), name)
    assert 'lower it (method="percentile"' in text and "mmse" not in text


def test_method_max_is_recommended_for_what_it_does_to_the_layer() -> None:
    path = str(files("onnx2snn.models") / "digits_cnn.onnx")
    x = {"input": samples("x_calib", 64)}
    net = onnx2snn.convert(path, x, steps=T, method="percentile", percentile=60.0, tune=False)
    name = CNN["block"]
    made = Provenance.of(net)
    reach = made.reach(name)
    assert reach is not None and reach > 1.5
    text = sentence(net, name, samples("x_calib", 24))
    assert 'raise it (method="max"' in text and 'with method="max" (thresholds times' in text


def test_no_remedy_is_recommended_that_did_not_help() -> None:
    """A threshold already at the best value is not to be lowered."""
    net = converted()
    result = measured(net)
    layer = result.layers[0]
    trials = try_remedies(
        lowered=lowered(), net=net, batches=[{"input": samples()}], steps=T, name=layer.name
    )
    assert min(t.after / t.before for t in trials if t.family == "lower") > 0.9
    text = advice_text(
        advise(layer, "quantization", None, trials=trials, measured=result, made=Provenance())
    )
    assert "lower it" not in text and "more steps" in text


# What cannot be compared


def test_a_network_of_another_model_is_refused() -> None:
    with pytest.raises(DataError, match="is not one of the model"):
        measured(converted("digits_mlp"), "digits_cnn")


def test_no_steps_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        measured(converted(), steps=0)
