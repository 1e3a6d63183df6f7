"""A commented experiment file for a model: what it takes, and what can be told of the data.

What nothing tells is asked: it stands there as a comment with a question, and in ``Template.asks``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..runtime.ops import Array, Shape

LOOKED_AT = 256  # samples
BYTES = 255
TEST = '# test = "FILE.npz:X,Y"  # ASK: samples, and labels to score on?'
CALIBRATION = '# calibration = "FILE.npz:X"  # ASK: a few hundred samples, not those of test?'


@dataclass(frozen=True, eq=False, kw_only=True)
class Template:
    """The ``text`` of the file, and the keys that the user is asked for."""

    text: str
    asks: tuple[str, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Told:
    """One key of [preprocessing]: its value as TOML, or None where it is to be asked, and why."""

    name: str
    value: str | None
    why: str


def template(
    *,
    model: Path,
    inputs: Mapping[str, Shape],
    fixed: Mapping[str, Shape],
    data: str | None,
    calibration: str | None,
    stored: Mapping[str, Array] | None,
) -> Template:
    """The file of one ``model``.

    Parameters:
        inputs: sample shape of every input.
        fixed: shapes that the user gave, which the model leaves open.
        data, calibration: what the samples are called; None where there are none.
        stored: the samples as they lie there, by input.
    """
    told = preprocessing(inputs, stored)
    taken = [f"#   {_quoted(name)}: {_shape(shape)}" for name, shape in inputs.items()]
    asks = [] if data else ["data.test"]
    asks += [] if calibration else ["data.calibration"]
    asks += [f"preprocessing.{t.name}" for t in told if t.value is None]
    lines = [
        "# An experiment of onnx2snn: onnx2snn sweep THIS_FILE",
        "# All keys: docs/experiments.md. Paths are relative to this file.",
        "",
        f"model = {_quoted(str(model))}",
        "# It takes, per sample:",
        *taken,
        "",
        "[data]",
        f"test = {_quoted(data)}" if data else TEST,
        f"calibration = {_quoted(calibration)}" if calibration else CALIBRATION,
        "# samples = 1000  # the first N of test",
        "",
        "[preprocessing]  # as in training: (stored / scale - mean) / std",
        *(_line(one) for one in told),
        *(["", "[inputs]", *(f"{_quoted(n)} = {[*s]}" for n, s in fixed.items())] if fixed else []),
        "",
        "[sweep]",
        'steps = [4, 8, 16, 32]  # or "1:64"',
        'recipes = ["binary"]  # of `onnx2snn sweep --help`; several on one chart',
        "convert-each = true  # a network converted for every T: how many steps are needed",
        'output = "out"',
        "",
        "# [grid]  # a curve for each value, and every combination",
        "# lag = [0, 2, 4]",
        "",
        "# More of [sweep]: seeds = 5 (mean, spread), targets = ['loihi2'] (in a chip's integers)",
        "",
    ]
    return Template(text="\n".join(lines), asks=tuple(asks))


def preprocessing(inputs: Mapping[str, Shape], stored: Mapping[str, Array] | None) -> list[Told]:
    """What the stored samples of the first input tell, if there are any."""
    name, shape = next(iter(inputs.items()))
    some = None if stored is None else np.asarray(stored[name][:LOOKED_AT])
    return [_scale(some), *_moments(shape), *([_layout(some, shape)] if len(shape) > 1 else [])]


def _scale(some: Array | None) -> Told:
    if some is None:
        return Told(name="scale", value=None, why="255 for bytes; 1 where they are scaled already")
    low, high = float(some.min()), float(some.max())
    whole = bool((some == np.round(some)).all())
    if whole and low >= 0 and BYTES / 2 < high <= BYTES:
        return Told(name="scale", value="255", why=f"stored values are {low:g} to {high:g}")
    if not whole and low >= -1 and high <= 1:
        return Told(name="scale", value="1", why=f"stored values are {low:.3g} to {high:.3g}")
    return Told(name="scale", value=None, why=f"stored values are {low:g} to {high:g}")


def _moments(shape: Shape) -> list[Told]:
    """No data tell what was subtracted in training."""
    images = len(shape) == 3 and shape[0] == 3
    mean = " (of ImageNet [0.485, 0.456, 0.406])" if images else ""
    std = " (of ImageNet [0.229, 0.224, 0.225])" if images else ""
    return [
        Told(name="mean", value=None, why=f"what training subtracted, if anything{mean}"),
        Told(name="std", value=None, why=f"what training divided by, if anything{std}"),
    ]


def _layout(some: Array | None, shape: Shape) -> Told:
    last = (*shape[1:], shape[0])
    if some is None:
        return Told(name="layout", value=None, why=f"NCHW stores {[*shape]}, NHWC {[*last]}")
    got = some.shape[1:]
    if shape == last:
        return Told(name="layout", value=None, why=f"{[*got]} fits NCHW and NHWC")
    if got in (shape, last):
        value = "NCHW" if got == shape else "NHWC"
        return Told(name="layout", value=_quoted(value), why=f"samples are stored as {[*got]}")
    return Told(name="layout", value=None, why=f"samples are stored as {[*got]}")


def _line(told: Told) -> str:
    if told.value is None:
        return f"# {told.name} =  # ASK: {told.why}"
    return f"{told.name} = {told.value}  # {told.why}"


def _quoted(text: str) -> str:
    """As TOML has it: a basic string, whose escapes are those of JSON."""
    return re.sub("\x7f", r"\\u007f", json.dumps(text, ensure_ascii=False))


def _shape(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "one number"
