"""Which addresses mail can go to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.channels.mail_address import Mailbox, read


@pytest.mark.parametrize(
    ("address", "local", "domain"),
    [
        ("alice@example.org", "alice", "example.org"),
        ("a.b+tag@Sub.Example.ORG", "a.b+tag", "sub.example.org"),
        ('"john doe"@example.org', '"john doe"', "example.org"),
        ('"a@b"@example.org', '"a@b"', "example.org"),
        (r'"a\"b\\c"@example.org', r'"a\"b\\c"', "example.org"),
        ("alice@bücher.example", "alice", "xn--bcher-kva.example"),
        ("юзер@пример.рф", "юзер", "xn--e1afmkfd.xn--p1ai"),
        ("a@localhost", "a", "localhost"),
    ],
)
def test_an_address(address: str, local: str, domain: str) -> None:
    found = read(address)
    assert found == Mailbox(local, domain)
    assert found.address == f"{local}@{domain}"
    assert found.international == (not local.isascii())


@pytest.mark.parametrize(
    "address",
    [
        "",
        "alice",
        "@example.org",
        "alice@",
        "a b@example.org",
        "a..b@example.org",
        ".a@example.org",
        "<a@example.org>",
        "Alice <a@example.org>",
        "a@example.org>",
        "a@exa mple.org",
        "a@example.org\r\nRCPT TO:<b@example.org>",
        "a\r\n@example.org",
        '"a\r\nb"@example.org',
        '"a\0b"@example.org',
        '"a"b"@example.org',
        "a@[127.0.0.1]",
        "a@-x.example",
        "a@x..example",
        "a@" + "x" * 64 + ".example",
        "a" * 65 + "@example.org",
        "ä" * 33 + "@example.org",
        "a@" + ".".join(["x" * 60] * 5),
        "a\u2028b@example.org",
        "a,b@example.org",
        "a\ud800@example.org",
    ],
)
def test_no_address(address: str) -> None:
    assert read(address) is None


@given(st.text(max_size=80))
def test_whatever_is_read_ends_no_command(text: str) -> None:
    for address in (text, text + "@example.org", "a@" + text, f'"{text}"@example.org'):
        if (found := read(address)) is not None:
            assert found.address.isprintable()
            assert found.domain.isascii()
            assert not set(found.domain) & set(" <>\"'(),:;@[]\\")
