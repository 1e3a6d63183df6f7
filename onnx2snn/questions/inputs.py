"""Whether samples are what the network was made for: W420 to W423.

    W420  stored values without a scale          W422  another mean or std than calibration's
    W421  a range far from calibration's        W423  a scale for data that are scaled already

A converted network remembers the range of its calibration samples, as it takes them. Test data are
another draw of the same kind, so that the mean over them of a statistic lies within what single
calibration samples vary; what lies outside by a multiple of it is asked about.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from ..runtime.ops import Array
from ..runtime.semantics.samples import spread_over
from ..spelling import spelled
from . import Question

LOOKED_AT = 512  # samples, spread over all
DIGEST = 4  # bytes of a sample's digest
KEPT = 4096  # digests
BYTES = 255  # the largest value of a pixel stored as a byte
LEVELS = 8  # the largest of whole numbers that are probably shades, no marks or small counts
DARK = 50  # a scale this many times the largest value has nothing left to scale


@dataclass(frozen=True, kw_only=True)
class InputRange:
    """Of the samples of one input, preprocessed: ``mean``, ``min`` and ``max`` of all values,
    ``std`` the mean of the samples' own deviations; ``mean_spread`` and ``std_spread``: how much
    mean and deviation of single samples vary (standard deviations)."""

    mean: float
    min: float
    max: float
    std: float
    mean_spread: float
    std_spread: float


def ranges(arrays: Mapping[str, Array]) -> dict[str, InputRange]:
    """By input, of preprocessed samples (samples, *shape)."""
    out = {}
    for name, x in arrays.items():
        rows = np.asarray(x[spread_over(len(x), most=LOOKED_AT)], np.float64)
        rows = rows.reshape(len(rows), -1)
        means, deviations = rows.mean(axis=1), rows.std(axis=1)
        out[name] = InputRange(
            mean=float(means.mean()),
            min=float(rows.min()),
            max=float(rows.max()),
            std=float(deviations.mean()),
            mean_spread=float(means.std()),
            std_spread=float(deviations.std()),
        )
    return out


def digests(arrays: Mapping[str, Array]) -> list[bytes]:
    """One per sample, of all its inputs as the network takes them; at most ``KEPT`` of them."""
    names = sorted(arrays)
    out = []
    for at in spread_over(len(arrays[names[0]]), most=KEPT):
        found = blake2b(digest_size=DIGEST)
        for name in names:
            found.update(np.ascontiguousarray(arrays[name][at], np.float32).tobytes())
        out.append(found.digest())
    return out


def packed(found: list[bytes]) -> str:
    return b64encode(b"".join(found)).decode("ascii")


def unpacked(text: str) -> list[bytes]:
    """The digests in a file's record; none where the text is not one."""
    try:
        content = b64decode(text, validate=True)
    except (BadBase64, ValueError):
        return []
    return [content[at : at + DIGEST] for at in range(0, len(content), DIGEST)]


def questions_of_range(
    now: Mapping[str, InputRange], *, then: Mapping[str, InputRange], count: int, where: str
) -> Iterator[Question]:
    """Of ``count`` samples, against calibration's."""
    for name, found in now.items():
        if name in then and _far(found, then=then[name], count=count):
            a, b = found, then[name]
            yield Question(
                code="W421",
                what=f"after preprocessing, input '{name}' has values from {a.min:.3g} to "
                f"{a.max:.3g} (mean {a.mean:.3g}, deviation {a.std:.3g}); calibration had "
                f"{b.min:.3g} to {b.max:.3g} (mean {b.mean:.3g}, deviation {b.std:.3g}): they are "
                "probably preprocessed otherwise",
                remedy=f"Check {spelled('scale')}, {spelled('mean')}, {spelled('std')} and the "
                "units of the data.",
                where=where,
            )


def _far(now: InputRange, *, then: InputRange, count: int) -> bool:
    times = 2 if count >= 32 else 3 if count >= 8 else 6
    span = then.max - then.min
    beyond = max(now.max - then.max, then.min - now.min)
    shift = abs(now.mean - then.mean)
    wider = abs(now.std - then.std)
    ratio = (now.std + 1e-12) / (then.std + 1e-12)
    return bool(
        (span > 0 and beyond > 2 * span)
        or (span > 0 and shift > times * max(then.mean_spread, 0.25 * then.std, 0.02 * span))
        or (
            wider > times * max(then.std_spread, 0.1 * then.std, 1e-9) and not 1 / 1.5 < ratio < 1.5
        )
    )


def questions_of_scale(
    stored: Array, taken: InputRange, scale: float, *, scales_itself: bool, where: str
) -> Iterator[Question]:
    """Of values as they are ``stored`` and as the network takes them.

    Parameters:
        scales_itself: the model's first operations scale its input, or it takes integers.
    """
    few = np.asarray(stored[spread_over(len(stored), most=64)])
    largest = float(np.abs(few.astype(np.float64)).max(initial=0))
    counts = bool(few.min(initial=0) >= 0 and (few == np.floor(few)).all())
    pixels = counts and BYTES / 4 < largest <= BYTES
    untouched = scale == 1 and max(abs(taken.min), abs(taken.max)) > largest / 2
    if pixels and untouched and not scales_itself:
        yield Question(
            code="W420",
            what=f"whole numbers up to {largest:g} reach the network as they are stored: they are "
            "probably pixels of 0 to 255",
            remedy=f"Give {spelled('scale', 255)} (and {spelled('mean')}, {spelled('std')}), if "
            "the network was trained so.",
            where=where,
        )
    elif counts and untouched and not scales_itself and LEVELS <= largest <= BYTES / 4:
        yield Question(
            code="W420",
            what=f"whole numbers up to {largest:g} reach the network as they are stored: was it "
            "trained on such values",
            remedy=f"If it was trained on values up to 1, give {spelled('scale', largest)}.",
            where=where,
        )
    elif scale > 1 and 0 < largest <= scale / DARK:
        yield Question(
            code="W423",
            what=f"{spelled('scale', scale)} on data whose largest value is {largest:.3g}: they "
            "are probably scaled already",
            remedy=f"Leave {spelled('scale')} out ({spelled('scale', 1)} where the "
            "converted file remembers one).",
            where=where,
        )
