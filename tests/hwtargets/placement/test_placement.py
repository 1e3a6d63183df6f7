"""``place`` from graph to report: targets, rules, refusals, report formats."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import DOCS, MODELS

import onnx2snn
from hwtargets.chip_nets import SMALL, Net, build, neuron
from onnx2snn.errors import DataError, TargetError, UsageError
from onnx2snn.hwtargets import (
    HardwareTarget,
    PlaceData,
    PlacementReport,
    chip_view,
    load_target,
    place,
    targets,
    to_json,
)
from onnx2snn.hwtargets.cores.mapping import CORES, map_cores
from onnx2snn.hwtargets.cores.variants import narrow
from onnx2snn.hwtargets.mappings import MAPPINGS
from onnx2snn.hwtargets.target import Limit
from onnx2snn.hwtargets.truenorth.compile.lower import lower
from onnx2snn.hwtargets.truenorth.variants import thinned
from onnx2snn.reports.chips import chips_csv
from onnx2snn.reports.pages.placement import render_html
from onnx2snn.reports.placement import render_comparison, render_text
from onnx2snn.runtime import graph as g
from onnx2snn.runtime import ops

TARGETS = Path(__file__).with_name("targets")
PLAIN = TARGETS / "plain.toml"


def with_limits(target: HardwareTarget, **values: float) -> HardwareTarget:
    """The target with other limits."""
    new = {
        name: Limit(name=name, value=value, source="test", verified=True)
        for name, value in values.items()
    }
    return replace(target, limits={**target.limits, **new}, boards={})


@pytest.fixture(scope="module")
def report() -> PlacementReport:
    x = np.random.default_rng(0).random((12, *SMALL[0])).astype(np.float32)
    graph = build(*SMALL)
    data = PlaceData(x=x, y=np.zeros(12, int))
    return place(graph, "loihi2", data=data, steps=16, seconds=0.2)


def test_every_bundled_target_states_value_source_and_verification_of_every_number() -> None:
    found = targets()
    assert {"loihi1", "loihi2"} <= set(found)
    for target in found.values():
        assert target.mapping in MAPPINGS
        for limit in (*target.limits.values(), *target.energy.values()):
            assert len(limit.source) > 3 and limit.value >= 0, (target.name, limit.name)


def test_a_bad_target_file_names_every_problem_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(
        'schema = "other"\nname = ""\nmapping = "cores"\nfoo = 1\n'
        "[limits.a]\nvalue = -1\nsource = 3\n[capabilities]\nwings = true\n"
        'reset = ["subtrct"]\nthreshold_per = "nueron"\n'
    )
    with pytest.raises(TargetError) as error:
        load_target(path)
    text = str(error.value)
    said = ("Did you mean 'subtract'?", "Did you mean 'neuron'?")
    for part in ("schema", "'name'", "'foo'", "limits.a", "verified", "'source'", "'wings'", *said):
        assert part in text
    assert error.value.code == "E501"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("not toml [", "E501"),
        ('schema = "onnx2snn-target/1"\nname = "x"\nmapping = "magic"\n', "E504"),
    ],
)
def test_files_that_are_no_target_are_refused(tmp_path: Path, content: str, code: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(content)
    with pytest.raises(TargetError) as error:
        load_target(path)
    assert error.value.code == code


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(TargetError, match="loihi2"):
        load_target("loihi9")


def test_a_target_without_a_needed_limit_says_which(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('schema = "onnx2snn-target/1"\nname = "x"\nmapping = "cores"\n')
    with pytest.raises(TargetError, match="cores_per_chip"):
        place(build(*SMALL), path, seconds=0)


@pytest.mark.parametrize(
    ("limits", "rule"),
    [
        ({"cores_per_chip": 2}, "cores"),
        ({"in_axons_per_core": 3}, "in_axons_per_core"),
        ({"synapse_memory": 20}, "synapse_memory"),
    ],
)
def test_a_tiny_chip_is_refused_with_the_right_reason(limits: dict[str, float], rule: str) -> None:
    report = place(build(*SMALL), with_limits(load_target(PLAIN), **limits), seconds=0)
    assert not report.fits
    assert {v.rule for v in report.violations} == {rule}
    for v in report.violations:
        assert v.node and v.remedy and float(v.used) > float(v.limit)


@pytest.mark.parametrize("name", ["loihi1", "loihi2"])
@pytest.mark.parametrize("limit", ["cores_per_chip", "in_axons_per_core"])
def test_a_bundled_chip_made_tiny_is_refused_with_the_right_reason(name: str, limit: str) -> None:
    chip = with_limits(load_target(name), **{limit: 1})
    report = place(build(*SMALL), chip, seconds=0)
    assert not report.fits
    assert {"cores" if limit == "cores_per_chip" else limit} == {v.rule for v in report.violations}


def test_what_would_fit_is_found_by_placing_narrower_networks() -> None:
    chip = with_limits(load_target(PLAIN), cores_per_chip=12)
    report = place(build(*SMALL), chip, seconds=0)
    assert [v.rule for v in report.violations] == ["cores"]
    narrower = next(v for v in report.would_fit if "channels" in v["change"])
    assert narrower["fits"] and narrower["cores"] <= 12 < report.cores


def test_too_large_a_fan_in_fits_as_partial_sums_whose_cost_is_counted() -> None:
    graph = build((400,), [("fc", 10), ("out", 3)])
    chip = with_limits(load_target(PLAIN), in_axons_per_core=120)
    report = place(graph, replace(chip, capabilities={"input": ["bias"]}), seconds=0)
    assert {v.rule for v in report.violations} == {"in_axons_per_core"}
    sums = next(v for v in report.would_fit if "partial sums" in v["change"])
    assert sums["fits"] and "4 partial sums: 40 more neurons" in sums["change"]
    assert sums["cores"] == 6  # four parts, the layer, the readout


def test_a_larger_board_is_named_where_chips_are_all_that_lacks() -> None:
    chip = with_limits(load_target(PLAIN), cores_per_chip=9)
    report = place(build(*SMALL), chip, seconds=0)
    board = next(v for v in report.would_fit if "board" in v["change"])
    assert board["fits"] and board["chips"] == -(-report.cores // 9)
    assert place(build(*SMALL), chip, chips=board["chips"], seconds=0).fits


def special(**params: Any) -> g.SpikingGraph:
    net = Net((6,))
    net.dense(5)
    net.population("hidden", neuron(**params))
    net.readout(3)
    return net.graph


@pytest.mark.parametrize(
    ("params", "rule", "means"),
    [
        ({"levels": 4}, "graded spikes", "copies"),
        ({"signed": True}, "negative spikes", "pair"),
        ({"lag": 3}, "start lag", "gate"),
        ({"v_min": -1.0}, "v_min", "floor"),
    ],
)
def test_what_a_binary_chip_cannot_do_is_refused_with_the_means_and_its_cost(
    params: dict[str, Any], rule: str, means: str
) -> None:
    report = place(special(**params), "loihi1", seconds=0)
    (violation,) = report.violations
    assert (violation.node, violation.rule) == ("hidden", rule)
    assert means in violation.remedy
    if means in ("copies", "pair", "gate"):
        assert re.search(r"[1-9]\d* more (neurons|synapses)", violation.remedy)
    assert place(special(**params), "loihi2", seconds=0).fits


def test_analog_nodes_are_refused_by_name_together_with_everything_else() -> None:
    net = Net((2, 8, 8))
    net.conv(3, 3)
    net.population("a", neuron(signed=True))
    pool = ops.MaxPool(kernel=(2, 2), strides=(2, 2), dilations=(1, 1), pads=(0, 0, 0, 0))
    net.nodes.append(g.MaxPool(name="pool", inputs=("a",), shape=(3, 3, 3), op=pool))
    net.readout(4)
    report = place(net.graph, "loihi1", seconds=0)
    assert {(v.node, v.rule) for v in report.violations} == {
        ("a", "negative spikes"),
        ("pool", "analog node"),
    }


def test_nothing_is_sent_to_what_no_neurons_can_run() -> None:
    """The maximum of all features has more inputs than places on a chip."""
    net = Net((4,))
    net.dense(8)
    net.population("a")
    moved = net.synapse(ops.Reshape(shape=(1, 8)), "a")
    pool = ops.MaxPool(kernel=(8,), strides=(8,), dilations=(1,), pads=(0, 0))
    net.nodes.append(g.MaxPool(name="largest", inputs=(moved,), shape=(1, 1), op=pool))
    net.readout(2)
    report = place(net.graph, "loihi2", seconds=0)
    assert [v.node for v in report.violations] == ["largest"]


@pytest.mark.parametrize(("way", "macs"), [("bias", 8 * 16), ("graded", 0), ("population", 0)])
def test_multiply_accumulates_on_analog_values_stand_beside_synaptic_operations(
    way: str, macs: int
) -> None:
    net = Net((8,))
    net.dense(16)
    net.population("a")
    net.readout(4)
    report = place(net.graph, "loihi2", seconds=0, options={"input": way})
    assert report.fits and {row.name: row.analog_macs for row in report.layers}["a"] == macs
    assert report.analog == {"macs_per_sample": macs, "macs_to_ann": macs / (8 * 16 + 16 * 4)}
    assert (f"{macs:,} multiply-accumulates" in render_text(report)) is bool(macs)
    assert ("analog MACs" in render_html(report)) is bool(macs)
    line = dict(zip(*csv.reader(chips_csv([report], {}).splitlines()), strict=True))
    assert int(line["macs_per_sample"]) == macs and float(line["synops_per_sample"]) > 0
    assert f"{macs / 192:.2f}" in render_comparison([report])


def pooled() -> g.SpikingGraph:
    net = Net((1, 6, 6), seed=2)
    net.conv(2, 3, 1, 1)
    net.population("a")
    pool = ops.MaxPool(kernel=(2, 2), strides=(2, 2), dilations=(1, 1), pads=(0, 0, 0, 0))
    net.nodes.append(g.MaxPool(name="pool", inputs=("a",), shape=(2, 3, 3), op=pool))
    net.readout(4)
    return net.graph


def test_a_max_pool_is_refused_or_replaced_by_neurons_between_maximum_and_sum() -> None:
    refused = place(pooled(), "loihi2", seconds=0)
    assert not refused.fits and '"maxpool": "or"' in refused.violations[0].remedy
    command = "onnx2snn convert MODEL.onnx --calib DATA --maxpool tree -o NET.snn.onnx"
    assert command in refused.violations[0].remedy
    told = replace(pooled(), meta={"source": {"path": "my net.onnx"}, "recipe": "binary", "T": 16})
    remedy = place(told, "xylo-audio2", seconds=0).violations[0].remedy
    assert "convert 'my net.onnx' --calib DATA --recipe binary -T 16 --maxpool tree" in remedy
    network, chip = chip_view(pooled()), load_target("loihi2")
    x = np.random.default_rng(0).random((8, 1, 6, 6)).astype(np.float32)
    mapped = map_cores(network, chip, CORES.request(chip, {"maxpool": "or"}, steps=30, x=x))
    assert not mapped.violations and mapped.run is not None
    assert any("'pool'" in note and "approximate" in note for note in mapped.notes)
    rates = mapped.run(x, 30).rates
    windows = rates["a"].reshape(2, 3, 2, 3, 2)
    assert (rates["pool"] >= windows.max((2, 4)) - 1e-9).all()
    assert (rates["pool"] <= windows.sum((2, 4)) + 1e-9).all()
    assert place(pooled(), "loihi2", seconds=0, options={"maxpool": "or"}).fits


def test_the_bundled_network_keeps_its_accuracy_on_loihi_2_integers() -> None:
    with np.load(MODELS / "digits.npz") as data:
        x, calib = (data[k].reshape(-1, 1, 8, 8) / np.float32(16) for k in ("x_test", "x_calib"))
        y = data["y_test"]
    graph = onnx2snn.convert(MODELS / "digits_mlp.onnx", calib[:128], steps=16)
    shape = graph.of(g.Input)[0].shape
    data = PlaceData(x=x[:150].reshape(-1, *shape), y=y[:150])
    report = place(graph, "loihi2", data=data, steps=16, seconds=0)
    accuracy = report.accuracy
    assert report.fits and accuracy["samples"] == 150
    assert accuracy["ann"] - accuracy["chip"] <= 0.02
    loss = accuracy["quantization_loss"] + accuracy["mapping_loss"]
    assert loss == pytest.approx(accuracy["float_snn"] - accuracy["chip"])


def test_samples_of_another_shape_are_refused() -> None:
    with pytest.raises(DataError, match="shape"):
        place(build(*SMALL), "loihi2", data=PlaceData(x=np.zeros((2, 3))), seconds=0)


def test_the_json_report_has_the_published_keys_and_no_infinities(
    report: PlacementReport,
) -> None:
    found = json.loads(to_json(report))
    assert found["schema"] == "onnx2snn-placement/1"
    for key in ("target", "fits", "cores", "chips", "binding", "violations", "energy", "latency"):
        assert key in found
    assert {"name", "cores", "neurons"} <= set(found["layers"][0])
    assert {"name", "used", "limit"} <= set(found["resources"][0])
    assert {"spike_hops", "avg_hops", "max_link"} <= set(found["traffic"])
    assert {"ann", "float_snn", "chip"} <= set(found["accuracy"])
    assert sum(row["cores"] for row in found["layers"]) == found["cores"]
    assert len(found["floor_plan"]["x"]) == found["cores"]
    assert found["traffic"]["measured"] is True


def check_schema(value: Any, schema: dict[str, Any], root: dict[str, Any], path: str) -> None:
    """The part of JSON Schema that the published one uses."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if "const" in schema:
        assert value == schema["const"], path
    kinds = {
        "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None),
        "integer": int, "number": (int, float),
    }  # fmt: skip
    allowed = schema.get("type", [])
    allowed = [allowed] if isinstance(allowed, str) else allowed
    if allowed:
        assert any(isinstance(value, kinds[k]) for k in allowed), (path, value)
        assert not isinstance(value, bool) or "boolean" in allowed, path
    for key in schema.get("required", ()):
        assert key in value, f"{path}.{key}"
    for key, part in schema.get("properties", {}).items():
        if key in value:
            check_schema(value[key], part, root, f"{path}.{key}")
    for i, item in enumerate(value if "items" in schema else ()):
        check_schema(item, schema["items"], root, f"{path}[{i}]")


TINY = {
    "fits": ((3,), [("fc", 4), ("out", 2)]),
    "no hidden layer": ((3,), [("out", 2)]),
    "out of reach": ((200,), [("fc", 4), ("out", 2)]),
    "skip": ((2, 4, 4), [("block", 2), ("out", 2)]),
}
SMALLER = {"neurons_per_core": 3, "in_axons_per_core": 3, "cores_per_chip": 2}  # nothing has room


@pytest.mark.parametrize("name", [*targets(), "plain.toml", "crossbar.toml"])
def test_reports_keep_to_the_published_schema(name: str, report: PlacementReport) -> None:
    """Of every kind of chip, whether a network fits, has no form or nothing would help."""
    schema = json.loads((DOCS / "placement.schema.json").read_text())
    target = load_target(TARGETS / name if name.endswith(".toml") else name)
    limits = {key: value for key, value in SMALLER.items() if key in target.limits}
    small = with_limits(target, **limits)
    x = np.random.default_rng(0).random((4, 3)).astype(np.float32)
    data = PlaceData(x=x, y=np.zeros(4, int))
    found = [report, place(build(*TINY["fits"]), target, data=data, steps=2, seconds=0)]
    found += [place(build(*net), small, steps=2, seconds=0) for net in TINY.values()]
    assert found[1].fits
    assert {violation.rule for r in found for violation in r.violations}
    for r in found:
        document = json.loads(to_json(r))
        check_schema(document, schema, schema, name)
        assert set(document) <= set(schema["properties"])


def test_the_documented_target_file_works(tmp_path: Path) -> None:
    text = (DOCS / "placement.md").read_text()
    path = tmp_path / "mychip.toml"
    path.write_text(text.split("```toml\n")[1].split("```")[0])
    found = place(build(*SMALL), path, seconds=0)
    assert found.fits and found.title == "My chip"
    for name in ("loihi2", "loihi1", "truenorth", "xylo-audio2", "xylo-audio3", "xylo-imu"):
        assert f"`{name}`" in text


def test_an_unknown_way_for_the_input_to_enter_is_refused() -> None:
    with pytest.raises(UsageError, match="input must be graded, bias or population"):
        place(build(*SMALL), "loihi2", options={"input": "telepathy"})


def test_the_page_needs_nothing_from_outside_and_draws_every_core(
    report: PlacementReport,
) -> None:
    page = render_html(report)
    assert not re.search(r"(src|href)\s*=", page)
    assert page.count("<rect") == 3 * report.cores
    assert page.count("<title>core ") == 3 * report.cores
    for row in report.layers:
        assert row.name in page
    assert "not verified" in page


def test_what_was_tried_in_vain_is_no_offer_and_one_core_has_no_traffic() -> None:
    refused = place(build(*TINY["no hidden layer"]), "xylo-audio2", seconds=0)
    text, page = render_text(refused), render_html(refused)
    assert "Tried, and does not fit either (computed):" in text and "What would fit" not in text
    assert "a network of any smaller size: does not fit, still: structure" in text
    assert "What would fit" not in page and '<td class="text">structure</td></tr>' in page
    assert "Traffic" not in page and "Traffic: none" in text
    far = place(build((200,), [("fc", 1200), ("out", 9)]), "xylo-audio2", seconds=0)
    text, page = render_text(far), render_html(far)
    assert len(far.violations) == 3 and text.count("No remedy is known") == 1
    assert page.count(">as above<") == 2 and "12 times" in text and "1250 %" not in page


def test_names_are_escaped_on_the_page() -> None:
    net = Net((4,))
    net.dense(3)
    net.population("<b>&</b>")
    net.readout(2)
    page = render_html(place(net.graph, "loihi2", seconds=0))
    assert "<b>&</b>" not in page and "&lt;b&gt;&amp;&lt;/b&gt;" in page


def test_the_text_report_begins_with_the_answer_and_marks_what_is_not_verified(
    report: PlacementReport,
) -> None:
    text = render_text(report)
    said = text.splitlines()[:5]
    assert f"fits, {report.cores} cores on 1 chip" in said[0]
    accuracy = report.accuracy
    assert said[1].startswith("Accuracy at T = 16 on 12 samples: ANN ")
    assert f"chip integers {100 * accuracy['chip']:.2f} %" in said[1]
    assert re.fullmatch(r"Energy per inference: dynamic [\d.]+ [nu]J \(.*\), static .*\.", said[2])
    assert re.fullmatch(r"Latency per inference: [\d.]+ ms \(.*\)\.", said[3])
    assert said[4].startswith("Binding limit: ") and "not verified" in text
    assert max(map(len, text.split("Notes:")[0].splitlines())) < 160
    lost = replace(report, accuracy=accuracy | {"float_snn": 0.9, "chip": 0.42})
    assert render_text(lost).splitlines()[1].endswith("The chip loses 48.0 points.")
    refused = place(special(levels=4), "loihi1", seconds=0)
    assert "does NOT fit" in render_text(refused) and "graded spikes" in render_text(refused)


def test_cores_stand_beside_the_chips_in_use_and_the_board_is_named() -> None:
    """A network on one chip has that chip's cores, not those of the largest known board; what of
    the board is in use is no limit that binds."""
    chip = replace(load_target(PLAIN), boards={"small": 2, "large": 48})
    few = with_limits(chip, cores_per_chip=40)
    report = place(build(*SMALL), replace(few, boards=chip.boards), seconds=0)
    rows = {row.name: row for row in report.resources}
    assert report.chips == 1 and rows["cores"].limit == 40
    assert rows["chips"].limit == 48 and rows["chips"].source == "the largest known board, large"
    assert report.binding["name"] not in ("chips", "cores")
    given = place(build(*SMALL), replace(few, boards=chip.boards), chips=1, seconds=0)
    assert {row.source for row in given.resources if row.name == "chips"} == {"as given"}


def test_outputs_behind_a_relu_are_no_hidden_layer_of_what_would_fit() -> None:
    """Their number is the task's; a readout reads them one by one."""
    net = Net((12,)).add([("fc", 1500), ("fc", 8)])
    hidden, outputs = (node.name for node in net.graph.of(g.Population))
    net.nodes.append(g.Readout(name="out", inputs=(net.at,), shape=(8,)))
    view = chip_view(net.graph)
    assert view.answers == {outputs, "out"}
    sizes = {layer.name: layer.neurons for layer in narrow(view, 0.5).layers}
    assert sizes == {hidden: 750, outputs: 8, "out": 8}
    lowered = lower(net.graph, {"in": np.ones((2, 12), np.float32)})
    units = {unit.layer: unit.size for unit in thinned(lowered, 0.5, keep=view.answers).units}
    assert (units[hidden], units[outputs]) == (750, 8)
    (fits,) = [v for v in place(net.graph, "xylo-audio2", seconds=0).would_fit if "cores" in v]
    assert fits["hidden_layers"] == (992,) and "of 992 neurons" in fits["change"]


def test_the_comparison_has_a_line_per_chip_and_says_why_one_is_out(
    report: PlacementReport,
) -> None:
    refused = place(special(levels=4), "loihi1", seconds=0)
    answer, table, compared, energies, reason = render_comparison([report, refused]).split("\n\n")
    assert answer == "Fits 1 of 2 chips: loihi2; not loihi1."
    assert table.count("\n") == 3 and "% used" in table
    assert f"{report.accuracy['samples']:,} samples" in compared
    assert "dynamic: synop + neuron_update + hop, counted from firing rates measured" in energies
    assert f"{100 * report.accuracy['chip']:.2f} %" in table
    (violation,) = refused.violations[:1]
    assert reason.startswith(f"loihi1: '{violation.node}', {violation.rule}: ")
    assert violation.remedy in reason
    assert "Nothing was run" in render_comparison([refused])


def test_energy_is_the_sum_of_counted_events_times_published_constants(
    report: PlacementReport,
) -> None:
    energy = report.energy
    assert energy.dynamic_j is not None and energy.ann is not None
    counts, parts = energy.counts, energy.dynamic_j.parts
    assert parts["synop"] == pytest.approx(counts["synop"] * 23.6e-12)
    assert counts["neuron_update"] == 16 * sum(row.neurons for row in report.layers)
    assert counts["hop"] == pytest.approx(16 * report.traffic["spike_hops"])
    assert energy.dynamic_j.low < energy.dynamic_j.value < energy.dynamic_j.high
    ann = energy.ann
    assert ("loses" in ann.verdict) == (ann.snn_over_ann > 1)


def test_the_mesh_keeps_to_the_same_seed() -> None:
    chip = load_target(PLAIN)
    first, second = (place(build(*SMALL), chip, seconds=0.0, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.plan.x, second.plan.x)  # type: ignore[union-attr]
