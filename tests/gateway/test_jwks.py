"""Published keys: fetched from a real HTTP server, and asked for no more often than need be."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson
import pytest

from bus.clock import Clock, SystemClock
from gateway import jwks
from gateway.auth import INVALID, Rules, UnknownKey, verify
from gateway.effects import Claims, Denied
from gateway.jwks import (
    COOLDOWN,
    LIFETIME,
    MAX_WAITING,
    RETRIES,
    FetchFailed,
    PublishedKeys,
    fetch,
    pause_after,
    url_fault,
)
from gateway.keyring import BadKey, secret_key
from gateway.wire.codes import Error
from tests.gateway.signing import NOW, SECRET, published, token

RULES = Rules("tocsin", "tocsin")
URL = "https://issuer.example/keys"


class Hands:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return NOW


class Issuer:
    """Stands where the fetch is, so that a test says what is published and sees how often it is asked for."""

    def __init__(self, *kinds: str) -> None:
        self.kinds = list(kinds)
        self.asked = 0
        self.away = False
        self.open = threading.Event()
        self.open.set()

    def fetch(self, url: str, clock: Clock) -> bytes:
        self.asked += 1
        self.open.wait(30)
        if self.away:
            raise FetchFailed("away")
        return orjson.dumps({"keys": [published(kind, kid=kind) for kind in self.kinds]})


def keys_of(issuer: Issuer, clock: Clock | None = None) -> PublishedKeys:
    return PublishedKeys(URL, [secret_key(SECRET)], clock or Hands(), issuer.fetch)


def look(made: str, keys: PublishedKeys) -> Claims | Denied | UnknownKey:
    return verify(made, keys.ring, RULES, NOW)


@asynccontextmanager
async def running(keys: PublishedKeys) -> AsyncIterator[None]:
    async with asyncio.timeout(90), asyncio.TaskGroup() as group:
        task = group.create_task(keys.run())
        yield
        task.cancel()


async def asked(keys: PublishedKeys) -> bool:
    """Want a fetch, and wait for it."""
    done = asyncio.Event()
    if not keys.want(done.set):
        return False
    async with asyncio.timeout(30):
        await done.wait()
    return True


async def test_keys_come_when_they_are_wanted() -> None:
    clock, issuer = Hands(), Issuer("ES256")
    keys = keys_of(issuer, clock)
    made = token("EdDSA", {"kid": "EdDSA"})
    assert isinstance(look(token(), keys), Claims), "our own keys need no fetch"
    assert look(made, keys) == UnknownKey("EdDSA")
    assert keys.missing == Denied(Error.INTERNAL), "nobody knows yet"
    async with running(keys):
        assert await asked(keys)
        assert isinstance(look(token("ES256", {"kid": "ES256"}), keys), Claims)
        assert keys.missing == INVALID
        issuer.kinds.append("EdDSA")
        clock.now += COOLDOWN
        assert await asked(keys)
        assert isinstance(look(made, keys), Claims)
        assert isinstance(look(token(), keys), Claims)


async def test_a_storm_of_unknown_names_costs_one_fetch() -> None:
    clock, issuer = Hands(), Issuer("ES256")
    keys = keys_of(issuer, clock)
    issuer.open.clear()
    async with running(keys):
        waiting = [asyncio.Event() for _ in range(250)]
        assert all([keys.want(event.set) for event in waiting])
        issuer.open.set()
        async with asyncio.timeout(30):
            for event in waiting:
                await event.wait()
        assert not any([keys.want(lambda: None) for _ in range(1_000)])
        assert issuer.asked == 1
        clock.now += COOLDOWN
        assert await asked(keys)
    assert issuer.asked == 2


async def test_callers_that_wait_are_few_enough() -> None:
    keys = keys_of(Issuer())
    assert all([keys.want(lambda: None) for _ in range(MAX_WAITING)])
    assert not keys.want(lambda: None)


async def test_an_issuer_that_is_away() -> None:
    clock, issuer = Hands(), Issuer("ES256")
    keys = keys_of(issuer, clock)
    await keys.fetch_once()
    assert keys.fresh
    issuer.away = True
    clock.now += LIFETIME
    await keys.fetch_once()
    assert isinstance(look(token("ES256", {"kid": "ES256"}), keys), Claims), "what is known stays"
    assert not keys.want(lambda: None), "the next attempt has its time"
    assert keys.missing == INVALID
    clock.now += LIFETIME
    assert keys.missing == Denied(Error.INTERNAL), "too long ago to say that a token is bad"


async def test_what_is_no_key_set_is_a_failure() -> None:
    keys = PublishedKeys(URL, [], Hands(), lambda url, clock: b"<html>")
    await keys.fetch_once()
    assert not keys.fresh


async def test_it_tries_again_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "RETRIES", (0.001,))
    begun = threading.Event()

    class Recovering(Issuer):
        def fetch(self, url: str, clock: Clock) -> bytes:
            self.away = self.asked == 0
            if not self.away:
                begun.set()
            return super().fetch(url, clock)

    keys = keys_of(Recovering("ES256"))
    async with running(keys):
        assert await asyncio.to_thread(begun.wait, 30)
        await asked(keys)  # the second fetch is over, or is so now
        assert keys.fresh


def test_attempts_and_refreshes_have_their_times() -> None:
    assert pause_after(0) == LIFETIME
    assert [pause_after(failures) for failures in range(1, 8)] == [*RETRIES, RETRIES[-1], RETRIES[-1]]


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://issuer.example/keys", True),
        ("http://127.0.0.1:9/keys", True),
        ("http://[::1]/keys", True),
        ("http://localhost/keys", True),
        ("http://keycloak:8080/keys", True),
        ("http://issuer.example/keys", False),
        ("http://10.0.0.1/keys", False),
        ("file:///etc/passwd", False),
        ("ftp://issuer/keys", False),
        ("https:///keys", False),
        ("https://user:password@issuer.example/keys", False),
        ("", False),
    ],
)
def test_addresses(url: str, good: bool) -> None:
    assert (url_fault(url) is None) is good
    if not good:
        with pytest.raises(BadKey):
            PublishedKeys(url, [], Hands())


# The fetch itself ------------------------------------------------------------------------------------------------

Respond = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(respond: Respond) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            respond(self)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/keys"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answer(status: int, body: bytes = b"", **headers: str) -> Respond:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        with suppress(OSError):  # the reader may have had enough
            handler.wfile.write(body)

    return respond


def test_a_document() -> None:
    with serving(answer(200, b'{"keys":[]}')) as url:
        assert fetch(url, SystemClock()) == b'{"keys":[]}'


@pytest.mark.parametrize(
    "respond",
    [
        answer(404),
        answer(500),
        answer(302, Location="/elsewhere"),
        answer(200, b"x" * (jwks.MAX_DOCUMENT + 1)),
    ],
)
def test_no_document(respond: Respond) -> None:
    with serving(respond) as url, pytest.raises(FetchFailed):
        fetch(url, SystemClock())


def test_nobody_there() -> None:
    with serving(answer(200)) as url:
        pass
    with pytest.raises(FetchFailed):
        fetch(url, SystemClock())


def test_one_that_drips() -> None:
    clock = Hands()

    def respond(handler: BaseHTTPRequestHandler) -> None:
        clock.now += jwks.TIMEOUT + 1
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"x")

    with serving(respond) as url, pytest.raises(FetchFailed):
        fetch(url, clock)


async def test_from_the_server_to_the_ring() -> None:
    document = orjson.dumps({"keys": [published("ES256", kid="k1")]})
    with serving(answer(200, document)) as url:
        keys = PublishedKeys(url, [], SystemClock())
        async with running(keys):
            assert await asked(keys)
    assert isinstance(look(token("ES256", {"kid": "k1"}), keys), Claims)
