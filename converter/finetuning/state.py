"""Where fine-tuning stands after an epoch, as arrays that a file can hold."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ...errors import DataError
from ...runtime.ops import Array

FORMAT = "onnx2snn-finetune/1"
Values = Mapping[str, Array]


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """``loss``: of the epoch's samples; ``held_loss``, ``held_score`` (share of right or agreeing
    answers, None where the outputs are values) and ``held_spikes`` (per neuron): of those held
    back, behind it."""

    loss: float
    held_loss: float
    held_score: float | None
    held_spikes: float


@dataclass(frozen=True, eq=False, kw_only=True)
class State:
    """By parameter: ``values``, ``average`` (their running mean), ``mean`` and ``square`` (of
    gradients), ``best`` (the average behind the epoch that did best on what was held back; the
    0th is before the first)."""

    steps: int = 0
    values: Values
    average: Values
    mean: Values
    square: Values
    best: Values
    history: tuple[Epoch, ...] = field(default=())

    @property
    def best_epoch(self) -> int:
        """The number of the epoch that did best, from 0: the network as it was."""
        losses = [one.held_loss for one in self.history]
        return int(np.nanargmin([*losses, np.inf])) if losses else 0

    def to_bytes(self, fingerprint: str) -> bytes:
        """``fingerprint``: of all that the state depends on."""
        header: dict[str, Any] = {"format": FORMAT, "fingerprint": fingerprint}
        header |= {"steps": self.steps, "history": [asdict(one) for one in self.history]}
        arrays = {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}
        for kind in ("values", "average", "mean", "square", "best"):
            arrays |= {f"{kind}:{key}": x for key, x in getattr(self, kind).items()}
        out = io.BytesIO()
        np.savez(out, allow_pickle=False, **{k.replace("/", "|"): x for k, x in arrays.items()})
        return out.getvalue()

    @staticmethod
    def from_bytes(content: bytes, fingerprint: str, *, where: str) -> State:
        """Raises DataError (E226) where the state is that of another run, or cannot be read."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                arrays = {k.replace("|", "/"): file[k] for k in file.files}
            header = json.loads(arrays.pop("header").tobytes())
            known = header["fingerprint"] if header["format"] == FORMAT else None
            found: dict[str, dict[str, Array]] = {}
            for name, x in arrays.items():
                kind, _, key = name.partition(":")
                found.setdefault(kind, {})[key] = x
            history = tuple(Epoch(**one) for one in header["history"])
            made = State(steps=header["steps"], history=history, **found)
        except Exception as error:
            raise _other(f"cannot be read ({type(error).__name__})", where=where) from error
        if known != fingerprint:
            raise _other("is that of another network, other data or other options", where=where)
        return made


def _other(what: str, *, where: str) -> DataError:
    return DataError(
        f"the state of an unfinished fine-tuning that is there {what}",
        where=where,
        remedy="Choose another folder for the state, or remove the file to begin again.",
        code="E226",
    )
