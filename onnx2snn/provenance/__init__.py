"""What a converted network remembers of how it was made.

``Provenance`` is the record; the graph's ``meta`` (and so the file) has it as JSON. What decides
anything is a key of its own: notes are for people, and only ``_told_by_notes`` reads them, those of
older files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeAlias, TypeVar

from ..converter.frontend import LoadedModel
from ..converter.recipes.encodings import CODED
from ..converter.recipes.options import Options
from ..data import Preprocessing
from ..errors import ModelError, did_you_mean, resembling
from ..questions.inputs import InputRange
from ..runtime.graph import SpikingGraph
from ..runtime.semantics.decision import LEFT_OUT

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Source:
    """The file that was converted: its name (from `convert`, without folders) and SHA-256;
    ``weights_sha256``: of the files of external weights beside it, None where there were none (or
    where an earlier version has converted)."""

    path: str
    sha256: str | None = None
    weights_sha256: str | None = None

    def same_as(self, model: LoadedModel) -> bool:
        """Whether nothing tells that another file was converted."""
        known = (self.sha256, self.weights_sha256)
        return all(
            one in (None, other)
            for one, other in zip(known, (model.sha256, model.weights_sha256), strict=True)
        )


@dataclass(frozen=True, kw_only=True)
class CalibrationData:
    """What thresholds were chosen on: as the user called it, without folders, and how many
    samples. None where the file does not say: how many were ``used`` in the spiking loop, how many
    were ``held_back`` from all of it, and the ``digests`` of the samples (``questions.inputs``)."""

    source: str
    samples: int
    used: int | None = None
    held_back: int | None = None
    digests: str | None = None


@dataclass(frozen=True, kw_only=True)
class GivenThreshold:
    """Of a population: the ``median`` threshold it was given, and the ``reach`` of the calibration
    samples: their largest activation relative to the most the neurons can send (median of the
    channels). ``beside``: nothing is wrong where it is silent (``converter.ann.graph.Relu``)."""

    median: float
    reach: float
    beside: bool = False


@dataclass(frozen=True, kw_only=True)
class LearningSession:
    """One run of `learn`: by which ``rule``, on the spikes of the population ``at``, from which
    ``samples`` (``source``: as the user called them, without folders), presented ``passes`` times
    for ``steps`` steps; ``updates``: weights written; ``digests`` as in ``CalibrationData``."""

    rule: str
    at: str
    source: str
    samples: int
    passes: int
    steps: int
    updates: int
    digests: str | None = None


@dataclass(frozen=True, kw_only=True)
class FineTuningSession:
    """One run of `finetune`: on ``samples`` (``source``: as the user called them, without folders;
    ``held_back`` more judged) with or without ``labels``, for ``steps`` steps and so many
    ``epochs``, of which the ``best`` one was kept; ``settings``: the options that it was given;
    ``score_before`` and ``score``: on those held back, None where outputs are values; ``digests``
    as in ``CalibrationData``."""

    source: str
    samples: int
    held_back: int
    labels: bool
    steps: int
    epochs: int
    best: int
    settings: Mapping[str, Any]
    score_before: float | None
    score: float | None
    digests: str | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Provenance:
    """What a converted network remembers. None: the file does not say.

    Attributes:
        recipe: a key of ``converter.recipes.RECIPES``.
        steps: the number of time steps T it was converted for (key "T").
        lag, levels, copies: of the neurons, as in ``Options``, with what the recipe chose.
        bits_per_spike, simulation_only: of the recipe.
        options: every field of ``Options`` that it was converted with.
        calibrated: whether weights, thresholds and biases were calibrated in the spiking loop.
        assumed: whether it was converted without data, on assumed statistics.
        notes: what a report must say, for people.
        thresholds: by population.
        auto: the search of recipe "auto" (``converter.auto``).
        versions: of the libraries that made it, by package.
        inputs: the range of the calibration samples, as the network takes them, by input.
        left_out: by tensor of an output, the operations behind it that were left out.
        learned: what its plastic layer learned from, in order.
        finetuned: how it was fine-tuned, in order.
        others: further keys, kept as they are.
    """

    recipe: str | None = None
    steps: int | None = None
    lag: int | None = None
    levels: int | None = None
    copies: int | None = None
    bits_per_spike: int | None = None
    simulation_only: bool | None = None
    options: Mapping[str, Any] | None = None
    calibrated: bool | None = None
    assumed: bool | None = None
    notes: tuple[str, ...] = ()
    source: Source | None = None
    preprocessing: Preprocessing | None = None
    calibration: CalibrationData | None = None
    thresholds: Mapping[str, GivenThreshold] | None = None
    auto: Mapping[str, Any] | None = None
    versions: Mapping[str, str] | None = None
    inputs: Mapping[str, InputRange] | None = None
    left_out: Mapping[str, tuple[str, ...]] | None = None
    learned: tuple[LearningSession, ...] | None = None
    finetuned: tuple[FineTuningSession, ...] | None = None
    others: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(network: SpikingGraph) -> Provenance:
        """What ``network`` remembers.

        Raises ModelError (E323) for a value that is not what its key holds, and for a key that is
        a misspelt one.
        """
        return _read(network.meta)

    def to_json(self) -> dict[str, Any]:
        """As ``SpikingGraph.meta`` has it: plain JSON values, without what is not known."""
        out: dict[str, Any] = dict(self.others)
        for name, key in KEYS.items():
            value = getattr(self, name)
            if value is not None:
                out[key] = _plain(value)
        return out

    @property
    def method(self) -> str | None:
        """How thresholds were chosen, a ``statistics.thresholds.Method``."""
        return None if self.options is None else self.options.get("method")

    @property
    def maxpool(self) -> str:
        """What became of max pools, as in ``Options``; files of before "tree" have it not."""
        return str((self.options or {}).get("maxpool", "exact"))

    @property
    def islands(self) -> str:
        """What analog parts send on, as in ``Options``; older files have it not."""
        return str((self.options or {}).get("islands", "currents"))

    @property
    def coded(self) -> bool:
        """Whether neurons stand between the inputs and the network (``lowering.coders``)."""
        text = str((self.options or {}).get("encoding", "constant"))
        return text.partition(":")[0] in CODED

    def reach(self, name: str) -> float | None:
        """Of a population, see ``GivenThreshold``; None where no data was seen."""
        given = (self.thresholds or {}).get(name)
        return None if self.assumed or given is None else given.reach


Session: TypeAlias = LearningSession | FineTuningSession
# Field -> key. A key that is not here is kept in ``others``.
KEYS: Mapping[str, str] = {
    f.name: "T" if f.name == "steps" else f.name for f in fields(Provenance) if f.name != "others"
}


def _plain(value: Any) -> Any:
    if isinstance(value, Preprocessing):
        return value.to_json()
    if isinstance(value, Source) and value.weights_sha256 is None:
        return {"path": value.path, "sha256": value.sha256}  # what every version reads
    if isinstance(value, GivenThreshold) and not value.beside:
        return {"median": value.median, "reach": value.reach}  # what every version reads
    if isinstance(value, Source | CalibrationData | GivenThreshold | InputRange | Session):
        return asdict(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _read(meta: Mapping[str, Any]) -> Provenance:
    unknown = {key: value for key, value in meta.items() if key not in KEYS.values()}
    for key in unknown:
        if resembling(key, KEYS.values()):
            raise _wrong(f"there is no key '{key}'", remedy=did_you_mean(key, KEYS.values()))
    notes = _notes(meta)
    told = _told_by_notes(notes, has_options="options" in meta)
    pre = _document(meta, "preprocessing")
    thresholds = _document(meta, "thresholds")
    return Provenance(
        recipe=_value(meta, "recipe", str),
        steps=_value(meta, "T", int),
        lag=_value(meta, "lag", int),
        levels=_value(meta, "levels", int),
        copies=_value(meta, "copies", int),
        bits_per_spike=_value(meta, "bits_per_spike", int),
        simulation_only=_value(meta, "simulation_only", bool),
        options=_options(meta),
        calibrated=_value({**told, **meta}, "calibrated", bool),
        assumed=_value({**told, **meta}, "assumed", bool),
        notes=notes,
        source=_source(meta),
        preprocessing=None if pre is None else Preprocessing.from_json(pre),
        calibration=_record(CalibrationData, "calibration", _document(meta, "calibration")),
        thresholds=None
        if thresholds is None
        else {name: _threshold(name, value) for name, value in thresholds.items()},
        auto=_document(meta, "auto"),
        versions=_document(meta, "versions"),
        inputs=_ranges(meta),
        left_out=_left_out(meta),
        learned=_sessions(meta, "learned", LearningSession),
        finetuned=_sessions(meta, "finetuned", FineTuningSession),
        others=unknown,
    )


def _told_by_notes(notes: tuple[str, ...], *, has_options: bool) -> dict[str, bool]:
    """``calibrated`` and ``assumed`` of a file that has no such keys. Until version 0.1 only its
    notes said so; their first words are those that every such version wrote. A file that does not
    say with which options it was made says nothing about calibration either."""
    out = {"assumed": any(note.startswith("converted without data") for note in notes)}
    if has_options:
        out["calibrated"] = any(n.startswith("calibrated in the spiking loop") for n in notes)
    return out


def _wrong(what: str, *, remedy: str = "") -> ModelError:
    return ModelError(
        f"the converted file's provenance cannot be read: {what}",
        remedy=remedy or "Convert the model again; a file of a newer version needs that version.",
        code="E323",
    )


def _value(meta: Mapping[str, Any], key: str, kind: type[T]) -> T | None:
    value = meta.get(key)
    if value is None or type(value) is kind:
        return value
    raise _wrong(f"'{key}' is {value!r}, not of type {kind.__name__}")


def _document(meta: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    value = meta.get(key)
    if value is not None and not isinstance(value, Mapping):
        raise _wrong(f"'{key}' is {value!r}, not an object")
    return value


def _notes(meta: Mapping[str, Any]) -> tuple[str, ...]:
    notes = meta.get("notes", ())
    if not isinstance(notes, list | tuple) or not all(isinstance(note, str) for note in notes):
        raise _wrong("'notes' is not a list of texts")
    return tuple(notes)


def _left_out(meta: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]] | None:
    found = _document(meta, LEFT_OUT)
    for tensor, ops in (found or {}).items():
        if not isinstance(ops, list | tuple) or not all(isinstance(op, str) for op in ops):
            raise _wrong(f"'{LEFT_OUT}/{tensor}' is {ops!r}, not a list of texts")
    return None if found is None else {tensor: tuple(ops) for tensor, ops in found.items()}


def _sessions(meta: Mapping[str, Any], key: str, kind: type[T]) -> tuple[T, ...] | None:
    found = meta.get(key)
    if found is None:
        return None
    if not isinstance(found, list | tuple):
        raise _wrong(f"'{key}' is {found!r}, not a list")
    sessions = (_record(kind, f"{key}/{i}", one) for i, one in enumerate(found))
    return tuple(one for one in sessions if one is not None)


def _options(meta: Mapping[str, Any]) -> Mapping[str, Any] | None:
    options = _document(meta, "options")
    known = [f.name for f in fields(Options)]
    for name in options or ():
        if name not in known:
            raise _wrong(f"'options' has no '{name}'", remedy=did_you_mean(name, known))
    return options


def _source(meta: Mapping[str, Any]) -> Source | None:
    """``converter.convert`` alone writes the path as text, and the hash beside it."""
    value = meta.get("source")
    if isinstance(value, str):
        return Source(path=value, sha256=_value(meta, "sha256", str))
    return _record(Source, "source", _document(meta, "source"))


def _ranges(meta: Mapping[str, Any]) -> Mapping[str, InputRange] | None:
    out = {}
    for name, value in (_document(meta, "inputs") or {}).items():
        found = _record(InputRange, f"inputs/{name}", value)
        if found is None or not all(type(v) in (int, float) for v in asdict(found).values()):
            raise _wrong(f"'inputs/{name}' is not a range in numbers")
        out[name] = found
    return out or None


def _threshold(name: str, value: Any) -> GivenThreshold:
    record = _record(GivenThreshold, f"thresholds/{name}", value)
    if record is None:
        raise _wrong(f"'thresholds/{name}' is empty")
    return record


def _record(kind: type[T], key: str, value: Any) -> T | None:
    """``value`` as the record ``kind``, with exactly its fields."""
    if value is None:
        return None
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    if not isinstance(value, Mapping):
        raise _wrong(f"'{key}' is {value!r}, not an object")
    for name in value:
        if name not in known:
            raise _wrong(f"'{key}' has no '{name}'", remedy=did_you_mean(name, known))
    try:
        return kind(**value)
    except TypeError:
        raise _wrong(f"'{key}' lacks one of {', '.join(known)}") from None
