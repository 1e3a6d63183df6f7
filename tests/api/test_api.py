"""The Python interface: models, networks and data in every form, options that say what was meant,
results that print in a line and give what the command line gives."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from places import MODELS

import onnx2snn as o2s
from onnx2snn.api.results import Result
from onnx2snn.cli import main
from onnx2snn.converter.recipes.options import Options
from onnx2snn.hwtargets import PlacementReport
from onnx2snn.runtime.engine.interface import EngineOptions
from onnx2snn.runtime.graph import SpikingGraph

MLP, DATA = MODELS / "digits_mlp.onnx", MODELS / "digits.npz"
FUNCTIONS = [n for n in o2s.__all__ if inspect.isfunction(getattr(o2s, n))]


@pytest.fixture(scope="module")
def xy() -> tuple[np.ndarray, np.ndarray]:
    """Test samples as the network takes them, and their labels."""
    held = np.load(DATA)
    x = np.moveaxis(held["x_test"][:60], -1, 1).astype(np.float32) / np.float32(16)
    return np.ascontiguousarray(x), held["y_test"][:60]


@pytest.fixture(scope="module")
def network(xy: tuple[np.ndarray, np.ndarray]) -> SpikingGraph:
    return o2s.convert(MLP, xy[0], steps=4, tune=False)


def test_the_functions_of_the_work_are_there() -> None:
    verbs = "check load_onnx convert evaluate verify sweep diagnose place export load save"
    assert set(verbs.split()) <= set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_option_is_a_keyword_with_a_type(name: str) -> None:
    function = getattr(o2s, name)
    hints = get_type_hints(function)
    for parameter in inspect.signature(function).parameters.values():
        assert parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        assert parameter.name in hints
    with pytest.raises(o2s.UsageError, match=r"takes no 'surely_not'") as refused:
        function(surely_not=1)
    assert refused.value.code == "E121"


@pytest.mark.parametrize(
    ("function", "record", "left_out"),
    [
        (o2s.convert, Options, set()),
        # A sweep has several recipes and T, and no recipe "auto".
        (o2s.sweep, Options, {"recipe", "steps", "max_drop", "prefer"}),
        (o2s.evaluate, EngineOptions, {"profile"}),  # times come from `simulate`
    ],
    ids=["convert", "sweep", "evaluate"],
)
def test_signatures_are_those_of_the_record(
    function: Callable[..., Any], record: type, left_out: set[str]
) -> None:
    hints, wanted = get_type_hints(function), get_type_hints(record)
    signature = inspect.signature(function).parameters
    for field in fields(record):
        if field.name not in left_out:
            parameter = signature[field.name]
            assert parameter.kind is parameter.KEYWORD_ONLY
            assert (parameter.default, hints[field.name]) == (field.default, wanted[field.name])


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: o2s.convert(MLP, None, T=16), "takes no 'T'. Did you mean 'steps'?"),
        (lambda: o2s.convert(MLP, None, recipie="auto"), "Did you mean 'recipe'?"),
        (lambda: o2s.convert(MLP), "needs 'calibration'"),
        (lambda: o2s.convert(MLP, None, 16), "takes 2 arguments without a name"),
        (lambda: o2s.sweep(MLP, DATA), "takes 1 argument without a name (model), got 2"),
        (lambda: o2s.convert(MLP, None, model=MLP), "got 'model' twice"),
        (lambda: o2s.convert(MLP, None, steps="16"), "steps is a whole number, not '16'"),
        (lambda: o2s.convert(MLP, None, tune=1), "tune is True or False, not 1"),
        (lambda: o2s.convert(MLP, None, progress=True), "progress is a function, not True"),
        (lambda: o2s.convert(MLP, None, levels=2.5), "levels is a whole number or None"),
        (lambda: o2s.convert(MLP, None, recipe="binry"), "Did you mean 'binary'?"),
        (lambda: o2s.convert(MLP, None, preprocessing={"scale": 16}), "is a Preprocessing or None"),
        (lambda: o2s.sweep(MLP, data=DATA, calibration=None, targets=5), "targets is a list or a"),
        (lambda: o2s.sweep(MLP, data=DATA, calibration=None, grid=5), "grid is a dictionary or"),
        (
            lambda: o2s.sweep(MLP, data=DATA, calibration=None, recipes="auto"),
            "recipe 'auto' chooses among the others, which only `convert` does",
        ),
        (lambda: o2s.convert(MLP, np.zeros((4, 1, 8, 8)), limit=-1), "limit is at least 1, got -1"),
        (lambda: o2s.save(o2s.convert(MLP, None, tune=False), 5), "path is a text or a path"),
        (lambda: o2s.convert(5, None), "a model is a path, bytes or an onnx.ModelProto"),
        (lambda: o2s.evaluate(o2s.load_onnx(MLP), None), "Convert it first"),
        (lambda: o2s.Preprocessing(means=0.5), "takes no 'means'. Did you mean 'mean'?"),
        (lambda: o2s.Preprocessing(mean=0.5), "mean is a tuple of numbers"),
        (lambda: o2s.load_samples(5, o2s.load_onnx(MLP)), "not of type int"),
        (
            lambda: o2s.sweep(MLP, data=None, calibration=None, engine={"thread": 1}),
            "engine takes no 'thread'. Did you mean 'threads'?",
        ),
    ],
)
def test_a_wrong_argument_is_a_usage_error_that_says_what_was_meant(
    ask: Callable[[], object], said: str
) -> None:
    with pytest.raises(o2s.UsageError) as refused:
        ask()
    assert said in str(refused.value)


def test_steps_that_are_none_are_a_usage_error(
    network: SpikingGraph, xy: tuple[np.ndarray, np.ndarray]
) -> None:
    for steps, first in ((0, 1), (2, 3)):
        with pytest.raises(o2s.UsageError, match=r"steps are at least 1") as refused:
            o2s.evaluate(network, xy, steps, first=first)
        assert refused.value.code == "E110"
    with pytest.raises(o2s.UsageError, match=r"early_exit is an EarlyExit or None"):
        o2s.evaluate(network, xy, early_exit="soon")


def test_what_learned_prints_in_a_line_and_has_a_table(
    network: SpikingGraph, xy: tuple[np.ndarray, np.ndarray]
) -> None:
    done = o2s.learn(network, xy, rule="prototype")
    assert repr(done).startswith("LearningResult(prototype on '/5/Relu': 64 neurons, 60 samples")
    assert done.to_dict()["schema"] == "onnx2snn.learn/1"
    bars = done.plot().axes[0].patches
    assert [bar.get_width() for bar in bars] == [row[2] for row in done.rows()[1]]
    assert len(done.to_dataframe()) == len(done.rows()[1]) > 1 and "updates" in done.summary()


def test_numbers_of_numpy_are_numbers() -> None:
    made = o2s.convert(MLP, None, steps=np.int64(2), leak=np.float32(0.25), tune=np.bool_(False))
    assert "T=2" in repr(made)


class Tensor:
    """As a framework's: it gives an array, but only once it needs no gradient."""

    def __init__(self, array: np.ndarray, *, needs_gradient: bool = True) -> None:
        self.array, self.needs_gradient = array, needs_gradient

    def detach(self) -> Tensor:
        return Tensor(self.array, needs_gradient=False)

    def cpu(self) -> Tensor:
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        assert not self.needs_gradient
        return self.array


def _loader(x: np.ndarray, y: np.ndarray, size: int = 25) -> Iterator[list[Any]]:
    """As a DataLoader: a list of two tensors, the last batch shorter."""
    for at in range(0, len(x), size):
        yield [Tensor(x[at : at + size]), Tensor(y[at : at + size])]


FORMS: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    "arrays": lambda x, y: (x, y),
    "tensors": lambda x, y: (Tensor(x), Tensor(y)),
    "loader": _loader,
    "pairs": lambda x, y: [(x[:7], y[:7]), (x[7:], y[7:])],
    "dataset": lambda x, y: zip(x, y.tolist(), strict=True),
    "names": lambda x, y: (x, y.astype(str)),
}


@pytest.mark.parametrize("form", FORMS)
def test_data_are_the_same_in_every_form(
    form: str, xy: tuple[np.ndarray, np.ndarray], network: SpikingGraph
) -> None:
    pre = o2s.Preprocessing(scale=16, layout="NHWC")
    wanted = o2s.evaluate(network, f"{DATA}:x_test,y_test", preprocessing=pre, limit=60)
    found = o2s.evaluate(network, FORMS[form](*xy))
    assert found.samples == 60 and found.points[-1] is not None
    assert [vars(p) for p in found.points] == [vars(p) for p in wanted.points]
    assert found.ann_accuracy == wanted.ann_accuracy


@pytest.mark.parametrize("form", ["array", "mapping", "list", "one part", "None"])
def test_data_need_no_labels(form: str, xy: tuple[np.ndarray, np.ndarray]) -> None:
    x = xy[0][:3]
    given: dict[str, Any] = {"array": x, "mapping": {"input": x}, "list": x.tolist()}
    given |= {"one part": [(x,)], "None": (x, None)}
    samples = o2s.load_samples(given[form], o2s.load_onnx(MLP))
    assert samples.labels is None and np.array_equal(samples.whole()["input"], x)
    assert repr(samples) == "Samples(the data given: 3 of input (1, 8, 8), no labels)"


def test_no_more_batches_are_asked_for_than_are_used(xy: tuple[np.ndarray, np.ndarray]) -> None:
    def forever() -> Iterator[Any]:
        while True:
            yield xy[0][:4], xy[1][:4]

    assert len(o2s.load_samples(forever(), o2s.load_onnx(MLP), limit=6)) == 6


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda x, y: [], "no samples"),
        (lambda x, y: [(x, y), x], "some batches have labels, others none"),
        (lambda x, y: (x, y, y), "a batch has 3 parts"),
        (lambda x, y: {"image": x}, "no array for input 'input'"),
        (lambda x, y: x[:, :, :7], "samples have shape (1, 7, 8)"),
        (lambda x, y: (x, y[:5]), "60 samples but 5 labels"),
        (lambda x, y: [(x, y), (x[:, :, :7], y)], "batches differ in shape"),
    ],
)
def test_data_that_do_not_fit_are_a_data_error(
    given: Callable[..., Any], said: str, xy: tuple[np.ndarray, np.ndarray]
) -> None:
    with pytest.raises(o2s.DataError) as refused:
        o2s.load_samples(given(*xy), o2s.load_onnx(MLP))
    assert said in str(refused.value)


def test_a_model_is_the_same_in_every_form() -> None:
    proto = onnx.load(MLP)
    before = proto.SerializeToString()
    forms = [MLP, str(MLP), MLP.read_bytes(), proto, o2s.load_onnx(MLP)]
    documents = [o2s.check(form).to_dict() for form in forms]
    for document in documents:
        assert Path(document.pop("path")).name in ("digits_mlp.onnx", "model.onnx")
        assert document == documents[0] and document["convertible"]
    assert proto.SerializeToString() == before
    assert o2s.verify(proto).equal


def test_a_converted_network_is_the_same_in_every_form(
    tmp_path: Path, network: SpikingGraph, xy: tuple[np.ndarray, np.ndarray]
) -> None:
    path = tmp_path / "net.snn.onnx"
    o2s.save(network, path)
    forms: list[Any] = [path, str(path), path.read_bytes(), onnx.load(path), o2s.load(path)]
    for form in forms:
        assert o2s.evaluate(form, xy, 2).points[-1].spikes_per_neuron > 0
    assert {repr(o2s.load(form)) for form in forms[:-1]} == {repr(network)}


def test_networks_models_and_samples_print_in_one_line_and_have_a_table(
    network: SpikingGraph,
) -> None:
    model = o2s.load_onnx(MLP)
    assert repr(network) == (
        "SpikingGraph(digits_mlp.onnx, binary, T=4, input (1, 8, 8) -> logits (10,), "
        "96 neurons in 2 layers)"
    )
    assert repr(model) == "LoadedModel(digits_mlp.onnx, input (1, 8, 8) -> logits (10,), nodes: 6)"
    row = next(line for line in network.summary().splitlines() if line.startswith("/1/Gemm"))
    assert row.split() == ["/1/Gemm", "Linear", "node_Reshape_0", "(64,)", "4,096"]
    row = next(line for line in model.summary().splitlines() if line.startswith("/1/Gemm"))
    assert row.split()[-1] == "4,160"
    for shown in (network, model):
        assert "<td>/1/Gemm</td>" in shown._repr_html_()


def results(network: SpikingGraph, xy: Any, tmp_path: Path) -> Iterator[tuple[Result, list[str]]]:
    """Every result, and the command of the command line that gives the same."""
    path, x_path = tmp_path / "digits.snn.onnx", tmp_path / "d.npz"
    o2s.save(network, path)
    np.savez(x_path, x=xy[0], y=xy[1])
    both = [str(MLP), str(path)]
    data = ["--data", str(x_path)]
    yield o2s.check(MLP), ["check", str(MLP)]
    yield o2s.verify(MLP), ["verify", str(MLP)]
    yield o2s.evaluate(network, xy), ["run", str(path), *data, "-T", "1:4"]
    found = o2s.sweep(MLP, data=xy, calibration=None, steps=[2, 4], recipes="binary")
    yield found, ["sweep", str(MLP), *data, "--calib", "none", "-T", "2,4", "-o", str(tmp_path)]
    yield o2s.diagnose(MLP, network, xy), ["diagnose", *both, *data]
    yield o2s.place(network, "loihi2", xy), ["place", str(path), "--target", "loihi2", *data]


def test_results_are_those_of_the_command_line(
    network: SpikingGraph, xy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for result, command in results(network, xy, tmp_path):
        done = CliRunner().invoke(main, [*command, "--json"])
        assert done.exit_code == 0, done.output
        document = json.loads(done.stdout)
        assert list(result.to_dict()) == list(document), command[0]
        json.dumps(result.to_dict(), allow_nan=False)
        assert "\n" not in repr(result) and len(repr(result)) < 300
        frame = result.to_dataframe()
        assert len(frame) == len(result.rows()[1]) > 0
        assert list(frame.columns) == list(result.rows()[0])
        html = result._repr_html_()
        assert html.count("<tr>") > 1 and len(html) < 30_000
        assert result.headline() in result.summary() or command[0] in ("diagnose", "place")
        if command[0] in ("run", "sweep", "diagnose"):
            assert result.plot().axes[0].get_xlabel() == "time steps T"  # type: ignore[attr-defined]
        if command[0] in ("check", "verify"):
            (axes,) = result.plot().axes  # type: ignore[attr-defined]
            drawn = [float(bar.get_width()) for bar in axes.patches]
            document = result.to_dict()
            if command[0] == "check":
                assert drawn == [total["macs"] for total in document["totals"].values()]
            else:
                assert drawn == [row[2] for row in result.rows()[1]]
        if isinstance(result, PlacementReport):
            bars = result.plot().axes[0].patches  # type: ignore[attr-defined]
            assert [bar.get_width() for bar in bars] == [100 * r.share for r in result.resources]
        if command[0] == "place":  # every number, for chips are counted, not drawn
            mine = {**result.to_dict(), "read": 0, "warnings": 0}
            assert {**document, "read": 0, "warnings": 0} == json.loads(json.dumps(mine))
        with monkeypatch.context() as without:
            without.setitem(sys.modules, "pandas", None)
            with pytest.raises(o2s.UsageError, match=r"onnx2snn\[tables\]") as refused:
                result.to_dataframe()
        assert refused.value.code == "E102"


def test_names_from_files_are_escaped_in_notebooks() -> None:
    model = onnx.load(MLP)
    next(n for n in model.graph.node if n.op_type == "Gemm").name = "<script>alert(1)</script>"
    for shown in (o2s.load_onnx(model), o2s.check(model)):
        page = shown._repr_html_()
        assert "<script>" not in page and "&lt;script&gt;" in page
