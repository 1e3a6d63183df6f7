"""The emitted network, run from the file alone by a plain loop that knows nothing of onnx2snn; and,
with ONNX2SNN_LAVA or ONNX2SNN_SANAFE (a Python that has the one or the other), by the scripts of
docs/scripts in Lava's Dense and fixed-point LIF and in SANA-FE."""

from __future__ import annotations

import io
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwtargets.chip_nets import Net, build, neuron
from onnx2snn.hwtargets import PlaceData, place
from onnx2snn.runtime import graph as g
from onnx2snn.runtime.neurons import Coding, FewSpikeParams, Neuron, PacedParams, TtfsParams
from onnx2snn.runtime.ops import Scale

STEPS = 12
FORMS: dict[str, dict[str, Any]] = {
    "soft": {}, "hard": {"reset": "zero"}, "graded": {"levels": 3}, "leaky": {"leak": 0.25},
    "floor": {"v_min": -0.5}, "lag": {"lag": 3},
}  # fmt: skip
MODELS: dict[str, tuple[type[Neuron], Coding]] = {
    "paced": (PacedParams, "paced"), "few-spike": (FewSpikeParams, "few-spike"),
    "ttfs": (TtfsParams, "paced"),
}  # fmt: skip


class FromFile:
    """Reads the documented arrays, and runs one sample step by step."""

    def __init__(self, data: bytes) -> None:
        self.a = dict(np.load(io.BytesIO(data), allow_pickle=False).items())
        self.header = json.loads(self.a.pop("header").tobytes())
        assert (self.header["format"], self.header["version"]) == ("onnx2snn-cores", 1)
        self.layers = {la["name"]: la for la in self.header["layers"]}
        self.trace: dict[str, list[np.ndarray]] = {}  # of every step so far

    def of(self, layer: dict[str, Any], name: str) -> np.ndarray:
        return self.a[name][layer["first"] : layer["first"] + layer["count"]].astype(float)

    def matrix(self, p: dict[str, Any], sources: int) -> np.ndarray:
        kind, at = "host" if p["host"] else "synapse", slice(p["first"], p["first"] + p["count"])
        out = np.zeros((self.layers[p["target"]]["count"], sources))
        np.add.at(out, (self.a[f"{kind}_target"][at], self.a[f"{kind}_source"][at]),
                  self.a[f"{kind}_weight"][at])  # fmt: skip
        return out

    def run(self, x: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Spike counts of every population, and the answer (outputs,) after the last step."""
        steps, last = self.header["steps"], self.header["layers"][-1]
        total = steps + max(self.reads(la) for la in self.header["layers"])
        states = {name: self.start(la) for name, la in self.layers.items()}
        counts = {name: np.zeros(la["count"]) for name, la in self.layers.items()}
        sent = self.from_outside(x, total)
        sent |= {name: np.zeros((total, la["count"])) for name, la in self.layers.items()}
        for t in range(total):
            for name, la in self.layers.items():
                k = self.fired(la, states[name], self.current(la, t, sent), t)
                self.trace.setdefault(f"v/{name}", []).append(states[name]["v"].copy())
                self.trace.setdefault(f"spikes/{name}", []).append(k)
                sent[name][t] = k
                counts[name] += k
        given = self.header["input"]["name"]
        counts[given] = np.count_nonzero(sent[given], axis=0)
        return counts, states[last["name"]]["v"]

    def from_outside(self, x: np.ndarray, total: int) -> dict[str, np.ndarray]:
        """What the input sends in every step, and the host's neurons."""
        given, steps, flat = self.header["input"], self.header["steps"], x.reshape(-1).astype(float)
        out = {given["name"]: np.zeros((total, flat.size))}
        if given["mode"] == "graded":
            out[given["name"]][:] = np.clip(
                np.round(flat / given["unit"]), -given["max"], given["max"]
            )
        elif given["mode"] == "bias":
            out[given["name"]][:] = flat
        elif given["mode"] == "population" or given["encoding"] == "rate":
            unit = given["unit"] if given["mode"] == "population" else 1
            share = np.minimum(np.abs(flat / unit), 1)
            due = np.floor(share * np.arange(steps + 1)[:, np.newaxis] + 0.5)
            out[given["name"]][:steps] = np.diff(due, axis=0) * np.sign(flat)
        for coder in self.header["host"]:
            model, begins = coder["neuron"], coder["begins"]
            now = np.array(coder["factor"]) * flat + coder["bias"]
            theta, v = np.array(coder["threshold"]), np.array(coder["v_init"])
            sent = out[coder["name"]] = np.zeros((total, flat.size))
            if model["model"] == "if":
                for t in range(begins, begins + steps):
                    v = v + now
                    sent[t] = v >= theta
                    v = v - sent[t] * theta
                continue
            worth = [WORTH[model["model"]](t, steps) for t in range(steps)]
            v = v + now * sum(worth)
            for t, w in enumerate(worth):
                sent[begins + t] = v >= theta * w
                v = SPEND[model["model"]](v, sent[begins + t], theta * w)
        return out

    def reads(self, la: dict[str, Any]) -> int:
        """The first step of the window that a layer reads."""
        begins = {
            own["name"]: own["begins"] for own in (*self.header["layers"], *self.header["host"])
        }
        own = [p for p in self.header["projections"] if p["target"] == la["name"]]
        return max(begins.get(p["source"], 0) + p["delay"] for p in own)

    def current(self, la: dict[str, Any], t: int, sent: dict[str, np.ndarray]) -> np.ndarray:
        first = self.reads(la)
        inside = first <= t < first + self.header["steps"]
        out, bias, host = np.zeros(la["count"]), self.of(la, "bias") * inside, False
        for p in self.header["projections"]:
            if p["target"] != la["name"] or t < p["delay"]:
                continue
            source = sent[p["source"]][t - p["delay"]]
            if p["source"] == self.header["input"]["name"]:  # constant, or of T steps
                source = sent[p["source"]][max(t - first, 0)] * inside
            summed = self.matrix(p, len(source)) @ source
            whole = np.floor(summed * 2.0 ** p["exponent"]) * 2 ** la["shift"]
            bias, out = (bias + np.round(summed), out) if p["host"] else (bias, out + whole)
            host |= p["host"]
        return out + (self.register(bias) if host else bias)

    def register(self, wanted: np.ndarray) -> np.ndarray:
        """A mantissa and the least exponent that holds it, number by number."""
        held, out = self.header["input"]["register"], []
        for n in wanted.tolist():
            e = 0
            while abs(n) > held["mantissa"] << e and e < held["exponent"]:
                e += 1
            out.append(min(max(round(n / 2**e), -held["mantissa"]), held["mantissa"]) << e)
        return np.array(out, float)

    def start(self, la: dict[str, Any]) -> dict[str, np.ndarray]:
        v, model = self.of(la, "v_init"), la["neuron"]
        if model and model["model"] == "paced":
            return {"v": 0 * v, "due": self.of(la, "threshold") - v}
        return {"v": v, "sent": 0 * v, "wait": 0 * v}

    def fired(
        self, la: dict[str, Any], state: dict[str, np.ndarray], current: np.ndarray, t: int
    ) -> np.ndarray:
        model, theta, limit = la["neuron"], self.of(la, "threshold"), self.header["state_max"]
        steps, at = self.header["steps"], t - la["begins"]
        v, none = state["v"], np.zeros_like(state["v"])
        if model is None:
            at = t - self.reads(la)
            weight = 1 if la["coding"] == "rate" else WORTH[la["coding"]](at, steps)
            v += current * weight if 0 <= at < steps else 0
        elif model["model"] in SPEND:
            read = at + model["lag"]
            if 0 <= read < steps:
                v += current * WORTH[model["model"]](read, steps)
        elif model["model"] == "paced":
            v += current * min(steps, max(1, steps - at - model["lag"]))
        else:
            if model["leak"]:
                v -= np.sign(v) * np.ceil(np.abs(v) * round(model["leak"] * 4096) / 4096)
            v += current
        if la["floor"] is not None:
            np.maximum(v, la["floor"], out=v)
        np.clip(v, -(limit or np.inf), limit or np.inf, out=v)
        if model is None or not 0 <= at < steps:
            return none
        if model["model"] in SPEND:
            level = theta * WORTH[model["model"]](at, steps)
            k = self.above(v, level)
            v[:] = SPEND[model["model"]](v, k, level)
            return k
        if model["model"] == "paced":
            arrived = min(steps, at + 1 + model["lag"])
            left, right = v * 2 * (at + 1), state["due"] * arrived * (2 * steps + 1 - arrived)
            state["due"] += (k := self.above(left, right)) * theta
            return k
        k = none
        while (more := self.above(v - k * theta, theta) * (k < model["levels"])).any():
            k = k + more
        v[:] = v - k * theta if model["reset"] == "subtract" else np.where(k, la["reset_to"], v)
        return k

    def above(self, v: np.ndarray, theta: np.ndarray) -> np.ndarray:
        return (v > theta if self.header["strict"] else v >= theta).astype(float)


# Of neurons that send one number per window: what step t of T counts, and what a spike takes.
WORTH = {
    "few-spike": lambda t, steps: 2 ** (steps - 1 - t),
    "ttfs": lambda t, steps: steps - t,
    "paced": lambda t, steps: steps - t,
}
SPEND = {
    "few-spike": lambda v, fired, level: v - fired * level,
    "ttfs": lambda v, fired, level: v * (1 - fired),
}


def net(form: str) -> g.SpikingGraph:
    made = Net((6,), seed=3)
    model, coding = MODELS.get(form, (None, "rate"))
    for n in (10, 8):
        made.dense(n)
        own = neuron(0.8, **FORMS.get(form, {}))
        if model is not None:
            theta = np.float32(0.05 if form == "few-spike" else 0.8)
            lag = 3 if form == "paced" else STEPS
            own = model(v_threshold=theta, v_init=theta / 2, lag=lag)  # type: ignore[assignment]
        made.population("", own)
    made.readout(3)
    return made.graph.with_nodes([replace(made.graph.of(g.Readout)[0], coding=coding)])


@pytest.mark.parametrize("form", [*FORMS, *MODELS])
def test_the_file_alone_runs_as_the_report_says(form: str) -> None:
    same_from_file(net(form), "loihi2")


def test_a_convolution_on_loihi_1_whose_first_layer_the_host_computes() -> None:
    layers = [("conv", 3, 3), ("pool", 2), ("dw", 3, 1, 1), ("block", 4, 1), ("out", 3)]
    found = same_from_file(build((2, 6, 6), layers, seed=2), "loihi1")
    assert found.header["input"]["mode"] == "bias"
    projections = found.header["projections"]
    assert [p["host"] for p in projections].count(True) == 1
    depthwise = [p["exponent"] for p in projections if p["target"] == "p6"]
    assert len(depthwise) > 1  # groups have exponents of their own


def test_channels_of_several_thresholds_behind_a_layer_that_the_host_computes() -> None:
    graph = net("soft")
    theta = np.geomspace(0.001, 2, 8, dtype=np.float32)
    last = graph.of(g.Population)[-1]
    cell = last.neuron.having(v_threshold=theta, v_init=theta / 2)
    found = same_from_file(graph.with_nodes([replace(last, neuron=cell)]), "loihi1")
    assert 2 < len(np.unique(found.of(found.layers[last.name], "threshold"))) <= 8


@pytest.mark.parametrize("way", ["population", "rate"])
def test_inputs_that_are_spikes(way: str) -> None:
    graph = net("soft")
    if way == "rate":
        graph = graph.with_nodes([replace(graph.of(g.Input)[0], encoding="rate")])
    options = {"input": way} if way == "population" else {}
    same_from_file(graph, "loihi2", **options)


@pytest.mark.parametrize("model", ["if", "few-spike", "ttfs"])
def test_neurons_that_the_host_has_in_the_chips_stead(model: str) -> None:
    """``convert`` with the encodings population, few-spike and ttfs: one coder per value."""
    graph = net("soft" if model == "if" else model)
    unit = np.float32(1.0 if model != "few-spike" else 1 / 64)
    cell = graph.of(g.Population)[0].neuron.having(v_threshold=unit, v_init=unit / 2)
    bias = np.array(0.01, np.float32)
    read = g.Synapse(
        name="read", inputs=("in",), shape=(6,), op=Scale(scale=np.array(1, np.float32))
    )
    coder = g.Population(name="coder", inputs=("read",), shape=(6,), bias=bias, neuron=cell)
    nodes = [replace(n, inputs=("coder",)) if "in" in n.inputs else n for n in graph.nodes]
    meta = {"options": {"encoding": "population:1"}}
    made = g.SpikingGraph(nodes=(nodes[0], read, coder, *nodes[1:]), meta=meta)
    found = same_from_file(made, "loihi2")
    assert [host["neuron"]["model"] for host in found.header["host"]] == [model]


def same_from_file(graph: g.SpikingGraph, target: str, **options: Any) -> FromFile:
    rng, shape = np.random.default_rng(1), graph["in"].shape
    x, calib = rng.random((6, *shape), np.float32), rng.random((32, *shape), np.float32)
    data = PlaceData(x=x, y=np.zeros(6, np.int64), calib=calib)
    report = place(graph, target, data=data, steps=STEPS, seconds=0, options=options)
    found = FromFile(report.files[f"{target}.npz"])
    runs = [found.run(sample) for sample in x]
    said = np.array([answer.argmax() for _, answer in runs])
    assert report.accuracy["chip"] == (said == 0).mean()
    own = PlaceData(x=x, y=said, calib=calib)  # every answer is the report's
    again = place(graph, target, data=own, steps=STEPS, seconds=0, options=options)
    assert again.accuracy["chip"] == 1
    given = found.header["input"]
    names = (*found.layers, given["name"])
    sent = {n: sum(c[n] for c, _ in runs) / (6 * STEPS) for n in names}
    total = 0.0  # packets per step, from the counted spikes and the routes alone
    for number, core in zip(found.a["route_neuron"], found.a["route_core"], strict=True):
        la = next((la for la in found.layers.values()
                   if la["first"] <= number < la["first"] + la["count"]), None)  # fmt: skip
        assert 0 <= core < report.cores
        if la is not None and la["neuron"]["levels"] == 1:
            total += sent[la["name"]][number - la["first"]]
        elif la is None and given["mode"] == "population":  # from the chip's encoding neurons
            total += sent[given["name"]][-1 - number]
    if all(la["neuron"] is None or la["neuron"]["levels"] == 1 for la in found.layers.values()):
        assert 0.1 < report.traffic["packets"] == pytest.approx(total, rel=1e-6)
    plan = report.plan
    assert plan is not None
    for name, column in (("core_chip", plan.chip), ("core_x", plan.x), ("core_y", plan.y)):
        np.testing.assert_array_equal(found.a[name], column)
    cores = np.concatenate([found.a["core"], found.a["input_core"]])
    np.testing.assert_array_equal(np.bincount(cores), plan.neurons)
    return found


def test_a_network_of_more_synapses_than_are_listed_is_not_written_and_the_report_says_so() -> None:
    report = place(net("soft"), "loihi2", steps=4, seconds=0, options={"emit": 10})
    assert not report.files
    assert any("no file of the network was written" in note for note in report.notes)


SCRIPTS = Path(__file__).parents[3] / "docs" / "scripts"
READERS = [
    ("lava", "loihi2", {"reset": "zero"}, 7168),
    ("lava", "loihi2", {"reset": "zero", "leak": 0.25}, 7168),
    ("sanafe", "loihi1", {"reset": "zero"}, 3584),
    ("sanafe", "loihi1", {}, 3584),
]


@pytest.mark.parametrize(("tool", "target", "form", "entries"), READERS)
def test_lava_and_sanafe_have_the_files_spikes_and_potentials(
    tool: str, target: str, form: dict[str, Any], entries: int, tmp_path: Path
) -> None:
    python = os.environ.get(f"ONNX2SNN_{tool.upper()}", "")
    if not python:
        pytest.skip(f"needs ONNX2SNN_{tool.upper()}, a Python with {tool}")
    made = Net((1, 6, 6), seed=3)
    made.conv(3, 3)
    made.population("", neuron(0.8, **form))
    made.conv(3, 3, 1, 1, groups=3)
    made.population("", neuron(0.7, **form))
    made.dense(12)
    made.population("", neuron(0.9, **form))
    made.readout(4)
    x = np.random.default_rng(1).random((6, 1, 6, 6), np.float32)
    data = PlaceData(x=x, y=np.zeros(6, np.int64), calib=x)
    report = place(made.graph, target, data=data, steps=32, seconds=0)
    (tmp_path / "net.npz").write_bytes(report.files[f"{target}.npz"])
    np.save(tmp_path / "x.npy", x[0])
    script = [python, str(SCRIPTS / f"load_{tool}.py"), "net.npz", "x.npy", "out.npz"]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = FromFile(report.files[f"{target}.npz"])
    expected.run(x[0])
    got = np.load(tmp_path / "out.npz")
    assert any(got[name].any() for name in got.files if name.startswith("spikes/"))
    for name in got.files:
        np.testing.assert_array_equal(got[name], np.array(expected.trace[name]), err_msg=name)
    assert sum(got[name].size for name in got.files) == entries
