"""How verbs read DATA: what was done to it is said, what is doubtful is asked, on standard error
and in the JSON document."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import wraps
from typing import Any, TypeVar, cast

import click

from .. import api
from ..converter.frontend import LoadedModel
from ..data import Preprocessing, Samples, data_path
from ..errors import DataError
from ..evaluation.evaluate import Evaluation
from ..questions import Question
from ..questions.inputs import LOOKED_AT
from ..questions.made import ask_of_answers, ask_of_calibration, ask_of_overlap, ask_of_samples
from ..runtime.graph import SpikingGraph
from ..runtime.semantics.labels import read
from ..runtime.semantics.samples import spread_over
from . import terminal

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class DataReader:
    """Reads samples for one command, and keeps what is to be said of them: each thing once."""

    skip_unreadable: bool = False
    said: list[str] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)

    def samples(
        self,
        spec: str,
        model: LoadedModel | SpikingGraph,
        preprocessing: Preprocessing | None = None,
        *,
        limit: int | None = None,
        spread: bool = False,
    ) -> Samples:
        """Samples from DATA, and the questions that they raise."""
        found = api.load_samples(
            spec,
            model,
            preprocessing,
            limit=limit,
            spread=spread,
            skip_unreadable=self.skip_unreadable,
        )
        self.say(f"{found.source}: {text}" for text in found.said)
        self.ask(ask_of_samples(model, found, preprocessing))
        return found

    def calibration(
        self, spec: str, model: Any, preprocessing: Preprocessing | None, limit: int | None
    ) -> Samples | None:
        """Calibration data, or None for `--calib none` (statistics without data)."""
        if spec.lower() == "none":
            return None
        return self.samples(spec, model, preprocessing, limit=limit, spread=True)

    def labels(self, network: SpikingGraph, samples: Samples, *, regression: bool) -> None:
        """Read the labels before long work begins. Raises DataError where they cannot be."""
        known = read(network, samples.labels, regression=regression, where=samples.source)
        self.say(f"{samples.source}: {text}" for text in known.said)

    def guessed_labels(
        self, network: SpikingGraph, samples: Samples, *, regression: bool
    ) -> Samples:
        """``samples`` with labels that can be read, for a verb that can do without: labels that
        nobody named (an array 'y', class folders) are left out, and it is said why."""
        try:
            self.labels(network, samples, regression=regression)
        except DataError as error:
            if "," in data_path(samples.source)[1]:
                raise
            self.say([f"{samples.source}: its labels are not used: {error.what}"])
            return replace(samples, labels=None)
        return samples

    def answers(self, network: SpikingGraph, samples: Samples, *, regression: bool) -> None:
        """Ask about the ANN's answers to at most ``LOOKED_AT`` of the samples."""
        some = samples.at(spread_over(len(samples), most=LOOKED_AT))
        self.ask(ask_of_answers(network, some, regression=regression))

    def judged(self, evaluation: Evaluation, where: str) -> None:
        self.say(f"{where}: {text}" for text in evaluation.said)
        self.ask(evaluation.questions)

    def made(self, network: SpikingGraph, test: Samples | None = None) -> None:
        """Ask about the calibration of ``network``, and whether ``test`` is of it."""
        self.ask(ask_of_calibration(network))
        if test is not None:
            self.overlap(network, test)

    def overlap(self, network: SpikingGraph, test: Samples) -> None:
        self.ask(ask_of_overlap(test, network))

    def say(self, texts: Iterable[str]) -> None:
        for text in texts:
            if text not in self.said:
                self.said.append(text)
                terminal.notice(f"note: {text}")

    def ask(self, questions: Iterable[Question]) -> None:
        for question in questions:
            if question not in self.questions:
                self.questions.append(question)
                terminal.notice(f"warning {question.code}: {question}")

    def told(self, document: dict[str, Any]) -> dict[str, Any]:
        """``document`` with what was said and asked."""
        return document | {"read": list(self.said), "warnings": [asdict(q) for q in self.questions]}


def data_options(function: F) -> F:
    """--skip-unreadable: one argument ``reader``."""

    @wraps(function)
    def with_reader(*, skip_unreadable: bool = False, **others: Any) -> Any:
        return function(reader=DataReader(skip_unreadable), **others)

    return click.option(
        "--skip-unreadable",
        "skip_unreadable",
        is_flag=True,
        help="Leave out pictures of a folder that cannot be read, and name them.",
    )(cast(F, with_reader))
