"""Converted files and target files that somebody edited."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from places import MODELS, ROOT

from hostile.edits import edited_chip, edited_network
from onnx2snn import convert, load, load_onnx
from onnx2snn.errors import ModelError
from onnx2snn.runtime.file import KEY, to_bytes
from onnx2snn.runtime.file.fields import fits


@pytest.fixture(scope="module")
def network() -> bytes:
    return to_bytes(convert(load_onnx(MODELS / "digits_mlp.onnx"), None, steps=2))


def _first(document: Any, kind: str) -> Any:
    return next(node for node in document["nodes"] if node["type"] == f"node.{kind}")


def _weight(document: Any) -> Any:
    return next(
        node["op"]["weight"] for node in document["nodes"] if "weight" in node.get("op", ())
    )


EDITS: dict[str, Callable[[Any], object]] = {
    "it has no input": lambda d: d["nodes"].clear(),
    "'ann_bias' of a Population is a str": lambda d: _first(d, "Population").update(ann_bias="x"),
    "'ann_op' of a Synapse is a bool": lambda d: _first(d, "Synapse").update(ann_op=True),
    "'tensor' of a Synapse is a int": lambda d: _first(d, "Synapse").update(tensor=1),
    "'bias' of": lambda d: _first(d, "Population").update(bias=_weight(d)),
}


@pytest.mark.parametrize("what", EDITS)
def test_values_of_the_wrong_type_are_named(tmp_path: Path, network: bytes, what: str) -> None:
    model = onnx.ModelProto.FromString(network)
    entry = next(e for e in model.metadata_props if e.key == KEY)
    document = json.loads(entry.value)
    EDITS[what](document)
    entry.value = json.dumps(document)
    (tmp_path / "n.snn.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError) as refused:
        load(tmp_path / "n.snn.onnx")
    assert refused.value.code == "E322" and what in str(refused.value)


def test_types() -> None:
    assert fits((1, 2), tuple[int, ...]) and fits(1, float) and fits(None, int | None)
    assert fits(np.zeros(2), float | np.ndarray[Any, Any])
    assert not fits((1, "2"), tuple[int, ...])
    assert not fits(True, int) and not fits("1", float | None) and not fits((1,), tuple[int, int])


def test_the_same_seed_makes_the_same_edit(network: bytes) -> None:
    chip = (ROOT / "hwtargets" / "cores" / "loihi2.toml").read_text()
    assert edited_network(1, [network]) == edited_network(1, [network]) != network
    assert len({edited_chip(seed, [chip]) for seed in range(20)}) > 10
