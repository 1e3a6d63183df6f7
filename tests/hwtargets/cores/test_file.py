"""The emitted network, run from the file alone by a plain loop that knows nothing of onnx2snn."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest

from hwtargets.chip_nets import Net, build, neuron
from onnx2snn.hwtargets import PlaceData, place
from onnx2snn.runtime import graph as g

STEPS = 12
FORMS: dict[str, dict[str, Any]] = {
    "soft": {}, "hard": {"reset": "zero"}, "graded": {"levels": 3}, "leaky": {"leak": 0.25},
    "floor": {"v_min": -0.5},
}  # fmt: skip


class FromFile:
    """Reads the documented arrays; one sample, one step, one neuron model."""

    def __init__(self, data: bytes) -> None:
        self.a = dict(np.load(io.BytesIO(data), allow_pickle=False).items())
        self.header = json.loads(self.a.pop("header").tobytes())
        assert (self.header["format"], self.header["version"]) == ("onnx2snn-cores", 1)
        self.layers = {la["name"]: la for la in self.header["layers"]}

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
        given, limit = self.header["input"], self.header["state_max"] or np.inf
        flat = x.reshape(-1).astype(float)
        sent = {"graded": np.clip(np.round(flat / given["unit"]), -given["max"], given["max"]),
                "bias": flat}[given["mode"]]  # fmt: skip
        v = {name: self.of(la, "v_init") for name, la in self.layers.items()}
        counts = {name: np.zeros(la["count"]) for name, la in self.layers.items()}
        for _ in range(STEPS):
            spikes = {given["name"]: sent}
            for name, la in self.layers.items():
                current = self.of(la, "bias")
                for p in self.header["projections"]:
                    if p["target"] == name:
                        source = spikes[p["source"]]
                        summed = self.matrix(p, len(source)) @ source
                        current = current + (
                            np.round(summed)
                            if p["host"]
                            else np.floor(summed * 2.0 ** p["exponent"]) * 2 ** la["shift"]
                        )
                spikes[name] = self.fired(la, v[name], current, limit)
                counts[name] += spikes[name]
        return counts, v[self.header["layers"][-1]["name"]]

    def fired(
        self, la: dict[str, Any], v: np.ndarray, current: np.ndarray, limit: float
    ) -> np.ndarray:
        model, theta = la["neuron"], self.of(la, "threshold")
        if model and model["leak"]:
            v -= np.sign(v) * np.ceil(np.abs(v) * round(model["leak"] * 4096) / 4096)
        v += current
        if la["floor"] is not None:
            np.maximum(v, la["floor"], out=v)
        np.clip(v, -limit, limit, out=v)
        if model is None:
            return np.zeros_like(v)
        k = np.zeros_like(v)
        while (more := ((v - k * theta > theta) & (k < model["levels"]))).any():
            k += more
        if model["reset"] == "subtract":
            v -= k * theta
        else:
            v[k > 0] = la["reset_to"]
        return k


def net(form: str) -> g.SpikingGraph:
    made = Net((6,), seed=3)
    for n in (10, 8):
        made.dense(n)
        made.population("", neuron(0.8, **FORMS[form]))
    made.readout(3)
    return made.graph


@pytest.mark.parametrize("form", FORMS)
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


def same_from_file(graph: g.SpikingGraph, target: str) -> FromFile:
    rng, shape = np.random.default_rng(1), graph["in"].shape
    x, calib = rng.random((6, *shape), np.float32), rng.random((32, *shape), np.float32)
    data = PlaceData(x=x, y=np.zeros(6, np.int64), calib=calib)
    report = place(graph, target, data=data, steps=STEPS, seconds=0)
    found = FromFile(report.files[f"{target}.npz"])
    runs = [found.run(sample) for sample in x]
    said = np.array([answer.argmax() for _, answer in runs])
    assert report.accuracy["chip"] == (said == 0).mean()
    own = PlaceData(x=x, y=said, calib=calib)  # every answer is the report's
    assert place(graph, target, data=own, steps=STEPS, seconds=0).accuracy["chip"] == 1
    sent = {n: sum(c[n] for c, _ in runs) / (6 * STEPS) for n in found.layers}
    total = 0.0  # packets per step, from the counted spikes and the routes alone
    for number, core in zip(found.a["route_neuron"], found.a["route_core"], strict=True):
        la = next((la for la in found.layers.values()
                   if la["first"] <= number < la["first"] + la["count"]), None)  # fmt: skip
        if la is not None and la["neuron"]["levels"] == 1:
            total += sent[la["name"]][number - la["first"]]
            assert 0 <= core < report.cores
    if total:
        assert report.traffic["packets"] == pytest.approx(total, rel=1e-6)
    plan = report.plan
    assert plan is not None
    for name, column in (("core_chip", plan.chip), ("core_x", plan.x), ("core_y", plan.y)):
        np.testing.assert_array_equal(found.a[name], column)
    np.testing.assert_array_equal(np.bincount(found.a["core"]), plan.neurons)
    return found


def test_a_network_of_more_synapses_than_are_listed_is_not_written_and_the_report_says_so() -> None:
    report = place(net("soft"), "loihi2", steps=4, seconds=0, options={"emit": 10})
    assert not report.files
    assert any("no file of the network was written" in note for note in report.notes)
