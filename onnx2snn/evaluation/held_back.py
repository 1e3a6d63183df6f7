"""What `convert` checks: the import before it begins, and the network on samples that nothing was
fitted to.

A tenth of the calibration samples, spread over all, is held back. Calibration in the spiking loop
uses 512 samples at most, thresholds need their largest activations, so that a tenth less of some
hundred changes no more than another draw would; of fewer than ``FEWEST`` none is held back, for a
tenth of them would say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..converter.frontend import LoadedModel
from ..data import Samples
from ..display import counted
from ..errors import ModelError, UsageError
from ..provenance import Provenance
from ..questions import Question
from ..runtime.graph import SpikingGraph
from ..runtime.semantics.samples import spread_over
from ..spelling import spelled
from .verify import TOLERANCE, verify

MOST, FEWEST = 200, 100
TRIED = 2  # samples on which the import is verified
WRONG = 1e-2  # of the output's range: another network


def split(samples: Samples | None, hold_back: int | None) -> tuple[Samples | None, Samples | None]:
    """Samples to fit to, and those held back (None: none).

    Raises UsageError where ``hold_back`` leaves nothing to fit to.
    """
    if samples is None:
        return None, None
    count = len(samples)
    held = min(MOST, count // 10 if count >= FEWEST else 0) if hold_back is None else hold_back
    if held >= count:
        raise UsageError(
            f"{spelled('hold_back', held)} of {count} calibration samples leaves none to fit to",
            remedy="Hold back fewer.",
        )
    if not held:
        return samples, None
    marks = np.zeros(count, bool)
    marks[spread_over(count, most=held)] = True
    return samples.at(~marks), samples.at(marks)


def with_held_back(network: SpikingGraph, held: Samples | None) -> SpikingGraph:
    """``network`` with the number of samples held back in its memory."""
    made = Provenance.of(network)
    if held is None or made.calibration is None:
        return network
    calibration = replace(made.calibration, held_back=len(held))
    return replace(network, meta=replace(made, calibration=calibration).to_json())


def check_import(model: LoadedModel, samples: Samples | None) -> Iterator[Question]:
    """`verify` on two calibration samples (drawn ones without data).

    Raises ModelError (E328) where the network was understood as another one. What is left out on
    purpose (the rounding of quantized models) is allowed up to ``WRONG`` and never refused; a model
    exported in training mode is read as in inference, which is said elsewhere: nothing is compared.
    """
    if model.training:
        return
    inputs = None if samples is None else samples.at(spread_over(len(samples), most=TRIED)).whole()
    found = verify(model, inputs, samples=TRIED)
    if found.equal or (model.approximated and found.relative_diff <= WRONG):
        return
    worst = next((c for c in found.layers if not c.relative_diff <= TOLERANCE), None)
    first = "" if worst is None else f", first at '{worst.name}'"
    off = (
        f"{100 * found.relative_diff:.2g} % of the output range on "
        f"{counted(found.samples, 'sample')}{first}"
    )
    if model.approximated:
        yield Question(
            code="W434",
            what="without what is left out of it (`onnx2snn check`), the network differs from "
            f"ONNX Runtime by {off}",
            remedy="Check that the data are in the range that the model was quantized for.",
            where=model.path,
        )
        return
    if not found.relative_diff <= WRONG:
        raise ModelError(
            f"the network as onnx2snn reads it differs from ONNX Runtime by {off}",
            where=model.path,
            remedy="Nothing was converted. `onnx2snn verify` shows every layer; please report it.",
            code="E328",
        )
    yield Question(
        code="W434",
        what=f"the network as onnx2snn reads it differs from ONNX Runtime by {off}",
        remedy="`onnx2snn verify` shows every layer.",
        where=model.path,
    )
