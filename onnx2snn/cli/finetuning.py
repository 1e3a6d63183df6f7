"""finetune: a converted network trained further with surrogate gradients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from .. import api
from ..converter.finetuning.parameters import KINDS
from ..converter.finetuning.settings import Settings
from ..converter.finetuning.surrogates import SURROGATES
from ..data import Preprocessing
from ..evaluation.written import checked_bytes
from ..provenance.finetuned import finetune as run_finetune
from ..provenance.finetuned import states_in
from ..reports import conversion
from ..results import claim_file
from ..results.marks import Kind
from . import files
from . import options as opt
from .help import Verb
from .progress import lines_option, watch
from .reading import DataReader, data_options

F = TypeVar("F", bound=Callable[..., Any])
DEFAULTS = Settings()
# Of ``Settings``, in the order of the help: a type, what it does.
CHOICES: tuple[tuple[str, Any, str], ...] = (
    ("epochs", click.IntRange(min=1), "Passes over the samples, at most"),
    ("rate", float, "Largest learning rate, as a share of the size of what is trained"),
    ("batch", click.IntRange(min=1), "Samples per step of training"),
    ("patience", click.IntRange(min=1), "Epochs without a better loss before it stops"),
    ("decay", float, "Draws values back to the converted ones"),
    ("surrogate", click.Choice([*SURROGATES]), "Stands for the derivative of a spike"),
    ("width", float, "Of the surrogate, in thresholds"),
    ("average", float, "Keeps a running mean of the values: its share that stays in a step"),
    ("match", float, "Weight of mean activations being the ANN's"),
    ("temperature", float, "Of the softmax in distillation from the ANN"),
    ("spike_penalty", float, "Price of one spike per neuron, in units of the loss"),
    ("spike_target", float, "Spikes per neuron that cost nothing"),
    ("hold_out", float, "Share of the samples that judge, and are not learned from"),
    ("seed", int, "Draws order, variations and spikes"),
)


def settings_options(function: F) -> F:
    """An option for every number of ``Settings``."""
    for name, kind, text in reversed(CHOICES):
        default = getattr(DEFAULTS, name)
        told = default if isinstance(default, str) else f"{default:g}"
        option = click.option(
            f"--{name.replace('_', '-')}", type=kind, default=default, help=f"{text} [{told}]."
        )
        function = option(function)
    return function


@click.command(cls=Verb)
@click.argument("network", type=click.Path(path_type=Path), metavar="NET.snn.onnx")
@click.option(
    "--data",
    required=True,
    metavar="DATA",
    help="Samples to learn from. Without labels the ANN inside the network answers.",
)
@click.option("-o", "--output", required=True, type=files.OUTPUT, help="The fine-tuned network.")
@files.force_option
@click.option(
    "-T",
    "--steps",
    type=click.IntRange(min=1),
    help="Time steps of a sample [what the network was converted for].",
)
@click.option("--samples", type=click.IntRange(min=1), help="Use the first N samples.")
@settings_options
@click.option(
    "--train",
    default=",".join(KINDS),
    metavar="KIND,KIND",
    help=f"What is trained: {', '.join(KINDS)} [all].",
)
@click.option("--detach", is_flag=True, help="The reset is a constant to gradients.")
@click.option(
    "--augment",
    default="",
    metavar="HOW,HOW",
    help="Vary the samples: flip (mirror the last axis), shift:N (places), noise:X, contrast:X, "
    "mix:X and cut:X (shares of other samples).",
)
@click.option(
    "--checkpoint",
    type=files.OUTPUT,
    metavar="DIR",
    help="Keep the state after every epoch here; a run that was stopped goes on from it.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Of PyTorch [all cores, or one where layers are small].",
)
@click.option(
    "--mem-limit",
    default="2G",
    metavar="SIZE",
    help="For the signals that gradients need: smaller parts at once [2G].",
)
@opt.regression_option
@opt.preprocessing_options
@data_options
@opt.json_option
@lines_option
def finetune(
    *,
    network: Path,
    data: str,
    output: Path,
    force: bool,
    steps: int | None,
    samples: int | None,
    train: str,
    augment: str,
    checkpoint: Path | None,
    threads: int | None,
    mem_limit: str,
    regression: bool,
    reader: DataReader,
    preprocessing: Preprocessing | None,
    as_json: bool,
    **choices: Any,
) -> None:
    """Train a converted network further with surrogate gradients, for its number of steps.

    It learns from labels or, without, from the ANN inside the file. Part of the samples is held
    out; the network is saved as it was, with exit status 1, where these are answered no better.
    Needs PyTorch: pip install 'onnx2snn[torch]'.
    """
    settings = Settings(
        train=_words(train), augment=_words(augment), mem_limit=opt.size(mem_limit), **choices
    )
    inputs = [*files.read_by([network], data)]
    results = claim_file(output, Kind.NETWORK, inputs=inputs, force=force)
    states = None if checkpoint is None else states_in(checkpoint, inputs=inputs)
    loaded = api.load(network)
    given = reader.samples(data, loaded, preprocessing, limit=samples)
    reader.labels(loaded, given, regression=regression)
    done = run_finetune(
        loaded,
        given,
        settings,
        steps=steps,
        regression=regression,
        threads=threads,
        states=states,
        progress=watch().stage,
    )
    results.write(output.name, checked_bytes(done.network, given.section(0, 2).whole()))
    document = reader.told(conversion.finetuned(done, output=str(output)))
    opt.emit(
        document,
        as_json,
        conversion.finetuned_text,
        document,
        then=opt.runs(output, data),
    )
    if done.kept:
        raise SystemExit(1)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


COMMANDS = (finetune,)
