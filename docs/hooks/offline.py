"""Does a built site load anything from the network? Links that a reader may follow do not count."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

REMOTE = re.compile(r"\s*(?:https?:)?//", re.I)
LOADED_RELATIONS = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch"}
LOADED_RELATIONS |= {"modulepreload", "manifest"}
IN_STYLES = re.compile(r"""(?:url\(|@import)\s*['"]?\s*((?:https?:)?//[^'")\s]+)""", re.I)


class _Loads(HTMLParser):
    """What the elements of a page load by themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        loaded = [given.get(name, "") for name in ("src", "poster", "data", "srcset", "xlink:href")]
        if tag == "link" and LOADED_RELATIONS & set(given.get("rel", "").lower().split()):
            loaded.append(given.get("href", ""))
        if "mermaid" in given.get("class", "").split():
            loaded.append(
                "//a script for mermaid diagrams"
            )  # the theme fetches it where one stands
        self.found += [url for url in loaded if REMOTE.match(url)]
        self.found += IN_STYLES.findall(given.get("style", ""))


def remote_loads(name: str, text: str) -> list[str]:
    """What the file ``name`` (.html or .css) of a site would fetch from elsewhere."""
    if name.endswith(".css"):
        return IN_STYLES.findall(text)
    page = _Loads()
    page.feed(text)
    styles = re.findall(r"<style[^>]*>(.*?)</style>", text, re.S | re.I)
    return page.found + [url for style in styles for url in IN_STYLES.findall(style)]


def of_site(folder: Path) -> Iterator[str]:
    """A line for everything that a page or style sheet in ``folder`` fetches from elsewhere."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".html", ".css"):
            for url in remote_loads(path.name, path.read_text(errors="replace")):
                yield f"{path.relative_to(folder)} loads {url}"
