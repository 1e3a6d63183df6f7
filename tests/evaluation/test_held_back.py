"""What `convert` holds back, and that it checks the network as it was read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from converter.frontend.tools import model, saved
from onnx.helper import make_node
from places import ROOT

from onnx2snn.cli import main
from onnx2snn.converter.frontend import load_onnx
from onnx2snn.data import Preprocessing, Samples
from onnx2snn.errors import ModelError, UsageError
from onnx2snn.evaluation import held_back
from onnx2snn.evaluation.held_back import check_import, split
from onnx2snn.evaluation.verify import TOLERANCE, Verification, _relative


def samples(count: int) -> Samples:
    x = np.arange(count, dtype=np.float32)[:, None]
    return Samples(arrays={"x": x}, labels=None, preprocessing=Preprocessing(), source="c")


@pytest.mark.parametrize(
    "count, wanted, held",
    [(99, None, 0), (100, None, 10), (5000, None, 200), (50, 5, 5), (9, 0, 0)],
)
def test_samples_held_back_are_spread_over_all_and_not_fitted_to(
    count: int, wanted: int | None, held: int
) -> None:
    fitted, kept = split(samples(count), wanted)
    assert fitted is not None and len(fitted) == count - held
    assert (kept is None) == (held == 0)
    if kept is not None:
        both = np.concatenate([fitted.arrays["x"], kept.arrays["x"]])[:, 0]
        assert sorted(both) == list(range(count))
        assert np.diff(kept.arrays["x"][:, 0]).max() <= count / (held - 1) + 1


def test_holding_all_back_is_refused() -> None:
    with pytest.raises(UsageError, match="leaves none to fit to"):
        split(samples(9), 9)


@pytest.mark.parametrize(
    "off, left_out, training, answer",
    [
        (1e-6, False, False, ""),
        (1e-3, False, False, "W434"),
        (0.5, False, False, "E328"),
        (float("nan"), False, False, "E328"),
        (1e-3, True, False, ""),  # the rounding of a quantized model
        (0.5, True, False, "W434"),
        (0.5, True, True, ""),
    ],
)
def test_a_network_read_as_another_one_is_not_converted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    off: float,
    left_out: bool,
    training: bool,
    answer: str,
) -> None:
    nodes = [make_node("Relu", ["x"], ["y"])]
    node = (("n", "Op", "left out"),)
    loaded = replace(
        load_onnx(saved(model(nodes, {"x": ("N", 1)}), tmp_path)),
        approximated=node if left_out else (),
        training=node if training else (),
    )
    found = Verification(max_abs_diff=off, relative_diff=off, samples=2, layers=(), dropped=())
    monkeypatch.setattr(held_back, "verify", lambda *_, **__: found)
    if answer.startswith("E"):
        with pytest.raises(ModelError) as caught:
            list(check_import(loaded, samples(9)))
        assert caught.value.code == answer
    else:
        assert [q.code for q in check_import(loaded, samples(9))] == [answer] * bool(answer)


@pytest.mark.parametrize(
    "expected, off, equal",
    [
        (np.zeros(4), 3e-8, True),  # rounding, of an output that is constant
        (np.full(4, 100.0), 1e-5, True),
        (np.zeros(4), 1e-3, False),
        (np.array([0.0, 1.0]), 1e-3, False),
        (np.array([0.0, 1e-3]), 1e-5, False),
    ],
)
def test_rounding_on_a_constant_output_is_no_difference(
    *, expected: np.ndarray, off: float, equal: bool
) -> None:
    assert (_relative(expected + off, expected=expected)[1] <= TOLERANCE) == equal


@pytest.mark.parametrize(
    ("got", "difference"),
    [
        ([1.0, np.nan, -np.inf], 0.0),
        ([2.0, np.nan, -np.inf], 1.0),
        ([1.0, np.nan, np.inf], np.inf),
        ([1.0, 0.0, -np.inf], np.inf),
        ([np.nan, np.nan, -np.inf], np.inf),
    ],
)
def test_what_is_no_number_must_be_the_same_on_both_sides(
    got: list[float], difference: float
) -> None:
    expected = np.array([1.0, np.nan, -np.inf], np.float32)
    assert _relative(np.array(got, np.float32), expected=expected)[0] == difference


def test_verify_says_that_outputs_are_no_numbers(tmp_path: Path) -> None:
    nodes = [make_node("Relu", ["x"], ["r"]), make_node("Log", ["r"], ["y"])]
    path = saved(model(nodes, {"x": ("N", 3)}, {"y": ("N", 3)}), tmp_path)
    found = CliRunner().invoke(main, ["verify", str(path), "--json"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["undefined"] > 0
    assert "no finite numbers" in CliRunner().invoke(main, ["verify", str(path)]).stdout


def test_a_difference_that_is_on_purpose_is_said_to_be() -> None:
    path = str(ROOT / "tests" / "fixtures" / "qdq_u8_keep_relu.onnx")
    found = CliRunner().invoke(main, ["verify", path])
    assert "DIFFERENT" in found.stdout and "the rounding to integers is left out" in found.stdout
