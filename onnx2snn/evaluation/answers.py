"""What every sample was answered, kept so that two evaluations are compared sample by sample.

A file of answers (NumPy's .npz, beside the JSON) has a digest of each sample as it is stored, the
labels, and per curve the classes that the ANN and the spiking network named after each T. Arrays
are named by number, ``header`` says what they are.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import Samples
from ..runtime.ops import Array

FORMAT = "onnx2snn-answers/1"
# What reading arrays and their header raises where they are no answers.
MALFORMED = (KeyError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True, eq=False, kw_only=True)
class Answers:
    """Class numbers, (samples,) each.

    Attributes:
        said: by T, of the spiking network.
        ann: of the ANN. labels: None where there are none.
        samples: ``identities`` of the samples.
    """

    said: Mapping[int, Array]
    ann: Array
    labels: Array | None
    samples: Array


def identities(samples: Samples) -> Array:
    """(samples,) uint64: a digest (BLAKE2b, RFC 7693) of every sample's stored values, before any
    preprocessing."""
    arrays = [samples.arrays[name] for name in sorted(samples.arrays)]
    out = np.empty(len(samples), np.uint64)
    for i in range(len(out)):
        found = hashlib.blake2b(digest_size=8)
        for stored in arrays:
            one = np.ascontiguousarray(stored[i])
            found.update(f"{one.dtype.str}{one.shape}".encode())
            found.update(one.tobytes())
        out[i] = int.from_bytes(found.digest(), "little")
    return out


def sha256(values: Array) -> str:
    """Of numbers, in however many bytes they are stored."""
    wide = "<f8" if values.dtype.kind == "f" else "<i8"
    return hashlib.sha256(values.astype(wide).tobytes()).hexdigest()


def narrow(classes: Array, count: int) -> Array:
    """Class numbers below ``count`` in the fewest bytes."""
    return classes.astype(np.min_scalar_type(max(count - 1, 1)))


def written(curves: Mapping[str, Answers]) -> bytes:
    """The file of the curves, by name, which are of the same samples and labels."""
    first = next(iter(curves.values()))
    arrays, listed = [first.samples], []
    if first.labels is not None:
        arrays.append(first.labels)
    for name, found in curves.items():
        listed.append({"name": name, "T": list(found.said), "first": len(arrays)})
        arrays += [found.ann, np.stack([*found.said.values()])]
    header = {"format": FORMAT, "labels": first.labels is not None, "curves": listed}
    out = io.BytesIO()
    np.savez_compressed(out, *arrays, header=np.frombuffer(json.dumps(header).encode(), np.uint8))
    return out.getvalue()


def read(content: bytes) -> dict[str, Answers]:
    """The curves of a file, by name. Raises one of ``MALFORMED`` where it is none."""
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        header: dict[str, Any] = json.loads(stored["header"].tobytes())
        if header["format"] != FORMAT:
            raise ValueError(header["format"])
        samples = stored["arr_0"]
        labels = stored["arr_1"] if header["labels"] else None
        out = {}
        for curve in header["curves"]:
            at = curve["first"]
            ann, said = stored[f"arr_{at}"], stored[f"arr_{at + 1}"]
            if said.shape != (len(curve["T"]), len(samples)) or ann.shape != samples.shape:
                raise ValueError(f"{said.shape} answers to {samples.shape} samples")
            by_steps = dict(zip(curve["T"], said, strict=True))
            out[curve["name"]] = Answers(said=by_steps, ann=ann, labels=labels, samples=samples)
    return out
