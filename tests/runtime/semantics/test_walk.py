"""One walk over the graph: every rules object knows every kind of node, and says so at once where
it does not."""

from __future__ import annotations

import gc
import importlib
import os
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import onnx2snn
from onnx2snn.runtime import graph as g
from onnx2snn.runtime import ops
from onnx2snn.runtime.engine.fast.planning.planner import CELLS
from onnx2snn.runtime.neurons import NeuronParams
from onnx2snn.runtime.semantics.upstream import Onsets, onsets
from onnx2snn.runtime.semantics.walk import annotate, ask, walk


def _all_rules():
    """Every subclass of ``graph.Rules`` in the product."""
    root = Path(onnx2snn.__file__).parent
    for folder, _, files in os.walk(root, followlinks=True):
        for file in (Path(folder) / name for name in files if name.endswith(".py")):
            if "Rules[" in file.read_text() or "Rules)" in file.read_text():
                path = file.relative_to(root.parent).with_suffix("")
                try:
                    importlib.import_module(".".join(path.parts).removesuffix(".__init__"))
                except ModuleNotFoundError as error:
                    if error.name != "torch":  # an extra, which its rules import
                        raise
    found, pending = [], [g.Rules]
    while pending:
        below = pending.pop().__subclasses__()
        pending += below
        found += [c for c in below if c.__module__.startswith("onnx2snn.")]
    return sorted(set(found), key=lambda c: (c.__module__, c.__qualname__))


RULES = _all_rules()


def lacking(rules):
    """The kinds of node that a rules class has no method for."""
    return [
        kind.__name__ for kind, name in g.KINDS.items() if not callable(getattr(rules, name, 0))
    ]


def test_all_rules_are_found():
    names = {rules.__name__ for rules in RULES}
    assert {"SpikingRules", "AnalogRules", "Onsets", "SpikingRun", "_Emission", "_Paths"} <= names


@pytest.mark.parametrize("kind", get_args(g.Node))
@pytest.mark.parametrize("rules", RULES, ids=lambda r: f"{r.__module__}.{r.__qualname__}")
def test_every_rules_object_has_a_method_for_every_kind_of_node(rules, kind):
    assert callable(getattr(rules, g.KINDS[kind], None)), f"{rules} on {kind}"


def test_the_table_of_kinds_has_the_kinds_of_the_union():
    assert set(g.KINDS) == set(get_args(g.Node))


@dataclass(frozen=True, eq=False, kw_only=True)
class Gate(g.Delay):
    """A new kind, although it is a kind of ``Delay``: what holds of that need not hold of it."""


def with_gate():
    node = object.__new__(Gate)
    node.__dict__.update(name="gate", inputs=("x",), shape=(2,), tensor="", steps=1)
    return node


def test_the_fast_engine_knows_a_cell_for_every_kind_that_it_runs():
    assert set(CELLS) == set(g.KINDS) - {g.Input}


def test_a_kind_that_is_not_in_the_table_is_refused_by_everything():
    nodes = (g.Input(name="x", shape=(2,)), with_gate())
    with pytest.raises(TypeError, match=r"Gate \('gate'\) is not in graph.KINDS"):
        g.SpikingGraph(nodes=nodes)
    with pytest.raises(TypeError, match="Gate"):
        g.visit(Onsets(), with_gate(), [0])


def test_a_new_kind_without_methods_fails_everywhere_at_once(monkeypatch):
    assert not any(lacking(rules) for rules in RULES)
    monkeypatch.setitem(g.KINDS, Gate, "gate")
    assert all(lacking(rules) == ["Gate"] for rules in RULES)
    with pytest.raises(TypeError, match=r"Onsets has no method 'gate' for Gate 'gate'"):
        g.visit(Onsets(), with_gate(), [0])


def test_a_refused_kind_says_which_rules_and_why():
    class Partial(g.Rules[int]):
        delay = g.refused("nothing is late")

    delay = g.Delay(name="d", inputs=("x",), shape=(2,), steps=1)
    with pytest.raises(TypeError, match=r"Partial has no Delay \('d'\): nothing is late"):
        g.visit(Partial(), delay, [0])


def diamond():
    """x - c - p - (d, e) - s - out, and c is read by d too."""
    shape = (2,)
    one = np.float32(1)
    neuron = NeuronParams(v_threshold=one, v_init=one / 2)

    def scale(name, source):
        return g.Synapse(name=name, inputs=(source,), shape=shape, op=ops.Scale(scale=one))

    return g.SpikingGraph(
        nodes=(
            g.Input(name="x", shape=shape),
            scale("c", "x"),
            g.Population(name="p", inputs=("c",), shape=shape, neuron=neuron),
            g.Synapse(name="d", inputs=("p", "c"), shape=shape, op=ops.Add()),
            scale("e", "p"),
            g.Synapse(name="s", inputs=("d", "e"), shape=shape, op=ops.Add()),
            g.Readout(name="out", inputs=("s",), shape=shape),
        )
    )


class Signal:
    """What can be seen to be forgotten."""


class Following(g.Rules[Signal]):
    """Which signals are alive when a node is visited, and what it reads."""

    def __init__(self):
        self.made, self.alive, self.read = {}, {}, {}

    def input(self, node, xs):
        gc.collect()
        names = {id(made()): name for name, made in self.made.items() if made() is not None}
        self.alive[node.name] = set(names.values())
        self.read[node.name] = [names.get(id(x), x) for x in xs]
        signal = Signal()
        self.made[node.name] = weakref.ref(signal)
        return signal

    synapse = population = max_pool = analog = delay = readout = input


def test_a_walk_forgets_each_signal_after_its_last_reader():
    rules = Following()
    out = walk(diamond(), rules, {"x": "samples"})
    assert list(out) == ["out"] and isinstance(out["out"], Signal)
    assert rules.read == {
        "x": ["samples"],
        "c": ["x"],
        "p": ["c"],
        "d": ["p", "c"],
        "e": ["p"],
        "s": ["d", "e"],
        "out": ["s"],
    }
    assert rules.alive == {
        "x": set(),
        "c": {"x"},
        "p": {"c"},
        "d": {"p", "c"},
        "e": {"p", "d"},
        "s": {"d", "e"},
        "out": {"s"},
    }


def test_annotating_keeps_what_is_said_of_every_node():
    assert annotate(diamond(), Onsets()) == onsets(diamond())
    rules = Following()
    found = annotate(diamond(), rules)
    assert list(found) == [node.name for node in diamond().nodes]
    assert rules.read["x"] == [] and rules.read["d"] == ["p", "c"]
    assert rules.alive["out"] == {"x", "c", "p", "d", "e", "s"}


class Names(g.Rules[str]):
    """How a node is computed from populations."""

    def __init__(self):
        self.visited = []

    def synapse(self, node, xs):
        self.visited.append(node.name)
        return f"{node.name}({','.join(xs)})"

    def population(self, node, xs):
        self.visited.append(node.name)
        return node.name

    input = max_pool = analog = delay = readout = synapse


def test_asking_visits_what_rules_look_at_and_once():
    rules, known = Names(), {"c": "current"}
    nodes = diamond().by_name()
    assert ask(nodes, rules, "s", known) == "s(d(p,current),e(p))"
    # What a population reads is never looked at; p is read twice and computed once.
    assert rules.visited == ["s", "d", "p", "e"]
    assert ask(nodes, rules, "s", known) == known["s"] and len(rules.visited) == 4
