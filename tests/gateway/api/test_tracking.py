"""What became of an event, why, and its withdrawal: over HTTP, with a real worker and real sessions on a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import orjson
import pytest
import pytest_asyncio

from bus.clock import SystemClock
from bus.event import ref_of
from bus.keys import Keys, escape, inbox_of
from bus.people.devices import Device
from bus.people.followers import Followers
from bus.pipe import Pipe
from bus.trail import Kind, encode
from fanout.job import Job, delivery_id, from_fields
from fanout.job import Kind as JobKind
from gateway.api.tracking import COST
from tests.bus.holding_proxy import holding_proxy
from tests.fanout.stand import running_worker, settings_for
from tests.gateway.api.harness import EVENT, KEY, OPS_KEY, Api, api_keys, open_api
from tests.gateway.api.test_openapi import DOCUMENT, conforms
from tests.gateway.stand import Client, running_node
from tests.servers import RedisSite

REF = ref_of("shop", "1")
LIVE = [{"via": "live"}]
LATER = [{"via": "live"}, {"via": "push", "after": 3600, "unless": "acked"}, {"via": "email", "after": 3600}]


async def until(true: Callable[[], Awaitable[Any]]) -> Any:
    """Ask until it is so, and give the answer; the test's own timeout bounds it."""
    while not (answer := await true()):  # noqa: ASYNC110  # there is no event for it
        await asyncio.sleep(0.01)
    return answer


class Shop:
    """The API as the shop uses it."""

    def __init__(self, api: Api) -> None:
        self.api, self.pipe, self.keys = api, api.pipe, api.keys

    async def ask(self, method: str, path: str, key: str = KEY) -> httpx.Response:
        response = await self.api.client.request(method, f"/v1/events/{path}", headers={"x-api-key": key})
        if response.status_code < 300:
            schema = {"DELETE": "Withdrawn"}.get(method, "Explanation" if "/explain" in path else "Tracked")
            assert conforms(response.json(), DOCUMENT["components"]["schemas"][schema])
        return response

    async def get(self, path: str) -> Any:
        response = await self.ask("GET", path)
        assert response.status_code == 200, response.text
        return response.json()

    async def why(self, user: str, id: str = "1") -> tuple[str, list[str]]:
        told = await self.get(f"{id}/explain?user={user}")
        return told["summary"], [step["text"] for step in told["steps"]]

    async def withdraw(self, path: str = "1") -> Any:
        response = await self.ask("DELETE", path)
        assert response.status_code == 200, response.text
        return response.json()

    async def send(self, **changes: Any) -> None:
        assert (await self.api.post(EVENT | {"id": "1", "ladder": LIVE} | changes)).status_code == 202

    async def here_lately(self, *users: str) -> None:
        """These had a connection just now, so that their steps wait."""
        now = round(SystemClock().wall() * 1000)
        await self.pipe.asks(("HSET", self.keys.meta(inbox_of(user)), "last_seen", now) for user in users)

    async def known(self, path: str = "1", **wanted: Any) -> Any:
        """What is known, once it is as wanted."""

        async def asked() -> Any:
            response = await self.ask("GET", path)
            found = response.json()
            return response.status_code == 200 and {k: found.get(k) for k in wanted} == wanted and found

        return await until(asked)

    async def told(self, user: str) -> list[Any]:
        """The state publications in a person's inbox."""
        p = self.keys.partition(inbox_of(user))
        found = []
        for _, flat in await self.pipe.ask("XRANGE", self.keys.log(inbox_of(user)), "-", "+"):
            if b"s" in flat[2::2]:
                body = await self.pipe.ask("HGET", self.keys.body_prefix(p) + flat[1].decode(), "pub")
                found.append(orjson.loads(b"{" + body + b"}")["data"]["data"])
        return found

    async def until_told(self, user: str) -> list[Any]:
        return await until(lambda: self.told(user))


@pytest_asyncio.fixture
async def shop(redis_server: RedisSite, keys: Keys) -> AsyncIterator[Shop]:
    async with open_api(redis_server.url, keys) as api:
        yield Shop(api)


# Looking ---------------------------------------------------------------------------------------------------------


async def test_what_nobody_knows_is_not_there(shop: Shop) -> None:
    for path in ("1", "1?user=alice", "1/explain?user=alice", "a/b/c"):
        response = await shop.ask("GET", path)
        assert response.status_code == 404
        assert "nothing is known" in response.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "", 404),
        ("DELETE", "", 404),
        ("GET", "a%00b", 400),
        ("DELETE", "x" * 129, 400),
        ("GET", "1?source=", 400),
        ("GET", "1?user=%0a", 400),
        ("GET", "1/explain", 400),
        ("POST", "1", 405),
        ("DELETE", "1/explain", 200),  # an event of that id
    ],
)
async def test_questions_that_are_none(shop: Shop, method: str, path: str, status: int) -> None:
    response = await shop.ask(method, path)
    assert response.status_code == status
    assert "x" * 129 not in response.text


async def test_only_producers_may_ask(shop: Shop) -> None:
    for method in ("GET", "DELETE"):
        assert (await shop.ask(method, "1", "wrong")).status_code == 401
        assert (await shop.ask(method, "1", OPS_KEY)).status_code == 403
    assert not await shop.pipe.ask("EXISTS", shop.keys.withdrawn(0, REF))


async def test_nobody_asks_about_or_takes_back_what_others_sent(redis_server: RedisSite, keys: Keys) -> None:
    async with open_api(redis_server.url, keys) as api:
        shop = Shop(api)
        await shop.send(source="other")
        for path in ("1?source=other", "2?source=other", "1/explain?user=alice&source=other", "1?source=client"):
            assert (await shop.ask("GET", path)).status_code == 403
        assert (await shop.ask("DELETE", "1?source=other")).status_code == 403
        refs = [ref_of(source, "1") for source in ("other", "client")]
        withdrawn = [keys.withdrawn(p, ref) for p in range(keys.partitions) for ref in refs]
        assert [await shop.pipe.ask("EXISTS", key) for key in withdrawn] == [0] * len(withdrawn)
    for more in ({"sources": ["other"]}, {"scopes": ["events", "admin"]}):
        async with open_api(redis_server.url, keys, api_keys=api_keys(**more)) as api:
            shop = Shop(api)
            assert (await shop.ask("GET", "1?source=other")).json()["state"] == "accepted"
            assert (await shop.ask("GET", "1")).status_code == 404


async def test_questions_count_against_the_rate_of_a_key(redis_server: RedisSite, keys: Keys) -> None:
    async with open_api(redis_server.url, keys, api_keys=api_keys(rate=0.01)) as api:
        shop = Shop(api)
        answers = [(await shop.ask("GET", "1")).status_code for _ in range(1_000 // COST + 1)]
        assert answers[:-1] == [404] * (1_000 // COST)
        assert answers[-1] == 429


async def test_an_accepted_event_waits_for_a_worker(shop: Shop) -> None:
    await shop.send()
    assert (await shop.get("1"))["state"] == "accepted"
    assert await shop.why("alice") == (
        "Nobody has it yet: it was accepted, and no fan-out worker has come to it.",
        [],
    )


async def test_an_id_may_look_like_a_path(shop: Shop) -> None:
    for id in ("a/b", "a/explain"):
        await shop.send(id=id)
        assert (await shop.get(quote(id, safe="")))["id"] == id
    assert (await shop.get("a/b/explain?user=alice"))["id"] == "a/b"
    assert (await shop.get("a%2Fexplain/explain?user=alice"))["id"] == "a/explain"


async def test_an_event_is_followed_to_everybody(shop: Shop, redis_server: RedisSite, keys: Keys) -> None:
    async with running_worker(settings_for(redis_server.url, keys)):
        await shop.send(to={"users": ["alice", "bob"], "topics": ["news:a"]})
        found = await shop.known(recipients=2, topics=1)
        assert (found["state"], found["acked"], found["channels"]) == ("published", 0, {})
        alice = (await shop.get("1?user=alice"))["recipient"]
        assert (alice["in_audience"], alice["offset"], alice["trail"]) == (True, 1, [])
        summary, steps = await shop.why("carol")
        assert "not in its audience" in summary
        assert steps == ["It was given to 2 recipient(s) and 1 topic(s)."]


async def test_a_person_who_waits_for_a_step_is_told_until_when(
    shop: Shop, redis_server: RedisSite, keys: Keys
) -> None:
    async with running_node(redis_server.url, keys) as node, running_worker(settings_for(redis_server.url, keys)):
        client = Client(node)
        await client.connect("alice")
        await shop.send(ladder=LATER)
        await client.until(lambda c: c.publications)
        (waiting,) = (await shop.get("1?user=alice"))["recipient"]["waiting"]
        assert (waiting["channel"], waiting["unless"]) == ("push", "acked")
        due = datetime.fromisoformat(waiting["due"])
        assert timedelta(minutes=59) < due - datetime.now(UTC) < timedelta(minutes=61)
        summary, _ = await shop.why("alice")
        assert f"Next: A push is due at {waiting['due']}, unless a device has it by then." in summary


async def test_a_step_that_found_no_device_is_explained(shop: Shop, redis_server: RedisSite, keys: Keys) -> None:
    async with running_worker(settings_for(redis_server.url, keys)):
        await shop.send(ladder=[{"via": "live"}, {"via": "push"}])
        await shop.known(channels={"push": {"skipped": 1}})
    summary, steps = await shop.why("alice")
    assert summary == (
        "alice does not have it yet. Not delivered by: push (there is no address or device to send it to)."
    )
    assert steps[-1] == "A push was skipped: there is no address or device to send it to."


async def test_a_repeat_of_an_event_is_explained(shop: Shop, redis_server: RedisSite, keys: Keys) -> None:
    async with running_worker(settings_for(redis_server.url, keys)):
        await shop.send()
        await shop.known(recipients=1)
        await shop.send(title="Sent again")
        await until(lambda: shop.pipe.ask("XLEN", keys.trail("alice")))
    _, steps = await shop.why("alice")
    assert steps[-1].endswith("by another topic, by name, or by a repeat of the same source and id.")


async def test_what_came_too_late_is_explained(shop: Shop, redis_server: RedisSite, keys: Keys) -> None:
    event = EVENT | {"id": "1", "source": "shop", "ttl": 1}
    await shop.pipe.ask("XADD", keys.events(0), "1600000000000-0", "e", orjson.dumps(event))
    async with running_worker(settings_for(redis_server.url, keys)):
        await shop.known(state="expired")
    assert await shop.why("alice") == (
        "It never reached alice: its time (ttl) was over before a worker could publish it.",
        [],
    )


async def test_what_was_buried_is_explained(shop: Shop, redis_server: RedisSite, keys: Keys) -> None:
    await shop.pipe.ask("XADD", keys.events(0), "*", "e", b'{"id":"1","source":"shop","type":"tocsin.x","to":{}}')
    async with running_worker(settings_for(redis_server.url, keys)):
        found = await shop.known(state="buried")
    assert len(found["buried"]) == 1
    _, (step,) = await shop.why("alice")
    assert "/type must not begin with tocsin." in step


async def test_a_long_trail_is_read_to_its_end(shop: Shop) -> None:
    p, trail = shop.keys.partition("@alice"), shop.keys.trail("alice")
    await shop.pipe.ask("HSET", shop.keys.seen(p, REF), "@alice", 1)
    await shop.pipe.ask("XADD", trail, "*", *encode(escape(REF), Kind.QUEUED, "email"))
    noise = [("XADD", trail, "*", *encode("1.s/other", Kind.READ)) for _ in range(1_200)]
    await shop.pipe.asks(noise)
    await shop.pipe.ask("XADD", trail, "*", *encode(escape(REF), Kind.SENT, "email", "main"))
    kinds = [trace["kind"] for trace in (await shop.get("1?user=alice"))["recipient"]["trail"]]
    assert kinds == ["queued", "sent"]


@pytest.mark.one_server
async def test_without_redis_nothing_is_answered(redis_server: RedisSite, keys: Keys) -> None:
    async with holding_proxy(redis_server.port) as (proxy, url), open_api(url, keys) as api:
        await api.cut_off(proxy)
        for method in ("GET", "DELETE"):
            response = await Shop(api).ask(method, "1")
            assert (response.status_code, response.headers["retry-after"]) == (503, "1")


# Withdrawing -----------------------------------------------------------------------------------------------------


async def test_devices_are_told_and_whoever_comes_later_finds_a_tombstone(
    shop: Shop, redis_server: RedisSite, keys: Keys
) -> None:
    async with running_node(redis_server.url, keys) as node, running_worker(settings_for(redis_server.url, keys)):
        there, elsewhere = Client(node), Client(node)
        await there.connect("alice")
        await elsewhere.connect("alice")
        await shop.send(title="secret")
        for client in (there, elsewhere):
            await client.until(lambda c: c.publications)
        assert await shop.withdraw() == {"id": "1", "source": "shop", "withdrawn": True, "recipients": 1}
        for client in (there, elsewhere):
            await client.until(lambda c: len(c.publications) == 2)
            channel, offset, data = client.publications[1]
            assert (channel, offset, data["type"]) == ("inbox", 2, "tocsin.state")
            assert data["data"] == {"withdrawn": [1], "unread_count": 0, "unseen_count": 0}
        late = Client(node)
        epoch = (await there.ask({"id": 5, "history": {"channel": "inbox", "limit": 0}}))["history"]["epoch"]
        subs = {"inbox": {"recover": True, "epoch": epoch, "offset": 0}}
        reply = (await late.connect("alice", subs=subs))["connect"]["subs"]["inbox"]
        assert reply["recovered"]
        assert [(pub["offset"], pub.get("removed", False)) for pub in reply["publications"]] == [(1, True), (2, False)]
        assert "secret" not in str(reply)
    found = await shop.get("1?user=alice")
    assert (found["state"], found["recipients"]) == ("withdrawn", 1)
    assert found["recipient"]["trail"][-1]["kind"] == "withdrawn"
    assert (await shop.why("alice"))[0].startswith("It was withdrawn at ")


async def test_who_listens_to_a_topic_is_told_too(shop: Shop, redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node, running_worker(settings_for(redis_server.url, keys)):
        client = Client(node)
        await client.connect("alice")
        await client.ask({"id": 2, "subscribe": {"channel": "news:a"}})
        await shop.send(to={"topics": ["news:a"]}, title="secret")
        await client.until(lambda c: c.publications)
        assert (await shop.withdraw())["recipients"] == 0
        await client.until(lambda c: len(c.publications) == 2)
        channel, offset, data = client.publications[1]
        assert (channel, offset, data["type"], data["data"]) == ("news:a", 2, "tocsin.state", {"withdrawn": [1]})
        page = await client.ask({"id": 3, "history": {"channel": "news:a", "limit": 5}})
        assert [pub.get("removed", False) for pub in page["history"]["publications"]] == [True, False]


async def test_nothing_of_it_is_left_behind(shop: Shop, redis_server: RedisSite, keys: Keys) -> None:
    """Neither its content in any key, nor a mark on the person: not unread, no step, no digest that tells of it."""
    await shop.here_lately("alice", "bob")
    async with running_worker(settings_for(redis_server.url, keys)):
        await shop.send(title="secret", ladder=LATER, to={"users": ["alice", "bob"]})
        await shop.known(recipients=2)
        await shop.withdraw()
        await shop.until_told("alice")
        await shop.until_told("bob")
        found = await shop.known(channels={"push": {"cancelled": 2}})
        assert found["recipients"] == 2
    for user in ("alice", "bob"):
        p = keys.partition(inbox_of(user))
        assert await shop.pipe.ask("EXISTS", keys.unread(user), keys.timers(p)) == 0
        assert set(await shop.pipe.ask("HKEYS", keys.body(p, REF))).isdisjoint({b"pub", b"e"})
    for user in ("alice", "bob"):
        assert [trace["kind"] for trace in (await shop.get(f"1?user={user}"))["recipient"]["trail"]] == [
            "cancelled",
            "withdrawn",
        ]


async def test_nothing_is_appended_once_delete_has_answered(shop: Shop, redis_server: RedisSite, keys: Keys) -> None:
    """Invariant 10: also where the event was on its way, or comes again."""
    users = [f"user{n}" for n in range(30)]
    await shop.send(to={"users": users}, ladder=LATER)
    assert (await shop.withdraw())["recipients"] == 0
    await shop.send(to={"users": users})
    await shop.send(id="2", to={"users": users})
    async with running_worker(settings_for(redis_server.url, keys)):
        await shop.known("2", recipients=30)
    assert await shop.pipe.asks(("XLEN", keys.log(inbox_of(user))) for user in users) == [1] * 30
    assert (await shop.get("1"))["state"] == "withdrawn"
    assert (await shop.why("user1"))[0] == "It was withdrawn before it reached user1."


async def test_followers_whom_the_walk_had_not_reached_get_nothing(
    shop: Shop, redis_server: RedisSite, keys: Keys
) -> None:
    users = [f"user{n}" for n in range(3_000)]
    await Followers(shop.pipe, keys).follow("news:a", users)
    async with running_worker(settings_for(redis_server.url, keys)):
        await shop.send(to={"topics": ["news:a"]})
        await shop.known(topics=1)
        given = (await shop.withdraw())["recipients"]
        after = await shop.pipe.asks(("HLEN", keys.seen(p, REF)) for p in range(keys.partitions))
        found = await shop.known(state="withdrawn")
        assert found["recipients"] == sum(after) - 1 >= given  # the topic itself is none
        # All who have it are told, and the topic's listeners too.
        told = [keys.seen(p, f"tocsin/{REF}") for p in range(keys.partitions)]

        async def all_told() -> bool:
            return sum(await shop.pipe.asks(("HLEN", key) for key in told)) == found["recipients"]

        await until(all_told)
        await until(lambda: is_top(shop.pipe, keys, "news:a", 2))
    logs = await shop.pipe.asks(("XLEN", keys.log(inbox_of(user))) for user in users)
    assert sorted(set(logs) - {0}) in ([], [2])
    assert logs.count(2) == found["recipients"]


async def is_top(pipe: Pipe, keys: Keys, topic: str, top: int) -> bool:
    return bool(await pipe.ask("HGET", keys.meta(topic), "top") == b"%d" % top)


async def test_a_scheduled_event_is_shown_and_does_not_go_out(shop: Shop, redis_server: RedisSite, keys: Keys) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    p = keys.partition("alice")
    async with running_worker(settings_for(redis_server.url, keys)):
        await shop.send(at=later.isoformat(), title="secret")
        found = await shop.known(state="scheduled")
        assert found["at"] == later.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        assert (await shop.why("alice"))[0] == f"Nobody has it yet: it is scheduled for {found['at']}."
        (timer,) = await shop.pipe.ask("ZRANGE", keys.timers(p), 0, -1)
        await shop.withdraw()
        assert await shop.pipe.ask("EXISTS", keys.timers(p)) == 0
        # Were it due at that very moment, and already on its way:
        _, first, producer, event = timer.split(b"\n")
        await shop.pipe.ask("XADD", keys.events(p), "*", "p", producer, "d", first, "e", event)
        await shop.send(id="2")
        await shop.known("2", recipients=1)
    assert await shop.pipe.ask("XLEN", keys.log("@alice")) == 1
    assert (await shop.get("1"))["state"] == "withdrawn"


async def test_what_waits_for_longer_than_we_remember_is_refused_for_longer(
    redis_server: RedisSite, keys: Keys
) -> None:
    async with open_api(redis_server.url, keys, withdrawn_ttl=60) as api:
        shop = Shop(api)
        async with running_worker(settings_for(redis_server.url, keys)):
            await shop.send(at=(datetime.now(UTC) + timedelta(days=40)).isoformat())
            await shop.known(state="scheduled")
        await shop.withdraw()
        left = await shop.pipe.asks(("TTL", keys.withdrawn(p, REF)) for p in range(keys.partitions))
        assert min(left) > 40 * 86_400
        await shop.withdraw("2")
        assert 0 < await shop.pipe.ask("TTL", keys.withdrawn(0, ref_of("shop", "2"))) <= 60


async def test_a_withdrawal_that_broke_off_is_finished_by_its_repeat(
    shop: Shop, redis_server: RedisSite, keys: Keys
) -> None:
    """A gateway ended after some of the partitions: what is done stays done, and the repeat does the rest."""
    users = ["alice", "bob", "carol", "dave"]
    async with running_worker(settings_for(redis_server.url, keys)):
        await shop.send(to={"users": users})
        await shop.known(recipients=4)
        p = keys.partition(inbox_of("alice"))
        names = (keys.withdrawn(p, REF), keys.body(p, REF), keys.seen(p, REF), keys.bulk(p), keys.timers(p))
        await shop.pipe.script("withdraw", (*names, keys.counts(p, REF)), (REF, 60_000))
        await shop.until_told("alice")
        assert (await shop.withdraw())["recipients"] == 4
        for user in users:
            await shop.until_told(user)
        assert (await shop.withdraw())["recipients"] == 4
        await shop.send(id="2", to={"users": users})
        await shop.known("2", recipients=4)
    for user in users:
        assert len(await shop.told(user)) == 1


async def test_a_walk_that_broke_off_tells_nobody_twice(shop: Shop, redis_server: RedisSite, keys: Keys) -> None:
    """The worker ended after it told people and before it acknowledged the walk: the next one walks again."""
    async with running_worker(settings_for(redis_server.url, keys)):
        await shop.send(to={"users": ["alice"]})
        await shop.known(recipients=1)
        await shop.withdraw()
        await shop.until_told("alice")
    p = keys.partition(inbox_of("alice"))
    ((_, walk),) = await shop.pipe.ask("XRANGE", keys.bulk(p), "-", "+")
    again = (await shop.pipe.ask("XADD", keys.bulk(p), "*", *walk)).decode()

    async def acked() -> bool:
        return bool(await shop.pipe.ask("HGET", keys.bulk_head(p), "acked") == again.encode())

    async with running_worker(settings_for(redis_server.url, keys)):
        await until(acked)
    assert len(await shop.told("alice")) == 1


async def test_a_push_that_is_out_is_replaced_on_every_device(shop: Shop, redis_server: RedisSite, keys: Keys) -> None:
    p, devices = keys.partition(inbox_of("alice")), keys.devices("alice")
    phone, tablet = Device("phone", "fcm", "sealed"), Device("tablet", "fcm", "sealed")
    lost = Device("lost", "fcm", "sealed").gone("unregistered", 1.0)
    for device in (phone, tablet, lost):
        await shop.pipe.ask("HSET", devices, device.id, device.to_json())
    async with running_worker(settings_for(redis_server.url, keys)):
        await shop.send(
            collapse_key="order 7", ladder=[{"via": "live"}, {"via": "push"}], to={"users": ["alice", "bob"]}
        )
        await until(lambda: shop.pipe.ask("XLEN", keys.jobs(p, "push")))
        # As the senders settle them.
        await shop.pipe.ask("XTRIM", keys.jobs(p, "push"), "MAXLEN", 0)
        await shop.pipe.ask("XADD", keys.trail("alice"), "*", *encode(escape(REF), Kind.SENT, "push", "main"))
        await shop.pipe.ask("HINCRBY", keys.counts(p, REF), "push:sent", 1)
        await shop.withdraw()
        await shop.until_told("alice")
    entries = await shop.pipe.ask("XRANGE", keys.jobs(p, "push"), "-", "+")
    jobs = [from_fields(dict(zip(flat[::2], flat[1::2], strict=True))) for _, flat in entries]
    assert {(job.target, job.kind, job.id) for job in jobs if job} == {
        (name, JobKind.WITHDRAW, delivery_id(REF, "alice", "push", name, JobKind.WITHDRAW))
        for name in ("phone", "tablet")
    }
    left = orjson.loads(await shop.pipe.ask("HGET", keys.body(p, REF), "c"))
    assert (left["id"], left["source"], left["collapse_key"]) == ("1", "shop", "order 7")
    assert all(isinstance(job, Job) for job in jobs)
