"""The emitted crossbars: everything that TrueNorth cores hold, as one record and one NPZ file.

A tick t of the chip: a spike that neuron n sends with delay d at tick t sets its target axon at
tick t + d. In every tick, every neuron of every core does

    V <- V + sum over set axons a connected to it of  weights[axon_type[a]]  + leak
    V >= threshold:           it fires;  reset 1 (linear): V <- V - threshold,
                                         reset 0 (absolute): V <- reset_potential
    else V < -floor:          V <- -floor  (negative threshold, saturating)

The file (``onnx2snn-truenorth``, version 2) is an NPZ archive of the arrays of ``Crossbars`` under
their own names, and ``header``: UTF-8 JSON with ``format``, ``version``, and the keys of
``Crossbars.header``. No pickle. Version 1 had no places of cores; it is still read. Later versions
may add arrays and keys.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ...errors import DataError
from ...runtime.ops import Array, frozen
from ...spelling import spelled
from ..target import HardwareTarget, Violation

FORMAT = "onnx2snn-truenorth"
VERSION = 2
KNOWN = (1, 2)  # versions that are read
PLACES = ("core_chip", "core_x", "core_y")  # since version 2
UNUSED = 255  # axon type of an axon that nothing drives
ABSOLUTE, LINEAR = 0, 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Crossbars:
    """All cores. N neurons in use, sorted by (core, neuron); P input pins; L output lines.

    Attributes:
        axon_types: uint8 (cores, 256): 0..3, or 255 where no one drives the axon.
        core_chip, core_x, core_y: int32 (cores,): the chip that each core is on, and its place on
            the joint mesh of all chips; a packet's offset is the difference of two places. -1
            before the mesh placement.
        core, neuron: int32, uint8 (N,): where each neuron in use is.
        synapses: uint8 (N, 32): the neuron's crossbar column, bit-packed over the 256 axons,
            most significant bit first (``np.unpackbits``).
        weights: int16 (N, 4): signed weight per axon type.
        leak: int16 (N,), added every tick. threshold: int32 (N,). floor: int32 (N,) >= 0.
        reset: uint8 (N,): 0 absolute, 1 linear. reset_potential: int32 (N,).
        potential: int32 (N,): membrane potential before tick 0.
        target_core, target_axon, delay: int32, int16, uint8 (N,): the one target; -1, -1, 0 for
            a neuron that drives an output line.
        output: int32 (N,): output line, -1 for none.
        pin_input, pin_element, pin_core, pin_axon, pin_delay: (P,): a spike of element e (flat,
            C order) of input i in step t sets that axon at tick t + pin_delay.
        line_readout, line_element, line_start: int32 (L,): the element of the readout that the
            line counts for, and the tick of its step 0; line_value: float64 (L,): what one spike
            adds to that element's sum over steps.
        header: plain JSON: ``inputs`` [{name, shape, low, high}] (a value x is coded as
            (x - low) / (high - low) spikes per step; where there are ``neurons`` {codes, factor,
            bias, threshold, v_init} the host sends the spikes of these neurons instead, which get
            factor x + bias in every step, x the input ``codes``, begin at v_init and reset by
            subtraction), ``readouts`` [{name, shape, offset}]
            (readout after t steps = sum of spikes * value / t - offset), ``steps`` (the longest
            window for which no potential can overflow), ``ticks`` (to run for one inference).
    """

    axon_types: Array
    core_chip: Array
    core_x: Array
    core_y: Array
    core: Array
    neuron: Array
    synapses: Array
    weights: Array
    leak: Array
    threshold: Array
    floor: Array
    reset: Array
    reset_potential: Array
    potential: Array
    target_core: Array
    target_axon: Array
    delay: Array
    output: Array
    pin_input: Array
    pin_element: Array
    pin_core: Array
    pin_axon: Array
    pin_delay: Array
    line_readout: Array
    line_element: Array
    line_start: Array
    line_value: Array
    header: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name in ARRAYS:
            object.__setattr__(self, name, frozen(getattr(self, name)))

    @property
    def cores(self) -> int:
        return len(self.axon_types)


DTYPES: Mapping[str, type] = {
    "axon_types": np.uint8,
    "core_chip": np.int32,
    "core_x": np.int32,
    "core_y": np.int32,
    "core": np.int32,
    "neuron": np.uint8,
    "synapses": np.uint8,
    "weights": np.int16,
    "leak": np.int16,
    "threshold": np.int32,
    "floor": np.int32,
    "reset": np.uint8,
    "reset_potential": np.int32,
    "potential": np.int32,
    "target_core": np.int32,
    "target_axon": np.int16,
    "delay": np.uint8,
    "output": np.int32,
    "pin_input": np.int16,
    "pin_element": np.int32,
    "pin_core": np.int32,
    "pin_axon": np.int16,
    "pin_delay": np.int32,
    "line_readout": np.int32,
    "line_element": np.int32,
    "line_start": np.int32,
    "line_value": np.float64,
}
ARRAYS = tuple(field.name for field in fields(Crossbars) if field.name != "header")


def dump(crossbars: Crossbars) -> bytes:
    """The file's bytes."""
    header = {"format": FORMAT, "version": VERSION, **crossbars.header}
    arrays = {name: getattr(crossbars, name).astype(DTYPES[name]) for name in ARRAYS}
    arrays["header"] = np.frombuffer(json.dumps(header, allow_nan=False).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def parse(data: bytes, *, where: str = "") -> Crossbars:
    """Read the file's bytes back.

    Raises:
        DataError: not such a file, a newer version, or arrays missing.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(arrays.pop("header").tobytes())
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"not a {FORMAT} file ({error})", where=where) from error
    version = header.pop("version", 0)
    if header.pop("format", None) != FORMAT or version not in KNOWN:
        raise DataError(
            f"not a {FORMAT} file of version {' or '.join(map(str, KNOWN))}",
            where=where,
            remedy="Read it with the onnx2snn version that wrote it.",
        )
    if version == 1 and "axon_types" in arrays:
        arrays |= nowhere(len(arrays["axon_types"]))
    missing = [name for name in ARRAYS if name not in arrays]
    if missing:
        raise DataError(f"arrays missing in the file: {', '.join(missing)}", where=where)
    return Crossbars(header=header, **{name: arrays[name] for name in ARRAYS})


def nowhere(cores: int) -> dict[str, Array]:
    """The places of cores that are not placed yet."""
    return {name: np.full(cores, -1, DTYPES[name]) for name in PLACES}


def placed(crossbars: Crossbars, chip: Array, *, xy: Array) -> Crossbars:
    """With cores on a mesh: ``chip`` (cores,), ``xy`` (cores, 2) on the joint grid of all chips."""
    return replace(crossbars, core_chip=chip, core_x=xy[:, 0], core_y=xy[:, 1])


def too_far(
    source: Array, *, destination: Array, xy: Array, target: HardwareTarget
) -> Iterator[Violation]:
    """Packets whose offset is wider than its field. source, destination: cores of each flow."""
    offset = np.abs(xy[source] - xy[destination])
    most = int(offset.max(initial=0))
    if most > target.limit("hop_max"):
        beyond = int(np.count_nonzero(offset.max(axis=1) > target.limit("hop_max")))
        yield Violation(
            node="(placed cores)",
            rule="packet offset (hop_max)",
            used=most,
            limit=target.limit("hop_max"),
            remedy=f"{beyond:,} pairs of cores are too far apart on the mesh: fewer chips "
            "(coding=ternary, or a narrower network), or more time for the placement "
            f"({spelled('seconds')}).",
        )


def violations(crossbars: Crossbars, target: HardwareTarget) -> Iterator[Violation]:
    """Every limit of the chip that the emitted cores exceed, and every broken reference."""
    per_core = np.bincount(crossbars.core, minlength=crossbars.cores)
    sent = crossbars.target_core >= 0
    axons = np.concatenate(
        [
            np.stack([crossbars.pin_core, crossbars.pin_axon], axis=1),
            np.stack([crossbars.target_core[sent], crossbars.target_axon[sent]], axis=1),
        ]
    )
    _, drivers = np.unique(axons, axis=0, return_counts=True)
    delays = np.r_[crossbars.delay[sent], 1]
    found = (
        ("neurons", "neurons per core", per_core.max(initial=0)),
        ("axons", "axons per core", crossbars.axon_types.shape[1]),
        ("axon_types", "axon types", _used_types(crossbars).max(initial=-1) + 1),
        ("weight_max", "weight", np.abs(crossbars.weights).max(initial=0)),
        ("leak_max", "leak", np.abs(crossbars.leak).max(initial=0)),
        ("threshold_max", "threshold", crossbars.threshold.max(initial=0)),
        ("threshold_max", "negative threshold", crossbars.floor.max(initial=0)),
        ("potential_max", "initial potential", np.abs(crossbars.potential).max(initial=0)),
        ("delay_max", "delay", delays.max()),
        ("targets_per_neuron", "sources on one axon", drivers.max(initial=0)),
    )
    for limit, what, used in found:
        if used > target.limit(limit):
            yield Violation(
                node="(emitted cores)",
                rule=f"{what} within {limit}",
                used=float(used),
                limit=target.limit(limit),
                remedy="This is a fault of the mapping: please report it.",
            )
    undriven = crossbars.axon_types[axons[:, 0], axons[:, 1]] == UNUSED
    if undriven.any() or delays.min() < 1:
        yield Violation(
            node="(emitted cores)",
            rule="spikes without an axon one tick later",
            used=float(undriven.sum()),
            limit=0,
            remedy="This is a fault of the mapping: please report it.",
        )


def _used_types(crossbars: Crossbars) -> Array:
    return crossbars.axon_types[crossbars.axon_types != UNUSED].astype(np.int64)
