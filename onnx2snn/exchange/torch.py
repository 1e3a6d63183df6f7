"""A network as a PyTorch module: one readable file of source, and its numbers beside it.

It needs PyTorch and NumPy alone. What onnx2snn counted on two samples travels with the numbers, so
the file can check itself: ``python net.py``.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np

from ..converter.recipes import RECIPES
from ..errors import UsageError
from ..results.marks import TEXT_MARK, Kind
from ..runtime.engine.torch import source_of, unknown
from ..runtime.graph import Analog, SpikingGraph
from .counts import count, samples, window
from .format import Choices, Format, Written
from .refusal import refuse, refuse_inexact

SAMPLES = 2  # on which it can check itself,
MOST_STEPS = 256  # in so many steps


def _files(name: str) -> Mapping[str, Kind]:
    if not name.endswith(".py"):
        raise UsageError(
            f"a PyTorch module is a file NAME.py, with its weights in NAME.npz, not '{name}'",
            remedy="Name the output so.",
        )
    return {name: Kind.MODULE, f"{name.removesuffix('.py')}.npz": Kind.ARRAYS}


def _write(network: SpikingGraph, name: str, choices: Choices) -> Written:
    refuse("torch", _unsayable(network))
    notes = refuse_inexact("torch", network, choices.approximate)
    steps = window(network)
    made = source_of(network, steps, _title(network))
    given = samples(network, SAMPLES)
    done = count(network, given, min(steps, MOST_STEPS))
    kept = {"steps/": np.asarray(done.steps)}
    kept |= {f"inputs/{made.names[k]}": x for k, x in given.items()}
    kept |= {f"spikes/{made.names[k]}": x for k, x in done.spikes.items()}
    kept |= {f"answers/{made.names[k]}": x for k, x in done.answers.items()}
    numbers = io.BytesIO()
    np.savez_compressed(numbers, allow_pickle=False, **made.arrays, **kept)
    py, npz = _files(name)
    return Written(contents={py: made.text.encode(), npz: numbers.getvalue()}, notes=notes)


def _unsayable(network: SpikingGraph) -> list[tuple[str, str]]:
    islands = [(n.name, f"an analog island ({'+'.join(n.ops)})") for n in network.of(Analog)]
    return [*islands, *unknown(network)]


def _title(network: SpikingGraph) -> str:
    recipe = network.meta.get("recipe")  # of a file, so any text: only what is known gets into code
    told = f", recipe {recipe}" if recipe in RECIPES else ""
    return (
        f"A spiking network{told}, made for {window(network)} time steps. {TEXT_MARK}\n\n"
        "    network = load()                  # weights from the .npz file beside this one\n"
        "    answers = network(samples)[-1]    # after the last step, (batch, ...)\n\n"
        "Run as a program it compares itself with what onnx2snn counted on two samples.\n"
    )


TORCH = Format(
    name="torch",
    summary="a PyTorch module (NAME.py) and its weights (NAME.npz)",
    files=_files,
    write=_write,
    takes=frozenset(("approximate",)),
)
