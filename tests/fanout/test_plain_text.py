"""Mail text made from HTML."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.plain_text import from_html


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Hello</p><p>You</p>", "Hello\n\nYou"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("<div>a</div><div>b</div>", "a\nb"),
        ("a<br><br><br>b", "a\n\nb"),
        ("one   \n two", "one two"),
        ("1 &lt; 2 &amp;&nbsp;3 &euro;", "1 < 2 & 3 €"),
        ("<head><title>t</title><style>p{}</style></head><body>x<script>y()</script></body>", "x"),
        ('<div style="display:none">peek<br><img alt="x"> <b>deep</b></div>seen', "seen"),
        ('<div style="Display : None"><p>a<p>b</div>seen', "seen"),
        ('<a href="https://x.example/a?b=1&amp;c=2">Open</a>', "Open <https://x.example/a?b=1&c=2>"),
        ('<a href="https://x.example/"></a>', "https://x.example/"),
        ('<a href="https://x.example/">https://x.example/</a>', "https://x.example/"),
        ('<a href="mailto:a@b.example">a@b.example</a>', "a@b.example"),
        ('<a href="javascript:x()">Go</a> <a>no</a>', "Go no"),
        ("</a>x", "x"),
        ("<ul><li>a</li><li>b</li></ul>", "- a\n- b"),
        ("<table><tr><td>Sum</td><td>7</td></tr></table>", "Sum 7"),
        ('<img src="x" alt="Logo"><img src="y">', "Logo"),
        ("<style>a", ""),
        ("<head></p></head>x", "x"),
        ("", ""),
    ],
)
def test_reads_as_one_would(html: str, text: str) -> None:
    assert from_html(html) == text


@given(st.text(alphabet="<>/ab p\n&;\"'=!-", max_size=200))
def test_anything_comes_out_as_tidy_lines(html: str) -> None:
    text = from_html(html)
    assert "\n\n\n" not in text
    assert text == text.strip()


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("a<!-- b <p> -->c", "ac"),
        ("a<!-- never closed <p>b", "a"),
        ("<!DOCTYPE html>a<!x", "a"),
        ("1 < 2 <3", "1 < 2 <3"),
        ("<A HREF='https://x.example/'>Go</A>", "Go <https://x.example/>"),
        ("<a href=https://x.example/>Go</a>", "Go <https://x.example/>"),
        ('<a title="a > b" href="https://x.example/">Go</a>', "Go <https://x.example/>"),
        ("<script>if (a<b) x()</script>y", "y"),
    ],
)
def test_what_else_html_has(html: str, text: str) -> None:
    assert from_html(html) == text


@pytest.mark.parametrize("piece", ["<a ", '<a "', "<a '", "<!--", "<!", "<", "<p>", "</p", "&", "<a href=x "])
def test_no_document_takes_long(piece: str) -> None:
    assert len(from_html(piece * (200_000 // len(piece)))) <= 200_000
