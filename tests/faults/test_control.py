"""Revoking, sending away and changing rules in running gateways, and what a gateway does that is cut off from Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bus.clock import SystemClock
from gateway.mint import mint
from tests.faults.chaos import Link, chaos
from tests.faults.crowd import eventually
from tests.ports import free_port
from tests.system import KEY, OPS_KEY, SECRET, Gateway, System, system
from tocsin.cli import main
from tocsin.trouble import FAILED, USAGE

SOON = 1.0
"""Seconds within which every node acts."""
TRIES = 3
"""How often it may take longer before it is the nodes that are late, and not one of so many processes that had to wait
for its turn."""
PATIENCE = 30.0
"""Seconds in which all happens that happens at all."""
SPACES = {f"news{n}": {"subscribe": "user", "history": "user"} for n in range(TRIES)}


def made(user: str, *, ago: float = 60.0, **claims: Any) -> str:
    """A token made so many seconds ago."""
    now = SystemClock().wall() - ago
    return mint(SECRET, user=user, issuer="tocsin", audience="tocsin", now=now, ttl=3_600, **claims)


@dataclass(eq=False)
class Listener:
    """A WebSocket with an SDK's manners: it answers pings and keeps what it hears."""

    socket: ClientConnection
    got: list[dict[str, Any]] = field(default_factory=list)
    pings: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)
    ended: float = 0.0
    """Loop time at which it was over."""

    @property
    def code(self) -> int | None:
        """With which it was closed; None while it is open."""
        return self.socket.close_code if self.over.is_set() else None

    async def run(self) -> None:
        """Until the connection is over."""
        with suppress(ConnectionClosed):
            async for message in self.socket:
                for line in str(message).splitlines():
                    await self._hear(json.loads(line))
        self.ended = asyncio.get_running_loop().time()
        self.over.set()

    async def _hear(self, said: dict[str, Any]) -> None:
        if said:
            self.got.append(said)
        else:
            self.pings += 1
            await self.socket.send("{}")

    async def say(self, *commands: dict[str, Any]) -> None:
        await self.socket.send("\n".join(json.dumps(command) for command in commands))

    def of(self, channel: str, kind: str) -> list[Any]:
        """What was pushed of one kind."""
        pushes = [m["push"] for m in self.got if "push" in m]
        return [push[kind] for push in pushes if push["channel"] == channel and kind in push]

    def numbers(self, channel: str) -> list[int]:
        """Which events came, pushed or recovered."""
        replies = [reply["subscribe"] for reply in self.got if reply.get("subscribe", {}).get("recovered")]
        earlier = [pub for reply in replies for pub in reply.get("publications", ())]
        return [pub["data"]["data"]["n"] for pub in [*earlier, *self.of(channel, "pub")]]


class Crowd:
    """Everybody who listens, and one HTTP client."""

    def __init__(self, group: asyncio.TaskGroup, http: httpx.AsyncClient) -> None:
        self._group, self.http = group, http
        self.all: list[Listener] = []

    async def join(self, gateway: Gateway, token: str, *topics: str, ready: bool = True) -> Listener:
        """Connect, and wait for the answers unless it will be refused."""
        url = f"ws://127.0.0.1:{gateway.port}/connection/websocket"
        socket = await connect(url, compression=None, proxy=None, open_timeout=PATIENCE)
        listener = Listener(socket)
        self._group.create_task(listener.run())
        self.all.append(listener)
        subscribes = [{"id": n, "subscribe": {"channel": topic}} for n, topic in enumerate(topics, 2)]
        await listener.say({"id": 1, "connect": {"token": token}}, *subscribes)
        if ready:
            await eventually(lambda: len([m for m in listener.got if "id" in m]) == 1 + len(topics))
            assert all("error" not in m for m in listener.got), listener.got
        return listener

    async def order(self, gateway: Gateway, method: str, path: str, body: Any = None) -> httpx.Response:
        """As an operator."""
        response = await self.http.request(method, gateway.origin + path, json=body, headers={"x-api-key": OPS_KEY})
        assert response.status_code in (200, 204), response.text
        return response

    async def post(self, gateway: Gateway, topic: str, *numbers: int) -> None:
        """Events that count."""
        events = [{"type": "t", "key": topic, "to": {"topics": [topic]}, "data": {"n": n}} for n in numbers]
        response = await self.http.post(
            gateway.origin + "/v1/events", json={"events": events}, headers={"x-api-key": KEY}
        )
        assert response.status_code == 202, response.text

    async def codes(self, *listeners: Listener) -> list[int | None]:
        """With which they are closed."""
        async with asyncio.timeout(PATIENCE):
            for listener in listeners:
                await listener.over.wait()
        return [listener.code for listener in listeners]


@asynccontextmanager
async def crowd() -> AsyncIterator[Crowd]:
    async with (
        asyncio.timeout(150),
        httpx.AsyncClient(timeout=20, trust_env=False) as http,
        asyncio.TaskGroup() as group,
    ):
        found = Crowd(group, http)
        yield found
        for listener in found.all:
            await listener.socket.close()


@contextmanager
def another(running: System, name: str, **settings: Any) -> Iterator[Gateway]:
    """One more gateway, which may have settings of its own."""
    port = free_port()
    own = {f"TOCSIN_{setting.upper()}": str(value) for setting, value in settings.items()}
    environ = {**running.environ("gateway"), "TOCSIN_PORT": str(port), **own}
    gateway = Gateway("gateway", environ, running.gateways[0].log.with_name(f"{name}.log"), port=port)
    gateway.start()
    try:
        yield gateway
        gateway.end()
    finally:
        gateway.kill()


# Decisions -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_what_operators_decide_reaches_live_sockets_on_all_nodes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with system(tmp_path, gateways=2, namespaces=SPACES, partitions=8, drain_seconds=0.2) as running:
        async with crowd() as people:
            for decided in (revoked, sent_away, ruled):
                await soon(lambda turn, decided=decided: decided(running, people, turn))
            await known_from_the_start(running, people)
        await asyncio.to_thread(by_command, running, lambda: capsys.readouterr().out)


async def soon(decided: Callable[[int], Awaitable[float]]) -> None:
    """It is decided about others again while it took too long; what it comes to must be right each time."""
    took: list[float] = []
    while not took or took[-1] >= SOON:
        assert len(took) < TRIES, took
        took.append(await decided(len(took)))


def now() -> float:
    return asyncio.get_running_loop().time()


async def revoked(running: System, people: Crowd, turn: int) -> float:
    """All tokens of a user end, everywhere, by every way in. Seconds until nobody listened any more."""
    one, other = running.gateways
    user = f"alice-{turn}"
    old = made(user)
    bearer = {"authorization": f"Bearer {old}"}
    ticket = (await people.http.post(one.origin + "/v1/ticket", headers=bearer)).json()["ticket"]
    listeners = [await people.join(one, old), await people.join(other, old), await people.join(other, made("bob"))]
    streams = [
        people.http.stream("GET", one.origin + "/sse", headers=bearer),
        people.http.stream(
            "POST",
            other.origin + "/connection/http_stream",
            content=b'{"id":1,"connect":{"token":"%b"}}' % old.encode(),
        ),
    ]
    async with streams[0] as events, streams[1] as emulated:
        lines = [events.aiter_lines(), emulated.aiter_lines()]
        assert [bool(await anext(reader)) for reader in lines]
        await people.order(one, "POST", "/v1/tokens/revoke", {"user": user})
        decided = now()
        assert await people.codes(*listeners[:2]) == [3500, 3500]
        rest = ["".join([line async for line in reader]) for reader in lines]
        took = now() - decided
        assert all("3500" in said for said in rest), rest
    assert listeners[2].code is None
    for gateway in running.gateways:
        assert await people.codes(await people.join(gateway, old, ready=False)) == [3500]
        for method, path in (("GET", "/sse"), ("GET", "/v1/me/inbox"), ("POST", "/v1/ticket")):
            response = await people.http.request(method, gateway.origin + path, headers=bearer)
            assert (path, response.status_code) == (path, 401)
    assert (await people.http.get(f"{other.origin}/sse?ticket={ticket}")).status_code == 401
    (shown,) = (await people.order(other, "GET", f"/v1/tokens/revoked?user={user}")).json()["revoked"]
    assert shown["user"] == user
    return took


async def known_from_the_start(running: System, people: Crowd) -> None:
    """A gateway that begins now knows what is revoked before its first client."""
    with another(running, "young") as young:
        await asyncio.to_thread(young.until_ready)
        assert await people.codes(await people.join(young, made("alice-0"), ready=False)) == [3500]


async def sent_away(running: System, people: Crowd, turn: int) -> float:
    """All connections of a user end, and they may come back. Seconds until the last had ended."""
    one, other = running.gateways
    user, path = f"carol-{turn}", f"/v1/users/carol-{turn}/disconnect"
    listeners = [await people.join(gateway, made(user)) for gateway in (one, other, other)]
    await people.order(other, "POST", path, {"reconnect": True})
    decided = now()
    assert await people.codes(*listeners) == [3011] * 3
    took = max(listener.ended for listener in listeners) - decided
    again = await people.join(other, made(user))
    await people.order(one, "POST", path, {})
    decided = now()
    assert await people.codes(again) == [3503]
    return max(took, again.ended - decided)


async def ruled(running: System, people: Crowd, turn: int) -> float:
    """A rule is changed: who may no longer listen does not, the others go on, and the workers keep what it says.
    Seconds until the one who may not was told."""
    one, other = running.gateways
    space, topic = f"/v1/namespaces/news{turn}", f"news{turn}:a"
    granted = made("erin", topics=[topic])
    dave, erin = await people.join(other, made("dave"), topic, "room:a"), await people.join(one, granted, topic)
    await people.order(one, "PUT", space, {"subscribe": "token", "history": "user", "history_size": 2})
    decided = now()
    await eventually(lambda: dave.of(topic, "unsubscribe"))
    took = now() - decided
    assert [push["code"] for push in dave.of(topic, "unsubscribe")] == [2000]
    sent, kept = 0, list[int]()
    while sent < 3 or len(kept) > 2:  # until the workers have heard of it too
        await people.post(one, topic, sent)
        sent += 1
        await eventually(lambda so_far=sent: erin.numbers(topic) == [*range(so_far)])  # type: ignore[misc]
        kept = await remembered(erin, topic, 10 + sent)
    assert kept == [sent - 1, sent]
    await people.post(one, "room:a", 7)
    await eventually(lambda: dave.numbers("room:a") == [7])
    assert dave.numbers(topic) == []
    assert (dave.code, erin.code) == (None, None)
    await people.order(other, "DELETE", space)
    return took


async def remembered(listener: Listener, channel: str, number: int) -> list[int]:
    """Offsets in a topic's history."""
    await listener.say({"id": number, "history": {"channel": channel, "limit": 100}})
    await eventually(lambda: any(m.get("id") == number for m in listener.got))
    (found,) = [m["history"] for m in listener.got if m.get("id") == number]
    return [pub["offset"] for pub in found["publications"]]


def by_command(running: System, said: Callable[[], str]) -> None:
    """The same from the command line; `said` is what was printed since it was last asked."""
    where = ("--url", running.gateways[0].origin, "--key", OPS_KEY)

    def tocsin(*argv: str, code: int = 0) -> str:
        assert main([*argv, *where]) == code
        return said()

    assert "all tokens of frank from before" in tocsin("revoke", "frank")
    assert "from before 2023-11-14T22:13:20.000+00:00" in tocsin(
        "revoke", "g", "--issued-before", "2023-11-14T22:13:20Z"
    )
    assert "all tokens of h" in tocsin("revoke", "h", "--issued-before", "2h")
    assert "token j1 is revoked" in tocsin("revoke", "--jti", "j1")
    listed = json.loads(tocsin("revoke", "--json"))["revoked"]
    names = {one.get("jti") or one["user"].partition("-")[0] for one in listed}
    assert names == {"alice", "frank", "g", "h", "j1"}
    assert "token j1" in tocsin("revoke")
    tocsin("revoke", "frank", "--jti", "j1", code=USAGE)
    tocsin("revoke", "frank", "--issued-before", "yesterday", code=USAGE)
    assert tocsin("disconnect", "frank", "--reconnect").split()[-1] == "3011"
    assert tocsin("disconnect", "frank", "--code", "3500").split()[-1] == "3500"
    rules = ("subscribe=user", "history_size=9", "join_leave=true")
    assert "changed" in tocsin("namespaces", "set", "team", *rules)
    assert "history_size=9" in tocsin("namespaces", "ls")
    assert "join_leave=true" in tocsin("namespaces", "show", "team")
    assert "settings again" in tocsin("namespaces", "reset", "team")
    tocsin("namespaces", "reset", "team", code=FAILED)
    tocsin("namespaces", "set", "team", "colour=red", "history_size=many", code=FAILED)
    tocsin("namespaces", "set", "team", "subscribe", code=USAGE)
    tocsin("namespaces", "show", code=USAGE)


# A gateway that is cut off -------------------------------------------------------------------------------------------


async def state_of(people: Crowd, gateway: Gateway) -> tuple[int, str]:
    response = await people.http.get(gateway.origin + "/readyz")
    return response.status_code, response.json()["state"]


async def until_state(people: Crowd, gateway: Gateway, status: int, state: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while await state_of(people, gateway) != (status, state):  # noqa: ASYNC110  # it is only told who asks
            await asyncio.sleep(0.02)


@pytest.mark.slow
@pytest.mark.one_server
async def test_a_gateway_that_is_cut_off_says_so_keeps_its_clients_drains_and_heals(tmp_path: Path) -> None:
    # Its clients may take two seconds for a pong, and each node counts as alive while we are at work here.
    patience = {"drain_seconds": 0.5, "ping_interval": 2.5, "pong_timeout": 2.0, "node_ttl": 40.0}
    with chaos() as net, system(tmp_path, namespaces=SPACES, partitions=8, **patience) as running:
        (near,) = running.gateways
        url = urlsplit(near.environ["TOCSIN_REDIS_URL"])
        assert url.port is not None
        link = net.link(url.port)
        own = {"redis_url": url._replace(netloc=f"{url.netloc.rpartition(':')[0]}:{link.port}").geturl()}
        with (
            another(running, "away", stale_after=1.0, isolated_after=60.0, **own) as away,
            another(running, "lost", stale_after=1.0, isolated_after=4.0, **own) as lost,
        ):
            for gateway in (away, lost):
                await asyncio.to_thread(gateway.until_ready)
            await cut_off_for_seconds(near, away, link)
            await cut_off_for_long(near, lost, link)


async def cut_off_for_seconds(near: Gateway, away: Gateway, link: Link) -> None:
    """It is stale, and that is all."""
    async with crowd() as people:
        alice, bob = await people.join(away, made("alice"), "news0:a"), await people.join(away, made("bob"))
        await people.post(near, "news0:a", 0, 1)
        await eventually(lambda: alice.numbers("news0:a") == [0, 1])
        link.hold()
        await until_state(people, away, 503, "stale")
        pings = alice.pings
        await people.post(near, "news0:a", 2, 3)
        await people.order(near, "POST", "/v1/tokens/revoke", {"user": "bob"})
        await eventually(lambda: alice.pings > pings + 1)
        assert (alice.code, bob.code) == (None, None)
        assert away.metric("tocsin_gateway_health") == 1
        assert away.metric("tocsin_gateway_proof_seconds") >= 1
        link.heal()
        assert await people.codes(bob) == [3500]
        await until_state(people, away, 200, "healthy")
        await people.post(near, "news0:a", 4)
        await eventually(lambda: alice.numbers("news0:a") == [0, 1, 2, 3, 4])
        assert (alice.code, away.metric("tocsin_gateway_stream_gaps_total")) == (None, 0)


async def cut_off_for_long(near: Gateway, lost: Gateway, link: Link) -> None:
    """It takes nobody, sends everyone away, and takes them again when it is healed."""
    async with crowd() as people:
        await until_state(people, lost, 200, "healthy")
        alice = await people.join(lost, made("alice"))
        link.cut()
        await until_state(people, lost, 503, "isolated")
        assert await people.codes(alice) == [3001]
        with pytest.raises(InvalidStatus) as refused:
            await people.join(lost, made("alice"))
        assert refused.value.response.status_code == 503
        assert int(refused.value.response.headers["retry-after"]) > 0
        stream = await people.http.get(lost.origin + "/sse", headers={"authorization": f"Bearer {made('alice')}"})
        assert (stream.status_code, "retry-after" in stream.headers) == (503, True)
        assert (await people.http.get(lost.origin + "/healthz")).status_code == 200
        await until_state(people, near, 200, "healthy")
        link.heal()
        await until_state(people, lost, 200, "healthy")
        again = await people.join(lost, made("alice"), "news0:a")
        await people.post(near, "news0:a", 5)
        await eventually(lambda: again.numbers("news0:a") == [5])
