"""Profiles: which addresses are taken, how they are shown and looked up, and that no value is ever quoted."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.people.profile import BadProfile, Contacts, Profile, Webhook, address_fault, mask, normal, parse

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
NEW = "whsec_" + base64.b64encode(b"n" * 32).decode()
WHOLE = {
    "locale": "pt-BR",
    "timezone": "America/Sao_Paulo",
    "name": "Ana Luísa",
    "data": {"plan": "gold"},
    "email": "Ana.Luisa+shop@Example.com",
    "phone": "+5511987654321",
    "webhook": {"url": "https://ana.example/hook?x=1", "secret": SECRET},
}
ANA = Profile(
    "pt-BR",
    "America/Sao_Paulo",
    "Ana Luísa",
    {"plan": "gold"},
    Contacts("Ana.Luisa+shop@Example.com", "+5511987654321", Webhook("https://ana.example/hook?x=1", SECRET)),
)


def test_a_whole_profile() -> None:
    assert parse(WHOLE, NEW) == ANA
    assert parse(ANA.document(), NEW) == ANA
    assert parse({}, NEW) == Profile()
    assert parse(dict.fromkeys(WHOLE), NEW) == Profile()
    for private in (ANA, ANA.contacts, ANA.contacts.webhook):
        assert not [text for text in ("xample", "5511", "whsec_", "Luísa", "gold") if text in repr(private)]


def test_it_is_shown_masked_or_whole_and_without_its_secret() -> None:
    plain = {"locale": "pt-BR", "timezone": "America/Sao_Paulo", "name": "Ana Luísa", "data": {"plan": "gold"}}
    assert ANA.to_json(masked=True) == plain | {
        "email": "A…@Example.com",
        "phone": "+55…21",
        "webhook": {"url": "https://ana.example/…"},
    }
    assert ANA.to_json(masked=False) == plain | {
        "email": "Ana.Luisa+shop@Example.com",
        "phone": "+5511987654321",
        "webhook": {"url": "https://ana.example/hook?x=1"},
    }
    assert Profile().to_json(masked=True) == {}


def test_a_webhook_without_a_secret_gets_the_new_one() -> None:
    found = parse({"webhook": {"url": "http://10.0.0.1:8080/hook"}}, NEW)
    assert isinstance(found, Profile)
    assert found.contacts.webhook == Webhook("http://10.0.0.1:8080/hook", NEW)


@given(
    st.builds(
        Contacts, st.none() | st.emails(), st.none() | st.just("+4930123456"), st.none() | st.just(ANA.contacts.webhook)
    )
)
def test_contacts_survive_as_texts(contacts: Contacts) -> None:
    assert Contacts.from_texts(contacts.texts()) == contacts


@pytest.mark.parametrize(
    "address",
    [
        "a@b.co",
        "first.last@sub.example.com",
        "o'neil+tag@xn--bcher-kva.example",
        "a@1.example",
        "x" * 64 + "@example.com",
    ],
)
def test_an_email_address(address: str) -> None:
    assert address_fault("email", address) is None


@pytest.mark.parametrize(
    "address",
    [
        None,
        7,
        "",
        "a",
        "@b.co",
        "a@",
        "a@localhost",
        "a@b..co",
        ".a@b.co",
        "a.@b.co",
        "a..b@c.co",
        "a@-b.co",
        "a@b-.co",
        "a@b.co.",
        "a b@c.co",
        "a@b@c.co",
        "a@b.co\r\nBcc: x@y.co",
        "a@b.co\n",
        "a,b@c.co",
        "A <a@b.co>",
        '"a b"@c.co',
        "a@[127.0.0.1]",
        "ä@b.co",
        "a@bücher.example",
        "x" * 65 + "@example.com",
        "a@" + "b" * 64 + ".co",
        "a@" + ".".join(["b" * 60] * 5) + ".co",
    ],
)
def test_what_is_no_email_address(address: Any) -> None:
    assert address_fault("email", address) is not None


@pytest.mark.parametrize("number", ["+4930123456", "+1234567", "+123456789012345"])
def test_a_phone_number(number: str) -> None:
    assert address_fault("phone", number) is None


@pytest.mark.parametrize(
    "number",
    [
        None,
        "",
        "030123456",
        "+0123456789",
        "+123456",
        "+1234567890123456",
        "+49 30 123456",
        "+49301234\n",
        "+٤٩٣٠١٢٣٤٥",
    ],
)
def test_what_is_no_phone_number(number: Any) -> None:
    assert address_fault("phone", number) is not None


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        ("alice", ""),
        ({"e-mail": "a@b.co"}, ""),
        ({"locale": "x"}, "/locale"),
        ({"timezone": "Mars/Olympus"}, "/timezone"),
        ({"name": ""}, "/name"),
        ({"name": "a\nBcc: b"}, "/name"),
        ({"name": "a\u2028b"}, "/name"),
        ({"name": "x" * 201}, "/name"),
        ({"name": 1}, "/name"),
        ({"data": []}, "/data"),
        ({"data": {"n": 2**64}}, "/data"),
        ({"data": {"x": "y" * 8192}}, "/data"),
        ({"data": {"a": [[[[[[[[1]]]]]]]]}}, "/data"),
        ({"email": "a…@b.co"}, "/email"),
        ({"phone": "1"}, "/phone"),
        ({"webhook": "https://a.example"}, "/webhook"),
        ({"webhook": {}}, "/webhook"),
        ({"webhook": {"url": "https://a.example", "key": 1}}, "/webhook"),
        ({"webhook": {"url": "ftp://a.example"}}, "/webhook"),
        ({"webhook": {"url": "https://"}}, "/webhook"),
        ({"webhook": {"url": "https://u:p@a.example"}}, "/webhook"),
        ({"webhook": {"url": "https://u@a.example"}}, "/webhook"),
        ({"webhook": {"url": "https://a.example/#x"}}, "/webhook"),
        ({"webhook": {"url": "https://a.example:0"}}, "/webhook"),
        ({"webhook": {"url": "https://a.example:x"}}, "/webhook"),
        ({"webhook": {"url": "https://[a.example"}}, "/webhook"),
        ({"webhook": {"url": "https://a.example/ b"}}, "/webhook"),
        ({"webhook": {"url": "https://a.example/" + "b" * 2048}}, "/webhook"),
        ({"webhook": {"url": 7}}, "/webhook"),
        ({"webhook": {"url": "https://a.example", "secret": "short"}}, "/webhook"),
        ({"webhook": {"url": "https://a.example", "secret": 7}}, "/webhook"),
        ({"webhook": {"url": "https://a.example", "secret": "whsec_c2hvcnQ="}}, "/webhook"),
        ({"webhook": {"url": "https://a.example", "secret": "whsec_abcde"}}, "/webhook"),
        ({"webhook": {"url": "https://a.example", "secret": SECRET + " " + SECRET}}, "/webhook"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_not_quoted(raw: Any, pointer: str) -> None:
    found = parse(raw, NEW)
    assert isinstance(found, BadProfile)
    assert [problem.pointer for problem in found.problems] == [pointer]
    assert "b.co" not in found.problems[0].message


def test_all_faults_are_told_at_once() -> None:
    found = parse({"email": "x", "phone": "y", "name": ""}, NEW)
    assert isinstance(found, BadProfile)
    assert [problem.pointer for problem in found.problems] == ["/name", "/email", "/phone"]


def test_how_addresses_are_looked_up_and_masked() -> None:
    assert normal("email", "Ana@Example.COM") == "ana@example.com"
    assert normal("phone", "+4930123456") == "+4930123456"
    assert mask("email", "a@b.co") == "a…@b.co"
    assert mask("webhook", "http://a.example:81/secret/path?token=1") == "http://a.example/…"
