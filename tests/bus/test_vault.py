"""The vault: what is sealed opens with its key and in its place only, and the index tells nothing without a key."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from bus.people.vault import KEY_BYTES, Unreadable, Vault, unsubscribe_secret, vault_of
from bus.settings import BadSetting


def key(byte: int) -> str:
    return base64.urlsafe_b64encode(bytes((byte,)) * KEY_BYTES).decode().rstrip("=")


OLD, NEW, INDEX = f"old:{key(1)}", f"new:{key(2)}", key(3)
VAULT = Vault((OLD,), INDEX)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)


@given(TEXTS, st.binary(min_size=12, max_size=12), TEXTS)
def test_what_is_sealed_opens_in_its_place_only(text: str, nonce: bytes, context: str) -> None:
    sealed = VAULT.seal(text, nonce, context)
    assert VAULT.open(sealed, context) == text
    assert isinstance(VAULT.open(sealed, context + "x"), Unreadable)


def test_it_is_aes_256_gcm_with_the_key_id_in_front() -> None:
    sealed = VAULT.seal("alice@example.com", b"n" * 12, "alice")
    key_id, _, rest = sealed.partition(".")
    data = base64.urlsafe_b64decode(rest)
    assert (key_id, data[:12]) == ("old", b"n" * 12)
    assert AESGCM(bytes((1,)) * 32).decrypt(data[:12], data[12:], b"old\0alice") == b"alice@example.com"


def test_keys_rotate() -> None:
    sealed = VAULT.seal("secret", b"0" * 12)
    both = Vault((NEW, OLD), INDEX)
    assert both.open(sealed) == "secret"
    assert (both.stale(sealed), VAULT.stale(sealed)) == (True, False)
    again = both.seal("secret", b"1" * 12)
    assert again.startswith("new.")
    assert not both.stale(again)
    assert Vault((NEW,), INDEX).open(again) == "secret"
    assert isinstance(Vault((NEW,), INDEX).open(sealed), Unreadable)


@given(st.integers(4, 100), st.integers(1, 255))
def test_what_was_tampered_with_does_not_open(place: int, change: int) -> None:
    sealed = VAULT.seal("alice@example.com", b"n" * 12)
    data = bytearray(base64.urlsafe_b64decode(sealed.partition(".")[2]))
    data[place % len(data)] ^= change
    assert isinstance(VAULT.open("old." + base64.urlsafe_b64encode(data).decode()), Unreadable)


@pytest.mark.parametrize("sealed", ["", "old", "old.", "old.AAAA", "old.!!", "old.ä", "other.AAAA", ".AAAA"])
def test_what_was_never_sealed_does_not_open(sealed: str) -> None:
    found = VAULT.open(sealed)
    assert isinstance(found, Unreadable)
    assert "AAAA" not in found.reason


def test_the_index_depends_on_kind_text_and_key() -> None:
    found = VAULT.index("email", "a@b.example")
    assert found == Vault((NEW,), INDEX).index("email", "a@b.example")
    others = [
        VAULT.index("phone", "a@b.example"),
        VAULT.index("email", "b@b.example"),
        VAULT.index("emaila", "@b.example"),
    ]
    assert len({found, *others, Vault((OLD,), key(4)).index("email", "a@b.example")}) == 5
    assert len(found) == 32
    assert set(found) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    ("keys", "index", "says"),
    [
        ((), INDEX, "directory_keys is empty"),
        ((OLD, OLD), INDEX, "two keys with one id"),
        ((key(1),), INDEX, "of the form id:base64url"),
        ((f":{key(1)}",), INDEX, "of the form id:base64url"),
        ((f"a.b:{key(1)}",), INDEX, "of the form id:base64url"),
        (("a:c2hvcnQ",), INDEX, "directory_keys: the key a must be 32 bytes"),
        (("a:not base64!",), INDEX, "directory_keys: the key a must be 32 bytes"),
        (("a:ä",), INDEX, "directory_keys: the key a must be 32 bytes"),
        ((OLD,), "", "directory_index_key must be 32 bytes"),
    ],
)
def test_wrong_keys_are_named_and_not_shown(keys: tuple[str, ...], index: str, says: str) -> None:
    with pytest.raises(BadSetting) as caught:
        Vault(keys, index)
    assert says in str(caught.value)
    assert key(1) not in str(caught.value)


def test_the_secret_of_unsubscribe_links_is_the_index_keys() -> None:
    assert unsubscribe_secret(INDEX) == unsubscribe_secret(INDEX + "=")
    assert unsubscribe_secret(INDEX) != unsubscribe_secret(key(4))
    with pytest.raises(BadSetting, match="directory_index_key"):
        unsubscribe_secret("")


def test_without_any_key_there_is_no_vault() -> None:
    assert vault_of((), "") is None
    assert isinstance(vault_of((OLD,), INDEX), Vault)
    for keys, index in (((OLD,), ""), ((), INDEX)):
        with pytest.raises(BadSetting):
            vault_of(keys, index)
