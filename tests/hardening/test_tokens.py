"""Tokens that are forged, too old or too many, tickets used twice, pages of other origins: over real sockets."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import jwt
import orjson
import pytest

from bus.clock import SystemClock
from gateway.jwks import COOLDOWN
from tests.gateway.echo import UPGRADE, Raw
from tests.gateway.signing import encoded, forged, private, public_pem
from tests.gateway.streams import Stream
from tests.hardening.conftest import PLANTED, KeySet
from tests.hardening.peers import Peer, memory_of, undisturbed
from tests.system import SECRET, Gateway, System, system, token

pytestmark = pytest.mark.slow

GRACE = 25
"""Seconds after the end of a token within which its successor may still come."""
SOON = 4 - GRACE
"""Lifetime of a token that the leeway of these gateways still lets in, and that is over in four seconds."""
PATIENCE = 30
"""Seconds in which anything is answered that is answered at all."""


def claims(**changes: Any) -> dict[str, Any]:
    """Those of a good token, some changed; one that is ... is left out."""
    now = int(SystemClock().wall())
    usual = {"sub": "mallory", "iss": "tocsin", "aud": "tocsin", "exp": now + 600, "info": PLANTED}
    return {name: value for name, value in (usual | changes).items() if value is not ...}


def signed(payload: Any = None, key: str = SECRET, **header: Any) -> str:
    """By HS256, whatever the header says."""
    return forged({"alg": "HS256", "typ": "JWT", **header}, payload or claims(), key=key.encode())


def by_issuer(kid: str, name: str = "ES256", **changes: Any) -> str:
    return jwt.encode(claims(**changes), private(name), name, headers={"kid": kid})


async def verdict(gateway: Gateway, made: str) -> int:
    """Code of the error or of the close that answers a connect; 0 when it is let in."""
    async with asyncio.timeout(PATIENCE), Peer.open(gateway) as peer:
        heard = await peer.command("connect", token=made)
        return heard if isinstance(heard, int) else int(heard.get("error", {}).get("code", 0))


# Forged ------------------------------------------------------------------------------------------------------------


def bad_tokens() -> dict[str, str]:
    """By what is wrong with them; every one must be refused for good."""
    far = int(SystemClock().wall()) + 10_000
    unsigned = signed().rpartition(".")[0] + "."
    pem = public_pem("ES256").decode()
    return {
        "rubbish": PLANTED,
        "nearly": f"{PLANTED}.{PLANTED}.{PLANTED}",
        "no signature": unsigned,
        "another secret": signed(key=SECRET[::-1]),
        "a changed payload": signed().replace(".", ".e30", 1),
        "none": forged({"alg": "none"}, claims(), key=b""),
        "None": forged({"alg": "None"}, claims(), key=b""),
        "nOnE": forged({"alg": "nOnE"}, claims(), key=b""),
        "the public key as a secret": signed(key=pem, kid="k1"),
        "RS256 by a secret": signed(alg="RS256"),
        "crit": signed(crit=["exp"], exp=1),
        "b64": signed(crit=["b64"], b64=False),
        "a key of its own": signed(key="x" * 32, jwk={"kty": "oct", "k": encoded(b"x" * 32)}),
        "a way to a key": signed(key="x" * 32, jku="http://127.0.0.1:1/keys"),
        "no exp": signed(claims(exp=...)),
        "exp in words": signed(claims(exp=str(far))),
        "NaN for exp": signed(orjson.dumps(claims()).replace(b'"exp":', b'"exp":NaN,"x":')),
        "exp for ever": signed(claims(exp=9e18)),
        "not yet": signed(claims(nbf=far)),
        "issued tomorrow": signed(claims(iat=far)),
        "a part of the audience": signed(claims(aud="tocs")),
        "other audiences": signed(claims(aud=["tocsin2", "other"])),
        "no audience": signed(claims(aud=...)),
        "a longer issuer": signed(claims(iss="tocsin.evil")),
        "no issuer": signed(claims(iss=...)),
        "nobody": signed(claims(sub="")),
        "a number for a user": signed(claims(sub=7)),
        "a user over lines": signed(claims(sub=f"{PLANTED}\r\nSet-Cookie: a")),
        "somebody's inbox": signed(claims(topics=["@bob"])),
        "a subscription token": signed(claims(channel="room:a")),
        "too long": signed(claims(info="x" * 10_000)),
        "kid up the tree": by_issuer("../../etc/passwd"),
        "kid of SQL": by_issuer("k1' OR '1'='1"),
        "kid of 10 KB": by_issuer("k" * 10_000),
        "the kid of another key": by_issuer("k1", "RS256"),
        "the kid of another issuer": by_issuer("k1", iss="other"),
    }


async def test_forged_tokens_are_refused_for_good(running: System) -> None:
    gateway = running.gateways[0]
    async with undisturbed(running):
        found = {name: await verdict(gateway, made) for name, made in bad_tokens().items()}
    assert {name: code for name, code in found.items() if code != 3500} == {}
    assert await verdict(gateway, signed()) == 0
    assert await verdict(gateway, by_issuer("k1")) == 0
    assert await verdict(gateway, token("mallory", ttl=-100)) == 109


async def test_a_token_of_a_megabyte(running: System) -> None:
    gateway = running.gateways[0]
    huge = signed(claims(info="x" * 1_000_000))
    async with undisturbed(running), memory_of(gateway, 15_000_000):
        async with asyncio.timeout(PATIENCE), Peer.open(gateway) as peer:
            await peer.say(orjson.dumps({"id": 1, "connect": {"token": huge}}))
            assert await peer.close_code() == 1009
        head = f"GET /sse HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {huge}\r\n\r\n"
        assert await knock(gateway, head.encode()) == 431


async def test_a_storm_of_unknown_keys_asks_the_issuer_once(running: System, key_set: KeySet) -> None:
    gateway = running.gateways[0]
    assert await verdict(gateway, by_issuer("k1")) == 0
    asked, began = key_set.asked, asyncio.get_running_loop().time()
    verdicts: Counter[int] = Counter()

    async def storm(number: int) -> None:
        for n in range(50):
            verdicts[await verdict(gateway, by_issuer(f"{PLANTED}-{number}-{n}"))] += 1

    async with undisturbed(running), memory_of(gateway, 15_000_000), asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(storm(number))
    assert verdicts == {3500: 400}
    took = asyncio.get_running_loop().time() - began
    assert key_set.asked <= asked + 1 + took // COOLDOWN
    assert await verdict(gateway, by_issuer("k1")) == 0


# Time --------------------------------------------------------------------------------------------------------------


async def test_who_does_not_refresh_is_closed_and_who_does_goes_on(running: System) -> None:
    gateway = running.gateways[0]
    async with asyncio.timeout(PATIENCE), Peer.connected(gateway, "alice", ttl=SOON) as eager:
        refreshed = await eager.command("refresh", token=token("alice"))  # before anything else takes time
        assert 3_500 < refreshed["refresh"]["ttl"] <= 3_600
        async with (
            Stream.get(gateway.port, "/sse", Authorization=f"Bearer {token('alice', ttl=SOON)}") as stream,
            Peer.connected(gateway, "alice", ttl=SOON) as lazy,
        ):
            assert await lazy.hear() == 3005
            while await stream.more():
                pass
            assert stream.ended
            assert b'"code":3005' in stream.body
        assert "history" in await eager.command("history", channel="inbox", limit=0)


@pytest.mark.parametrize(
    ("user", "ttl", "code"),
    [("bob", 600, 3500), ("alice", -100, 3005), ("bob", -100, 3005)],
    ids=["of another", "run out", "of another and run out"],
)
async def test_a_refresh_that_is_none_ends_the_connection(running: System, user: str, ttl: int, code: int) -> None:
    async with asyncio.timeout(30), Peer.connected(running.gateways[0], "alice") as peer:
        assert await peer.command("refresh", token=token(user, ttl=ttl)) == code


async def test_a_refresh_that_grants_less_takes_the_rest_away(running: System) -> None:
    async with asyncio.timeout(30), Peer.connected(running.gateways[0], "alice", topics=["vip:a", "vip:b"]) as peer:
        for channel in ("vip:a", "vip:b", "room:a"):
            assert "subscribe" in await peer.command("subscribe", channel=channel)
        await peer.say(orjson.dumps({"id": 99, "refresh": {"token": token("alice", topics=["vip:b"])}}))
        told = await peer.hear()
        assert (told["push"]["channel"], told["push"]["unsubscribe"]["code"]) == ("vip:a", 2000)
        assert "refresh" in await peer.hear()
        assert (await peer.command("subscribe", channel="vip:a"))["error"]["code"] == 103
        assert (await peer.command("subscribe", channel="vip:b"))["error"]["code"] == 105


async def test_subscription_tokens(tmp_path: Path) -> None:
    """For one topic, one user, and a time, which is looked at with each ping."""

    def pass_for(channel: str, user: str = "alice", ttl: int = 600) -> str:
        return signed(claims(sub=user, channel=channel, exp=int(SystemClock().wall()) + ttl))

    with system(tmp_path, token_leeway=60, ping_interval=2) as made:
        async with asyncio.timeout(30), Peer.connected(made.gateways[0], "alice") as peer:
            for wrong in (
                pass_for("vip:b"),
                pass_for("vip:a", "bob"),
                token("alice"),
                token("alice", topics=["vip:a"]),
            ):
                assert (await peer.command("subscribe", channel="vip:a", token=wrong))["error"]["code"] == 103
            assert (await peer.command("subscribe", channel="@bob", token=pass_for("@bob")))["error"]["code"] == 103
            for channel in ("vip:b", "vip:a"):
                reply = await peer.command("subscribe", channel=channel, token=pass_for(channel, ttl=SOON))
                assert "subscribe" in reply
                if channel == "vip:b":  # before anything else takes time
                    reply = await peer.command("sub_refresh", channel=channel, token=pass_for(channel))
                    assert reply["sub_refresh"]["expires"]
            told = await peer.hear()
            assert (told["push"]["channel"], told["push"]["unsubscribe"]["code"]) == ("vip:a", 2501)
            assert (await peer.command("subscribe", channel="vip:a"))["error"]["code"] == 103
            assert (await peer.command("subscribe", channel="vip:b"))["error"]["code"] == 105
            reply = await peer.command("sub_refresh", channel="vip:b", token=pass_for("vip:b", "bob"))
            assert reply["error"]["code"] == 103


# Tickets -----------------------------------------------------------------------------------------------------------


async def ticket(gateway: Gateway, made: str) -> str:
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as client:
        answer = await client.post(f"{gateway.origin}/v1/ticket", headers={"Authorization": f"Bearer {made}"})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["ticket"])


async def test_a_ticket_is_good_once_however_many_try(running: System) -> None:
    gateway = running.gateways[0]
    for _ in range(5):
        once = await ticket(gateway, token("alice"))
        async with asyncio.TaskGroup() as group:
            tries = [group.create_task(verdict(gateway, once)) for _ in range(12)]
        assert Counter(task.result() for task in tries) == {0: 1, 109: 11}
        assert await verdict(gateway, once) == 109
    once = await ticket(gateway, token("alice"))

    async def stream() -> int:
        async with Stream.get(gateway.port, f"/sse?ticket={once}") as opened:
            return int(opened.status)

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        opened = [group.create_task(stream()) for _ in range(12)]
    assert Counter(task.result() for task in opened) == {200: 1, 401: 11}


async def test_no_ticket_for_a_bad_token_and_no_token_in_a_url(running: System) -> None:
    gateway = running.gateways[0]
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False, base_url=gateway.origin) as client:
        for name, made in bad_tokens().items():
            if len(made) < 8_000:
                answer = await client.post("/v1/ticket", headers={"Authorization": f"Bearer {made}"})
                assert (answer.status_code, name) == (401, name)
                assert PLANTED not in answer.text
        for query in (f"ticket={token('alice')}", f"token={token('alice')}", f"ticket=tkt_{PLANTED}", "ticket=", ""):
            assert (await client.get(f"/sse?{query}")).status_code == 401


# Origins -----------------------------------------------------------------------------------------------------------

FOREIGN = (
    "null",
    "https://evil-app.example",
    "https://app.example.evil",
    "https://app.example:8443",
    "https://app.example.",
    "https://app.example/",
    "https://app.example@evil.example",
    "http://app.example",
    "app.example",
    "https://xn--pp-xka.example",
    "https://app.exampl\u00e9",
    "file://",
    "*",
    "",
)


def upgrade(origin: str) -> bytes:
    return UPGRADE.replace(b"\r\n\r\n", f"\r\nOrigin: {origin}\r\n\r\n".encode())


async def knock(gateway: Gateway, head: bytes) -> int:
    client = Raw(*await asyncio.open_connection("127.0.0.1", gateway.port))
    try:
        return int((await client.ask(head))[9:12])
    finally:
        client.writer.transport.abort()
        await asyncio.sleep(0)  # only then is the socket closed


async def test_pages_of_other_origins_come_in_nowhere(running: System) -> None:
    gateway = running.gateways[0]
    async with undisturbed(running):
        found = {origin: await knock(gateway, upgrade(origin)) for origin in FOREIGN}
        assert {origin: status for origin, status in found.items() if status != 403} == {}
        for origin in ("https://app.example", "HTTPS://App.Example", "https://other.example"):
            assert await knock(gateway, upgrade(origin)) == 101
        assert await knock(gateway, upgrade("https://app.example\r\nOrigin: https://app.example")) == 400
        for path in ("/sse", "/connection/sse?cf_connect=%7B%7D"):
            head = f"GET {path} HTTP/1.1\r\nHost: a\r\nOrigin: https://evil.example\r\n\r\n"
            assert await knock(gateway, head.encode()) == 403
        for path in ("/connection/http_stream", "/emulation"):
            head = f"POST {path} HTTP/1.1\r\nHost: a\r\nOrigin: https://evil.example\r\nContent-Length: 0\r\n\r\n"
            assert await knock(gateway, head.encode()) == 403


async def test_an_origin_that_is_revoked_is_out_with_the_next_start(tmp_path: Path) -> None:
    page, other = "https://app.example", "https://other.example"
    with system(tmp_path, allowed_origins=f"{page},{other}", drain_seconds=0.1) as made:
        gateway = made.gateways[0]
        async with asyncio.timeout(60), Peer.open(gateway, upgrade(other)) as peer:
            assert "connect" in await peer.command("connect", token=token("alice"))
            os.kill(gateway.pid, signal.SIGTERM)
            assert await peer.hear() == 3001
        async with asyncio.timeout(60):
            assert await asyncio.to_thread(gateway.end) == 0
            gateway.environ["TOCSIN_ALLOWED_ORIGINS"] = page
            gateway.start()
            await asyncio.to_thread(gateway.until_ready)
            assert await knock(gateway, upgrade(other)) == 403
            assert await knock(gateway, upgrade(page)) == 101
