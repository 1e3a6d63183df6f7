"""What `run` and `sweep` left behind: the curves of a JSON file, and every sample's answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ...evaluation import answers as kept
from ...evaluation.answers import Answers

SCHEMAS = ("onnx2snn.sweep/1", "onnx2snn.run/1", "onnx2snn.runs/1")
NAMES = ("sweep.json", "run.json")
# Of a curve's document: what says how it was made.
MADE = (
    *("source", "converted", "lag", "levels", "bits_per_spike", "options", "calibration"),
    *("preprocessing", "simulation", "neurons", "versions"),
)
GIVE = "Give what `run` or `sweep` wrote: the folder, or the JSON file in it."
OLDER = "was written by a version that did not keep the answer to every sample"


@dataclass(frozen=True, eq=False, kw_only=True)
class Curve:
    """One curve.

    Attributes:
        points: as the JSON has them, by T.
        made: how, by dotted names of plain values.
        samples: how many; samples_sha256, labels_sha256: None where the JSON does not say.
        answers: None where there are none; ``why``.
    """

    name: str
    points: Mapping[int, Mapping[str, Any]]
    made: Mapping[str, Any]
    samples: int
    samples_sha256: str | None
    labels_sha256: str | None
    answers: Answers | None
    why: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Finished:
    """``path``: the JSON file; ``about``: the model and data, as they were called."""

    path: Path
    about: Mapping[str, Any]
    curves: tuple[Curve, ...]

    def files(self) -> tuple[Path, ...]:
        return self.path, answers_file(self.path)


def answers_file(document: Path) -> Path:
    return document.with_suffix(".answers.npz")


def document_of(path: Path) -> Path:
    """The JSON file that ``path`` is, or that lies in this folder.

    Raises DataError where there is none (E201), or both of a run and of a sweep (E209).
    """
    if not path.is_dir():
        if path.is_file():
            return path
        raise DataError("no such file", where=str(path), remedy="Check the path.", code="E201")
    found = [path / name for name in NAMES if (path / name).is_file()]
    if len(found) == 1:
        return found[0]
    what = f"has both {' and '.join(NAMES)}" if found else f"has no {' or '.join(NAMES)}"
    raise _wrong(path, what, remedy="Name one of them." if found else GIVE)


def finished(path: Path) -> Finished:
    """What was written to a folder or JSON file. Raises DataError (E201, E209)."""
    file = document_of(path)
    try:
        document = json.loads(file.read_text())
        if document["schema"] not in SCHEMAS:
            raise ValueError(document["schema"])
        parts = document.get("runs", [document])
        found = _answers(answers_file(file))
        curves = [c for part in parts for c in _curves({**document, **part}, found)]
        about = {key: document[key] for key in ("model", "data") if key in document}
    except OSError as error:
        raise _wrong(file, f"cannot be read: {error.strerror}", remedy=GIVE) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _wrong(file, "is no JSON of run or sweep", remedy=GIVE) from error
    return Finished(path=file, about=about, curves=tuple(curves))


def _wrong(path: Path, what: str, *, remedy: str) -> DataError:
    return DataError(what, where=str(path), remedy=remedy, code="E209")


def _answers(file: Path) -> dict[str, Answers] | str:
    """By curve; or why there are none."""
    try:
        return kept.read(file.read_bytes())
    except OSError:
        return f"there is no {file.name} beside the JSON, as run and sweep write it"
    except kept.MALFORMED:
        return f"{file.name} is damaged"


def _curves(part: Mapping[str, Any], found: Mapping[str, Answers] | str) -> Iterator[Curve]:
    """That of a network, and those of the chips it was run on."""
    name = str(part.get("network") or part["recipe"])
    points = {int(p["T"]): p for p in part.get("points") or [part]}
    digest = part.get("samples_sha256")
    answers, why = _matched(name, points, found, digest)
    own = Curve(
        name=name,
        points=points,
        made=dict(_flat({key: part[key] for key in MADE if key in part})),
        samples=int(part["samples"]),
        samples_sha256=digest,
        labels_sha256=part.get("labels_sha256"),
        answers=answers,
        why=why,
    )
    yield own
    for chip in part.get("chips", ()):
        if chip["points"]:
            title = kept.on_chip(name, chip=chip["target"])
            points = {int(p["T"]): p for p in chip["points"]}
            answers, why = _matched(title, points, found, digest)
            yield replace(own, name=title, points=points, made={}, answers=answers, why=why)


def _matched(
    name: str,
    points: Mapping[int, Mapping[str, Any]],
    found: Mapping[str, Answers] | str,
    digest: str | None,
) -> tuple[Answers | None, str]:
    """The answers of one curve, or why there are none: they must be those the JSON was made of."""
    if digest is None:
        return None, f"it {OLDER}"
    if any(map(of_values, points.values())):
        return None, "its outputs are values, of which single answers are not kept"
    if isinstance(found, str):
        return None, found
    if name not in found:
        return None, "the answers beside the JSON do not have this curve"
    answers = found[name]
    good = kept.sha256(answers.samples) == digest and answers.said.keys() == points.keys()
    for steps, point in points.items() if good else ():
        agreement = np.mean(answers.said[steps] == answers.ann)
        good = good and abs(float(agreement) - point["agreement"]) < 1e-9
    return (answers, "") if good else (None, "the answers beside the JSON are of another run")


def of_values(point: Mapping[str, Any]) -> bool:
    """Whether an answer is no class: such a point has no interval of its agreement."""
    return "agreement_low" in point and point["agreement_low"] is None


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and plain values; of digests only what tells them apart."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif name.endswith(".digests"):
        short = hashlib.sha256(str(value).encode()).hexdigest()[:12]
        yield name.removesuffix("digests") + "content", None if value is None else short
    elif value is not None or "." not in name:
        yield name, value
