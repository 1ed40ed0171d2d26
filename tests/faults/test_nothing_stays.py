"""Whatever was sent, read, put off, withdrawn or given up: when all times are over, Redis holds what it held before."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from bus.allowance import Limit
from bus.allowances import Allowances
from bus.keys import Keys
from bus.outcome import Done, Gone, Outcome, Rejected
from bus.people.followers import Followers
from fanout.channels.delivery import Delivery, HookTarget
from fanout.deliver.guard import Provider
from gateway.node import Node
from gateway.places import Places
from gateway.revocation import Token, User
from gateway.tracking import Tracking
from tests.fanout.office import Scripted, Town, town, until
from tests.fanout.stand import running_worker, send
from tests.fanout.stand import settings_for as worker_settings
from tests.gateway.stand import Client, running_node
from tests.looking import existing, names
from tests.servers import RedisSite

LADDER: Final = [
    {"via": "live"},
    {"via": "push", "unless": "acked"},
    {"via": "email", "unless": "read"},
    {"via": "webhook"},
    {"via": "sms"},
]
CATEGORIES: Final[dict[str, Any]] = {"news": {"digest": {"email": {"window": 1, "max": 3}}}}
FOLLOWED: Final = "news:all"
NEVER: Final = -1
GONE: Final = -2
"""Answers of TTL: it does not end, and it ended since we heard of it."""


def answer(delivery: Delivery) -> Outcome:
    """One of each kind."""
    if isinstance(delivery.target, HookTarget):
        return Rejected("it is not accepted")
    return Gone("no such number") if delivery.channel == "sms" else Done()


async def lasting(place: Town) -> set[str]:
    """Let all times be over; the keys that are left."""
    left = set()
    for key in await names(place.pipe, place.keys):
        if (ttl := await place.pipe.ask("TTL", key)) == GONE:
            continue
        if ttl == NEVER:
            left.add(key.decode())
            if key.endswith(b":meta"):
                await place.pipe.ask("HDEL", key, "kept")  # of a time before
        else:
            await place.pipe.ask("DEL", key)
    return left


async def live_a_day(place: Town, day: int) -> None:
    """All kinds of traffic, for people known and unknown, under names of this day's own."""
    keys, pipe = place.keys, place.pipe
    stranger = f"stranger{day}"
    tracking = Tracking(pipe, keys, place.clock, 86_400)
    sender = Scripted(answer)
    providers = {kind: (Provider("main", sender),) for kind in ("fcm", "email", "webhook", "sms")}

    async def post(name: str, **more: Any) -> None:
        to = {"users": ["anna", stranger]}
        await send(pipe, keys, {"id": f"{name}{day}", "source": "shop", "type": "x", "to": to} | more)

    async def quiet() -> bool:
        waits = [("ZCARD", keys.timers(0))]
        for channel in ("push", "email", "webhook", "sms"):
            waits += [("XLEN", keys.jobs(0, channel)), ("ZCARD", keys.later(0, channel))]
        last, acked, walks, walked = await pipe.asks(
            [
                *(("XREVRANGE", keys.events(0), "+", "-", "COUNT", 1), ("HGET", keys.head(0), "acked")),
                *(("XREVRANGE", keys.bulk(0), "+", "-", "COUNT", 1), ("HGET", keys.bulk_head(0), "acked")),
            ]
        )
        ends = (not last or last[0][0] == acked) and (not walks or walks[0][0] == walked)
        return ends and not any(await pipe.asks(waits))

    worker = worker_settings(place.url, keys, categories=CATEGORIES)
    async with (
        running_worker(worker),
        place.working("push", "email", "webhook", "sms", providers=providers, categories=CATEGORIES),
        running_node(place.url, keys) as node,
    ):
        client = Client(node)
        await client.connect("anna")
        await client.ask({"id": 2, "subscribe": {"channel": f"room:{day}"}})
        await post("plain", ladder=LADDER, title="t")
        await client.until(lambda c: c.publications)
        offset = next(at for channel, at, _ in client.publications if channel == "#anna" or at)
        for number, method in enumerate(("archive", "unarchive", "unread", "read"), 3):
            await client.ask({"id": number, "rpc": {"method": method, "data": {"offsets": [offset]}}})
        await client.ask({"id": 9, "rpc": {"method": "seen", "data": {"upto": offset}}})
        await post("plain", ladder=LADDER, title="t")  # again
        for number in range(4):
            await post(f"digest{number}", ladder=LADDER[:3], category="news", title="t")
        await post("taken back", ladder=LADDER, title="t")
        await post("lapsed", at="2020-01-01T00:00:00Z", ttl=1, ladder=LADDER[:2])
        await post("scheduled", at="2100-01-01T00:00:00Z", ladder=LADDER)
        await post("broken", ttl="long")
        await send(pipe, keys, {"type": "x", "to": {"topics": [f"room:{day}"]}, "data": day})
        await send(pipe, keys, {"id": f"all{day}", "type": "x", "to": {"topics": [FOLLOWED]}, "ladder": LADDER})

        async def scheduled() -> bool:
            return any(b"scheduled" in timer for timer in await pipe.ask("ZRANGE", keys.timers(0), 0, -1))

        await until(scheduled)
        await tracking.withdraw("shop", f"scheduled{day}")
        await tracking.withdraw("shop", f"never{day}")
        await until(lambda: sender.taken)
        await tracking.withdraw("shop", f"taken back{day}")
        await until(quiet)
        assert {delivery.channel for delivery in sender.taken} >= {"push", "email"}
        made = await decisions(place, node, day)
        assert await existing(pipe, *made) == len(made)
        client.vanish()


async def decisions(place: Town, node: Node, day: int) -> list[str]:
    """What operators and limits leave in Redis; the keys of it, all of which are there now."""
    keys, pipe, stranger = place.keys, place.pipe, f"stranger{day}"
    await node.control.revoke(Token(f"token {day}"))
    await node.control.revoke(User(stranger, 1.0))
    await node.control.set_rules(f"space{day}", {"publish": "user"})
    await Allowances(pipe, keys, place.clock).take(stranger, Limit(1.0, 10.0), 5)
    borrowed: asyncio.Future[bool | None] = asyncio.get_running_loop().create_future()
    places = Places(pipe, keys.places, "a node", 60)
    places.resize(2, lambda: ())
    places.ask(stranger, lambda: 2, borrowed.set_result)
    async with asyncio.timeout(20):
        assert await borrowed
    assert await existing(pipe, keys.rules, keys.rules_version) == 2
    await node.control.set_rules(f"space{day}", None)
    assert await existing(pipe, keys.rules, keys.rules_version) == 0
    lists = [keys.revoked, keys.revoked_until, keys.revoked_version]
    return [*lists, keys.allowance(stranger), keys.places(stranger)]


@pytest.mark.slow
async def test_when_all_times_are_over_there_is_what_there_was_before(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanout.timers.LONGEST_WAIT", 0.05)
    async with town(redis_server.url, Keys(keys.prefix, 1)) as place:
        await place.person("anna")
        await place.device("anna")
        await Followers(place.pipe, place.keys).follow(FOLLOWED, ["anna", "ben"])
        await live_a_day(place, 1)
        before = await lasting(place)
        await place.person("anna")
        await live_a_day(place, 2)
        after = await lasting(place)
    assert after == before
    assert not any("stranger" in key for key in after)
    kept = Keys(keys.prefix, 1)
    # Of each partition, and of the installation: no more of them however long it lives.
    assert kept.generation(0) in after
    assert kept.head(0) in after
    assert not after & {kept.revoked, kept.revoked_until, kept.revoked_version, kept.rules, kept.rules_version}
