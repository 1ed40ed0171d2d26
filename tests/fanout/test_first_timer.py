"""What is set up for a person in the step that puts an event into their inbox: unread, the first timer, or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest
import pytest_asyncio

from bus.event import MESSAGE, Event, Step
from bus.keys import Keys
from bus.outcome import Retry
from fanout.ladder.rungs import decode_ladder
from fanout.plan import Current
from tests.fanout.ladder_stand import LADDER, SOON, Ladder, ladder_on, step
from tests.looking import existing
from tests.servers import RedisSite

CATEGORIES = {"codes": {"required": True}, "ads": {"off": ["live"]}, "quiet": {"ladder": [{"via": "live"}]}}


@pytest_asyncio.fixture
async def ladder(any_server: RedisSite, keys: Keys) -> AsyncIterator[Ladder]:
    async with asyncio.timeout(60), ladder_on(any_server.url, keys, **CATEGORIES) as ladder:
        ladder.publisher.set_nodes(("n1", "two"))
        yield ladder


async def test_who_is_online_has_until_the_first_wait_is_over(ladder: Ladder) -> None:
    await ladder.online("alice")
    ref = await ladder.publish()
    assert await ladder.waits() == [(step(ref, "alice", 1), pytest.approx(30, abs=10))]
    assert await ladder.ask("ZRANGE", ladder.keys.unread("alice"), 0, -1, "WITHSCORES") == [b"1", b"1"]


async def test_who_is_offline_waits_for_nothing(ladder: Ladder) -> None:
    ref = await ladder.publish()
    ((timer, wait),) = await ladder.waits()
    assert timer == step(ref, "alice", 1)
    assert wait <= 0


@pytest.mark.parametrize(
    ("node", "ago", "last_seen", "waits"),
    [
        ("n1", 500, None, True),  # a living node has the connection, however long ago it said so
        ("dead", 5, None, True),  # it died a moment ago: the person is about to come back
        ("dead", 25, None, False),
        ("n", 25, None, False),  # part of a living node's name is no living node
        ("two", 25, None, True),
        ("dead", 25, 10, True),  # left, and that is all
        (None, 0, 10, True),
        (None, 0, 25, False),
    ],
)
async def test_a_deploy_that_reconnects_everybody_pushes_to_nobody(
    ladder: Ladder, node: str | None, ago: float, last_seen: float | None, waits: bool
) -> None:
    if node is not None:
        await ladder.online("alice", node=node, ago=ago)
    if last_seen is not None:
        seconds = int((await ladder.ask("TIME"))[0])
        await ladder.ask("HSET", ladder.keys.meta("@alice"), "last_seen", int((seconds - last_seen) * 1000))
    await ladder.publish()
    assert ((await ladder.waits())[0][1] > 0) is waits


async def test_a_route_of_an_older_release_says_nothing_about_when(ladder: Ladder) -> None:
    await ladder.ask("HSET", ladder.keys.routes("@alice"), "dead", "1")
    await ladder.publish()
    assert (await ladder.waits())[0][1] <= 0


async def test_a_live_step_of_its_own_wait_comes_before_the_next(ladder: Ladder) -> None:
    await ladder.online("alice")
    await ladder.publish(ladder=(Step("live", 10), Step("live", 5), Step("email", 20)))
    assert (await ladder.waits())[0][1] == pytest.approx(35, abs=4)


async def test_where_live_is_all_there_is_nothing_waits(ladder: Ladder) -> None:
    ref = await ladder.publish(ladder=None, category="quiet")
    assert await ladder.timers() == []
    assert not {b"e", b"l", b"g"} & set(await ladder.ask("HKEYS", ladder.keys.body(ladder.p, ref)))
    assert await ladder.ask("ZCARD", ladder.keys.unread("alice")) == 1


async def test_the_body_has_what_later_steps_need(ladder: Ladder) -> None:
    ref = await ladder.publish(category="a:b", data={"n": 1})
    flat = await ladder.ask("HGETALL", ladder.keys.body(ladder.p, ref))
    body = dict(zip(flat[::2], flat[1::2], strict=True))
    assert set(body) >= {b"pub", b"e", b"l", b"x", b"g"}
    assert orjson.loads(body[b"e"]).keys() >= {"id", "source", "type", "title", "data", "category"}
    assert "to" not in orjson.loads(body[b"e"])
    assert decode_ladder(body[b"l"]) == LADDER
    assert (body[b"x"], body[b"g"]) == (b"%d" % SOON, b"a:b")


async def test_a_repeat_sets_no_second_timer(ladder: Ladder) -> None:
    await ladder.publish()
    await ladder.ask("DEL", ladder.keys.timers(ladder.p))  # it was taken
    await ladder.publish()
    assert await ladder.timers() == []
    assert await ladder.ask("XLEN", ladder.keys.log("@alice")) == 1


async def test_a_repeat_with_another_ladder_climbs_the_first_one(ladder: Ladder) -> None:
    (bob,) = ladder.neighbours(1)
    await ladder.online("alice")
    await ladder.online(bob)
    ref = await ladder.publish(data={"n": 1})
    before = await ladder.timers()
    body = await ladder.ask("HGETALL", ladder.keys.body(ladder.p, ref))
    other = (Step("email", 5), Step("sms", 7))
    assert await ladder.publish("1", "alice", bob, ladder=other, category="other", data={"n": 2}) == ref
    after = dict(await ladder.timers())
    assert {timer: after.pop(timer) for timer, _ in before} == dict(before)
    assert list(after) == [step(ref, bob, 1)]
    assert dict(await ladder.waits())[step(ref, bob, 1)] == pytest.approx(30, abs=10)
    again = await ladder.ask("HGETALL", ladder.keys.body(ladder.p, ref))
    kept, now = (dict(zip(flat[::2], flat[1::2], strict=True)) for flat in (body, again))
    assert (now.pop(b"n"), kept.pop(b"n")) == (b"2", b"1")
    assert now == kept


async def test_a_repeat_that_lasts_longer_is_followed_as_long(ladder: Ladder) -> None:
    (bob,) = ladder.neighbours(1)
    ref = await ladder.publish()
    event = Event("1", "shop", "x", 0.0, users=(bob,), ladder=LADDER, title="1")
    for over in (SOON + 5_000, SOON - 5_000):
        await ladder.publisher.publish([Current(event, over / 1000)])
    assert await ladder.ask("HGET", ladder.keys.body(ladder.p, ref), "x") == b"%d" % (SOON + 5_000)


@pytest.mark.parametrize("kind", [MESSAGE, "tocsin.state"])
async def test_the_systems_own_is_never_unread_nor_followed_up(ladder: Ladder, kind: str) -> None:
    event = Event("1", "shop", kind, 0.0, users=("alice",), data={})
    await ladder.publisher.publish([Current(event, SOON / 1000)])
    assert await ladder.timers() == []
    assert await ladder.ask("EXISTS", ladder.keys.unread("alice")) == 0
    ((_, fields),) = await ladder.ask("XRANGE", ladder.keys.log("@alice"), "-", "+")
    assert fields[2:] == ([b"s", b"1"] if kind == "tocsin.state" else [])


async def test_what_the_inbox_no_longer_holds_is_no_longer_unread(ladder: Ladder) -> None:
    for number in range(1_003):
        await ladder.publish(str(number), ladder=(Step("live"),))
    unread = await ladder.ask("ZRANGE", ladder.keys.unread("alice"), 0, -1)
    log = await ladder.ask("XRANGE", ladder.keys.log("@alice"), "-", "+")
    assert [b"%s-0" % offset for offset in unread] == [entry for entry, _ in log]
    assert len(unread) == 1_000


async def test_all_that_is_set_up_goes_by_itself(ladder: Ladder) -> None:
    await ladder.prefer("alice", {}, all="0")
    (bob,) = ladder.neighbours(1)
    ref = await ladder.publish("1", "alice", bob)
    await ladder.read(bob, 1)
    await ladder.publish("2", "alice", bob)  # what was emptied and made anew has an end too
    keys = ladder.keys
    for key in (keys.unread(bob), keys.log(f"@{bob}"), keys.meta(f"@{bob}"), keys.trail("alice")):
        assert await ladder.ask("TTL", key) > 3_000
    for key in (keys.body(ladder.p, ref), keys.seen(ladder.p, ref), keys.counts(ladder.p, ref)):
        # As long as a step may want them.
        assert await ladder.ask("TTL", key) > SOON / 1000 - int((await ladder.ask("TIME"))[0])


# Muted ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("category", "live", "muted"),
    [
        (None, {}, False),
        (None, {"all": "0"}, True),
        ("orders", {"orders": "0"}, True),
        ("orders", {"news": "0"}, False),
        ("orders", {"all": "0", "orders": "1"}, True),
        ("codes", {"all": "0", "codes": "0"}, False),
        ("ads", {}, True),
        ("ads", {"ads": "1"}, False),
        ("ads", {"ads": "1", "all": "0"}, True),
    ],
)
async def test_who_does_not_want_it_live_does_not_get_it_live(
    ladder: Ladder, category: str | None, live: dict[str, str], muted: bool
) -> None:
    await ladder.prefer("alice", {}, **live)
    ref = await ladder.publish(category=category)
    assert await ladder.ask("XLEN", ladder.keys.log("@alice")) == int(not muted)
    assert await ladder.ask("HGET", ladder.keys.seen(ladder.p, ref), "@alice") == (b"0" if muted else b"1")
    assert await ladder.trail() == ([("skipped", "live", "preference")] if muted else [])
    assert await ladder.counts(ref) == ({"live:skipped": 1} if muted else {})
    assert [timer for timer, _ in await ladder.timers()] == [step(ref, "alice", 1)]  # the other steps go on


async def test_what_is_muted_reaches_no_socket_and_is_told_once(ladder: Ladder) -> None:
    await ladder.prefer("alice", {}, all="0")
    await ladder.online("alice")
    await ladder.ask("SET", ladder.keys.node_alive("n1"), "1")
    for _ in range(2):
        await ladder.publish()
    await ladder.publish("2", ephemeral=True)
    assert await ladder.ask("EXISTS", ladder.keys.node_deliveries("n1")) == 0
    assert len(await ladder.trail()) == 1
    assert (await ladder.waits())[0][1] == pytest.approx(30, abs=10)


async def test_one_persons_broken_keys_are_nobody_elses(ladder: Ladder) -> None:
    (bob,) = ladder.neighbours(1)
    await ladder.publish("1", bob)
    for broken in (ladder.keys.unread(bob), ladder.keys.preferences(bob)):
        await ladder.ask("DEL", broken)
        await ladder.ask("SET", broken, "not that type")
        event = Event(broken, "shop", "x", 0.0, users=("alice", bob))
        (outcome,) = await ladder.publisher.publish([Current(event, SOON / 1000)])
        assert outcome == Retry("1 recipient(s) have keys of another type")
        assert await ladder.ask("HKEYS", ladder.keys.seen(ladder.p, event.ref)) == [b"@alice"]
        assert await ladder.ask("XLEN", ladder.keys.log(f"@{bob}")) == 1
        await ladder.ask("DEL", broken)
    assert len(await ladder.timers()) == 3


async def test_timers_of_another_type_refuse_the_whole(ladder: Ladder) -> None:
    await ladder.ask("SET", ladder.keys.timers(ladder.p), "not that type")
    event = Event("1", "shop", "x", 0.0, users=("alice",))
    (outcome,) = await ladder.publisher.publish([Current(event, SOON / 1000)])
    assert isinstance(outcome, Retry)
    assert await ladder.ask("EXISTS", ladder.keys.log("@alice"), ladder.keys.seen(ladder.p, event.ref)) == 0


# Who has to know -----------------------------------------------------------------------------------------------------


async def test_the_owner_is_called_when_a_timer_is_due_before_all_others(ladder: Ladder) -> None:
    async def calls() -> list[bytes]:
        bell = ladder.keys.worker_bell("w")
        found: list[bytes] = await ladder.ask("LRANGE", bell, 0, -1)
        await ladder.ask("DEL", bell)
        return found

    p = b"%d" % ladder.p
    await ladder.online("alice")
    await ladder.publish("1")
    assert await calls() == [p]
    await ladder.publish("2")  # due after the first
    assert await calls() == []
    (bob,) = ladder.neighbours(1)
    await ladder.publish("3", bob)  # at once
    assert await calls() == [p]
    await ladder.ask("DEL", ladder.keys.lease(ladder.p), ladder.keys.timers(ladder.p))
    await ladder.publish("4")  # nobody has the partition; who takes it looks
    assert await calls() == []


async def test_a_call_does_not_wait_for_ever(ladder: Ladder) -> None:
    await ladder.publish()
    await ladder.ask("PING")
    assert 0 < await ladder.ask("PTTL", ladder.keys.worker_bell("w")) <= 60_000


# Followers -----------------------------------------------------------------------------------------------------------


async def followed(ladder: Ladder, topic: str, *partitions: int) -> None:
    """Somebody in each of these partitions follows the topic."""
    await ladder.ask("HSET", ladder.keys.meta(topic), "followed", "1")
    for p in partitions:
        await ladder.ask("ZADD", ladder.keys.members(topic, p), 0, f"follower{p}")


async def test_a_topic_that_is_followed_begins_a_walk_wherever_a_follower_lives(ladder: Ladder) -> None:
    keys = ladder.keys
    await followed(ladder, "news:a", 1, 4)
    event = Event("1", "shop", "x", 0.0, topics=("news:a", "news:b"), title="hello")
    await ladder.publisher.publish([Current(event, SOON / 1000)])
    for p in (1, 4):
        ((_, fields),) = await ladder.ask("XRANGE", keys.bulk(p), "-", "+")
        assert fields == [b"k", b"follow", b"e", event.ref.encode(), b"t", b"news:a"]
        content, over = await ladder.ask("HMGET", keys.body(p, event.ref), "e", "x")
        assert orjson.loads(content)["title"] == "hello"
        assert over == b"%d" % SOON
        assert await ladder.ask("TTL", keys.body(p, event.ref)) > 0
    assert await existing(ladder.pipe, *(keys.bulk(p) for p in range(keys.partitions))) == 2
    p = keys.partition("news:a")
    assert await ladder.ask("HGET", keys.counts(p, event.ref), "topics") in (b"1", b"2")


@pytest.mark.parametrize("more", [{"ephemeral": True}, {"type": MESSAGE}, {"ttl": 0}])
async def test_what_is_no_notification_is_for_no_follower(ladder: Ladder, more: dict[str, object]) -> None:
    await followed(ladder, "news:a", *range(ladder.keys.partitions))
    event = Event(**{"id": "1", "source": "shop", "type": "x", "created_at": 0.0, "topics": ("news:a",)} | more)  # type: ignore[arg-type]
    await ladder.publisher.publish([Current(event, SOON / 1000)])
    assert await existing(ladder.pipe, *(ladder.keys.bulk(p) for p in range(ladder.keys.partitions))) == 0


async def test_nothing_withdrawn_begins_a_walk(ladder: Ladder) -> None:
    keys = ladder.keys
    elsewhere = (keys.partition("news:a") + 1) % keys.partitions
    await followed(ladder, "news:a", elsewhere)
    event = Event("1", "shop", "x", 0.0, topics=("news:a",))
    await ladder.ask("SET", keys.withdrawn(elsewhere, event.ref), "1")
    await ladder.publisher.publish([Current(event, SOON / 1000)])
    assert await ladder.ask("EXISTS", keys.bulk(elsewhere), keys.body(elsewhere, event.ref)) == 0


async def test_an_event_can_be_given_to_people_whom_it_does_not_name(ladder: Ladder) -> None:
    bob, carol = ladder.neighbours(2)
    event = Event("1", "shop", "x", 0.0, users=("zoe",), topics=("news:a",), ladder=LADDER)
    for _ in range(2):
        outcome = await ladder.publisher.give(Current(event, SOON / 1000), [bob, carol])
        assert outcome.__class__.__name__ == "Done"
    for user in (bob, carol):
        assert await ladder.ask("XLEN", ladder.keys.log(f"@{user}")) == 1
    assert len(await ladder.timers()) == 2
    assert await existing(ladder.pipe, ladder.keys.log("@zoe"), ladder.keys.log("news:a")) == 0
