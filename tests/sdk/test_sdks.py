"""What people will use: the JavaScript SDK under Node over each of its transports, and the Python SDK, none of them
changed, against gateways, a fan-out worker and Redis in processes of their own.

Over the fallbacks all that a client says goes to the other node, so that no load balancer needs to be sticky.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bus.keys import Keys, inbox_of
from bus.partition import DEFAULT_PARTITIONS
from tests.conftest import open_pipe
from tests.sdk.clients import Failure, JavaScript, Journal, PythonClient, Sdk
from tests.sdk.system import System

HERE = Path(__file__).parent
LIMIT = 120.0
PATIENCE = 30.0
SHUTDOWN = 3001
NO_PONG = 3012
LOST = 1
"""As the SDKs call a connection that ended without a word: one's last may be lost with it."""
TRIES = 4

NEEDS_NODE = [
    pytest.mark.node,
    pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed"),
    pytest.mark.skipif(not (HERE / "node_modules").is_dir(), reason="npm packages are not installed: npm ci"),
]
KINDS = [
    pytest.param("websocket", marks=NEEDS_NODE, id="js-websocket"),
    pytest.param("sse", marks=NEEDS_NODE, id="js-sse"),
    pytest.param("http_stream", marks=NEEDS_NODE, id="js-http_stream"),
    pytest.param("python", id="python-websocket"),
]
pytestmark = [pytest.mark.sdk, pytest.mark.slow, pytest.mark.parametrize("kind", KINDS)]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System.running(tmp_path_factory.mktemp("sdk")) as running:
        yield running


@asynccontextmanager
async def application(
    system: System, kind: str, user: str, ttl: int = 3600, token: str | None = None, pinged: bool = False
) -> AsyncIterator[Sdk]:
    """A user's application that has been told to connect; `token` is its first, when not a good one. `pinged`: to the
    node that pings often."""
    node, other = (system.other, system.gateway) if pinged else (system.gateway, system.other)
    web, socket = node.url, node.url.replace("http", "ws")
    endpoint = f"{socket}/connection/websocket" if kind in ("websocket", "python") else f"{web}/connection/{kind}"
    options = {"endpoint": endpoint, "token": token or system.token(user, ttl)}
    if kind != "python":
        options |= {"transport": kind, "emulation": f"{other.url}/emulation"}
    running = PythonClient.running if kind == "python" else JavaScript.running
    async with asyncio.timeout(LIMIT), running(lambda: system.token(user, ttl), **options) as sdk:
        await sdk.do("connect")
        yield sdk


async def connected(sdk: Sdk, kind: str) -> None:
    event = await sdk.journal.next("connected")
    assert event.get("transport", kind) == kind


async def test_a_token_is_enough_for_notifications(system: System, kind: str) -> None:
    async with application(system, kind, f"ann-{kind}") as ann:
        await connected(ann, kind)
        await ann.journal.next("subscribed", channel="inbox")
        system.publish(to={"users": [f"ann-{kind}"]}, title="Hello", data={"text": "Grüße, 世界 \u2028"})
        told = (await ann.journal.next("publication", channel="inbox"))["data"]
        assert (told["type"], told["title"], told["data"]) == ("test", "Hello", {"text": "Grüße, 世界 \u2028"})


async def test_topics(system: System, kind: str) -> None:
    """Subscribe, publish, history, presence, join and leave, and to be refused each."""
    topic = f"room:{kind}"
    async with application(system, kind, "ann") as ann, application(system, kind, "bob") as bob:
        for sdk in (ann, bob):
            await connected(sdk, kind)
            await sdk.do("subscribe", channel=topic)
            await sdk.journal.next("subscribed", channel=topic)
        await ann.journal.next("join", channel=topic, user="bob")
        assert await ann.do("presence", channel=topic) == ["ann", "bob"]
        assert await ann.do("presence_stats", channel=topic) == {"numClients": 2, "numUsers": 2}

        await bob.do("publish", channel=topic, data={"n": 1})
        await ann.journal.next("publication", channel=topic, data={"n": 1}, user="bob")
        system.publish(to={"topics": [topic]}, data={"n": 2})
        assert (await ann.journal.next("publication", channel=topic))["data"]["data"] == {"n": 2}
        history = await ann.do("history", channel=topic, limit=10)
        assert [one["offset"] for one in history] == [1, 2]
        assert history[0]["data"] == {"n": 1}

        await bob.do("unsubscribe", channel=topic)
        await ann.journal.next("leave", channel=topic, user="bob")
        with pytest.raises(Failure) as refused:
            await bob.do("publish", channel=topic, data=3)
        assert refused.value.code == 103
        with pytest.raises(Failure) as refused:
            await ann.do("publish", channel="news:closed", data=3)
        assert refused.value.code == 103
        with pytest.raises(Failure) as refused:
            await ann.do("presence", channel="news:closed")
        assert refused.value.code == 108
        await ann.do("subscribe", channel="secret:door")
        await ann.journal.next("unsubscribed", channel="secret:door", code=103)


async def test_remote_procedure_calls(system: System, kind: str) -> None:
    user = f"cat-{kind}"
    async with application(system, kind, user) as cat:
        await connected(cat, kind)
        for number in range(3):
            system.publish(to={"users": [user]}, data=number)
            await cat.journal.next("publication", channel="inbox")
        assert await cat.do("rpc", method="inbox.count", data={}) == {"unread": 3, "unseen": 3, "total": 3}
        listed = await cat.do("rpc", method="inbox.list", data={"limit": 2})
        assert [one["offset"] for one in listed["items"]] == [3, 2]
        assert await cat.do("rpc", method="read", data={"upto": 3}) == {"unread": 0, "unseen": 0}
        state = (await cat.journal.next("publication", channel="inbox"))["data"]
        assert (state["type"], state["data"]["read"]) == ("tocsin.state", [1, 2, 3])
        with pytest.raises(Failure) as refused:
            await cat.do("rpc", method="no.such", data={})
        assert refused.value.code == 104


async def unbroken(scenario: Callable[[int], Awaitable[Journal]]) -> None:
    """One connection from the first moment to the last, in one of a few tries: whoever stands still for longer than a
    pong may take is rightly given up. Who does not answer pings as it should is given up in every try."""
    for number in range(TRIES):
        journal = await scenario(number)
        lost = [event["code"] for event in journal.events if event["event"] == "connecting"][1:]
        if not lost:
            return
        assert {*lost} <= {NO_PONG, LOST}, journal.events
    raise AssertionError(f"given up {TRIES} times")


async def known(system: System, user: str, field: str, wanted: bytes) -> None:
    """Wait until Redis has this in a field of what it keeps of a user's inbox."""
    key = Keys("tocsin", DEFAULT_PARTITIONS).meta(inbox_of(user))
    found: Any = None
    try:
        async with asyncio.timeout(PATIENCE), open_pipe(system.redis.url) as pipe:
            while (found := await pipe.ask("HGET", key, field)) != wanted:  # noqa: ASYNC110  # the gateway writes it
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"{field} is {found} and not {wanted!r}") from None


async def acknowledged(system: System, user: str, first: int, to: int) -> None:
    """Wait until these offsets of a user's inbox are, and no others."""
    await known(system, user, "acked", f"{first}-{to}".encode())


async def test_each_notification_is_acknowledged_without_any_code_for_it(system: System, kind: str) -> None:
    """One by one, many at once, and none that came before; and the connection goes on all the time."""

    async def scenario(attempt: int) -> Journal:
        user = f"hal-{kind}-{attempt}"
        for number in range(2):
            system.publish(to={"users": [user]}, data=number)
        await known(system, user, "top", b"2")
        async with application(system, kind, user, pinged=True) as hal:
            await connected(hal, kind)
            for number in range(2, 5):
                system.publish(to={"users": [user]}, data=number)
                await hal.journal.next("publication", channel="inbox")
                await acknowledged(system, user, 3, number + 1)
            for number in range(5, 25):
                system.publish(to={"users": [user]}, data=number)
            await acknowledged(system, user, 3, 25)
            await asyncio.sleep(4.5)  # pings by time and pings for receipts do not get into each other's way
            system.publish(to={"users": [user]}, data=25)
            await acknowledged(system, user, 3, 26)
            while len(hal.journal.publications("inbox")) < 24:
                await hal.journal.next("publication", channel="inbox")
            assert [one["data"] for one in hal.journal.publications("inbox")] == list(range(2, 26))
        return hal.journal

    await unbroken(scenario)


async def test_what_was_missed_while_the_server_restarted_is_recovered(system: System, kind: str) -> None:
    """In order, nothing lost, nothing twice; before, during and after."""
    user, topic = f"dan-{kind}", f"news:restart-{kind}"

    def publish(*numbers: int) -> None:
        for number in numbers:
            system.publish(to={"users": [user], "topics": [topic]}, data=number)

    async with application(system, kind, user) as dan:
        await connected(dan, kind)
        await dan.do("subscribe", channel=topic)
        await dan.journal.next("subscribed", channel=topic)
        publish(0, 1)
        while len(dan.journal.publications(topic)) < 2:
            await dan.journal.next("publication", channel=topic)
        await acknowledged(system, user, 1, 2)

        await asyncio.to_thread(system.gateway.end)
        assert (await dan.journal.next("connecting"))["code"] == SHUTDOWN
        publish(2, 3, 4)
        system.gateway.start()
        await connected(dan, kind)
        await asyncio.to_thread(system.gateway.await_ready)
        publish(5)
        for channel in ("inbox", topic):
            while (told := [one["data"] for one in dan.journal.publications(channel)])[-1:] != [5]:
                await dan.journal.next("publication", channel=channel)
            assert told == [0, 1, 2, 3, 4, 5]
            again = [e for e in dan.journal.events if e["event"] == "subscribed" and e["channel"] == channel][-1]
            assert (again["wasRecovering"], again["recovered"]) == (True, True)
        await acknowledged(system, user, 1, 6)


async def test_a_token_is_renewed_without_an_interruption(system: System, kind: str) -> None:
    user = f"eve-{kind}"
    async with application(system, kind, user, ttl=3) as eve:
        await connected(eve, kind)
        for _ in range(2):
            await eve.journal.next("token_wanted")
        system.publish(to={"users": [user]}, data="still here")
        await eve.journal.next("publication", channel="inbox")
        assert eve.journal.count("connected") == 1
        assert eve.journal.count("connecting") == 1
        assert eve.journal.count("disconnected") == 0


async def test_an_expired_token_is_replaced_by_a_fresh_one(system: System, kind: str) -> None:
    stale = system.token("fay", ttl=-60)
    async with application(system, kind, "fay", token=stale) as fay:
        await fay.journal.next("token_wanted")
        await connected(fay, kind)
        assert fay.journal.count("disconnected") == 0


async def test_pings_keep_the_connection(system: System, kind: str) -> None:
    """Two ping intervals and more pass: the pongs of each SDK arrive, over the other node where it has to be."""

    async def scenario(_: int) -> Journal:
        async with application(system, kind, "gus", pinged=True) as gus:
            await connected(gus, kind)
            await asyncio.sleep(5)
            assert (await gus.do("rpc", method="inbox.count", data={}))["total"] == 0
        return gus.journal

    await unbroken(scenario)
