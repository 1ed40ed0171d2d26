"""Decisions at run time on two nodes over one Redis: what is revoked, who is sent away, which rules hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest

from bus.clock import SystemClock
from bus.errors import BusDown
from bus.keys import Keys
from bus.pipe import Pipe
from gateway import tickets
from gateway.effects import Claims, Denied, Failed, Stamp, Verified
from gateway.mint import mint
from gateway.node import Node
from gateway.revocation import Dismissal, Kept, Token, User
from gateway.wire.codes import Disconnect, Error
from gateway.wire.framing import Wire
from tests.gateway import stand
from tests.gateway.stand import SECRET, Client, Producer, running_node
from tests.looking import existing
from tests.servers import RedisSite

SPACES = {
    "news": {"subscribe": "user", "presence": "nobody"},
    "team": {"subscribe": "token"},
    "room": {"subscribe": "user", "presence": "user"},
}


def now() -> float:
    return SystemClock().wall()


def made(user: str, *, ago: float = 100.0, **claims: Any) -> str:
    """A token made so many seconds ago."""
    fixed: dict[str, Any] = {"issuer": "tocsin", "audience": "tocsin", "now": now() - ago, "ttl": 3_600}
    return mint(SECRET, user=user, **(fixed | claims))


def for_topic(user: str, topic: str, **claims: Any) -> str:
    """A subscription token."""
    base = {"sub": user, "iss": "tocsin", "aud": "tocsin", "iat": int(now()) - 100, "exp": int(now()) + 60}
    return jwt.encode({**base, "channel": topic, **claims}, SECRET, algorithm="HS256")


@asynccontextmanager
async def two_nodes(url: str, keys: Keys, **settings: Any) -> AsyncIterator[tuple[Node, Node]]:
    given = {"namespaces": SPACES} | settings
    async with asyncio.timeout(90), running_node(url, keys, **given) as one, running_node(url, keys, **given) as other:
        await one.control.look()
        await other.control.look()
        yield one, other


async def connected(node: Node, user: str, token: str | None = None) -> Client:
    client = Client(node)
    reply = await client.ask({"id": 1, "connect": {"token": token or made(user)}})
    assert "connect" in reply, reply
    return client


def listening(node: Node, claims: Claims, *topics: str) -> Client:
    """A plain EventSource."""
    client = Client(node, Wire.EVENTS)
    node.service.open_events(client, claims, topics, {})
    return client


async def ended(*clients: Client) -> list[int]:
    """The codes with which they were closed."""
    return [(await client.until(lambda c: c.closed)).value.code for client in clients]


async def subscribed(client: Client, topic: str, **fields: Any) -> None:
    number = 100 + len(client.got)
    reply = await client.ask({"id": number, "subscribe": {"channel": topic, **fields}})
    assert "subscribe" in reply, reply


def unsubscribes(client: Client) -> list[tuple[str, int]]:
    pushes = [m["push"] for m in client.got if "unsubscribe" in m.get("push", {})]
    return [(push["channel"], push["unsubscribe"]["code"]) for push in pushes]


async def asked(node: Node, token: str) -> Verified | Denied | Failed:
    answered: asyncio.Future[Verified | Denied | Failed] = asyncio.get_running_loop().create_future()
    node.service.authenticate(token, answered.set_result)
    return await answered


async def settled(*nodes: Node) -> None:
    """Until each has read what is on its stream, and looked at everyone."""
    for node in nodes:
        top = int(await node.pipe.ask("GET", node.keys.node_sequence(node.id)) or 0)
        while node.feed.read_to < top:  # noqa: ASYNC110  # the feed reads by itself
            await asyncio.sleep(0.005)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def clock_ahead(hours: float) -> type[SystemClock]:
    class Wrong(SystemClock):
        def wall(self) -> float:
            return super().wall() + 3_600 * hours

    return Wrong


# Revocation ----------------------------------------------------------------------------------------------------------


async def test_all_tokens_of_a_user_end_on_every_node_and_no_way_in_takes_them(
    redis_server: RedisSite, keys: Keys
) -> None:
    async with two_nodes(redis_server.url, keys) as (one, other):
        old = made("alice")
        here, there = await connected(one, "alice", old), await connected(other, "alice", old)
        stream = listening(other, Claims("alice", now() + 60, stamp=Stamp("", now() - 9)))
        bob = await connected(other, "bob")
        ticket = "tkt_" + "a" * 20
        claims = Claims("alice", now() + 60, stamp=Stamp("", now() - 9))
        await one.pipe.ask("SET", keys.ticket(tickets.digest(ticket)), tickets.pack(claims), "EX", 30)
        kept = await one.control.revoke(User("alice", now() - 5))
        assert kept is not None
        assert kept.until > (now() + one.settings.token_lifetime - 5) * 1000
        assert await ended(here, there, stream) == [3500] * 3
        assert (one.stats.revoked, other.stats.revoked) == (1, 2)
        for node in (one, other):
            assert await asked(node, old) == Denied(Disconnect.INVALID_TOKEN)
            late = Client(node)
            late.say({"id": 1, "connect": {"token": old}})
            assert await ended(late) == [3500]
        assert await asked(other, ticket) == Denied(Disconnect.INVALID_TOKEN)
        assert listening(other, claims).closed is Disconnect.INVALID_TOKEN
        fresh = await connected(other, "alice", made("alice", ago=0))
        bob.say({"id": 2, "refresh": {"token": old}})
        assert await ended(bob) == [3500]
        await settled(one, other)
        assert fresh.closed is None


async def test_one_token_by_its_id_and_a_refreshed_connection_rests_on_the_newer_one(
    redis_server: RedisSite, keys: Keys
) -> None:
    async with two_nodes(redis_server.url, keys) as (one, other):
        first = await connected(one, "alice", made("alice", jti="j1"))
        second = await connected(other, "alice", made("alice", jti="j2"))
        renewed = await connected(other, "alice", made("alice", jti="j1"))
        assert "refresh" in await renewed.ask({"id": 2, "refresh": {"token": made("alice", jti="j3")}})
        await other.control.revoke(Token("j1"))
        assert await ended(first) == [3500]
        await settled(one, other)
        assert (second.closed, renewed.closed) == (None, None)
        await one.control.revoke(Token("j3"))
        assert await ended(renewed) == [3500]


async def test_a_token_for_one_topic_takes_only_that_topic_with_it(redis_server: RedisSite, keys: Keys) -> None:
    async with two_nodes(redis_server.url, keys) as (one, other):
        alice = await connected(other, "alice")
        own = for_topic("alice", "team:a", jti="s1")
        await subscribed(alice, "team:a", token=own)
        await subscribed(alice, "team:b", token=for_topic("alice", "team:b", jti="s2"))
        await subscribed(alice, "news:a")
        await one.control.revoke(Token("s1"))
        await alice.until(unsubscribes)
        assert unsubscribes(alice) == [("team:a", 2000)]
        assert set(alice.session.subscriptions) == {"@alice", "team:b", "news:a"}
        assert (await alice.ask({"id": 50, "subscribe": {"channel": "team:a", "token": own}}))["error"]["code"] == 103
        fresh = for_topic("alice", "team:b", jti="s1")
        assert (await alice.ask({"id": 51, "sub_refresh": {"channel": "team:b", "token": fresh}}))["error"][
            "code"
        ] == 103


async def test_of_a_token_of_the_very_second_another_is_asked_for(redis_server: RedisSite, keys: Keys) -> None:
    async with two_nodes(redis_server.url, keys) as (one, other):
        moment = float(int(now())) - 10
        token = mint(SECRET, user="alice", issuer="tocsin", audience="tocsin", now=moment, ttl=60)
        alice = await connected(other, "alice", token)
        await one.control.revoke(User("alice", moment + 0.5))
        assert await ended(alice) == [3005]
        assert await asked(one, token) == Denied(Error.TOKEN_EXPIRED)


async def test_a_node_that_was_not_told_finds_it_when_it_looks(redis_server: RedisSite, keys: Keys) -> None:
    async with two_nodes(redis_server.url, keys) as (one, other):
        alice, bob = await connected(other, "alice"), await connected(other, "bob")
        await other.pipe.ask("DEL", keys.node_alive(other.id))  # nobody can put anything on its stream
        await one.control.revoke(User("alice", now() - 5))
        await one.control.revoke(Dismissal("d1", "bob", 3011))
        await one.control.set_rules("news", {"subscribe": "nobody"})
        assert (alice.closed, bob.closed) == (None, None)
        await other.control.look()
        assert await ended(alice, bob) == [3500, 3011]
        assert other.service.namespaces.of("news:a").subscribe == "nobody"
        again = await connected(other, "bob")
        await other.control.look()
        assert again.closed is None


async def test_what_could_not_be_read_is_read_at_the_next_look(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_nodes(redis_server.url, keys) as (one, other):
        alice = await connected(other, "alice")
        await other.pipe.ask("DEL", keys.node_alive(other.id))
        await one.control.revoke(User("alice", now() - 5))
        ask = Pipe.ask

        async def broken(self: Pipe, *command: Any) -> Any:
            if command[0] == "HSCAN":
                raise BusDown("the connection was lost")
            return await ask(self, *command)

        with monkeypatch.context() as patch:
            patch.setattr(Pipe, "ask", broken)
            with pytest.raises(BusDown):
                await other.control.look()
        assert alice.closed is None
        await other.control.look()
        assert await ended(alice) == [3500]


async def test_a_node_whose_clock_is_wrong_follows_orders_and_gives_them(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_nodes(redis_server.url, keys) as (_, other):
        for hours, user in ((1, "alice"), (-1, "bob")):
            here = await connected(other, user)
            with monkeypatch.context() as patch:
                patch.setattr(stand, "SystemClock", clock_ahead(hours))
                async with running_node(redis_server.url, keys, namespaces=SPACES) as skewed:
                    there = await connected(skewed, "carol", made("carol", ago=7_200, ttl=36_000))
                    await skewed.control.look()
                    await other.control.revoke(Dismissal(f"d{hours}", "carol", 3503))
                    await skewed.control.revoke(Dismissal(f"e{hours}", user, 3503))
                    assert await ended(there, here) == [3503, 3503]
                    assert abs(skewed.control.now - now()) < 60


async def test_who_is_revoked_while_a_place_is_asked_for_gets_no_stream(redis_server: RedisSite, keys: Keys) -> None:
    async with two_nodes(redis_server.url, keys, connections_per_user=8) as (one, _):
        one.service.admission.users.shares.resize(100)  # nobody has a place without asking
        alice = listening(one, Claims("alice", now() + 60, stamp=Stamp("j1", now() - 50)))
        one.control._take(Kept(User("alice", now() - 5), int((now() + 60) * 1_000)))
        assert await ended(alice) == [3500]


async def test_it_looks_by_itself_and_at_once_when_told(redis_server: RedisSite, keys: Keys) -> None:
    async with two_nodes(redis_server.url, keys) as (one, other), asyncio.TaskGroup() as group:
        looking = group.create_task(other.control.run())
        users = ("alice", "bob", "carol", "dave", "erin")
        clients = [await connected(other, user) for user in users]
        await subscribed(clients[0], "news:a")
        await one.control.set_rules("news", {"subscribe": "nobody"})
        await clients[0].until(unsubscribes)
        await other.pipe.ask("DEL", keys.node_alive(other.id))
        took: list[float] = []
        for user, client in zip(users, clients, strict=True):
            await one.control.revoke(User(user, now() - 5))
            stored = asyncio.get_running_loop().time()
            assert await ended(client) == [3500]
            took.append(asyncio.get_running_loop().time() - stored)
            if took[-1] < 1:  # the promise; a turn in which this machine stood still says nothing of it
                break
        assert took[-1] < 1, took
        looking.cancel()


async def test_a_node_that_begins_knows_what_is_revoked_and_dismisses_nobody(
    redis_server: RedisSite, keys: Keys
) -> None:
    async with two_nodes(redis_server.url, keys) as (one, _):
        await one.control.revoke(User("alice", now() - 5))
        await one.control.revoke(Dismissal("d1", "bob", 3503))
        async with running_node(redis_server.url, keys, namespaces=SPACES) as young:
            bob = await connected(young, "bob")
            await young.control.look()
            assert await asked(young, made("alice")) == Denied(Disconnect.INVALID_TOKEN)
            assert bob.closed is None


async def test_what_redis_lost_still_holds_and_is_stored_again(redis_server: RedisSite, keys: Keys) -> None:
    async with two_nodes(redis_server.url, keys) as (one, other):
        await one.control.revoke(User("alice", now() - 5))
        await one.control.revoke(Token("j1"))
        await settled(other)
        await one.pipe.ask("DEL", keys.revoked, keys.revoked_until, keys.revoked_version)
        await other.control.look()
        found, total = await one.control.newest(10)
        assert total == 2
        assert {type(kept.order) for kept in found} == {User, Token}
        for node in (one, other):
            await node.control.look()
            assert await asked(node, made("alice")) == Denied(Disconnect.INVALID_TOKEN)


async def test_many_are_read_in_pages_and_there_are_never_too_many(redis_server: RedisSite, keys: Keys) -> None:
    async with two_nodes(redis_server.url, keys, revocations=1_200) as (one, _):
        for start in range(0, 1_200, 400):
            calls = [one.control._call((f"t:{n}", ""), int(now() + 60) * 1000) for n in range(start, start + 400)]
            assert all(await one.pipe.scripts(calls))
        assert await one.control.revoke(Token("one too many")) is None
        await one.control.look()
        assert await asked(one, made("alice", jti="1199")) == Denied(Disconnect.INVALID_TOKEN)
        assert isinstance(await asked(one, made("alice", jti="1200")), Verified)
        assert (await one.control.newest(5))[1] == 1_200
        # A repeat of one that is there needs no room, and changes nothing.
        before = await one.pipe.ask("GET", keys.revoked_version)
        assert await one.pipe.script(*one.control._call(("t:7", ""), 1)) == [
            before,
            before,
            (await one.pipe.ask("HGET", keys.revoked, "t:7")),
        ]


async def test_all_keys_go_with_the_last_that_is_revoked(redis_server: RedisSite, keys: Keys) -> None:
    async with two_nodes(redis_server.url, keys) as (one, _):
        names = (keys.revoked, keys.revoked_until, keys.revoked_version)
        for seconds in (0.15, 1.5, 6.0):  # too short for a machine that stands still meanwhile: then once more
            await one.pipe.script(*one.control._call(("t:a", ""), int((now() + seconds) * 1000)))
            await one.pipe.script(*one.control._call(("t:b", ""), int((now() + seconds / 3) * 1000)))
            found = await existing(one.pipe, *names)
            while await existing(one.pipe, *names):  # noqa: ASYNC110  # Redis tells nobody
                await asyncio.sleep(0.02)
            if found == 3:
                return
        raise AssertionError("they went before the last that is revoked")


# Sending away --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [3503, 3011])
async def test_who_is_sent_away_goes_from_every_node_and_may_come_back(
    redis_server: RedisSite, keys: Keys, code: int
) -> None:
    async with two_nodes(redis_server.url, keys) as (one, other):
        clients = [await connected(one, "alice"), await connected(other, "alice"), await connected(other, "bob")]
        await one.control.revoke(Dismissal("d1", "alice", code))
        assert await ended(*clients[:2]) == [code, code]
        again = await connected(one, "alice")
        await one.control.look()
        await settled(one, other)
        assert (again.closed, clients[2].closed) == (None, None)


# Rules ---------------------------------------------------------------------------------------------------------------


async def test_a_changed_rule_ends_what_it_no_longer_grants_and_nothing_else(
    redis_server: RedisSite, keys: Keys
) -> None:
    async with two_nodes(redis_server.url, keys) as (one, other):
        alice, bob = await connected(other, "alice"), await connected(one, "bob", made("bob", topics=["news:a"]))
        for client in (alice, bob):
            await subscribed(client, "news:a")
            await subscribed(client, "room:a")
        await subscribed(alice, "team:a", token=for_topic("alice", "team:a"))
        stream = listening(other, Claims("alice", now() + 60), "news:a")
        await stream.until(lambda c: "news:a" in c.session.subscriptions)
        assert await one.control.set_rules("news", {"subscribe": "token"})
        await other.control.look()
        await alice.until(unsubscribes)
        assert unsubscribes(alice) == [("news:a", 2000)]
        assert await ended(stream) == [3507]
        await settled(one, other)
        assert unsubscribes(bob) == []  # whose token names it
        assert (alice.closed, bob.closed) == (None, None)
        assert (await alice.ask({"id": 60, "subscribe": {"channel": "news:a"}}))["error"]["code"] == 103
        assert other.stats.unsubscribed == 2
        # What a token for that very topic opens, only `nobody` closes.
        await one.control.set_rules("team", {"subscribe": "nobody"})
        await other.control.look()
        await alice.until(lambda c: len(unsubscribes(c)) == 2)
        assert unsubscribes(alice)[1] == ("team:a", 2000)
        await Producer(one.pipe, keys).publish("room:a", {"n": 1})
        await alice.until(lambda c: c.publications)
        assert await one.control.set_rules("news", None)
        await other.control.look()
        await subscribed(alice, "news:a")
        assert not await one.control.set_rules("news", None)


async def test_presence_is_kept_as_the_rules_say_now(redis_server: RedisSite, keys: Keys) -> None:
    async with two_nodes(redis_server.url, keys) as (one, _):
        alice = await connected(one, "alice")
        await subscribed(alice, "news:a")
        await subscribed(alice, "room:a")
        await one.control.set_rules("news", {"subscribe": "user", "presence": "user"})
        await one.control.set_rules("room", {"subscribe": "user"})
        while not await one.pipe.ask("HLEN", keys.presence("news:a")):  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.01)
        who = await alice.ask({"id": 70, "presence": {"channel": "news:a"}})
        assert len(who["presence"]["presence"]) == 1
        while await one.pipe.ask("HLEN", keys.presence("room:a")):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_what_is_asked_for_when_a_rule_changes_is_judged_by_the_new_one(
    redis_server: RedisSite, keys: Keys
) -> None:
    async with two_nodes(redis_server.url, keys) as (one, _):
        alice = await connected(one, "alice")
        stream = listening(one, Claims("alice", now() + 60), "news:c")
        alice.say({"id": 9, "subscribe": {"channel": "news:b"}})
        one.service.namespaces.override({"news": {"subscribe": "nobody"}})
        reply = await alice.until(lambda c: next((r for r in c.got if r.get("id") == 9), None))
        assert reply["error"]["code"] == 103
        assert await ended(stream) == [3507]
        assert set(alice.session.subscriptions) == {"@alice"}
        await settled(one)
        assert await one.pipe.ask("HLEN", keys.routes("news:b")) == 0
        assert await one.pipe.ask("HLEN", keys.routes("news:c")) == 0


async def test_rules_in_redis_that_are_not_ours_close_their_namespace(redis_server: RedisSite, keys: Keys) -> None:
    async with two_nodes(redis_server.url, keys) as (one, _):
        await one.pipe.ask("HSET", keys.rules, "news", b"{nonsense", "room", b'{"subscribe":"user","colour":1}')
        await one.pipe.ask("SET", keys.rules_version, "x")
        await one.control.look()
        assert one.service.namespaces.of("news:a").subscribe == "nobody"
        assert one.service.namespaces.of("room:a").subscribe == "user"


# In slices -----------------------------------------------------------------------------------------------------------


async def test_a_thousand_are_looked_at_without_holding_the_loop(redis_server: RedisSite, keys: Keys) -> None:
    async with two_nodes(redis_server.url, keys) as (one, _):
        people = [listening(one, Claims(f"user{n}", now() + 60, stamp=Stamp(f"j{n}", 1.0))) for n in range(1_200)]
        for client in people:
            await client.until(lambda c: c.session.subscriptions)
        for n in range(1_000):
            await one.control.revoke(Token(f"j{n}")) if n % 100 == 0 else None
        assert await ended(*people[:1_000:100]) == [3500] * 10
        await asyncio.sleep(0)
        assert sum(client.closed is not None for client in people) == 10
