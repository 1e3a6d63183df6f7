"""The options of the command line: generated ones have the names they always had."""

from __future__ import annotations

from typing import Any

import click
import pytest

from onnx2snn.cli import main
from onnx2snn.converter.recipes.options import Options, choosable

PREPROCESSING = ["--scale", "--mean", "--std", "--layout"]
CONVERSION = [
    *("--method", "--percentile", "--per-channel/--per-layer", "--reset", "--leak"),
    *("--refractory", "--levels", "--tune/--no-tune", "--spike-cost", "--lag"),
    *("--pace/--no-pace", "--copies", "--maxpool", "--islands", "--encoding", "--readout"),
]
AUTO = ["--max-drop", "--prefer"]


def named(verb: str) -> list[str]:
    """Options in the order of the help text."""
    return [
        "/".join([*p.opts[:1], *p.secondary_opts])
        for p in main.commands[verb].params
        if isinstance(p, click.Option)
    ]


def in_a_row(names: list[str], wanted: list[str]) -> bool:
    at = names.index(wanted[0]) if wanted[0] in names else len(names)
    return names[at : at + len(wanted)] == wanted


@pytest.mark.parametrize("verb", ["convert", "sweep", "run"])
def test_every_verb_that_converts_has_the_same_options(verb: str) -> None:
    assert in_a_row(named(verb), CONVERSION) and in_a_row(named(verb), PREPROCESSING)
    assert in_a_row(named(verb), AUTO) == (verb == "convert")


@pytest.mark.parametrize("verb", ["verify", "diagnose"])
def test_verbs_that_read_data_have_the_options_of_preprocessing(verb: str) -> None:
    assert in_a_row(named(verb), PREPROCESSING)


def test_an_option_says_what_its_field_takes_and_decides_nothing_where_it_is_left_out() -> None:
    convert = main.commands["convert"]
    params: dict[str | None, Any] = {p.name: p for p in convert.params}
    given = convert.make_context("convert", ["m.onnx", "--calib", "none", "-o", "n.onnx"]).params
    shown = [*choosable(auto=True), *choosable(auto=False)]
    for choice in shown:
        option = params[choice.name]
        assert given[choice.name] is None and option.help == choice.help
        if choice.words:
            assert tuple(option.type.choices) == choice.words
            assert getattr(Options(), choice.name) in choice.words
        if choice.smallest is not None:
            assert option.type.min == choice.smallest
    hidden = {f for f in Options.__dataclass_fields__ if f not in {c.name for c in shown}}
    assert hidden == {"recipe", "steps", "v_init", "seed"}
