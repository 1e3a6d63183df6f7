"""What the command line reads and writes, as paths; ``results`` decides what may be written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from ..converter.frontend import model_files
from ..data import data_files
from ..results import Results, claim
from ..results.marks import Kind

# ``results`` says whether an output can be written; click would ask whether it can be read.
OUTPUT = click.Path(path_type=Path, readable=False)

F = TypeVar("F", bound=Callable[..., Any])


def force_option(function: F) -> F:
    """--force, of every verb that writes files."""
    return click.option(
        "--force",
        is_flag=True,
        help="Replace existing files that onnx2snn did not make; never the inputs.",
    )(function)


def read_by(
    networks: Iterable[Path], *data: str | None, others: Iterable[Path] = ()
) -> Iterator[Path]:
    """Everything that a command reads: ONNX files with the weights beside them, what DATA options
    name (None and `none` name nothing), other files. Nothing is opened until they are asked for."""
    for path in networks:
        yield from model_files(path)
    for spec in data:
        if spec and spec.lower() != "none":
            yield from data_files(spec)
    yield from others


def claimed(
    output: Path | None, kinds: Mapping[str, Kind], inputs: Iterable[Path], force: bool
) -> Results | None:
    """The results of a verb that writes into a folder where one was named."""
    return None if output is None else claim(output, kinds, inputs=inputs, force=force)
