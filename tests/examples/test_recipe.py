"""The worked example of an added recipe in docs/adding.md: a record of parameters, nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from converter.digits_nets import ann, samples

from onnx2snn.converter.convert import Conversion, convert
from onnx2snn.converter.recipes import RECIPES, Recipe
from onnx2snn.converter.recipes.options import Options
from onnx2snn.runtime import file
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.graph import Population

TERNARY = Recipe(
    name="few-levels",
    summary="signed bursts: up to 3 thresholds in one spike",
    signed=True,
    levels=3,
    bits=3,
    chips=("Loihi 2 (graded spikes)",),
    notes=("few levels: each spike carries a sign and a level of 1 to 3 (3 bits)",),
)
T = 8


@pytest.fixture(scope="module")
def made() -> Conversion:
    """The digits' perceptron, converted by the recipe as if it stood in the table."""
    with pytest.MonkeyPatch.context() as patch:
        recipes = {**RECIPES, TERNARY.name: TERNARY}
        patch.setattr("onnx2snn.converter.recipes.RECIPES", recipes)
        options = Options(recipe=TERNARY.name, steps=T)
        return convert(ann("digits_mlp"), samples()[:128], options)


def test_its_neurons_are_what_the_record_says(made: Conversion) -> None:
    neurons = [p.neuron for p in made.graph.of(Population)]
    assert {(n.name, n.levels, "signed" in n.traits) for n in neurons} == {("if", 3, True)}
    assert made.graph.meta["recipe"] == TERNARY.name
    assert set(TERNARY.notes) <= set(made.graph.meta["notes"])


def test_the_saved_file_gives_what_the_engine_gives(made: Conversion, tmp_path: Path) -> None:
    x = samples()[128:160]
    (engine,) = simulate(made.graph, x, T).readouts.values()
    file.save(made.graph, tmp_path / "net.snn.onnx")
    session = ort.InferenceSession(tmp_path / "net.snn.onnx")
    feed = {session.get_inputs()[0].name: x, "steps": np.array([T])}
    np.testing.assert_array_equal(session.run(None, feed)[0], engine)


def test_more_levels_lose_less_than_binary_spikes(made: Conversion) -> None:
    x = samples()[128:320]
    binary = convert(ann("digits_mlp"), samples()[:128], Options(recipe="binary", steps=T))
    errors = []
    for conversion in (made, binary):
        (got,) = simulate(conversion.graph, x, T, at=[T]).readouts.values()
        (want,) = simulate(binary.graph, x, 256, at=[256]).readouts.values()
        errors.append(float(((got - want) ** 2).mean()))
    assert errors[0] < errors[1]
