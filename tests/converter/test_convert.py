"""What a conversion says about itself."""

import numpy as np
from places import FIXTURES

from onnx2snn.converter.convert import convert
from onnx2snn.converter.frontend import import_onnx
from onnx2snn.converter.recipes.options import Options
from onnx2snn.runtime.graph import Population, islands


def notes_of(name: str) -> str:
    ann = import_onnx(FIXTURES / name)
    x = np.random.default_rng(0).standard_normal((4, *ann.inputs[0].shape)).astype(np.float32)
    graph = convert(ann, x, Options(steps=2, tune=False)).graph
    notes = " ".join(graph.meta["notes"])
    assert bool(graph.of(Population)) == ("nothing in it spikes" not in notes)
    assert all(island.name in notes for island in islands(graph))
    return notes


def test_a_network_without_relu_is_said_not_to_spike() -> None:
    assert "nothing in it spikes" in notes_of("vit_block_ts.onnx")
    assert "nothing in it spikes" not in notes_of("plain_cnn_ts.onnx")
