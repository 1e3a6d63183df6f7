"""Help: verbs in the order of the work, an example first, options in groups, recipes in words."""

from __future__ import annotations

import re
import shlex

import click
import pytest
from click.testing import CliRunner
from places import ROOT

from onnx2snn.cli import main
from onnx2snn.cli.help import EXAMPLES, GROUPS, ORDER, glossary
from onnx2snn.converter.recipes import RECIPES


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(main, [*arguments, "--help"])
    assert result.exit_code == 0, result.output
    return result.output


def test_verbs_stand_in_the_order_of_the_work_and_each_is_said_whole() -> None:
    listing = shown().split("Commands:")[1]
    assert re.findall(r"^  (\w+)  ", listing, flags=re.M) == list(EXAMPLES)
    assert set(EXAMPLES) == set(main.commands)
    assert "..." not in listing


@pytest.mark.parametrize("name", main.commands)
def test_help_begins_with_an_example_whose_options_exist(name: str) -> None:
    command = main.commands[name]
    text = " ".join(shown(name).split())
    assert text.split("Example: ")[1].startswith(EXAMPLES[name])
    assert text.count("Example: ") == 1
    words = shlex.split(EXAMPLES[name])
    assert words[:2] == ["onnx2snn", name]
    known = {opt for param in command.params for opt in param.opts}
    assert {word for word in words if word.startswith("-")} <= known
    with command.make_context(name, words[2:], resilient_parsing=True) as context:
        assert not context.args


@pytest.mark.parametrize("name", main.commands)
def test_every_option_has_a_group(name: str) -> None:
    options = [p for p in main.commands[name].params if isinstance(p, click.Option)]
    assert {GROUPS[p.name] for p in options} <= set(ORDER)


def test_where_one_chooses_a_recipe_all_are_explained() -> None:
    for name in ("convert", "sweep", "run"):
        listing = shown(name).split("Recipes:")[1]
        assert re.findall(r"^  ([\w-]+) ", listing, flags=re.M) == ["auto", *RECIPES]
    assert "Recipes:" not in shown("check")


def test_the_glossary_is_that_of_the_documentation() -> None:
    assert (ROOT / "docs" / "glossary.md").read_text() == glossary.page()


@pytest.mark.parametrize(
    ("word", "term"),
    [
        ("agreement", "agreement"),
        ("MACs", "MAC"),
        ("analog islands", "analog island"),
        ("t", "T"),
        ("spikes/neuron", "spikes per neuron"),
        ("to ANN", "to ANN"),
        ("nJ/sample", "energy"),
    ],
)
def test_a_word_is_explained_whatever_its_case_or_number(word: str, term: str) -> None:
    result = CliRunner().invoke(main, ["explain", *word.split()])
    assert result.exit_code == 0
    assert result.output == f"{term}: {glossary.TERMS[term]}\nnext: onnx2snn explain\n"


def test_several_words_are_explained_at_once_and_the_one_that_is_none_is_named() -> None:
    result = CliRunner().invoke(main, ["explain", "lag", "synops"])
    assert [line.split(":")[0] for line in result.output.splitlines()] == ["lag", "synop", "next"]
    result = CliRunner().invoke(main, ["explain", "lag", "thresold"])
    assert result.exit_code == 2
    assert result.stderr == "error E120: no explanation of 'thresold'. Did you mean 'threshold'?\n"
    assert set(glossary.HEADINGS.values()) <= set(glossary.TERMS)


def test_a_word_without_an_explanation_is_one_line_and_status_two() -> None:
    result = CliRunner().invoke(main, ["explain", "agrement"])
    assert result.exit_code == 2
    assert "E120" in result.stderr and "agreement" in result.stderr
