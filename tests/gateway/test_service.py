"""A node over real Redis: what clients see of joins, recovery, holes, presence, other nodes, limits and the end."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

import pytest

from bus.cursor import Cursor
from bus.errors import BusDown
from bus.keys import Keys, inbox_of
from gateway import joins, pulse, watch
from gateway.effects import Claims, Verified
from gateway.node import Node
from gateway.pace import BUDGET
from gateway.wire.codes import Disconnect
from gateway.wire.framing import Wire
from tests.gateway.stand import Client, Producer, running_node, token
from tests.servers import RedisSite
from tocsin.embedded import EmbeddedRedis


async def settled(node: Node) -> None:
    """Wait until Redis has answered all that was sent so far, and the answers were acted on."""
    await node.pipe.ask("PING")
    await asyncio.sleep(0)


async def gone(node: Node) -> None:
    """Wait until the node knows that Redis is away."""
    with suppress(BusDown):
        while True:
            await node.pipe.ask("PING")


async def test_who_missed_very_much_is_told_so(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joins, "MOST_BYTES", 3_500)
    async with running_node(redis_server.url, keys) as node:
        producer = Producer(node.pipe, keys, kept=100)
        here = Client(node)
        epoch = (await here.connect("alice"))["connect"]["subs"]["inbox"]["epoch"]
        for _ in range(7):
            await producer.append(inbox_of("alice"), "x" * 1_000)
        # A node takes it in by parts, for it goes on from where it is.
        node.service.joins.catch_up(inbox_of("alice"))
        await here.until(lambda c: len(c.publications) == 7)
        assert [offset for _, offset, _ in here.publications] == list(range(1, 8))
        for offset, recovered in ((0, False), (3, False), (4, True), (7, True)):
            client = Client(node)
            recover = {"inbox": {"recover": True, "epoch": epoch, "offset": offset}}
            found = (await client.connect("alice", subs=recover))["connect"]["subs"]["inbox"]
            assert found.get("recovered", False) is recovered
            assert len(found.get("publications", ())) == (7 - offset if recovered else 0)


async def test_a_notification_reaches_the_inbox_of_who_is_connected(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        alice = Client(node)
        reply = await alice.connect("alice")
        assert reply["connect"]["subs"]["inbox"]["recoverable"]
        assert reply["connect"]["node"] == node.id
        await Producer(node.pipe, keys).notify("alice", {"title": "hello"})
        await alice.until(lambda c: c.publications)
        assert alice.publications == [("inbox", 1, {"title": "hello"})]


async def test_what_was_missed_comes_with_the_connect_reply_and_only_once(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        producer = Producer(node.pipe, keys)
        alice = Client(node)
        inbox = (await alice.connect("alice"))["connect"]["subs"]["inbox"]
        alice.vanish()
        for n in range(3):
            await producer.notify("alice", n)
        again = Client(node)
        recover = {"inbox": {"recover": True, "epoch": inbox["epoch"], "offset": inbox["offset"]}}
        found = (await again.connect("alice", subs=recover))["connect"]["subs"]["inbox"]
        assert found["recovered"]
        assert [p["data"] for p in found["publications"]] == [0, 1, 2]
        await producer.notify("alice", 3)
        await again.until(lambda c: c.publications)
        assert again.publications == [("inbox", 4, 3)]
        assert node.stats.recovered == 1


async def test_more_missed_than_kept_is_said_and_never_partly_given(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        producer, alice = Producer(node.pipe, keys), Client(node)
        inbox = (await alice.connect("alice"))["connect"]["subs"]["inbox"]
        alice.vanish()
        for n in range(300):
            await producer.notify("alice", n)
        again = Client(node)
        recover = {"inbox": {"recover": True, "epoch": inbox["epoch"], "offset": 0}}
        found = (await again.connect("alice", subs=recover))["connect"]["subs"]["inbox"]
        assert not found.get("recovered")
        assert not found.get("publications")
        assert found["offset"] == 300
        assert node.stats.unrecovered == 1


async def test_the_position_check_finds_what_the_node_was_never_told(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        alice = Client(node)
        await alice.connect("alice")
        await Producer(node.pipe, keys).append(inbox_of("alice"), "lost on its way")
        await settled(node)
        assert alice.publications == []
        node.service.joins.check_all_soon()
        node.service.watch.tick(0.0, 0.0)
        await alice.until(lambda c: c.publications)
        assert alice.publications == [("inbox", 1, "lost on its way")]
        assert node.stats.position_failures == 1


async def test_the_position_check_catches_up_however_much_there_is(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        producer, alice = Producer(node.pipe, keys, kept=1000), Client(node)
        await alice.connect("alice")
        for n in range(700):
            await producer.append(inbox_of("alice"), n)
        node.service.joins.check_all_soon()
        node.service.watch.tick(0.0, 0.0)
        await alice.until(lambda c: c.closed or len(c.publications) == 700)
        assert [data for _, _, data in alice.publications] == list(range(700))


async def test_a_position_check_waits_for_no_topic_that_has_gone(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        joins, alice, bob = node.service.joins, Client(node), Client(node)
        await alice.connect("alice")
        await bob.connect("bob")
        joins.check_some(1.0)
        alice.vanish()
        await Producer(node.pipe, keys).append(inbox_of("bob"), "lost on its way")
        joins.check_some(0.001)
        await bob.until(lambda c: c.publications)


async def test_entries_out_of_order_reach_the_client_in_order(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        producer, alice = Producer(node.pipe, keys), Client(node)
        await alice.connect("alice")
        inbox = inbox_of("alice")
        first = await producer.append(inbox, "a")
        second = await producer.append(inbox, "b")
        await producer.tell(node.id, inbox, second[0], second[1], "b")
        await producer.tell(node.id, inbox, first[0], first[1], "a")
        await alice.until(lambda c: len(c.publications) == 2)
        assert [data for _, _, data in alice.publications] == ["a", "b"]


async def test_a_hole_is_filled_from_history_by_itself(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        producer, alice = Producer(node.pipe, keys), Client(node)
        await alice.connect("alice")
        inbox = inbox_of("alice")
        await producer.append(inbox, "a")
        second = await producer.append(inbox, "b")
        await producer.tell(node.id, inbox, second[0], second[1], "b")
        await alice.until(lambda c: len(c.publications) == 2)
        assert [data for _, _, data in alice.publications] == ["a", "b"]
        assert node.stats.gaps == 1


async def test_a_log_made_anew_ends_the_subscription_and_the_inbox_connection(
    redis_server: RedisSite, keys: Keys
) -> None:
    async with running_node(redis_server.url, keys) as node:
        producer = Producer(node.pipe, keys)
        alice, bob = Client(node), Client(node)
        await alice.connect("alice")
        await alice.ask({"id": 2, "subscribe": {"channel": "news:a"}})
        await bob.connect("bob")
        await node.pipe.ask("DEL", keys.meta("news:a"), keys.log("news:a"))
        await producer.publish("news:a", 1)
        push = await alice.until(lambda c: next((m for m in c.got if "unsubscribe" in m.get("push", {})), None))
        assert push["push"]["unsubscribe"]["code"] == 2500
        assert alice.closed is None
        await node.pipe.ask("DEL", keys.meta(inbox_of("bob")), keys.log(inbox_of("bob")))
        await producer.notify("bob", 1)
        await bob.until(lambda c: c.closed)
        assert bob.closed is Disconnect.INSUFFICIENT_STATE


async def test_many_who_lost_a_log_are_told_one_after_the_other_and_see_nothing_of_the_new_one_before(
    redis_server: RedisSite, keys: Keys
) -> None:
    async with asyncio.timeout(90), running_node(redis_server.url, keys) as node:
        producer, clients = Producer(node.pipe, keys), [Client(node) for _ in range(300)]
        for number, client in enumerate(clients):
            await client.connect(f"user{number}")
            await client.ask({"id": 2, "subscribe": {"channel": "news:a"}})
        await node.pipe.ask("DEL", keys.meta("news:a"), keys.log("news:a"))
        await producer.publish("news:a", 1)
        clients[0].vanish()
        clients[1].say({"id": 3, "unsubscribe": {"channel": "news:a"}})
        for number in range(2, 5):
            await producer.publish("news:a", number)
        for client in clients[2:]:
            push = await client.until(lambda c: next((m for m in c.got if "unsubscribe" in m.get("push", {})), None))
            assert push["push"]["unsubscribe"]["code"] == 2500
            assert client.publications == []
            assert client.closed is None
        back = await clients[2].ask({"id": 4, "subscribe": {"channel": "news:a"}})
        assert back["subscribe"]["offset"] == 4
        await producer.publish("news:a", 5)
        await clients[2].until(lambda c: c.publications)
        assert clients[2].publications == [("news:a", 5, 5)]
        assert len(node.service.hub.topics["news:a"].members) == 1


async def test_a_hole_in_the_nodes_own_stream_makes_every_topic_look(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        producer, alice = Producer(node.pipe, keys), Client(node)
        await alice.connect("alice")
        await producer.append(inbox_of("alice"), "unseen")
        await node.pipe.ask("INCR", keys.node_sequence(node.id))
        await producer.tell(node.id, "news:other", 1, "e", "something")
        async with asyncio.timeout(30):
            while not node.stats.stream_gaps:
                await settled(node)
        node.service.watch.tick(0.0, 0.0)
        await alice.until(lambda c: c.publications)
        assert alice.publications == [("inbox", 1, "unseen")]


async def test_a_stale_route_is_taken_back(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        await node.pipe.ask("HSET", keys.routes("news:a"), node.id, "1")
        await Producer(node.pipe, keys).publish("news:a", 1)
        async with asyncio.timeout(30):
            while await node.pipe.ask("EXISTS", keys.routes("news:a")):
                pass


async def test_the_last_listener_takes_the_route_with_it(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        alice = Client(node)
        await alice.connect("alice")
        await alice.ask({"id": 2, "subscribe": {"channel": "news:a"}})
        assert await node.pipe.ask("HKEYS", keys.routes("news:a")) == [node.id.encode()]
        alice.vanish()
        assert await node.pipe.ask("EXISTS", keys.routes("news:a"), keys.routes(inbox_of("alice"))) == 0
        assert node.service.hub.topics == {}
        assert node.stats.connections == 0
        assert node.stats.authenticated == 0


async def test_presence_join_and_leave_across_two_nodes(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as one, running_node(redis_server.url, keys) as two:
        alice, bob = Client(one), Client(two)
        await alice.connect("alice")
        await alice.ask({"id": 2, "subscribe": {"channel": "room:a"}})
        await bob.connect("bob")
        await bob.ask({"id": 2, "subscribe": {"channel": "room:a"}})
        push = await alice.until(
            lambda c: next(
                (m for m in c.got if m.get("push", {}).get("join", {}).get("info", {}).get("user") == "bob"), None
            )
        )
        assert push["push"]["channel"] == "room:a"
        found = await alice.ask({"id": 3, "presence": {"channel": "room:a"}})
        assert sorted(info["user"] for info in found["presence"]["presence"].values()) == ["alice", "bob"]
        counts = await alice.ask({"id": 4, "presence_stats": {"channel": "room:a"}})
        assert counts["presence_stats"] == {"num_clients": 2, "num_users": 2}
        bob.vanish()
        await alice.until(lambda c: any("leave" in m.get("push", {}) for m in c.got))
        found = await alice.ask({"id": 5, "presence": {"channel": "room:a"}})
        assert [info["user"] for info in found["presence"]["presence"].values()] == ["alice"]


async def test_presence_of_a_dead_node_expires_and_of_a_living_one_is_refreshed(
    redis_server: RedisSite, keys: Keys
) -> None:
    async with running_node(redis_server.url, keys, presence_ttl=3.0) as node:
        alice = Client(node)
        await alice.connect("alice")
        await alice.ask({"id": 2, "subscribe": {"channel": "room:a"}})
        await node.pipe.ask("ZADD", keys.presence_expiry("room:a"), 1, alice.session.client)
        for _ in range(4):
            node.service.watch.tick(0.0, 0.0)
        found = await alice.ask({"id": 3, "presence": {"channel": "room:a"}})
        assert len(found["presence"]["presence"]) == 1
        await node.pipe.ask("ZADD", keys.presence_expiry("room:a"), 1, alice.session.client)
        found = await alice.ask({"id": 4, "presence": {"channel": "room:a"}})
        assert found["presence"]["presence"] == {}


async def test_history_pages_both_ways_and_refuses_another_epoch(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        producer, alice = Producer(node.pipe, keys), Client(node)
        await alice.connect("alice")
        for n in range(1, 5):
            await producer.publish("room:a", n)

        async def page(number: int, **asked: Any) -> Any:
            return await alice.ask({"id": number, "history": {"channel": "room:a", **asked}})

        whole = (await page(2, limit=-1))["history"]
        assert [p["data"] for p in whole["publications"]] == [1, 2, 3, 4]
        since = {"offset": 2, "epoch": whole["epoch"]}
        assert [p["data"] for p in (await page(3, limit=1, since=since))["history"]["publications"]] == [3]
        assert [p["data"] for p in (await page(4, limit=2, reverse=True))["history"]["publications"]] == [4, 3]
        back = await page(5, limit=9, since=since, reverse=True)
        assert [p["data"] for p in back["history"]["publications"]] == [1]
        position = (await page(6, limit=0))["history"]
        assert position["offset"] == 4
        assert not position.get("publications")
        assert (await page(7, limit=1, since={"offset": 2, "epoch": "other"}))["error"]["code"] == 112


async def test_a_clients_publication_is_an_event_like_any_other(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        alice = Client(node)
        await alice.connect("alice")
        assert (await alice.ask({"id": 2, "publish": {"channel": "room:a", "data": {"x": 1}}}))["publish"] == {}
        [[_, fields]] = await node.pipe.ask("XRANGE", keys.events(keys.partition("room:a")), "-", "+")
        assert b'"tocsin.message"' in fields[fields.index(b"e") + 1]
        huge = await alice.ask({"id": 4, "publish": {"channel": "room:a", "data": "x" * 65_450}})
        assert huge["error"]["code"] == 106


async def test_a_message_for_an_emulated_connection_finds_it_on_its_node(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as one, running_node(redis_server.url, keys) as two:
        alice = Client(one)
        reply = (await alice.connect("alice"))["connect"]
        done: asyncio.Queue[bool] = asyncio.Queue()
        two.service.emulate(
            reply["session"], reply["node"], b'{"id":2,"subscribe":{"channel":"news:a"}}', done.put_nowait
        )
        async with asyncio.timeout(30):
            assert await done.get()
        await alice.until(lambda c: any(m.get("id") == 2 for m in c.got))
        for session, node in ((reply["session"], "nowhere"), ("unknown", one.id)):
            one.service.emulate(session, node, b"{}", done.put_nowait)
            async with asyncio.timeout(30):
                assert not await done.get()


async def test_who_come_at_once_count_before_they_are_in(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys, connections_per_user=2) as node:
        clients = [Client(node) for _ in range(5)]
        for client in clients:
            client.say({"id": 1, "connect": {"token": token("alice")}})
        for client in clients:
            await client.until(lambda c: c.got or c.closed)
        assert [client.closed for client in clients] == [None, None, *[Disconnect.CONNECTION_LIMIT] * 3]


async def test_who_comes_back_at_once_finds_their_own_place_free(redis_server: RedisSite, keys: Keys) -> None:
    async with asyncio.timeout(90), running_node(redis_server.url, keys, connections_per_user=1) as node:
        before = [Client(node) for _ in range(200)]
        for number, client in enumerate(before):
            await client.connect(f"user{number}")
        after = []
        for client in before:
            client.vanish()
        for number in range(200):
            after.append(Client(node))
            after[-1].say({"id": 1, "connect": {"token": token(f"user{number}")}})
        for client in after:
            await client.until(lambda c: c.got or c.closed)
        assert [client.closed for client in after] == [None] * 200
        assert (node.stats.connections, node.stats.authenticated) == (200, 200)


async def test_limits_per_user_and_per_address(redis_server: RedisSite, keys: Keys) -> None:
    limits = {"connections_per_user": 2, "connections_per_address": 3}
    async with running_node(redis_server.url, keys, **limits) as node:
        first, second = Client(node), Client(node)
        await first.connect("alice")
        await second.connect("alice")
        third = Client(node)
        third.say({"id": 1, "connect": {"token": token("alice")}})
        await third.until(lambda c: c.closed)
        assert third.closed is Disconnect.CONNECTION_LIMIT
        assert node.service.admit("test")
        Client(node)
        assert not node.service.admit("test")
        assert node.service.admit("another")
        second.vanish()
        assert node.service.admit("test")


async def test_who_does_not_connect_in_time_is_closed(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys, max_unauthenticated=1) as node:
        stranger = Client(node)
        assert not node.service.admit("test")
        now = node.clock.monotonic()
        node.service.watch.tick(now + 9, 0.0)
        assert stranger.closed is None
        node.service.watch.tick(now + 11, 0.0)
        assert stranger.closed is Disconnect.STALE
        assert node.service.admit("test")


class Long(Client):
    """Takes longer to close than a turn of the loop is given."""

    def close(self, disconnect: Disconnect) -> None:
        super().close(disconnect)
        time.sleep(2 * BUDGET)


async def test_who_connects_while_its_end_waits_for_its_turn_stays(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        other, alice = Long(node), Client(node, Wire.EVENTS)
        node.service.watch.tick(node.clock.monotonic() + 11, 0.0)
        assert (other.closed, alice.closed) == (Disconnect.STALE, None)
        node.service.open_events(alice, Claims("alice", node.clock.wall() + 60), (), {})
        await settled(node)
        assert alice.closed is None
        assert alice in node.service.watch.everyone()


async def test_who_reads_again_while_its_end_waits_for_its_turn_stays(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        clients = [Long(node), Long(node)]
        for client in clients:
            await client.connect("alice")
            client.late = True
            node.service.stalled(client, True)
        node.service.watch.tick(node.clock.monotonic(), 0.0)
        (waits,) = [client for client in clients if client.closed is None]
        waits.late = False
        node.service.stalled(waits, False)
        await settled(node)
        assert waits.closed is None


async def test_pings_are_answered_or_the_connection_ends(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        good, bad = Client(node), Client(node)
        await good.connect("alice")
        await bad.connect("bob")
        wall = node.clock.wall()
        for _ in range(300):
            node.service.watch.tick(0.0, wall)
            if good.got[-1] == {}:
                good.got.append("answered")
                node.service.received(good, b"{}")
        assert good.closed is None
        assert bad.closed is Disconnect.NO_PONG


async def test_an_expired_token_ends_the_connection_after_the_grace(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        alice = Client(node)
        await alice.ask({"id": 1, "connect": {"token": token("alice", ttl=20)}})
        wall = node.clock.wall()
        node.service.watch.tick(0.0, wall + 21)
        assert alice.closed is None
        node.service.watch.tick(0.0, wall + 21 + node.service.grace)
        assert alice.closed is Disconnect.EXPIRED


async def test_a_slow_connection_ends_when_its_outbox_is_too_old(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        alice = Client(node)
        await alice.connect("alice")
        node.service.stalled(alice, True)
        node.service.watch.tick(0.0, 0.0)
        assert alice.closed is None
        alice.late = True
        node.service.watch.tick(0.0, 0.0)
        assert alice.closed is Disconnect.SLOW


async def test_a_drain_closes_everyone_and_admits_nobody(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        clients = [Client(node) for _ in range(50)]
        for client in clients[:10]:
            await client.connect("alice")
        await node.service.drain()
        assert {client.closed for client in clients} == {Disconnect.SHUTDOWN}
        assert not node.service.admit("test")
        assert not await node.ready(0.1)


async def test_a_drain_ends_when_the_last_connection_has_gone(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "CLOSE_PATIENCE", 600.0)

    class Lingering(Client):
        def close(self, disconnect: Disconnect) -> None:
            asyncio.get_running_loop().call_later(0.3, super().close, disconnect)

    async with running_node(redis_server.url, keys) as node:
        Lingering(node)
        async with asyncio.timeout(60):
            await node.service.drain()
        assert node.stats.connections == 0


async def test_ready_means_a_way_through_redis_and_back(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "EVERY", 60.0)
    async with running_node(redis_server.url, keys) as node:
        assert await node.ready(30)
        await node.pipe.ask("DEL", keys.node_alive(node.id))
        assert await node.ready(0.2)  # which was proved within that time
        monkeypatch.setattr(pulse, "EVERY", 0.0)
        assert not await node.ready(0.2)


async def test_a_node_taken_for_dead_tells_redis_again_what_it_listens_to(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        alice = Client(node)
        await alice.connect("alice")
        routes = keys.routes(inbox_of("alice"))
        await node.pipe.asks([("DEL", routes), ("DEL", keys.node_alive(node.id))])
        await node.heartbeat.beat()
        node.service.watch.tick(0.0, 0.0)
        assert await node.pipe.ask("HKEYS", routes) == [node.id.encode()]
        await node.heartbeat.retire()
        assert await node.pipe.ask("EXISTS", keys.node_alive(node.id)) == 0


async def test_a_plain_stream_hears_its_inbox_and_topics_and_resumes(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        producer = Producer(node.pipe, keys)
        answers: list[Any] = []
        node.service.authenticate(token("alice"), answers.append)
        assert isinstance(answers[0], Verified)
        first = Client(node, Wire.EVENTS)
        node.service.open_events(first, answers[0].claims, ("news:a",), {})
        await first.until(lambda c: len(c.landed) == 2)
        await producer.publish("news:a", 1)
        await producer.notify("alice", 2)
        await first.until(lambda c: len(c.offered) == 2)
        assert sorted(first.offered) == [("@alice", 1, b'"data":2'), ("news:a", 1, b'"data":1')]
        first.vanish()
        await producer.publish("news:a", 3)
        again = Client(node, Wire.EVENTS)
        cursor = Cursor(first.landed["news:a"].epoch, 1)
        node.service.open_events(again, answers[0].claims, ("news:a",), {"news:a": cursor})
        await again.until(lambda c: len(c.landed) == 2)
        assert again.landed["news:a"].recovered
        assert again.offered == [("news:a", 2, b'"data":3')]
        denied = Client(node, Wire.EVENTS)
        node.service.open_events(denied, answers[0].claims, ("secret:a",), {})
        assert denied.closed is Disconnect.PERMISSION_DENIED


async def test_commands_answered_on_the_spot_are_answered_in_their_order(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        alice = Client(node)
        await alice.connect("alice")
        alice.say(*({"id": n, "rpc": {"method": "none"}} for n in range(2, 12)))
        assert [reply["id"] for reply in alice.got] == list(range(1, 12))


@pytest.mark.slow
async def test_redis_away_keeps_connections_and_what_was_missed_comes_after(
    redis_server: RedisSite, keys: Keys, tmp_path: Any
) -> None:
    with EmbeddedRedis(tmp_path) as own:
        async with running_node(own.url, keys) as node:
            producer, alice = Producer(node.pipe, keys), Client(node)
            await alice.connect("alice")
            own.kill()
            async with asyncio.timeout(30):
                await gone(node)
            late = Client(node)
            late.say({"id": 1, "connect": {"token": token("bob")}})
            reply = await late.until(lambda c: c.got)
            assert reply[0]["error"]["temporary"]
            own.start()
            await node.pipe.wait_up(30)
            await producer.append(inbox_of("alice"), "while away")
            await node.heartbeat.beat()
            node.service.joins.check_all_soon()
            node.service.watch.tick(0.0, 0.0)
            await alice.until(lambda c: c.publications)
            assert alice.closed is None
