"""`diagnose`: the measurement put together, and its text, JSON and HTML."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..converter.ann.passes import default_passes, run_passes
from ..converter.frontend import LoadedModel, import_onnx
from ..converter.lowering.coders import signed_in, with_coders
from ..converter.lowering.copies import front, gathered
from ..converter.lowering.lower import lower
from ..data import Samples
from ..evaluation.ann import refuse_learned
from ..evaluation.sweep import Sweep, SweepRun
from ..provenance import Provenance
from ..runtime.graph import Population, SpikingGraph
from ..runtime.parallel.threads import one_blas_thread
from .advice import Advice, advise, advise_coder, cause_of, heaviest, jump, of_no_loss
from .layers import LayerError
from .loss import Loss
from .measure import Measured, batch_size, measure
from .trials import Trial, try_remedies

TOO_HIGH = 2.5  # times the largest activation
MORE = 1.1  # times what the layer of the jump adds, to be named with the same cause
TRIED = 64  # samples on which remedies are tried


@dataclass(frozen=True, eq=False, kw_only=True)
class Diagnosis:
    """What costs accuracy in one converted network on some samples.

    ``first`` is the layer where the error jumps (``RULE``); ``advice`` has its sentence first,
    then that of the layer that adds most where it is another, and none but of faults where the
    ``loss`` is nothing. ``curves``: the
    accuracy of this network after every step, and of the model under other recipes. ``foreign``:
    the file that the network was converted from, where that was another model. ``loss``: what all
    that costs; None where that was not measured.
    """

    model: str
    network: str
    data: str
    measured: Measured
    first: LayerError | None
    advice: tuple[Advice, ...]
    notes: tuple[str, ...]
    curves: tuple[SweepRun, ...] = ()
    foreign: str = ""
    loss: Loss | None = None

    def sweep(self) -> Sweep:
        """The accuracy curves as one chart's data."""
        return Sweep(
            model=self.model, data=self.data, samples=self.measured.samples, runs=self.curves
        )


def errors_by_layer(
    model: LoadedModel, network: SpikingGraph, samples: Samples, *, steps: int, seed: int = 0
) -> Measured:
    """The layers' errors alone, without a cause or advice. Raises as ``diagnose`` does."""
    lowered = _lowered(model, network)
    return _measured(lowered, samples, network=network, steps=steps, seed=seed, progress=_quiet)


def _quiet(done: int, total: int) -> None:
    pass


def _lowered(model: LoadedModel, network: SpikingGraph) -> SpikingGraph:
    """The model's operations as those of ``network``, which was converted from it."""
    made = Provenance.of(network)
    passes = default_passes(
        maxpool=made.maxpool, islands=made.islands, differential=made.recipe == "differential"
    )
    lowered = lower(run_passes(import_onnx(model), passes))
    if made.coded:  # as layers of the ANN too, that pass values on
        lowered, _ = with_coders(lowered, signed_in(gathered(network)[0]))
    return lowered


def _measured(
    lowered: SpikingGraph,
    samples: Samples,
    *,
    network: SpikingGraph,
    steps: int,
    seed: int,
    progress: Callable[[int, int], None],
) -> Measured:
    with one_blas_thread():
        return measure(
            lowered=lowered,
            net=network,
            batches=(batch for _, batch in samples.batches(batch_size(network))),
            steps=steps,
            total=len(samples),
            seed=seed,
            progress=progress,
        )


def diagnose(
    model: LoadedModel,
    network: SpikingGraph,
    samples: Samples,
    steps: int,
    *,
    name: str = "",
    seed: int = 0,
    lost: Callable[[], Loss] | None = None,
    progress: Callable[[int, int], None] = _quiet,
) -> Diagnosis:
    """Compare ``network`` with the model it was converted from, layer by layer, over ``steps``.
    ``lost`` measures the loss on these samples, once it is known that the two belong together:
    where it is nothing, nothing is advised but to repair faults.

    Raises UsageError for T < 1, DataError where samples or model do not belong to the network.
    """
    refuse_learned(network)
    lowered = _lowered(model, network)
    measured = _measured(
        lowered, samples, network=network, steps=steps, seed=seed, progress=progress
    )
    loss = None if lost is None else lost()
    nothing = loss is not None and loss.is_nothing
    with one_blas_thread():
        advice = _advice(
            lowered,
            network=gathered(network)[0],
            samples=samples,
            measured=measured,
            seed=seed,
            faults_only=nothing,
        )
    return Diagnosis(
        model=Path(model.path).name,
        network=name,
        data=samples.source,
        measured=measured,
        first=of_no_loss(measured) if nothing else jump(measured),
        advice=advice,
        notes=_notes(network, measured),
        foreign=_foreign(model, network),
        loss=loss,
    )


def _advice(
    lowered: SpikingGraph,
    *,
    network: SpikingGraph,
    samples: Samples,
    measured: Measured,
    seed: int,
    faults_only: bool,
) -> tuple[Advice, ...]:
    size, few = batch_size(network), samples.section(0, TRIED)
    made, out = Provenance.of(network), list[Advice]()
    for layer in (jump(measured), heaviest(measured)):
        if layer is None:
            continue
        cause, fault = cause_of(layer, measured)
        if faults_only and fault is None:
            continue
        if out and (layer.name == out[0].layer or fault is not None):
            continue
        if out and cause == out[0].cause and layer.adds < MORE * out[0].adds:
            continue
        trials: tuple[Trial, ...] = ()
        coder = network[layer.name] if made.coded and layer.name in front(network) else None
        if fault is None and coder is None and layer.unevenness is not None:
            batches = (batch for _, batch in few.batches(size))
            reach = made.reach(layer.name)
            trials = try_remedies(
                lowered=lowered,
                net=network,
                batches=batches,
                steps=measured.steps,
                name=layer.name,
                reach=reach,
                seed=seed,
            )
        if fault is None and isinstance(coder, Population):
            out.append(advise_coder(layer, cause, coder.neuron))
            continue
        out.append(advise(layer, cause, fault, trials=trials, measured=measured, made=made))
    return tuple(out)


def _foreign(model: LoadedModel, network: SpikingGraph) -> str:
    source = Provenance.of(network).source
    return "" if source is None or source.same_as(model) else source.path


def _notes(network: SpikingGraph, measured: Measured) -> tuple[str, ...]:
    notes = [*Provenance.of(network).notes]
    if measured.unmatched:
        notes.append(f"not in the model, so not compared: {', '.join(measured.unmatched)}")
    return tuple(notes)
