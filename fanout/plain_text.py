"""The text part of a mail made from its HTML: what one reads, in the order one reads it, links with their addresses.

Pure. For HTML that our own templates made; anything else comes out readable too, but is not judged. One pass with one
pattern: Python's own HTML parser takes four times as long, which was more than all of the rest of a mail.
"""

from __future__ import annotations

import re
from html import unescape
from typing import Final

SILENT: Final = frozenset(("head", "style", "script", "title", "template"))
"""Elements of which nothing is shown."""
PARAGRAPHS: Final = frozenset(
    ("p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "blockquote", "pre", "section", "article", "hr")
)
LINES: Final = frozenset(("div", "tr", "li", "dt", "dd", "header", "footer", "main"))
VOID: Final = frozenset(("br", "hr", "img", "meta", "link", "input", "wbr", "col"))

# What is never closed ends with the text, so no part of it is ever looked at twice.
_TOKEN: Final = re.compile(
    r"""<!--.*?(?:-->|\Z)|<!.*?(?:>|\Z)"""
    r"""|<(?P<end>/?)(?P<tag>[a-zA-Z][a-zA-Z0-9]*)(?P<attributes>(?:[^<>"']|"[^"]*"|'[^']*')*+)>"""
    r"""|(?P<words>[^<]+|<)""",
    re.DOTALL,
)
_HIDDEN: Final = re.compile(r"display\s*:\s*none", re.IGNORECASE)
_SPACE: Final = re.compile(r"\s+")
_BREAKS: Final = re.compile(r" ?[\n\v][ \n\v]*")


class _Reader:
    """Collects the words; `\v` stands for "begin a new line here", `\n` for a line break of its own."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._silent: list[str] = []
        """Open elements inside of the outermost one that is not shown."""
        self._links: list[tuple[str, int]] = []

    def start(self, tag: str, attributes: str) -> None:
        if self._silent or tag in SILENT or ("style" in attributes and _HIDDEN.search(attributes)):
            if tag not in VOID:
                self._silent.append(tag)
            return
        self._break(tag)
        if tag == "li":
            self.found.append("- ")
        elif tag == "img":
            self.found.append(_attribute("alt", attributes))
        elif tag in ("td", "th"):
            self.found.append(" ")
        elif tag == "a":
            self._links.append((_attribute("href", attributes), len(self.found)))

    def end(self, tag: str) -> None:
        if self._silent:
            if tag in self._silent:
                while self._silent.pop() != tag:
                    pass
            return
        if tag == "a" and self._links:
            href, start = self._links.pop()
            self._link(href, "".join(self.found[start:]).strip())
        self._break(tag)

    def words(self, text: str) -> None:
        if not self._silent:
            self.found.append(_SPACE.sub(" ", unescape(text)))

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


def _attribute(name: str, attributes: str) -> str:
    found = re.search(rf"""(?:^|\s){name}\s*=\s*("[^"]*"|'[^']*'|[^\s"']+)""", attributes, re.IGNORECASE)
    return unescape(found[1].strip("\"'")) if found else ""


def from_html(html: str) -> str:
    """The words of an HTML document as lines of text, at most one of them empty in a row."""
    reader = _Reader()
    for token in _TOKEN.finditer(html):
        if (words := token["words"]) is not None:
            reader.words(words)
        elif (tag := token["tag"]) is not None:
            tag = tag.lower()
            if not token["end"]:
                reader.start(tag, token["attributes"])
            elif tag not in VOID:
                reader.end(tag)
    text = re.sub(r"[ \t\u00a0]+", " ", "".join(reader.found))
    return _BREAKS.sub(lambda run: "\n" * min(2, max(1, run[0].count("\n"))), text).strip()
