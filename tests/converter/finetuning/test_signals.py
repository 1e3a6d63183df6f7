"""The network that is trained sends the spikes of the definition; its gradients, by hand."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from graphs import residual_cnn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onnx2snn.converter.finetuning.parameters import KINDS, parameters_of
from onnx2snn.converter.finetuning.surrogates import SURROGATES
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime import ops
from onnx2snn.runtime.engine import make_engine
from onnx2snn.runtime.neurons import FewSpikeParams, NeuronParams, TtfsParams
from onnx2snn.runtime.semantics.analog import run_analog
from onnx2snn.runtime.semantics.walk import walk
from runtime import random_graphs

torch = pytest.importorskip("torch")
from onnx2snn.converter.finetuning import spikes as trained  # noqa: E402
from onnx2snn.converter.finetuning.signals import Signals  # noqa: E402
from onnx2snn.converter.finetuning.spikes import Learnable  # noqa: E402
from onnx2snn.converter.finetuning.teacher import Teacher  # noqa: E402

HOW = Learnable(surrogate="triangle", width=0.5)


def zeros(parameters: Any) -> dict[str, Any]:
    return {p.key: torch.zeros(p.start.shape, requires_grad=True) for p in parameters}


def answers(graph: snn.SpikingGraph, x: np.ndarray, steps: int, cut: int) -> dict[str, Any]:
    """Of the network as it is trained, in stretches of ``cut`` steps."""
    parameters = parameters_of(graph, KINDS, coded=False)
    signals, values = Signals(graph, parameters, steps, HOW), zeros(parameters)
    inputs = {graph.of(snn.Input)[0].name: torch.as_tensor(x)}
    sums: dict[str, Any] = {}
    states: dict[str, Any] = {}
    for start in range(0, signals.total, cut):
        signals.begin(range(start, min(start + cut, signals.total)), values, states)
        walk(graph, signals, inputs)
        states = dict(signals.states)
        sums = {k: sums.get(k, 0) + v.detach() / steps for k, v in signals.answers.items()}
    return {k: v.numpy() for k, v in sums.items()}


@settings(max_examples=40, deadline=None, suppress_health_check=[*HealthCheck])
@given(st.data())
def test_what_is_trained_is_the_network(data: st.DataObject) -> None:
    steps, model = data.draw(st.integers(1, 4)), data.draw(st.sampled_from(["", "ttfs", "few"]))
    graph = data.draw(random_graphs.graphs(lags=not model, max_stages=2))
    if model:
        kind = {"ttfs": TtfsParams, "few": FewSpikeParams}[model]
        graph = random_graphs.windowed(graph, kind, steps)
    x = data.draw(random_graphs.samples(graph.of(snn.Input)[0].shape))
    expected = make_engine("numpy").run(graph, x, steps).readouts
    found = answers(graph, x, steps, data.draw(st.integers(1, 5)))
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values[-1], rtol=1e-5, atol=1e-5)
    ann = walk(graph, Teacher(graph), {graph.of(snn.Input)[0].name: torch.as_tensor(x)})
    for name, values in run_analog(graph, x).items():
        np.testing.assert_allclose(ann[name], values, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("detached", [False, True])
def test_gradients_by_hand_are_those_of_the_loop(detached: bool, monkeypatch: Any) -> None:
    """Of neurons whose derivatives are written out, in two stretches of time."""
    graph = residual_cnn(np.random.default_rng(0))
    parameters = parameters_of(graph, KINDS, coded=False)
    how = Learnable(surrogate="arctan", width=0.5, detached=detached)
    x = torch.as_tensor(np.random.default_rng(1).normal(size=(3, 2, 8, 8)).astype(np.float32))

    def gradients() -> dict[str, Any]:
        signals, values = Signals(graph, parameters, 5, how), zeros(parameters)
        states, loss = {}, torch.zeros(())
        for span in (range(3), range(3, 5)):
            signals.begin(span, values, states)
            walk(graph, signals, {"x": x})
            states = dict(signals.states)
            loss = loss + sum(v.square().sum() for v in signals.answers.values())
            loss = loss + sum(v.sum() for v in signals.sent.values())
        loss.backward()
        return {key: v.grad for key, v in values.items()}

    found = gradients()
    monkeypatch.setattr(trained, "by_hand", lambda neuron: False)
    for key, wanted in gradients().items():
        torch.testing.assert_close(found[key], wanted, rtol=1e-3, atol=1e-4 * wanted.abs().max())
        assert wanted.abs().max() > 1e-3, key


def two_neurons() -> snn.SpikingGraph:
    """0.75 -> a neuron -> weight 1 -> a neuron -> weight 2 -> out, T = 2."""
    one, v = np.ones(()), partial(NeuronParams, v_threshold=np.float32(1))
    first, second = v(v_init=np.float32(0.5)), v(v_init=np.float32(0))

    def linear(weight: float) -> ops.Linear:
        return ops.Linear(weight=np.full((1, 1), weight, np.float32))

    return snn.SpikingGraph(
        nodes=(
            snn.Input(name="x", shape=(1,)),
            snn.Synapse(name="w1", inputs=("x",), shape=(1,), op=linear(0.5)),
            snn.Population(name="a", inputs=("w1",), shape=(1,), neuron=first, bias=0.25 * one),
            snn.Synapse(name="w2", inputs=("a",), shape=(1,), op=linear(0.75)),
            snn.Population(name="b", inputs=("w2",), shape=(1,), neuron=second),
            snn.Synapse(name="w3", inputs=("b",), shape=(1,), op=linear(2)),
            snn.Readout(name="out", inputs=("w3",), shape=(1,)),
        )
    )


@pytest.mark.parametrize("detached", [False, True])
def test_gradients_through_time_are_those_by_hand(detached: bool) -> None:
    """Every step of two neurons written out; h is the triangle of half-width 1 at u = v - 1."""
    graph = two_neurons()
    parameters = parameters_of(graph, KINDS, coded=False)
    signals = Signals(
        graph, parameters, 2, Learnable(surrogate="triangle", width=0.5, detached=detached)
    )
    values = zeros(parameters)
    signals.begin(range(2), values, {})
    walk(graph, signals, {"x": torch.tensor([[0.75]])})
    (signals.answers["out"] / 2).sum().backward()

    def h(v: float) -> float:
        return max(0.0, 1 - abs(v - 1))

    kept = 1.0 if detached else 0.0  # of a potential's derivative, what a reset leaves: 1 - h
    x, w1, w2, w3 = 0.75, 0.5, 0.75, 2.0
    a1 = 0.5 + w1 * x + 0.25  # 1.125, fires
    a2 = a1 - 1 + w1 * x + 0.25  # 0.75, does not
    b1 = w2 * 1  # 0.75, does not
    b2 = b1 + w2 * 0  # 0.75, does not
    assert (a1 >= 1, a2 >= 1, b1 >= 1, b2 >= 1) == (True, False, False, False)
    left_a, left_b = (1 - (1 - kept) * h(v) for v in (a1, b1))  # d v(after) / d v(before)
    # The derivatives of the four spikes by what moves the potential of a, per step.
    sa1, sa2 = {1: h(a1)}, {1: h(a2) * left_a, 2: h(a2)}
    sb1 = {1: h(b1) * w2 * sa1[1], 2: 0.0}
    vb2 = {1: left_b * w2 * sa1[1] + w2 * sa2[1], 2: w2 * sa2[2]}
    sb2 = {k: h(b2) * d for k, d in vb2.items()}
    by_current = {k: w3 / 2 * (sb1[k] + sb2[k]) for k in (1, 2)}
    both = by_current[1] + by_current[2]
    units = {p.key: p.unit for p in parameters}
    wanted = {
        "biases/a": both,
        "weights/w1": both * x,
        "potentials/a": by_current[1],
        "weights/w3": (0 + 0) / 2,  # b sends nothing
        # A gain divides the current, the bias and the initial potential.
        "thresholds/a": -(both * (w1 * x + 0.25) + by_current[1] * 0.5),
    }
    for key, expected in wanted.items():
        unit = 1.0 if key.startswith("thresholds") else units[key]
        np.testing.assert_allclose(values[key].grad.item(), expected * unit, rtol=1e-6, err_msg=key)


@pytest.mark.parametrize("model", [NeuronParams, FewSpikeParams, TtfsParams])
def test_a_bias_means_the_same_share_of_the_range_in_every_code(model: Any) -> None:
    """A rate must move a bias as far in a time code as in others: by steps, its weights add up to
    more than its largest number."""
    steps = 8
    kind: Any = {} if model is NeuronParams else {"lag": steps}
    theta, zero = np.full((1,), 0.5, np.float32), np.zeros((1,), np.float32)
    neuron = model(v_threshold=theta, v_init=zero, **kind)
    nodes = (
        snn.Input(name="x", shape=(1,)),
        snn.Synapse(name="w", inputs=("x",), shape=(1,), op=ops.Linear(weight=theta[None])),
        snn.Population(name="p", inputs=("w",), shape=(1,), neuron=neuron),
        snn.Readout(name="out", inputs=("p",), shape=(1,), coding=neuron.coding),
    )
    (unit,) = (
        p.unit
        for p in parameters_of(snn.SpikingGraph(nodes=nodes), ("biases",), coded=False)
        if p.node == "p"
    )
    worth = neuron.total(steps) if kind else steps  # of a bias that comes in every step
    most = neuron.most(steps) if kind else steps
    assert unit * worth == pytest.approx(0.5 * most)


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_the_price_of_a_time_code_is_what_a_shift_of_its_charge_saves(surrogate: str) -> None:
    neuron = TtfsParams(v_threshold=np.float32(0.5), v_init=np.float32(0), lag=16)
    how = Learnable(surrogate=surrogate, width=0.25)

    def spikes(shift: Any) -> Any:
        charge = torch.linspace(-40, 60, 100_001)[None] + shift
        theta = torch.tensor(0.5)
        return trained.numbers(neuron, charge, threshold=theta, how=how, steps=16)[1].sum()

    shift = torch.zeros((), requires_grad=True)
    spikes(shift).backward()
    with torch.no_grad():
        saved = (spikes(1.0) - spikes(-1.0)) / 2
    assert shift.grad.item() == pytest.approx(saved.item(), rel=0.02)


def test_surrogates_are_bumps_of_height_one_and_the_width_given() -> None:
    for name, bump in SURROGATES.items():
        u = torch.tensor([-3.0, -0.4, 0.0, 0.4, 3.0])
        far, left, top, right, _ = bump(u, 0.4).tolist()
        assert top == 1 and far < 0.03, name
        np.testing.assert_allclose([left, right], 0.5, atol=1e-5)
