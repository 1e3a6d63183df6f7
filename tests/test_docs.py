"""Documentation that cannot drift: error codes, verbs, README's examples."""

import re

from places import DOCS, ROOT

from onnx2snn.cli import main

SOURCES = [
    path
    for folder in ("converter", "runtime", "hwtargets", "onnx2snn")
    for path in (ROOT / folder).rglob("*.py")
]


def test_every_error_code_is_documented_and_every_documented_code_exists() -> None:
    raised = {c for path in SOURCES for c in re.findall(r'"(E\d{3})"', path.read_text())}
    documented = re.findall(r"^\| (E\d{3}) \|", (ROOT / "docs/errors.md").read_text(), re.M)
    assert len(documented) == len(set(documented))
    assert raised == set(documented)


def test_every_warning_code_is_documented_and_every_documented_code_exists() -> None:
    asked = {c for path in SOURCES for c in re.findall(r'"(W\d{3})"', path.read_text())}
    documented = re.findall(r"^\| (W\d{3}) \|", (ROOT / "docs/errors.md").read_text(), re.M)
    assert asked == set(documented) and len(documented) == len(set(documented))


def test_the_readme_names_only_verbs_and_options_that_exist() -> None:
    text = (ROOT / "README.md").read_text().replace("\\\n", " ")
    used = re.findall(r"^onnx2snn (\w+)(.*)$", text, re.M)
    assert {verb for verb, _ in used} >= {"convert", "run", "sweep", "verify", "check", "place"}
    for verb, rest in used:
        known = {o for p in main.commands[verb].params for o in p.opts}
        assert set(re.findall(r"(?<!\S)--?[a-zA-Z][\w-]*", rest.split("#")[0])) <= known, verb


def test_every_verb_is_in_the_readme_or_its_help() -> None:
    text = (ROOT / "README.md").read_text()
    for verb in main.commands:
        assert verb in text, verb


def test_what_the_page_on_adding_shows_is_in_the_examples() -> None:
    """Every block is in the file that was named last before it, line by line."""
    path, shown = "", 0
    for part in re.split(r"^```", (DOCS / "adding.md").read_text(), flags=re.M):
        if part.startswith("python\n"):
            assert part.removeprefix("python\n") in (ROOT / path).read_text(), (path, part)
            shown += 1
        elif named := re.findall(r"From `([\w/.]+)`", part):
            path = named[-1]
    assert shown == 9


def test_the_files_that_the_page_on_adding_names_exist() -> None:
    text = (DOCS / "adding.md").read_text()
    named = re.findall(r"`((?:tests|runtime|converter|hwtargets)/[\w/.]+)`", text)
    assert named and all((ROOT / path).exists() for path in named), named
