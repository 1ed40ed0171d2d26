"""The text part of a mail made from its HTML: what one reads, in the order one reads it, links with their addresses.

Pure. For HTML that our own templates made; anything else comes out readable too, but is not judged.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Final

SILENT: Final = frozenset(("head", "style", "script", "title", "template"))
"""Elements of which nothing is shown."""
PARAGRAPHS: Final = frozenset(
    ("p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "blockquote", "pre", "section", "article", "hr")
)
LINES: Final = frozenset(("div", "tr", "li", "dt", "dd", "header", "footer", "main"))
VOID: Final = frozenset(("br", "hr", "img", "meta", "link", "input", "wbr", "col"))
_HIDDEN: Final = re.compile(r"display\s*:\s*none", re.IGNORECASE)


class _Reader(HTMLParser):
    """Collects the words; `\v` stands for "begin a new line here", `\n` for a line break of its own."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._silent: list[str] = []
        """Open elements inside of the outermost one that is not shown."""
        self._links: list[tuple[str, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if self._silent or tag in SILENT or _HIDDEN.search(given.get("style") or ""):
            if tag not in VOID:
                self._silent.append(tag)
            return
        self._break(tag)
        if tag == "li":
            self.found.append("- ")
        elif tag == "img":
            self.found.append(given.get("alt") or "")
        elif tag in ("td", "th"):
            self.found.append(" ")
        elif tag == "a":
            self._links.append((given.get("href") or "", len(self.found)))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:  # `<br/>`
            return
        if self._silent:
            if tag in self._silent:
                while self._silent.pop() != tag:
                    pass
            return
        if tag == "a" and self._links:
            href, start = self._links.pop()
            self._link(href, "".join(self.found[start:]).strip())
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.found.append(re.sub(r"\s+", " ", data))

    def _link(self, href: str, words: str) -> None:
        if href.startswith(("https://", "http://", "mailto:")) and href.removeprefix("mailto:") != words:
            self.found.append(f" <{href}>" if words else href)

    def _break(self, tag: str) -> None:
        if tag in PARAGRAPHS:
            self.found.append("\n\n")
        elif tag == "br":
            self.found.append("\n")
        elif tag in LINES:
            self.found.append("\v")


def from_html(html: str) -> str:
    """The words of an HTML document as lines of text, at most one of them empty in a row."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    text = re.sub(r"[ \t\u00a0]+", " ", "".join(reader.found))
    return re.sub(r" ?[\n\v][ \n\v]*", _breaks, text).strip()


def _breaks(run: re.Match[str]) -> str:
    return "\n" * min(2, max(1, run[0].count("\n")))
