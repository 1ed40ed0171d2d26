"""Mails as bytes, read back by Python's own parser."""

from __future__ import annotations

import email
from email.headerregistry import Address, UniqueAddressHeader
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.channels.delivery import Mail
from fanout.channels.letter import From, build
from fanout.channels.mail_address import Mailbox, read

SHOP = Mailbox("no-reply", "shop.example")
ALICE = Mailbox("alice", "example.org")
NOW = 1_800_000_000.0
ID = "0123456789abcdef0123456789abcdef"
KNOWN = {
    "From", "To", "Subject", "Message-ID", "Date", "Auto-Submitted", "MIME-Version", "Content-Type",
    "Content-Transfer-Encoding", "Reply-To", "List-Unsubscribe", "List-Unsubscribe-Post",
}  # fmt: skip


def made(mail: Mail, *, to: Mailbox = ALICE, name: str = "", sender: From | None = None, **more: Any) -> bytes:
    return build(mail, sender=sender or From.of(SHOP, "Shop"), to=to, name=name, delivery_id=ID, now=NOW, **more)


def parsed(raw: bytes, to: Mailbox = ALICE) -> EmailMessage:
    found = email.message_from_bytes(raw, policy=SMTPUTF8 if to.international else SMTP)
    assert isinstance(found, EmailMessage)
    assert found.defects == []
    assert set(found.keys()) <= KNOWN
    assert len(found.keys()) == len(set(found.keys()))
    return found


def addresses(message: EmailMessage, field: str) -> tuple[Address, ...]:
    header = message[field]
    assert isinstance(header, UniqueAddressHeader)
    return header.addresses


def utf8(text: str) -> str:
    """Raw UTF-8 of a header (RFC 6532), which the parser gives as surrogates."""
    return text.encode(errors="surrogateescape").decode()


def body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert isinstance(part, EmailMessage)
    content: str = part.get_content()
    return content.replace("\r\n", "\n").removesuffix("\n")


def test_text_and_html() -> None:
    raw = made(Mail("Sent", "On its way", "<p>On its way — für dich"), name="Alice")
    found = parsed(raw)
    assert found["From"] == "Shop <no-reply@shop.example>"
    assert found["To"] == "Alice <alice@example.org>"
    assert found["Subject"] == "Sent"
    assert found["Message-ID"] == f"<{ID}@shop.example>"
    assert found["Date"] == "Fri, 15 Jan 2027 08:00:00 -0000"
    assert found["Auto-Submitted"] == "auto-generated"
    assert found.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in found.iter_parts()] == ["text/plain", "text/html"]
    assert body(found, "plain") == "On its way"
    assert body(found, "html") == "<p>On its way — für dich"
    assert "List-Unsubscribe" not in found


def test_text_alone() -> None:
    found = parsed(made(Mail("Sent", "On its way\n.\nFrom here\n")))
    assert found.get_content_type() == "text/plain"
    assert found["Content-Transfer-Encoding"] == "7bit"
    assert body(found, "plain") == "On its way\n.\nFrom here"


def test_one_click_unsubscribing_stands_on_one_line() -> None:
    url = "https://tocsin.example/u/" + "t" * 600
    raw = made(Mail("Sent", "x"), unsubscribe=url)
    assert f"\r\nList-Unsubscribe: <{url}>\r\n".encode() in raw
    assert b"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in raw


@pytest.mark.parametrize(
    "url",
    [
        "https://x.example/\r\nBcc: a@b.example",
        "https://x.example/>,<mailto:a@b",
        "https://x/" + "a" * 999,
        "https://ü",
    ],
)
def test_a_url_that_breaks_out_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="List-Unsubscribe"):
        made(Mail("Sent", "x"), unsubscribe=url)


@pytest.mark.parametrize("text", ["Hi\r\nBcc: x@evil.example", "Hi\nBcc: x", "Hi\rBcc: x", "a" * 80 + "\r\nBcc: x"])
def test_a_line_break_in_a_header_is_refused(text: str) -> None:
    for options in ({"mail": Mail(text, "x")}, {"mail": Mail("x", "x"), "name": text}):
        with pytest.raises(ValueError, match=r"linefeed|control character"):
            made(**options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="control character"):
        From.of(SHOP, text)


@pytest.mark.parametrize(
    "name", ["", "Alice", 'Al "the" B, C <d@e>', "Ålice", "名前" * 20, "a" * 90, "=?utf-8?q?x?=", "a@b"]
)
@pytest.mark.parametrize(
    "address", ["alice@example.org", '"john doe"@example.org', "a@bücher.example", "юзер@пример.рф"]
)
def test_to_is_one_address_whatever_the_name(name: str, address: str) -> None:
    to = read(address)
    assert to is not None
    (found,) = addresses(parsed(made(Mail("x", "x"), to=to, name=name), to), "To")
    assert found.domain == to.domain
    assert utf8(found.username) == to.local.strip('"')
    if "=?" not in name:  # the parser leaves the spaces between encoded words that RFC 2047 §6.2 takes out
        assert utf8(found.display_name).replace(" ", "") == name.replace(" ", "")


def test_answers_go_where_the_sender_says() -> None:
    sender = From.of(SHOP, "Größe & Co", Mailbox("help", "shop.example"))
    found = parsed(made(Mail("x", "x"), sender=sender))
    assert addresses(found, "From")[0].display_name == "Größe & Co"
    assert addresses(found, "Reply-To")[0].addr_spec == "help@shop.example"


@pytest.mark.parametrize(
    "text",
    ["é", "a" * 999, "x\r\ny", "x\ry\n", "", "a\0b", "--=_" + ID, "\ud800", "é" * 2000],
)
def test_any_body_arrives(text: str) -> None:
    raw = made(Mail("x", text, text))
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert b"\r" not in raw.replace(b"\r\n", b"")
    found = body(parsed(raw), "plain")
    expected = text.replace("\r\n", "\n").replace("\r", "\n").encode(errors="replace").decode()
    assert found == expected.removesuffix("\n")


@given(subject=st.text(max_size=300), name=st.text(max_size=60), text=st.text(max_size=100))
def test_nothing_breaks_out(subject: str, name: str, text: str) -> None:
    try:
        raw = made(Mail(subject, text, text), name=name)
    except (ValueError, UnicodeError):
        return
    found = parsed(raw)
    assert len(addresses(found, "To")) == 1
    assert [part.get_content_type() for part in found.iter_parts()] == ["text/plain", "text/html"]
    if "=?" not in subject and subject.isprintable():
        assert " ".join(str(found["Subject"]).split()) == " ".join(subject.split())
