"""Tokens: what is granted, and every way of asking for more (RFC 8725; DESIGN §7)."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth import EXPIRED, INVALID, MAX_TOKEN, Rules, UnknownKey, verify
from gateway.effects import UNSTAMPED, Claims, Denied, Stamp
from gateway.keyring import Key, KeyRing, public_key, secret_key
from tests.gateway.signing import CLAIMS, NOW, SECRET, forged, public_pem, token

RING = KeyRing([secret_key(SECRET)])
RULES = Rules("tocsin", "tocsin", leeway=10.0)
HEADER = {"alg": "HS256", "typ": "JWT"}


def look(token: str, ring: KeyRing = RING, now: float = NOW, topic: str | None = None) -> Claims | Denied | UnknownKey:
    return verify(token, ring, RULES, now, topic)


def test_what_a_token_grants() -> None:
    granted = look(token(topics=["news:sport", "team:red"], info={"name": "Alice"}, nbf=NOW, iat=NOW))
    named = b'{"name":"Alice"}'
    assert granted == Claims("alice", NOW + 60, ("news:sport", "team:red"), named, stamp=Stamp("", NOW))
    assert look(token()) == Claims("alice", NOW + 60)


@pytest.mark.parametrize("kind", ["RS256", "ES256", "ES384", "EdDSA"])
def test_asymmetric(kind: str) -> None:
    ring = KeyRing([public_key(public_pem(kind))])
    assert look(token(kind), ring) == Claims("alice", NOW + 60)
    assert look(token(kind)[:-8] + "AAAAAAAA", ring) == INVALID
    assert look(token(), ring) == INVALID


def test_a_subscription_token_is_for_its_topic_alone() -> None:
    made = token(channel="news:sport")
    assert look(made, topic="news:sport") == Claims("alice", NOW + 60, topic="news:sport")
    assert look(made, topic="news:art") == INVALID
    assert look(made) == INVALID, "and does not connect"
    assert look(token(), topic="news:sport") == INVALID, "and a connection token does not subscribe"


# What it is known by to a revocation -------------------------------------------------------------------------------


def test_its_id_and_age_are_kept() -> None:
    def stamp(made: str) -> Stamp:
        found = look(made)
        assert isinstance(found, Claims)
        return found.stamp

    assert stamp(token(jti="j1", iat=NOW - 5)) == Stamp("j1", NOW - 5)
    assert stamp(token(jti="j1")) == Stamp("j1", 0.0)
    assert stamp(token(jti="x" * 256)).jti == "x" * 256
    assert stamp(token(jti="", iat=0)) is UNSTAMPED


@pytest.mark.parametrize("jti", [7, None, ["a"], "x" * 257])
def test_an_id_that_could_not_be_revoked_is_none(jti: object) -> None:
    assert look(token(jti=jti)) == INVALID


def test_a_token_that_would_outlive_its_revocation_is_not_taken() -> None:
    short = Rules(RULES.issuer, RULES.audience, leeway=10, longest=60)
    assert isinstance(verify(token(exp=NOW + 70), RING, short, NOW), Claims)
    assert verify(token(exp=NOW + 71), RING, short, NOW) == INVALID


# Time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "outcome"),
    [
        ({"exp": NOW - 9}, Claims("alice", NOW - 9)),
        ({"exp": NOW - 10}, EXPIRED),
        ({"exp": NOW - 1_000_000}, EXPIRED),
        ({"exp": int(NOW) + 60}, Claims("alice", NOW + 60)),
        ({"exp": ...}, INVALID),
        ({"exp": None}, INVALID),
        ({"exp": "1800000060"}, INVALID),
        ({"exp": True}, INVALID),
        ({"exp": -1}, INVALID),
        ({"exp": 9e18}, INVALID),
        ({"exp": 2**64}, INVALID),
        ({"exp": [NOW]}, INVALID),
        ({"nbf": NOW + 10}, Claims("alice", NOW + 60)),
        ({"nbf": NOW + 11}, INVALID),
        ({"nbf": "now"}, INVALID),
        ({"nbf": None}, INVALID),
        ({"iat": NOW + 11}, INVALID),
        ({"iat": {}}, INVALID),
    ],
)
def test_times(claims: dict[str, Any], outcome: Any) -> None:
    assert look(forged(HEADER, {k: v for k, v in (CLAIMS | claims).items() if v is not ...})) == outcome


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none(number: str) -> None:
    payload = f'{{"sub":"alice","iss":"tocsin","aud":"tocsin","exp":{number}}}'
    assert look(forged(HEADER, payload.encode())) == INVALID


def test_an_expired_token_of_somebody_else_is_no_expired_token() -> None:
    assert look(token(exp=NOW - 100, iss="other")) == INVALID
    assert look(token(exp=NOW - 100)[:-4] + "AAAA") == INVALID


# Whom it is for --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": ...},
        {"iss": "tocsin2"},
        {"iss": "tocs"},
        {"iss": ["tocsin"]},
        {"aud": ...},
        {"aud": "tocsin2"},
        {"aud": "to"},
        {"aud": []},
        {"aud": ["other", "tocsin2"]},
        {"aud": {"tocsin": 1}},
        {"sub": ...},
        {"sub": ""},
        {"sub": 7},
        {"sub": " alice"},
        {"sub": "al\nice"},
        {"sub": "x" * 129},
        {"topics": "news:sport"},
        {"topics": ["news"]},
        {"topics": ["@bob"]},
        {"topics": [7]},
        {"topics": None},
        {"channel": 7},
    ],
)
def test_claims_that_will_not_do(claims: dict[str, Any]) -> None:
    assert look(forged(HEADER, {k: v for k, v in (CLAIMS | claims).items() if v is not ...})) == INVALID


def test_one_of_several_audiences() -> None:
    assert isinstance(look(token(aud=["other", "tocsin"])), Claims)


def test_info_is_shallow_json() -> None:
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    assert look(token(info=deep)) == INVALID
    assert look(token(info=None)) == Claims("alice", NOW + 60)
    assert look(token(info=0)) == Claims("alice", NOW + 60, info=b"0")


# The envelope ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "NONE", "", None, 5, "HS384", "RS256", "hs256"])
def test_only_the_keys_own_algorithm(algorithm: Any) -> None:
    assert look(forged({"alg": algorithm}, CLAIMS)) == INVALID
    signed, _, _ = token().rpartition(".")
    assert look(signed + ".") == INVALID


def test_no_algorithm_at_all() -> None:
    assert look(forged({}, CLAIMS)) == INVALID


def test_a_public_key_does_not_pass_for_a_secret() -> None:
    pem = public_pem("RS256")
    ring = KeyRing([public_key(pem, "k1")])
    for header in ({"alg": "HS256"}, {"alg": "HS256", "kid": "k1"}):
        assert look(forged(header, CLAIMS, key=pem), ring) == INVALID


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"b64": True},
        {"crit": []},
        {"typ": "JWE"},
        {"typ": 1},
        {"typ": None},
        {"kid": 7},
        {"kid": "k" * 257},
        {"kid": ["k"]},
    ],
)
def test_headers_we_do_not_understand(header: dict[str, Any]) -> None:
    assert look(forged({"alg": "HS256"} | header, CLAIMS)) == INVALID


@pytest.mark.parametrize(
    "header",
    [{"typ": "jwt"}, {"typ": "at+jwt"}, {"kid": "../../dev/null"}, {"kid": "' or 1=1"}, {"kid": None}, {"cty": "x"}],
)
def test_headers_that_do_not_matter(header: dict[str, Any]) -> None:
    assert isinstance(look(forged({"alg": "HS256"} | header, CLAIMS)), Claims)


@pytest.mark.parametrize(
    "header", [{"jwk": {"kty": "oct", "k": "AAAA"}}, {"jku": "https://evil"}, {"x5u": "https://evil"}]
)
def test_a_token_brings_no_key(header: dict[str, Any]) -> None:
    assert look(forged({"alg": "HS256"} | header, CLAIMS, key=b"x" * 32)) == INVALID


@pytest.mark.parametrize(
    "made",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "abc.=.x",
        token() + "=",
        token() + "\n",
        " " + token(),
        token().replace(".", "..", 1),
        forged([], CLAIMS),
        forged(HEADER, []),
        forged(HEADER, b"{"),
        forged(b"\xff", CLAIMS),
        "A.AAAA.AAAA",
        "é" + token(),
    ],
)
def test_what_is_no_token(made: str) -> None:
    assert look(made) == INVALID


def test_size() -> None:
    assert isinstance(look(token(info="x" * 5_000)), Claims)
    assert look(token(info="x" * MAX_TOKEN)) == INVALID
    assert look("a" * 1_000_000) == INVALID


def test_every_bit_counts() -> None:
    made = token()
    for i in range(0, len(made), 7):
        other = "A" if made[i] != "A" else "B"
        assert look(made[:i] + other + made[i + 1 :]) == INVALID


# Keys that are not here ------------------------------------------------------------------------------------------


def test_an_unknown_key_of_a_set_that_grows() -> None:
    ring = KeyRing([secret_key(SECRET), public_key(public_pem("ES256"), "a")], growing=True)
    assert look(token("RS256", {"kid": "b"}), ring) == UnknownKey("b")
    assert look(token("RS256"), ring) == UnknownKey(None)
    assert look(token("ES256", {"kid": "a"}), ring) == Claims("alice", NOW + 60)
    assert look(token("ES256", {"kid": "b"}), ring) == UnknownKey("b")
    assert look(forged({"alg": "HS384", "kid": "b"}, CLAIMS), ring) == INVALID, "secrets are not published"
    assert look(forged({"alg": "none", "kid": "b"}, CLAIMS), ring) == INVALID


def test_the_same_name_at_another_issuer_is_another_key() -> None:
    ours = KeyRing([public_key(public_pem("ES256"), "k1")], growing=True)
    assert look(token("EdDSA", {"kid": "k1"}), ours) == UnknownKey("k1")
    assert look(token("ES384", {"kid": "k1"}), ours) == UnknownKey("k1")


def test_each_of_several_secrets_may_have_signed() -> None:
    ring = KeyRing([Key("HS256", b"x" * 32), secret_key(SECRET)])
    assert isinstance(look(token(), ring), Claims)


@given(st.text(max_size=100) | st.lists(st.text("abcAB01-_", max_size=40), min_size=3, max_size=3).map(".".join))
def test_no_text_raises(made: str) -> None:
    assert look(made) == INVALID


@given(
    st.dictionaries(
        st.sampled_from(["sub", "iss", "aud", "exp", "nbf", "iat", "topics", "info", "channel"]),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=9),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        ),
    )
)
def test_no_claims_raise(claims: dict[str, Any]) -> None:
    try:
        made = forged(HEADER, CLAIMS | claims)
    except TypeError:
        return  # a surrogate, which JSON cannot carry
    granted = look(made)
    assert granted in (INVALID, EXPIRED) or isinstance(granted, Claims)
    if isinstance(granted, Claims):
        assert math.isfinite(granted.expires_at)
