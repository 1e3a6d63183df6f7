"""Whether calibration could tell anything: W430 to W435.

W430  test samples are calibration samples  W433  layers in which nothing fires
W431  one calibration sample                W434  the import is a little off ONNX Runtime
W432  few calibration samples               W435  calibration samples without any pattern
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from ..display import counted
from ..spelling import spelled
from . import Question
from .inputs import InputRange

FEW = 32
# How a network has seen samples: what they are, and which are to be judged on.
CALIBRATED, LEARNED = "calibrated", "learned"
SEEN = {
    CALIBRATED: ("calibration samples of this network", "calibration did not see"),
    LEARNED: ("samples that this network learned from", "it did not learn from"),
}
FEWER = "Convert for fewer steps."
SHARE = 0.01  # of the test samples that may be calibration samples by chance


def questions_of_overlap(
    test: Sequence[bytes], *, seen: Sequence[bytes], how: str, where: str
) -> Iterator[Question]:
    """By the digests of the samples; ``how`` the network has ``seen`` them, of ``SEEN``. What is
    there twice in one of them is left out: a constant, or one of few possible inputs."""
    once = {d for d, n in Counter(seen).items() if n == 1}
    both = sum(n == 1 and d in once for d, n in Counter(test).items())
    if both > SHARE * len(test):
        what, others = SEEN[how]
        yield Question(
            code="W430",
            what=f"{both} of {counted(len(test), 'sample')} are also {what}: "
            "what they show is better than what unseen ones would",
            remedy=f"Judge on samples that {others}.",
            where=where,
        )


def questions_of_count(
    *, given: int, used: int | None, different: int, where: str, windowed: bool = False
) -> Iterator[Question]:
    """Of the calibration samples that were ``given``, how many of them are ``different`` from each
    other, and how many were ``used`` in the spiking loop. ``windowed``: neurons send one number for
    all steps, so that fewer steps take no less memory."""
    number = given if used is None else min(given, used)
    of_given = f" (of {given} given)" if number < given else ""
    few = number < FEW or (number == FEW and number < given)
    if number == 1 or different == 1:
        times = f", {given} times" if number > 1 else of_given
        yield Question(
            code="W431",
            what=f"one calibration sample{times}: thresholds and biases hold for it alone",
            remedy="Give a few hundred; labels are not needed.",
            where=where,
        )
    elif few:
        why, remedy = "", "Give a few hundred."
        if of_given and windowed:
            why, remedy = ", as more would take too much memory", "Measure on more test samples."
        elif of_given:
            why, remedy = ", as more would take too much time or memory at this T", FEWER
        yield Question(
            code="W432",
            what=f"calibration used only {counted(number, 'sample')}{of_given}{why}",
            remedy=remedy,
            where=where,
        )


def questions_of_silence(dead: Sequence[str], layers: int, where: str) -> Iterator[Question]:
    """Of the layers of neurons that were active on no calibration sample."""
    if dead:
        named = ", ".join(f"'{name}'" for name in dead[:5]) + (", ..." if len(dead) > 5 else "")
        yield Question(
            code="W433",
            what=f"no neuron of {named} was active on any calibration sample ({len(dead)} of "
            f"{counted(layers, 'layer')}): dead, or the data are not what the network was "
            "trained on",
            remedy=f"Check {spelled('scale')}, {spelled('mean')}, {spelled('std')}; "
            "`onnx2snn verify --data` shows every layer.",
            where=where,
        )


def questions_of_pattern(inputs: Mapping[str, InputRange], where: str) -> Iterator[Question]:
    """Of inputs that are one number in all calibration samples."""
    for name, found in inputs.items():
        if found.min == found.max:
            yield Question(
                code="W435",
                what=f"input '{name}' is {found.min:.3g} everywhere in all calibration samples: "
                "thresholds are chosen for that alone",
                remedy="Give samples as the network will see them; check the key and "
                f"{spelled('scale')}.",
                where=where,
            )
