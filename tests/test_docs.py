"""Documentation that cannot drift: error codes, verbs, commands and what they print, figures."""

import re
from collections.abc import Iterator
from pathlib import Path

import pages
import pytest
from places import DOCS, ROOT

from onnx2snn.cli import main

SOURCES = [
    path
    for folder in ("converter", "runtime", "hwtargets", "onnx2snn")
    for path in (ROOT / folder).rglob("*.py")
]
TOP = ("README.md", "CONTRIBUTING.md", "models/README.md")
PAGES = sorted({*DOCS.rglob("*.md"), *(ROOT / name for name in TOP)})
COMPARED_WITH_FILES = {"adding.md"}  # by a test of their own
RUN = [
    page
    for page in PAGES
    if page.name not in COMPARED_WITH_FILES
    and any(
        block.language in pages.RUNS and not pages.left_out(block)
        for block in pages.blocks(page.read_text())
    )
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


def test_the_readme_has_the_commands_that_set_up_and_run_the_tests() -> None:
    command = "python3 -m venv .venv && .venv/bin/pip install -q '.[test]' && .venv/bin/pytest"
    assert f"\n{command}\n" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_pages_name_only_verbs_and_options_that_exist(page: Path) -> None:
    for block in pages.blocks(page.read_text()):
        assert block.language, f"{page.name}: line {block.begins} opens a block without a language"
        if block.language != "sh":
            continue
        for words in pages.commands(block):
            if words[0] == "onnx2snn":
                params = main.commands[words[1]].params
                known = {o for p in params for o in (*p.opts, *p.secondary_opts)}
                used = {w for w in words[2:] if re.match(r"--?[a-zA-Z]", w) and w != "--help"}
                assert used <= known, (words[1], used - known)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_what_belongs_to_a_list_is_indented_so_that_the_site_knows_it_too(page: Path) -> None:
    """GitHub takes two spaces for a further paragraph of an item, Python's Markdown only four."""
    assert not re.findall(r"^\n {2,3}\S.*", page.read_text(), re.M)
    assert not re.findall(r"^ {4}\S.*\n(?:- |\d+\. )", page.read_text(), re.M), "a blank line first"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_options_in_sentences_exist(page: Path) -> None:
    known = {
        o for c in main.commands.values() for p in c.params for o in (*p.opts, *p.secondary_opts)
    }
    spans = re.findall(
        r"`(--[a-z][^`]*|onnx2snn [^`]*|(?:convert|run|place|sweep) --[^`]*)`", page.read_text()
    )
    used = {o for span in spans for o in re.findall(r"(?<![\w-])--[a-z][\w-]*", span)}
    assert used - {"--help", "--NAME"} <= known | OF_BENCHMARKS


# Of the programs in benchmarks/, which docs/methods.md and docs/performance.md name.
OF_BENCHMARKS = {
    "--shared",
    "--only",
    "--row",
    "--with",
    "--engines",
    "--peers",
    "--networks",
    "--repeats",
    "--front",
    "--test",
}


@pytest.mark.parametrize("page", RUN, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_what_pages_run_prints_what_they_show(page: Path, tmp_path: Path) -> None:
    """`python tests/pages.py PAGE` writes what is printed now, where that is meant to change."""
    assert not list(pages.differing(page.read_text(), tmp_path))


def test_the_pages_that_must_run_do() -> None:
    assert {p.stem for p in RUN} >= {"README", "ml-engineer", "neuromorphic-engineer", "use"}


@pytest.mark.parametrize(
    ("shown", "printed", "is_same"),
    [
        ("T=8: 98.6 % of 360", "T=8: 98.0 % of 360", True),  # points, of another processor
        ("T=8: 98.6 % of 360", "T=8: 97.5 % of 360", False),
        ("8  8  0.45  12k", "8    8   0.46  12k", True),
        ("8  8  0.45  12k", "8    8   0.50  12k", False),
        ("fits, 3 cores", "does NOT fit, 3 cores", False),
        ("97.2 % ...", "97.3 % and the rest of the line", True),
        ("97.2 % ...", "97.3", False),
    ],
)
def test_a_shown_line_is_held_to_its_words_and_about_to_its_numbers(
    shown: str, printed: str, is_same: bool
) -> None:
    assert pages.same(shown, printed) == is_same


def test_what_differs_from_a_page_is_found_and_what_fails_raises(tmp_path: Path) -> None:
    page = "```sh\nonnx2snn explain T\n```\n```text\nT: no such thing\n```\n"
    ((at, shown, _),) = pages.differing(page, tmp_path)
    assert (at, shown) == (4, "T: no such thing")
    with pytest.raises(AssertionError, match="E120"):
        list(pages.differing("```sh\nonnx2snn explain nothing\n```", _new(tmp_path)))


def _new(folder: Path) -> Path:
    (folder / "other").mkdir()
    return folder / "other"


def test_the_tables_of_readme_and_results_are_those_of_methods() -> None:
    """README's rows are rows of results, and these are rounded rows of methods."""
    methods = {}
    for line in (DOCS / "methods.md").read_text().splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 10 and cells[2].isdigit():
            methods[cells[0], cells[1], cells[2], int(cells[3])] = cells
    results = list(_rows(DOCS / "results.md"))
    for name, how, cells in results:
        for i, steps in enumerate(cells[0].split(" / ")):
            lag = int(steps) // 2 if "--lag" in how else 0
            row = methods[NETWORKS[name], how.split()[0].rstrip(","), steps, lag]
            assert cells[1].split(" / ")[i] == row[5].split()[0], (name, how, steps)
            assert abs(float(cells[2].split(" / ")[i]) - float(row[7])) < 0.0501
            if given := re.search(r"latency ([\d /]+) steps", how):
                assert given[1].split(" / ")[i] == row[4]
    readme = list(_rows(ROOT / "README.md"))
    assert len(readme) == 5 and len(results) == 38 and all(row in results for row in readme)


NETWORKS = {
    "ResNet-32, CIFAR-10": "resnet32",
    "ResNet-20, CIFAR-10": "resnet20",
    "ResNet-20 with BatchNorm, CIFAR-10": "resnet20_bn",
    "DS-CNN, keyword spotting": "kws_dscnn",
    "LeNet, MNIST, max pooling": "mnist_lenet_maxpool",
    "LeNet, MNIST, average pooling": "mnist_lenet_avgpool",
    "EfficientNet-Lite0, ImageNet": "efficientnet_lite0",
}


def _rows(page: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Rows of a page's table of networks: network, recipe, and T, points, spikes, images."""
    name = ""
    for line in page.read_text().splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 6 and re.match(r"\d", cells[2]):
            name = cells[0] or name
            yield name, cells[1], cells[2:]


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
