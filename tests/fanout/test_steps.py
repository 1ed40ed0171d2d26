"""Steps on a real Redis: each is taken once, stopped by what happens meanwhile, and always told of."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest
import pytest_asyncio

from bus.errors import Refused
from bus.event import Step
from bus.keys import Keys
from bus.lease import Fenced
from fanout.job import Kind, delivery_id, digest_id
from fanout.ladder.due import DueDigest, DueStep
from tests.fanout.ladder_stand import LADDER, MAIL, PUSH, SOON, Ladder, ladder_on, step
from tests.servers import RedisSite

CATEGORIES = {
    "news": {"digest": {"email": {"window": 60, "max": 3}}},
    "pushes": {"digest": {"push": {"window": 60}}},
    "codes": {"required": True, "ignore_quiet_hours": True},
}


@pytest_asyncio.fixture
async def ladder(any_server: RedisSite, keys: Keys) -> AsyncIterator[Ladder]:
    async with asyncio.timeout(60), ladder_on(any_server.url, keys, **CATEGORIES) as ladder:
        await ladder.reachable("alice", "d1", "d2")
        yield ladder


async def now_of(ladder: Ladder) -> float:
    return float((await ladder.ask("TIME"))[0])


# The way up ----------------------------------------------------------------------------------------------------------


async def test_the_whole_ladder_of_who_does_nothing(ladder: Ladder) -> None:
    ref = await ladder.publish()
    assert await ladder.turn() == 1
    pushes = await ladder.jobs("push")
    assert [(job.ref, job.user, job.offset, job.step, job.unless) for job in pushes] == [
        (ref, "alice", 1, 1, "acked")
    ] * 2
    assert sorted(job.target for job in pushes) == ["d1", "d2"]
    assert {job.id for job in pushes} == {delivery_id(ref, "alice", "push", d, step=1) for d in ("d1", "d2")}
    assert await ladder.waits() == [(step(ref, "alice", 2), pytest.approx(600, abs=60))]
    assert await ladder.turn() == 1
    (mail,) = await ladder.jobs("email")
    assert (mail.id, mail.target, mail.unless) == (delivery_id(ref, "alice", "email", step=2), "", "read")
    assert mail.expires_at == SOON / 1000
    assert await ladder.timers() == []
    assert await ladder.trail() == [("queued", "push", ""), ("queued", "email", "")]
    assert await ladder.counts(ref) == {"push:queued": 2, "email:queued": 1}
    assert 0 < await ladder.ask("TTL", ladder.keys.trail("alice")) <= 3_600
    assert 0 < await ladder.ask("TTL", ladder.keys.counts(ladder.p, ref)) <= 3_600


async def test_an_ack_stops_the_push_and_reading_it_the_mail(ladder: Ladder) -> None:
    ref = await ladder.publish()
    await ladder.acked("alice", "1-1")
    await ladder.turn()
    await ladder.read("alice", 1)
    await ladder.turn()
    assert await ladder.timers() == []
    assert await ladder.trail() == [("cancelled", "push", "acked"), ("cancelled", "email", "read")]
    assert await ladder.counts(ref) == {"push:cancelled": 1, "email:cancelled": 1}
    assert not await ladder.jobs("push") + await ladder.jobs("email")


@pytest.mark.parametrize(
    ("ranges", "stopped"), [("", False), ("2-9", False), ("1-1", True), ("5-9,1-3", True), ("3-4,9-12", False)]
)
async def test_an_ack_counts_for_the_offsets_it_names(ladder: Ladder, ranges: str, stopped: bool) -> None:
    await ladder.publish(ladder=(PUSH,))
    await ladder.acked("alice", ranges)
    await ladder.turn()
    assert bool(await ladder.jobs("push")) is not stopped


async def test_what_the_inbox_lost_was_not_read(ladder: Ladder) -> None:
    await ladder.publish(ladder=(MAIL,))
    await ladder.read("alice", 1)
    await ladder.ask("XTRIM", ladder.keys.log("@alice"), "MAXLEN", 0)
    await ladder.turn()
    assert len(await ladder.jobs("email")) == 1


async def test_who_does_not_want_it_live_can_ack_nothing(ladder: Ladder) -> None:
    await ladder.prefer("alice", {}, all="0")
    await ladder.publish()
    await ladder.acked("alice", "0-9")
    await ladder.turn()
    assert [job.offset for job in await ladder.jobs("push")] == [0, 0]


async def test_a_step_without_a_condition_is_always_taken(ladder: Ladder) -> None:
    await ladder.publish(ladder=(Step("email"),))
    await ladder.read("alice", 1)
    await ladder.turn()
    assert len(await ladder.jobs("email")) == 1


async def test_what_cannot_or_may_not_be_sent_is_passed_over_and_told(ladder: Ladder) -> None:
    ref = await ladder.publish(ladder=(PUSH, Step("sms"), Step("webhook"), MAIL))
    await ladder.prefer("alice", {"channels": {"push": False}})
    for _ in range(4):
        await ladder.turn()
    assert await ladder.trail() == [
        ("skipped", "push", "channel off"),
        ("skipped", "sms", "no target"),
        ("skipped", "webhook", "no target"),
        ("queued", "email", ""),
    ]
    assert await ladder.counts(ref) == {"push:skipped": 1, "sms:skipped": 1, "webhook:skipped": 1, "email:queued": 1}


async def test_a_required_category_hears_no_refusal(ladder: Ladder) -> None:
    await ladder.prefer("alice", {"channels": {"push": False}, "categories": {"codes": False}})
    await ladder.publish(category="codes")
    await ladder.turn()
    assert len(await ladder.jobs("push")) == 2


async def test_after_its_time_and_after_a_withdrawal_the_ladder_ends(ladder: Ladder) -> None:
    late, taken_back = await ladder.publish("1"), await ladder.publish("2")
    await ladder.ask("HSET", ladder.keys.body(ladder.p, late), "x", 1)
    await ladder.withdraw(taken_back)
    assert await ladder.turn() == 2
    assert await ladder.timers() == []
    assert sorted(await ladder.trail()) == [("cancelled", "push", "withdrawn"), ("expired", "push", "")]
    assert await ladder.counts(late) == {"push:expired": 1}


async def test_a_tombstone_ends_it_too(ladder: Ladder) -> None:
    ref = await ladder.publish()
    await ladder.ask("HSET", ladder.keys.body(ladder.p, ref), "w", "1")
    await ladder.turn()
    assert (await ladder.timers(), await ladder.jobs("push")) == ([], [])


async def test_an_event_that_is_gone_leaves_nothing_behind(ladder: Ladder) -> None:
    ref = await ladder.publish()
    await ladder.ask("DEL", ladder.keys.body(ladder.p, ref))
    assert await ladder.turn() == 1
    assert await ladder.timers() == []
    assert await ladder.trail() == [("expired", "", "")]
    assert await ladder.counts(ref) == {}


async def test_names_of_any_kind_climb(ladder: Ladder) -> None:
    user = next(name for n in range(10_000) if ladder.keys.partition(f"@{(name := f'al:i%ce{{@é}} {n}')}") == ladder.p)
    await ladder.reachable(user)
    ref = await ladder.publish("a:b/{c} %3A", user, ladder=(MAIL,), category="x:y")
    await ladder.turn()
    (mail,) = await ladder.jobs("email")
    assert (mail.ref, mail.user, mail.offset, mail.category) == (ref, user, 1, "x:y")
    await ladder.publish("2", user, ladder=(MAIL,))
    await ladder.acked(user, "2-2")
    await ladder.read(user, 2)
    await ladder.turn()
    assert len(await ladder.jobs("email")) == 1


# Quiet hours ---------------------------------------------------------------------------------------------------------


def all_day_but_two_hours(now: float, zone_hours: int = 0) -> dict[str, str]:
    """Quiet from an hour ago until an hour from now, by a clock so many hours ahead of UTC."""
    clock = datetime.fromtimestamp(now, UTC) + timedelta(hours=zone_hours)
    ends = [(clock + timedelta(hours=hours)).strftime("%H:%M") for hours in (-1, 1)]
    return {"from": ends[0], "to": ends[1]}


async def test_quiet_hours_put_off_and_decide_anew(ladder: Ladder) -> None:
    now = await now_of(ladder)
    await ladder.prefer("alice", {"timezone": "Etc/GMT-3", "quiet_hours": all_day_but_two_hours(now, 3)})
    ref = await ladder.publish()
    await ladder.turn()
    ((timer, wait),) = await ladder.waits()
    assert timer == step(ref, "alice", 1)
    assert 3_500 <= wait <= 3_660
    ((kind, channel, reason),) = await ladder.trail()
    assert (kind, channel) == ("deferred", "push")
    assert re.fullmatch(r"quiet hours until \d+", reason)
    assert await ladder.counts(ref) == {"push:deferred": 1}
    await ladder.turn()  # the night is still quiet
    assert len(await ladder.trail()) == 2
    await ladder.prefer("alice", {})
    await ladder.turn()
    assert len(await ladder.jobs("push")) == 2


async def test_what_was_read_in_the_night_is_not_sent_in_the_morning(ladder: Ladder) -> None:
    await ladder.prefer("alice", {"timezone": "UTC", "quiet_hours": all_day_but_two_hours(await now_of(ladder))})
    await ladder.publish()
    await ladder.turn()
    await ladder.read("alice", 1)
    await ladder.prefer("alice", {})
    await ladder.turn()
    assert (await ladder.trail())[-1] == ("cancelled", "push", "read")
    assert not await ladder.jobs("push")


async def test_a_one_time_code_comes_at_night(ladder: Ladder) -> None:
    await ladder.prefer("alice", {"timezone": "UTC", "quiet_hours": all_day_but_two_hours(await now_of(ladder))})
    await ladder.publish(category="codes")
    await ladder.turn()
    assert len(await ladder.jobs("push")) == 2


# Digests -------------------------------------------------------------------------------------------------------------


async def gather(ladder: Ladder, *names: str, category: str = "news") -> list[str]:
    """Publish, and let each into the digest; the digest's own timer is not touched."""
    refs = []
    for name in names:
        refs.append(await ladder.publish(name, ladder=(MAIL,), category=category))
        due = await ladder.look()
        assert await ladder.steps.take(ladder.lease, due) == 1
    return refs


async def test_a_digest_waits_for_its_window_and_goes_out_as_one(ladder: Ladder) -> None:
    first, second = await gather(ladder, "1", "2")
    assert await ladder.waits() == [("digest\nalice\nemail\nnews", pytest.approx(60, abs=20))]
    assert await ladder.ask("SMEMBERS", ladder.keys.digests("alice")) == [b"email news"]
    assert await ladder.trail() == [("digested", "email", "")] * 2
    assert await ladder.counts(first) == {"email:digested": 1}
    assert await ladder.turn() == 1
    (mail,) = await ladder.jobs("email")
    assert (mail.kind, mail.refs, mail.ref, mail.category) == (Kind.DIGEST, (first, second), second, "news")
    assert mail.id == digest_id((first, second), "alice", "email")
    assert (await ladder.trail())[2:] == [("queued", "email", "digest")] * 2
    assert await ladder.counts(second) == {"email:digested": 1, "email:queued": 1}
    assert await ladder.timers() == []
    keys = ladder.keys
    assert await ladder.ask("EXISTS", keys.digest("alice", "email", "news"), keys.digests("alice")) == 0


async def test_a_full_digest_does_not_wait(ladder: Ladder) -> None:
    refs = await gather(ladder, "1", "2", "3")
    ((timer, wait),) = await ladder.waits()
    assert (timer, wait <= 0) == ("digest\nalice\nemail\nnews", True)
    due = await ladder.look()
    await ladder.steps.take(ladder.lease, due)
    assert [job.refs for job in await ladder.jobs("email")] == [tuple(refs)]


async def test_what_was_read_or_withdrawn_meanwhile_is_left_out(ladder: Ladder) -> None:
    first, second = await gather(ladder, "1", "2")
    (third,) = await gather(ladder, "3", category="other")
    await ladder.turn()
    await gather(ladder, "4", "5")
    await ladder.read("alice", 4)
    await ladder.withdraw("4.shop/5")
    await ladder.turn()
    told = (await ladder.trail())[-2:]
    assert told == [("cancelled", "email", "read"), ("cancelled", "email", "withdrawn")]
    assert {ref for job in await ladder.jobs("email") for ref in (job.refs or (job.ref,))} == {first, second, third}
    assert await ladder.timers() == []


async def test_a_digest_of_one_is_an_ordinary_mail(ladder: Ladder) -> None:
    first, _ = await gather(ladder, "1", "2")
    await ladder.read("alice", 2)
    await ladder.turn()
    (mail,) = await ladder.jobs("email")
    assert (mail.kind, mail.ref, mail.offset, mail.unless) == (Kind.SEND, first, 1, "read")


async def test_a_digest_of_pushes_goes_to_every_device(ladder: Ladder) -> None:
    for name in ("1", "2"):
        await ladder.publish(name, ladder=(PUSH,), category="pushes")
    await ladder.turn()
    await ladder.turn()
    assert sorted(job.target for job in await ladder.jobs("push")) == ["d1", "d2"]
    assert (await ladder.counts("4.shop/1"))["push:queued"] == 2


async def test_quiet_hours_hold_a_digest_and_let_it_grow(ladder: Ladder) -> None:
    refs = await gather(ladder, "1", "2")
    hours = all_day_but_two_hours(await now_of(ladder))
    await ladder.prefer("alice", {"timezone": "UTC", "quiet_hours": hours | {"channels": ["email"]}})
    await ladder.turn()
    ((timer, wait),) = await ladder.waits()
    assert (timer, 3_500 <= wait <= 3_660) == ("digest\nalice\nemail\nnews", True)
    assert [kind for kind, *_ in await ladder.trail()][2:] == ["deferred"] * 2
    await ladder.prefer("alice", {})
    refs += await gather(ladder, "3")
    assert (await ladder.waits())[0][1] <= 0  # it is full: asked again at once
    await ladder.turn()
    assert [job.refs for job in await ladder.jobs("email")] == [tuple(refs)]


async def test_a_digest_takes_no_more_than_one_message_can_tell(ladder: Ladder) -> None:
    key, timer = ladder.keys.digest("alice", "email", "news"), "digest\nalice\nemail\nnews"
    for number in range(130):
        ref = f"4.shop/{number}"
        await ladder.ask("HSET", ladder.keys.body(ladder.p, ref), "e", "{}", "x", SOON)
        await ladder.ask("RPUSH", key, f"{ref}\n0\n1\nread")
    await ladder.ask("ZADD", ladder.keys.timers(ladder.p), 1, timer)
    await ladder.turn()
    await ladder.turn()
    assert [len(job.refs) for job in await ladder.jobs("email")] == [100, 30]
    assert await ladder.timers() == []


async def test_an_empty_digest_is_over(ladder: Ladder) -> None:
    await ladder.ask("ZADD", ladder.keys.timers(ladder.p), 1, "digest\nalice\nemail\nnews")
    assert await ladder.turn() == 1
    assert (await ladder.timers(), await ladder.jobs("email"), await ladder.trail()) == ([], [], [])


# Between the reading and the commit ----------------------------------------------------------------------------------


async def test_a_step_that_is_taken_twice_gives_one_job(ladder: Ladder) -> None:
    await ladder.publish(ladder=(MAIL,))
    due = await ladder.look()
    assert (await ladder.look()).items == due.items
    assert [await ladder.steps.take(ladder.lease, due) for _ in range(3)] == [1, 0, 0]
    assert len(await ladder.jobs("email")) == 1
    assert len(await ladder.trail()) == 1


async def test_a_digest_that_is_taken_twice_gives_one_job(ladder: Ladder) -> None:
    await gather(ladder, "1", "2")
    await ladder.time_passes()
    due = await ladder.look()
    assert isinstance(due.items[0], DueDigest)
    assert [await ladder.steps.take(ladder.lease, due) for _ in range(2)] == [1, 0]
    assert len(await ladder.jobs("email")) == 1


@pytest.mark.parametrize("happens", ["acked", "read", "withdrawn"])
@pytest.mark.parametrize("category", ["", "news"])
async def test_what_happens_before_the_commit_still_stops_it(ladder: Ladder, happens: str, category: str) -> None:
    ref = await ladder.publish(ladder=(Step("email", 5, "acked"),), category=category or None)
    due = await ladder.look()
    assert isinstance(due.items[0], DueStep)
    match happens:
        case "acked":
            await ladder.acked("alice", "1-1")
        case "read":
            await ladder.read("alice", 1)
        case "withdrawn":
            await ladder.withdraw(ref)
    assert await ladder.steps.take(ladder.lease, due) == 0
    assert await ladder.trail() == []
    await ladder.turn()
    assert await ladder.trail() == [("cancelled", "email", happens)]
    assert await ladder.jobs("email") == []
    assert await ladder.timers() == []


@pytest.mark.parametrize("happens", ["acked", "read", "withdrawn"])
async def test_a_digest_is_stopped_as_late(ladder: Ladder, happens: str) -> None:
    for name in ("1", "2"):
        await ladder.publish(name, ladder=(Step("email", 0, "acked"),), category="news")
    await ladder.turn()
    await ladder.time_passes()
    due = await ladder.look()
    match happens:
        case "acked":
            await ladder.acked("alice", "1-1")
        case "read":
            await ladder.read("alice", 1)
        case "withdrawn":
            await ladder.withdraw("4.shop/1")
    assert await ladder.steps.take(ladder.lease, due) == 0
    await ladder.turn()
    assert [job.ref for job in await ladder.jobs("email")] == ["4.shop/2"]


async def test_a_step_that_was_put_off_meanwhile_waits(ladder: Ladder) -> None:
    ref = await ladder.publish(ladder=(MAIL,))
    due = await ladder.look()
    await ladder.ask("ZADD", ladder.keys.timers(ladder.p), "XX", SOON, step(ref, "alice", 0))
    assert await ladder.steps.take(ladder.lease, due) == 0
    assert await ladder.jobs("email") == []


async def test_who_lost_the_lease_commits_nothing(ladder: Ladder) -> None:
    await gather(ladder, "1")
    await ladder.publish("2")
    await ladder.ask("ZADD", ladder.keys.timers(ladder.p), 1, "odd")
    await ladder.time_passes()
    old, due = ladder.lease, await ladder.look()
    await ladder.own("another")
    for item in due.items:
        with pytest.raises(Fenced):
            await ladder.steps.take(old, replace(due, items=(item,)))
    with pytest.raises(Fenced):
        await ladder.steps.look(old)
    assert len(await ladder.timers()) == len(due.items) == 3
    assert await ladder.jobs("push") == []
    assert await ladder.ask("XLEN", ladder.keys.dead(ladder.p)) == 0
    assert await ladder.turn() == 3  # the next owner goes on from there


# What is broken ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timer", ["odd", "step\nr\nu", "step\nr\nu\nx", "digest\nu", b"step\n\xff\nu\n1", "owl\nx"])
async def test_what_nobody_understands_is_buried(ladder: Ladder, timer: str | bytes) -> None:
    await ladder.publish(ladder=(MAIL,))
    await ladder.ask("ZADD", ladder.keys.timers(ladder.p), 1, timer)
    await ladder.turn()
    assert len(await ladder.jobs("email")) == 1
    assert await ladder.timers() == []
    ((_, flat),) = await ladder.ask("XRANGE", ladder.keys.dead(ladder.p), "-", "+")
    letter = dict(zip(flat[::2], flat[1::2], strict=True))
    assert letter[b"queue"] == b"timers"
    assert letter[b"t"] == (timer.encode() if isinstance(timer, str) else timer)
    assert letter[b"reason"] == b"no timer of a known form"
    assert ladder.stats.timers_buried == 1


async def test_one_persons_broken_keys_hold_nobody_up(ladder: Ladder) -> None:
    keys = ladder.keys
    (bob,) = ladder.neighbours(1)
    for number, broken in enumerate((keys.trail("alice"), keys.devices("alice"), keys.meta("@alice"))):
        await ladder.publish(str(number), "alice", bob)
        await ladder.ask("RENAME", broken, broken + "-kept") if await ladder.ask("EXISTS", broken) else None
        await ladder.ask("SET", broken, "not that type")
        await ladder.turn()
        assert [timer for timer, _ in await ladder.timers()] == [step(f"4.shop/{number}", bob, 2)]
        await ladder.turn()
        assert await ladder.timers() == []
        await ladder.ask("DEL", broken)
        await ladder.ask("RENAME", broken + "-kept", broken) if await ladder.ask("EXISTS", broken + "-kept") else None
    reasons = [
        dict(zip(f[::2], f[1::2], strict=True))[b"reason"]
        for _, f in await ladder.ask("XRANGE", keys.dead(ladder.p), "-", "+")
    ]
    assert sorted(reasons) == [b"Redis refused: WRONGTYPE", b"a key is of another type", b"a key is of another type"]


async def test_a_full_redis_is_waited_for(ladder: Ladder) -> None:
    await ladder.publish(ladder=(MAIL,))
    due = await ladder.look()
    await ladder.ask("CONFIG", "SET", "maxmemory", 1)
    try:
        with pytest.raises(Refused) as full:
            await ladder.steps.take(ladder.lease, due)
        assert full.value.passing
    finally:
        await ladder.ask("CONFIG", "SET", "maxmemory", 0)
    assert len(await ladder.timers()) == 1
    assert await ladder.steps.take(ladder.lease, due) == 1


async def test_dead_letters_of_another_type_are_no_endless_loop(ladder: Ladder) -> None:
    await ladder.ask("SET", ladder.keys.dead(ladder.p), "not that type")
    await ladder.ask("ZADD", ladder.keys.timers(ladder.p), 1, "odd")
    due = await ladder.look()
    with pytest.raises(Refused, match="WRONGTYPE"):
        await ladder.steps.take(ladder.lease, due)


# How much is looked at -----------------------------------------------------------------------------------------------


WATCHING = {"client", "cluster", "hello", "info", "ping", "publish", "replconf", "role"}
"""What sentinels, replicas and a pipe that asks who is master say at times of their own."""


async def commands(ladder: Ladder) -> int:
    """How many commands Redis has run since the statistics were reset, those of scripts too."""
    info = (await ladder.ask("INFO", "commandstats")).decode()
    calls = re.findall(r"cmdstat_([^:|]+)[^:]*:calls=(\d+)", info)
    return sum(int(count) for name, count in calls if name not in WATCHING)


async def test_a_backlog_costs_nothing_until_it_is_due(ladder: Ladder) -> None:
    looked = []
    for backlog in (0, 100, 20_000):
        pairs = [part for n in range(backlog) for part in (SOON + n, step(f"4.shop/later-{n}", "alice", 1))]
        if pairs:
            await ladder.ask("ZADD", ladder.keys.timers(ladder.p), *pairs)
        await ladder.publish(f"now-{backlog}", ladder=(MAIL,))
        await ladder.ask("CONFIG", "RESETSTAT")
        due = await ladder.look()
        assert [item.__class__ for item in due.items] == [DueStep]
        assert await ladder.steps.take(ladder.lease, due) == 1
        looked.append(await commands(ladder))
    assert len(set(looked)) == 1


async def test_many_are_taken_in_handfuls(ladder: Ladder) -> None:
    for number in range(250):
        await ladder.publish(str(number), ladder=(MAIL,))
    sizes = []
    while (due := await ladder.look()).items:
        assert due.wait == 0 or len(due.items) < 100
        sizes.append(await ladder.steps.take(ladder.lease, due))
    assert sizes == [100, 100, 50]
    jobs = await ladder.jobs("email")
    assert sorted(int(job.ref.rpartition("/")[2]) for job in jobs) == list(range(250))


async def test_digests_count_for_what_they_hold(ladder: Ladder) -> None:
    timers = ladder.keys.timers(ladder.p)
    for user in ("a", "b", "c"):
        for number in range(60):
            await ladder.ask(
                "RPUSH", ladder.keys.tagged(ladder.p, "user", user, "digest", "email", "x"), f"r{number}\n0\n1\n"
            )
        await ladder.ask("ZADD", timers, 1, f"digest\n{user}\nemail\nx")
    due = await ladder.look()
    assert (len(due.items), due.wait) == (2, 0)


async def test_the_wait_is_that_of_the_first_that_is_not_due(ladder: Ladder) -> None:
    assert (await ladder.look()).wait is None
    await ladder.online("alice")
    ladder.publisher.set_nodes(("n1",))
    await ladder.publish(ladder=LADDER)
    assert (await ladder.look()).wait == pytest.approx(30, abs=10)
    await ladder.time_passes()
    due = await ladder.look()
    assert (len(due.items), due.wait) == (1, None)


async def test_scheduled_events_move_on_as_before(ladder: Ladder) -> None:
    event = orjson.dumps({"type": "x", "to": {"users": ["alice"]}})
    await ladder.ask("ZADD", ladder.keys.timers(ladder.p), 1, b"event\n7-0\nshop\n" + event)
    due = await ladder.look()
    assert (due.items, due.wait) == ((), None)
    ((_, fields),) = await ladder.ask("XRANGE", ladder.keys.events(ladder.p), "-", "+")
    assert fields == [b"p", b"shop", b"d", b"7-0", b"e", event]


async def test_people_with_very_many_devices_are_looked_at_a_few_at_a_time(ladder: Ladder) -> None:
    crowd = ladder.neighbours(30)
    for user in crowd:
        await ladder.reachable(user, *(f"d{n}" for n in range(50)))
    await ladder.publish("1", *crowd, ladder=(Step("push"),))
    due = await ladder.look()
    assert (len(due.items), due.wait) == (10, 0)
    done = 0
    while due.items:
        done += await ladder.steps.take(ladder.lease, due)
        due = await ladder.look()
    assert done == len(crowd)
    assert len(await ladder.jobs("push")) == 50 * len(crowd)


async def test_large_events_that_are_due_together_are_moved_a_few_at_a_time(ladder: Ladder) -> None:
    timers, moved = ladder.keys.timers(ladder.p), []
    for number in range(40):
        await ladder.ask("ZADD", timers, 1, b"event\n1-%d\np\n" % number + b"x" * 60_000)
    await ladder.publish("1")
    await ladder.time_passes()
    while True:
        due = await ladder.look()
        moved.append(await ladder.ask("XLEN", ladder.keys.events(ladder.p)))
        if due.wait != 0:
            break
    assert moved[0] < 10
    assert moved == sorted(moved)
    assert moved[-1] == 40
    assert len(due.items) == 1, "the step stays until it is committed"
