"""Pages in a real browser: headless Chromium, where it is installed and starts."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
WIDTHS = (390, 1280)


# Before any script of a page: what goes wrong in it is counted.
WATCH = """<script>
let failed = 0;
addEventListener("error", () => { failed += 1; });
console.error = () => { failed += 1; };
</script>"""


def said_at_both_widths(page: str, probe: str) -> set[str]:
    """What the script ``probe``, run at the end of ``page``, puts into the list ``said``, as text
    with commas, on screens of 390 and 1280 pixels. Skips the test where there is no browser."""
    return {text.partition(",")[2] for text in said_of({"": (page, probe)})}


def said_of(pages: Mapping[str, tuple[str, str]]) -> set[str]:
    """The same of several pages, each with its probe, by a name that comes first; ``failed``: how
    many errors there were in the page. The browser is started once."""
    if not _starts():
        pytest.skip("no Chromium here")
    frames = []
    for name, (page, probe) in pages.items():
        script = f"<script>const said = ['{name}', innerWidth];{probe};"
        script += "parent.document.title += said + ';'</script></body>"
        whole = escape(page.replace("<head>", f"<head>{WATCH}").replace("</body>", script))
        frames += [
            f'<iframe srcdoc="{whole}" style="border:0;width:{width}px;height:900px"></iframe>'
            for width in WIDTHS
        ]
    title = _title_after(f"<title></title>{''.join(frames)}")
    return set(title.rstrip(";").split(";"))


@cache
def _starts() -> bool:
    if BROWSER is None:
        return False
    try:
        return _title_after("<script>document.title = 1 + 1</script>") == "2"
    except (subprocess.SubprocessError, OSError):
        return False


def _title_after(page: str) -> str:
    """The title of a page once its scripts have run."""
    assert BROWSER is not None
    with TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(page)
        how = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        done = subprocess.run(
            [BROWSER, *how, f"--user-data-dir={folder}/p", "--dump-dom", file.as_uri()],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    return done.stdout.split("<title>")[1].split("</title>")[0] if "<title>" in done.stdout else ""
