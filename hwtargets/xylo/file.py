"""The emitted specification: what SynSense's tools take, and what the host needs around it.

``onnx2snn-xylo`` version 2 is one JSON object:

* ``format``, ``version``, ``chip`` (target name).
* ``specification``: the arguments of rockpool's ``XyloSim.from_specification``, all integers:
  ``weights_in`` (inputs, hidden, 1), ``weights_rec`` (hidden, hidden, 1), ``weights_out``
  (hidden, outputs), ``dash_mem``, ``dash_syn``, ``dash_syn_2``, ``threshold``, ``bias`` (hidden),
  ``dash_mem_out``, ``dash_syn_out``, ``threshold_out``, ``bias_out`` (outputs),
  ``weight_shift_in``, ``weight_shift_rec``, ``weight_shift_out``, ``aliases`` (none). The last
  axis of the weights counts synapses per neuron; the vendor's tool for Audio 3 refuses matrices.
  The vendor's ``config_from_specification`` takes the same, but its name for ``bias`` is
  ``bias_hidden`` and it ignores keys it does not know, so ``bias`` alone would be lost silently:
  give it ``**specification, bias_hidden=specification["bias"]`` (as arrays), or ``arguments``.
* ``coding``: how features become spikes and counts become outputs (fields of
  ``xylo_coding.XyloCoding``, whose docstring has the equations).
* ``inputs``, ``outputs``: ``[{name, shape}]`` in channel and neuron order; ``hidden``:
  ``[{name, neurons}]``, chip numbers of each layer's neurons.
* ``copies``, where there are any: ``[[copy, of], ...]``, chip numbers of further neurons that fire
  with another one of ``hidden`` and share its targets (``copies``).

Version 1 had matrices ``weights_in`` and ``weights_rec``; it is still read. Later versions may add
keys; a reader refuses a version it does not know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...errors import DataError
from ...runtime.ops import Array
from .coding import XyloCoding
from .core import XyloConfig

FORMAT = "onnx2snn-xylo"
VERSION = 2
KNOWN = (1, 2)  # versions that are read

_ARRAYS = (
    "weights_in",
    "weights_rec",
    "weights_out",
    "dash_mem",
    "dash_mem_out",
    "dash_syn",
    "dash_syn_out",
    "threshold",
    "threshold_out",
    "bias",
    "bias_out",
)
_SYNAPSES = ("weights_in", "weights_rec")  # with an axis of synapses per neuron in the file
_SHIFTS = ("weight_shift_in", "weight_shift_rec", "weight_shift_out")


@dataclass(frozen=True, eq=False, kw_only=True)
class XyloFile:
    """A specification with its context; ``hidden``: chip numbers of each layer's neurons;
    ``copies``: (copies, 2), chip numbers of a copy and of its original."""

    chip: str
    config: XyloConfig
    coding: XyloCoding
    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    hidden: Mapping[str, Array]
    copies: Array
    outputs: tuple[tuple[str, tuple[int, ...]], ...]


def arguments(config: XyloConfig, *, hardware: bool = False) -> dict[str, Any]:
    """Keyword arguments of the vendor's ``XyloSim.from_specification``, as arrays; with
    ``hardware`` those of ``config_from_specification``."""
    out: dict[str, Any] = {name: np.array(getattr(config, name)) for name in _ARRAYS}
    out |= {name: out[name][:, :, np.newaxis] for name in _SYNAPSES}
    out |= {name: int(getattr(config, name)) for name in _SHIFTS}
    out["dash_syn_2"] = out["dash_syn"].copy()
    out["aliases"] = [[] for _ in range(config.hidden)]
    if hardware:
        out["bias_hidden"] = out.pop("bias")
    return out


def dump(file: XyloFile) -> bytes:
    """The file's content."""
    specification = {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in arguments(file.config).items()
    }
    content = {
        "format": FORMAT,
        "version": VERSION,
        "chip": file.chip,
        "coding": asdict(file.coding),
        "inputs": [{"name": name, "shape": list(shape)} for name, shape in file.inputs],
        "hidden": [{"name": n, "neurons": at.tolist()} for n, at in file.hidden.items()],
        "outputs": [{"name": name, "shape": list(shape)} for name, shape in file.outputs],
        **({"copies": file.copies.tolist()} if len(file.copies) else {}),
        "specification": specification,
    }
    return json.dumps(content, separators=(",", ":")).encode()


def parse(content: bytes, *, where: str = "") -> XyloFile:
    """Read a specification back.

    Raises:
        DataError: E208 not such a file, or of a version this reader does not know.
        TargetError: E510 values that the chip cannot hold.
    """
    try:
        raw = json.loads(content)
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            raise ValueError(f"its format is not '{FORMAT}'")
        if raw.get("version") not in KNOWN:
            raise ValueError(f"its version is {raw.get('version')!r}, not one of {KNOWN}")
        return _read(raw)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"not a readable Xylo specification: {what}",
            where=where,
            remedy="Emit it again with `onnx2snn place`.",
            code="E208",
        ) from error


def _read(raw: Mapping[str, Any]) -> XyloFile:
    spec = raw["specification"]
    fields: dict[str, Any] = {name: _integers(name, spec[name]) for name in _ARRAYS}
    fields |= {name: _matrix(name, fields[name]) for name in _SYNAPSES}
    fields |= {name: int(spec[name]) for name in _SHIFTS}
    coding = XyloCoding(**raw["coding"])
    return XyloFile(
        chip=str(raw["chip"]),
        config=XyloConfig(**fields),
        coding=coding,
        inputs=tuple((item["name"], tuple(item["shape"])) for item in raw["inputs"]),
        hidden={item["name"]: _integers("hidden", item["neurons"]) for item in raw["hidden"]},
        copies=_integers("copies", raw.get("copies", [])).reshape(-1, 2),
        outputs=tuple((item["name"], tuple(item["shape"])) for item in raw["outputs"]),
    )


def _matrix(name: str, weights: Array) -> Array:
    """Weights of version 2 without their axis of one synapse per neuron."""
    if weights.ndim == 3 and weights.shape[2] != 1:
        raise ValueError(f"'{name}' has {weights.shape[2]} synapses per neuron, not 1")
    return weights[:, :, 0] if weights.ndim == 3 else weights


def _integers(name: str, values: Any) -> Array:
    array = np.asarray(values)
    if array.dtype.kind not in "iu" and array.size:
        raise ValueError(f"'{name}' holds something other than integers")
    return array.astype(np.int64)
