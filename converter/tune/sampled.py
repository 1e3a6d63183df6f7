"""A sample of a population's neurons with the currents that arrive: what ``search`` looks at."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...runtime import graph as snn
from ...runtime.ops import Array
from ..statistics.measure import by_channel, channel_axis
from .places import signal_at
from .rates import Drive
from .replay import Replay

SAMPLED = 1 << 18  # neurons of a population at T <= 16; fewer above
FEWEST = 32  # samples that they are of
EACH = 4  # neurons of a sample for one that is drawn
FEW = 8  # positions of a map for one that is drawn, from which only these are computed


def drive(
    replay: Replay,
    node: snn.Population,
    bias: Array,
    target: Callable[[slice], Array],
    rng: np.random.Generator,
) -> Drive:
    """What arrives at some neurons of every channel. ``bias`` broadcasts to the shape; ``target``
    gives the ANN's activations (batch, *shape) of samples."""
    steps = 1 if replay.windowed else replay.steps
    begin, fire = replay.window(node.name)
    first, source = replay.start(node.inputs[0]), node.inputs[0]
    axis, shape = channel_axis(replay.facts, node.name), node.shape or (1,)
    channels, size = shape[axis], int(np.prod(shape))
    drawn = neurons_drawn(replay, node)
    parts = _spread(list(replay.tiles()), drawn, size=size)
    most = -(-drawn // (channels * len(parts)))
    counts = [min(most, (p.stop - p.start) * size // channels) for p in parts]
    at = dict(zip((p.start for p in parts), np.cumsum([0, *counts]), strict=False))
    rngs = {p.start: r for p, r in zip(parts, rng.spawn(len(parts)), strict=True)}
    bias = np.broadcast_to(bias, shape)
    outside = "bias" not in replay.neurons[node.name].traits
    total = (channels, sum(counts))
    current = np.zeros((1 if replay.windowed else fire + steps - first, *total), np.float32)
    targets, biases = np.empty(total, np.float32), np.empty(total, np.float32)

    def tile(part: slice) -> None:
        batch = part.stop - part.start
        values = by_channel(target(part), axis)
        here = slice(at[part.start], at[part.start] + min(most, values.shape[1]))
        generator, positions = rngs[part.start], values.shape[1] // batch
        each = -(-most // batch)
        if axis == 0 and FEW * each <= positions and not replay.windowed:
            places = generator.permutation(positions)[:each]
            chosen = (np.arange(batch)[:, np.newaxis] * positions + places).ravel()[:most]
            blocks, taken = (
                signal_at(replay, source, part, fire + steps, places),
                np.arange(len(chosen)),
            )
        else:
            chosen = generator.permutation(values.shape[1])[:most]
            blocks, taken = replay.signal(source, part, fire + steps), chosen
        own = by_channel(np.broadcast_to(bias, (batch, *shape)), axis)[:, chosen]
        targets[:, here], biases[:, here] = values[:, chosen], own
        for t0, count, x in blocks:
            flat = np.moveaxis(x if x.ndim > 2 else x[..., np.newaxis], 2 + axis, 1)
            flat = flat.reshape(len(x), channels, -1)[:, :, taken]
            if replay.windowed:  # one number for all steps
                current[:, :, here] = flat + own
            else:
                current[t0 - first : t0 - first + count, :, here] = flat
        if outside and not replay.windowed:
            current[max(begin - first, 0) : begin - first + steps, :, here] += own

    replay.each(tile, parts)
    return Drive(
        current=current,
        target=targets,
        first=first,
        begin=begin,
        fire=fire,
        steps=replay.steps,
        bias=None if outside else biases,
    )


def neurons_drawn(replay: Replay, node: snn.Population) -> int:
    """How many neurons the search looks at, over all samples."""
    steps = 1 if replay.windowed else replay.steps
    channels = (node.shape or (1,))[channel_axis(replay.facts, node.name)]
    budget = SAMPLED * min(16, steps) // steps
    return channels * max(budget // channels, min(256, 8192 // steps), 64)


def _spread(parts: list[slice], drawn: int, *, size: int) -> list[slice]:
    """The samples that the ``drawn`` neurons are of, as the first ones of tiles spread over all:
    so many that one in ``EACH`` of a sample's ``size`` neurons is drawn, as neighbours say nearly
    the same, but ``FEWEST`` at least."""
    wanted = min(max(FEWEST, -(-EACH * drawn // size)), parts[-1].stop)
    if wanted < len(parts):
        parts = [parts[i * len(parts) // wanted] for i in range(wanted)]
    most = -(-wanted // len(parts))
    return [slice(part.start, min(part.stop, part.start + most)) for part in parts]
