"""What a build of the site of docs/ adds (docs/hooks): references made from the code, and the check
that no page needs the network. mkdocs itself runs in .ci/run."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest
from places import DOCS

import onnx2snn
from onnx2snn.cli import main
from onnx2snn.cli.help import EXAMPLES


def hook(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / "hooks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_of_the_command_line_has_every_verb_and_option_in_the_order_of_the_work() -> (
    None
):
    page = hook("reference").command_line(main.commands)
    parts = page.split("\n## ")[1:]
    assert [part.splitlines()[0] for part in parts] == list(EXAMPLES)
    for part in parts:
        verb = part.splitlines()[0]
        for param in main.commands[verb].params:
            if param.param_type_name == "option":
                assert f"| `{param.opts[0]}" in part or f", {param.opts[-1]}" in part, param.name


def test_the_reference_of_python_has_every_name_with_its_parameters() -> None:
    reference = hook("reference")
    page = reference.python(onnx2snn)
    for name in onnx2snn.__all__:
        assert f"\n### {name}\n" in page
    convert = page.split("\n### convert\n")[1].split("\n### ")[0]
    assert "calibration" in convert and "-> SpikingGraph" in convert and "0x" not in page


def test_a_signature_is_shown_as_it_is_called() -> None:
    def short(a: int, *rest: str, b: float = 0.5) -> None: ...

    signature = hook("reference").signature
    assert signature("short", short) == "short(a: int, *rest: str, b: float = 0.5) -> None"
    shown = signature("load_samples", onnx2snn.load_samples).splitlines()
    assert shown[0] == "load_samples(" and "    *," in shown and len(shown) > 5


@pytest.mark.parametrize(
    ("name", "text", "loads"),
    [
        ("a.html", '<script src="https://cdn.example/x.js"></script>', 1),
        ("a.html", '<link rel="preconnect stylesheet" href="//fonts.example/f">', 1),
        ("a.html", '<img src="http://x.example/a.png" srcset="https://x.example/b.png 2x">', 2),
        (
            "a.html",
            '<style>@import "https://x.example/a.css";</style><p style="background:url(//x/y)">',
            2,
        ),
        ("a.html", '<pre class="mermaid">graph</pre>', 1),
        ("a.css", "@font-face {src: url('https://fonts.example/r.woff2')}", 1),
        (
            "a.html",
            '<a href="https://example.org">read</a><link rel="canonical" href="https://e">',
            0,
        ),
        ("a.html", '<script src="assets/x.js"></script><img src="data:image/png;base64,AA">', 0),
        ("a.css", "a {background: url(data:image/svg+xml;charset=utf-8,<svg/>)}", 0),
    ],
)
def test_what_a_page_loads_from_elsewhere_is_found_and_links_are_not(
    name: str, text: str, loads: int
) -> None:
    assert len(hook("offline").remote_loads(name, text)) == loads
