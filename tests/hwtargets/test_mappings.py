"""What every mapping and every bundled target keep to, read from the registries: what a file or an
option may say is documented, read, and refused where it is misspelt or out of range."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
from examples.toychip.mapping import TOY
from places import DOCS

from hwtargets.chip_nets import build
from onnx2snn import hwtargets
from onnx2snn.errors import TargetError, UsageError
from onnx2snn.hwtargets import MAPPINGS, load_target, mapping_of, options_of, place, targets
from onnx2snn.hwtargets.kinds import Choice, Flag, Kind, Real, Whole
from onnx2snn.hwtargets.mapping import ChipMapping
from onnx2snn.hwtargets.options import OptionInfo, Options, Table, infos, read_options
from onnx2snn.hwtargets.target import CAPABILITIES

KINDS: Mapping[str, ChipMapping[Any]] = {**MAPPINGS, TOY.name: TOY}
DOCUMENTED = "".join((DOCS / name).read_text() for name in ("placement.md", "truenorth.md"))
BUNDLED = sorted(Path(hwtargets.__file__).parent.glob("*/*.toml"))
SMALL = build((6,), [("fc", 5), ("out", 3)])


@dataclass(frozen=True)
class Case:
    mapping: str
    name: str


def cases(part: str) -> list[Any]:
    """Every entry of a table of every mapping."""
    found = []
    for mapping in KINDS.values():
        table = infos(mapping.options) if part == "options" else getattr(mapping, part)
        found += [
            pytest.param(Case(mapping.name, name), id=f"{mapping.name}-{name}") for name in table
        ]
    return found


def file(mapping: str, *tables: str) -> str:
    """A target file with a number for all that the mapping asks for, and these further lines."""
    return "\n".join(
        [
            'schema = "onnx2snn-target/1"',
            'name = "x"',
            f'mapping = "{mapping}"',
            *tables,
        ]
    )


def number(section: str, name: str, value: float = 1) -> str:
    return f'[{section}.{name}]\nvalue = {value:g}\nsource = "test"\nverified = true\n'


def refusal(folder: Path, text: str) -> TargetError:
    path = folder / "x.toml"
    path.write_text(text)
    with pytest.raises(TargetError) as caught:
        load_target(path, KINDS)
    assert caught.value.where == str(path)
    return caught.value


def misspelt(name: str) -> str:
    """One letter more at the end, as in ``neurons_per_cores``."""
    return f"{name}s"


def documented(name: str) -> bool:
    return f"`{name}`" in DOCUMENTED or re.search(rf"`{name}=", DOCUMENTED) is not None


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize("section", ["limits", "energy"])
@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.stem)
def test_bundled_targets_state_all_that_is_needed(path: Path, section: str) -> None:
    target = load_target(path)
    mapping = mapping_of(target)
    stated, known = getattr(target, section), getattr(mapping, section)
    assert set(stated) <= set(known)
    if section == "limits":
        assert {name for name, entry in known.items() if entry.unstated is None} <= set(stated)


@pytest.mark.parametrize("section", ["limits", "energy"])
@pytest.mark.parametrize("mapping", KINDS)
def test_numbers_are_documented_and_explained(section: str, mapping: str) -> None:
    for name, entry in getattr(KINDS[mapping], section).items():
        assert len(entry.help) > 5, name
        if mapping in MAPPINGS:
            assert documented(name), f"docs/placement.md does not mention {section}.{name}"


@pytest.mark.parametrize("case", cases("limits"))
def test_a_misspelt_limit_is_refused_with_the_right_one(case: Case, tmp_path: Path) -> None:
    wrong = misspelt(case.name)
    error = refusal(tmp_path, file(case.mapping, number("limits", wrong)))
    assert error.code == "E501"
    assert f"unknown limit '{wrong}' (Did you mean '{case.name}'?" in error.what


@pytest.mark.parametrize("case", cases("energy"))
def test_a_misspelt_constant_is_refused_with_the_right_one(case: Case, tmp_path: Path) -> None:
    wrong = misspelt(case.name)
    error = refusal(tmp_path, file(case.mapping, number("energy", wrong)))
    assert error.code == "E501"
    assert f"unknown energy constant '{wrong}' (Did you mean '{case.name}'?" in error.what


@pytest.mark.parametrize("case", cases("limits"))
def test_a_limit_has_the_value_that_is_stated_or_that_of_the_table(
    case: Case, tmp_path: Path
) -> None:
    known = KINDS[case.mapping].limits[case.name]
    path = tmp_path / "x.toml"
    value = 3.0 if known.only is None else known.only
    path.write_text(file(case.mapping, number("limits", case.name, value)))
    assert load_target(path, KINDS).limit(case.name) == value
    path.write_text(file(case.mapping))
    bare = load_target(path, KINDS)
    if known.unstated is None:
        with pytest.raises(TargetError, match=rf"states no limit '{case.name}'") as caught:
            bare.limit(case.name)
        assert caught.value.code == "E502"
    else:
        assert bare.limit(case.name) == known.unstated
    if known.only is not None:
        text = file(case.mapping, number("limits", case.name, value + 1))
        assert f"value must be {value:g}" in refusal(tmp_path, text).what


def test_a_limit_that_no_table_lists_is_a_bug_not_a_default() -> None:
    with pytest.raises(KeyError, match="mapping 'cores' lists no limit 'wings'"):
        load_target("loihi2").limit("wings")


def test_a_misspelt_limit_does_not_mean_unlimited(tmp_path: Path) -> None:
    """It did: 4 cores instead of 6."""
    text = (Path(__file__).parent / "placement" / "targets" / "plain.toml").read_text()
    error = refusal(tmp_path, text.replace("neurons_per_core]", "neurons_per_cores]"))
    assert "Did you mean 'neurons_per_core'?" in error.what


# ---------------------------------------------------------------- keys, capabilities, boards


@pytest.mark.parametrize("name", CAPABILITIES)
def test_capabilities_are_documented_and_their_names_and_values_checked(
    name: str, tmp_path: Path
) -> None:
    assert documented(name)
    wrong = misspelt(name)
    error = refusal(tmp_path, file("cores", f"[capabilities]\n{wrong} = true"))
    assert f"unknown capability '{wrong}' (Did you mean '{name}'?" in error.what
    kind = CAPABILITIES[name].kind
    kind.read(CAPABILITIES[name].unstated)
    for value in ('"sideways"', '["sideways"]', "-1", "[]"):
        error = refusal(tmp_path, file("cores", f"[capabilities]\n{name} = {value}"))
        assert f"[capabilities] '{name}' must be {kind.says}" in error.what


def test_a_way_of_input_that_the_mapping_does_not_have_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path, file("cores", '[capabilities]\ninput = ["rate"]'))
    assert "unknown way of input of 'cores' 'rate'" in error.what


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tittle = 'x'", "unknown key 'tittle' (Did you mean 'title'?"),
        ("[limits.neurons_per_core]\nvalue = nan\nsource = 's'\nverified = true", "negative"),
        (
            "[limits.neurons_per_core]\nvalue = 1\nsource = 's'\nverify = true",
            "unknown key 'verify' (Did you mean 'verified'?",
        ),
        ("[boards]\nmine = 0", "[boards] 'mine' must be a number of chips"),
        ("notes = [1]", "'notes' must be strings"),
        ("[options]\ninput = 'bia'", "input must be graded, bias or population, got 'bia'"),
        ("[options]\ncoding = 'x'", "'cores' has no option coding"),
        (
            "[options.memory]\nweight_bit = 8",
            "unknown key 'weight_bit'. Did you mean 'weight_bits'?",
        ),
        ("[options.memory]\nword_bits = 'many'", "word_bits must be a whole number of at least 1"),
        ("[options]\nmemory = 3", "memory must be a table with weight_bits"),
    ],
)
def test_other_mistakes_in_a_file_are_named(text: str, message: str, tmp_path: Path) -> None:
    error = refusal(tmp_path, file("cores", text))
    assert error.code == "E501" and message in error.what


def test_a_crossbar_has_no_memory_model(tmp_path: Path) -> None:
    error = refusal(tmp_path, file("crossbar", "[options.memory]\nweight_bits = 8"))
    assert "'crossbar' has no option memory" in error.what


# ---------------------------------------------------------------- options


def good(kind: Kind) -> list[Any]:
    """Values of a kind, as its own type and as text."""
    match kind:
        case Whole():
            return [kind.least, str(kind.least), *kind.names]
        case Real():
            return [max(kind.least, 1), "1.5"]
        case Flag():
            return [True, "false"]
        case Choice():
            return list(kind.names)
        case Table():
            return [{}]
    raise AssertionError(f"no values of {kind}")


def bad(kind: Kind) -> Iterator[Any]:
    yield from ("perhaps not", None, [])
    match kind:
        case Whole():
            yield from (kind.least - 1, "1.5", True)
            yield from [] if kind.most is None else [kind.most + 1]
        case Real():
            yield from (-1, "nan", "inf", True)


def info_of(case: Case) -> OptionInfo:
    return infos(KINDS[case.mapping].options)[case.name]


@pytest.mark.parametrize("mapping", KINDS)
def test_every_field_of_the_options_is_an_option(mapping: str) -> None:
    options = KINDS[mapping].options
    assert list(infos(options)) == [field.name for field in fields(options)]
    assert isinstance(options(), Options)


@pytest.mark.parametrize("case", cases("options"))
def test_options_are_documented_and_read(case: Case) -> None:
    info = info_of(case)
    assert len(info.help) > 10
    if case.mapping in MAPPINGS:
        name = f"[options.{case.name}]" if info.in_file else case.name
        keys = infos(info.kind.record) if isinstance(info.kind, Table) else {}
        for key in (name, *keys):
            assert documented(key), f"docs/placement.md does not mention option {key}"
    options = KINDS[case.mapping].options
    for value in good(info.kind):
        record = read_options(options, {}, of="x", stated={case.name: value})
        found = getattr(record, case.name)
        assert found == info.kind.read(value)


@pytest.mark.parametrize("case", cases("options"))
def test_a_misspelt_option_is_refused_with_the_right_one(case: Case) -> None:
    options = KINDS[case.mapping].options
    with pytest.raises(UsageError) as caught:
        read_options(options, {misspelt(case.name): 1}, of="x")
    assert caught.value.code == "E514"
    if not info_of(case).in_file:
        assert f"Did you mean '{case.name}'?" in caught.value.remedy


@pytest.mark.parametrize("case", cases("options"))
def test_a_value_that_an_option_does_not_take_is_refused(case: Case) -> None:
    info = info_of(case)
    options = KINDS[case.mapping].options
    for value in bad(info.kind):
        if value is options().__dict__[case.name]:
            continue
        with pytest.raises(UsageError, match=re.escape(info.kind.says)) as caught:
            read_options(options, {}, of="x", stated={case.name: value})
        assert caught.value.code == info.code


@pytest.mark.parametrize("name", targets())
def test_the_command_line_offers_the_fields_and_no_tables_of_the_file(name: str) -> None:
    target = load_target(name)
    known = infos(mapping_of(target).options)
    assert set(options_of(target)) == {k for k, info in known.items() if not info.in_file}
    with pytest.raises(UsageError, match="has no option wings") as caught:
        place(SMALL, target, options={"wings": "2"})
    assert caught.value.code == "E514"


def test_the_table_of_a_file_is_no_option_of_the_command_line() -> None:
    with pytest.raises(UsageError, match="has no option memory") as caught:
        place(SMALL, "loihi2", options={"memory": {}})
    assert caught.value.code == "E514"
