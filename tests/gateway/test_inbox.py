"""The inbox on all of a person's devices: pages, marks that agree everywhere, and acknowledgements by hand."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from bus.keys import Keys, inbox_of
from bus.ranges import Ranges, parse
from bus.trail import decode
from gateway import inbox as inbox_module
from gateway import receipts as receipts_module
from gateway.main import application
from gateway.node import Node
from gateway.procedures import Caller, Fault, Wrong
from tests.gateway.stand import Client, Producer, running_node, token
from tests.servers import RedisSite

ALICE = Caller("alice")


async def call(node: Node, name: str, caller: Caller = ALICE, **params: Any) -> dict[str, Any]:
    """Over HTTP, as it were."""
    answer = await node.procedures.call(caller, name, params)
    assert isinstance(answer, dict), answer
    return answer


async def refused(node: Node, name: str, caller: Caller = ALICE, **params: Any) -> Fault:
    answer = await node.procedures.call(caller, name, params)
    assert isinstance(answer, Fault), answer
    return answer


async def offsets(node: Node, **params: Any) -> list[int]:
    return [item["offset"] for item in (await call(node, "inbox.list", **params))["items"]]


def states(client: Client) -> list[dict[str, Any]]:
    """What a device was told of marks."""
    data = [data for channel, _, data in client.publications if channel == "inbox"]
    return [each["data"] for each in data if isinstance(each, dict) and each.get("type") == "tocsin.state"]


async def filled(node: Node, count: int, kept: int = 1_000) -> Producer:
    producer = Producer(node.pipe, node.keys, kept=kept)
    for number in range(1, count + 1):
        await producer.notify("alice", {"id": f"e{number}", "type": "test"})
    return producer


async def trail(node: Node) -> list[tuple[str, str]]:
    found = [decode(id, flat) for id, flat in await node.pipe.ask("XRANGE", node.keys.trail("alice"), "-", "+")]
    return [(trace.ref.rpartition("/")[2], trace.kind.value) for trace in found if trace is not None]


async def reads(node: Node, number: int) -> bytes | None:
    counts = node.keys.counts(node.keys.partition("@alice"), f"4.test/e{number}")
    found = await node.pipe.ask("HGET", counts, "read")
    return found if found is None else bytes(found)


async def acked(node: Node) -> Ranges:
    return parse(await node.pipe.ask("HGET", node.keys.meta("@alice"), "acked"))


# Pages -----------------------------------------------------------------------------------------------------------


async def test_pages_newest_first(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        await filled(node, 5)
        page = await call(node, "inbox.list", limit=2)
        assert page["items"] == [
            {
                "offset": n,
                "read": False,
                "archived": False,
                "seen": False,
                "notification": {"id": f"e{n}", "type": "test"},
            }
            for n in (5, 4)
        ]
        assert (page["offset"], page["unread"], page["unseen"], page["more"]) == (5, 5, 5, True)
        assert page["epoch"] == (await node.pipe.ask("HGET", keys.meta("@alice"), "epoch")).decode()
        assert await offsets(node, before=4) == [3, 2, 1]
        last = await call(node, "inbox.list", before=3, limit=2)
        assert [item["offset"] for item in last["items"]] == [2, 1]
        assert not last["more"]
        assert await offsets(node, before=1) == []


async def test_who_never_got_anything_has_an_empty_inbox(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        page = await call(node, "inbox.list")
        assert (page["items"], page["offset"], page["unread"], page["more"]) == ([], 0, 0, False)
        assert page["epoch"]
        assert await call(node, "inbox.count") == {"unread": 0, "unseen": 0, "total": 0}
        other = Caller("bob")
        assert await call(node, "read", other, offsets=[1]) == {"unread": 0, "unseen": 0}
        assert await node.pipe.ask("EXISTS", keys.meta("@bob")) == 0


async def test_a_page_of_long_notifications_is_short(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "PAGE_BYTES", 5_000)
    monkeypatch.setattr(inbox_module, "LOOK", 2)
    async with running_node(redis_server.url, keys) as node:
        producer = Producer(node.pipe, keys, kept=100)
        for size in (1_000, 6_000, 2_000, 2_000, 2_000, 10):
            await producer.notify("alice", {"text": "x" * size})
        seen, more, before = [], True, 7
        while more:
            page = await call(node, "inbox.list", before=before)
            found = [item["offset"] for item in page["items"]]
            seen.append(found)
            before, more = found[-1], page["more"]
        assert [offset for found in seen for offset in found] == [6, 5, 4, 3, 2, 1]
        assert len(seen) == 3
        assert all(len(found) < 5 for found in seen)


async def test_states_and_state_publications(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        await filled(node, 6)
        await call(node, "read", offsets=[2, 5])
        await call(node, "archive", offsets=[3, 5])
        assert await offsets(node) == [6, 4, 2, 1]
        assert await offsets(node, state="all") == [6, 5, 4, 3, 2, 1]
        assert await offsets(node, state="unread") == [6, 4, 1]
        assert await offsets(node, state="archived") == [5, 3]
        assert await offsets(node, state="unread", limit=1, before=6) == [4]
        page = await call(node, "inbox.list", state="all", limit=4)
        assert [(item["read"], item["archived"]) for item in page["items"]] == [
            (False, False),
            (True, True),
            (False, False),
            (True, True),
        ]
        assert await call(node, "inbox.count") == {"unread": 3, "unseen": 3, "total": 6}


@pytest.mark.parametrize("state", ["current", "unread", "archived"])
async def test_a_page_is_filled_however_much_lies_between(
    redis_server: RedisSite, keys: Keys, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "LOOK", 3)
    async with running_node(redis_server.url, keys) as node:
        await filled(node, 20)
        away = [n for n in range(1, 21) if n not in (2, 11, 19)]
        await call(node, "archive", offsets=away)
        await call(node, "unread", offsets=[2, 11, 19])
        wanted = sorted(away, reverse=True) if state == "archived" else [19, 11, 2]
        assert await offsets(node, state=state, limit=100) == wanted
        first = await call(node, "inbox.list", state=state, limit=2)
        assert first["more"]
        rest = await offsets(node, state=state, before=first["items"][-1]["offset"])
        assert [item["offset"] for item in first["items"]] + rest == wanted
        assert (await call(node, "inbox.count"))["total"] == 20


# Marks -----------------------------------------------------------------------------------------------------------


async def test_a_mark_on_one_device_reaches_all_on_every_node(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as one, running_node(redis_server.url, keys) as two:
        page, phone, other = Client(one), Client(two), Client(two)
        await page.connect("alice")
        await phone.connect("alice")
        await other.connect("bob")
        await filled(one, 2)
        answer = await page.ask({"id": 2, "rpc": {"method": "read", "data": {"offsets": [1]}}})
        assert answer["rpc"]["data"] == {"unread": 1, "unseen": 1}
        for device in (page, phone):
            await device.until(states)
            assert states(device) == [{"read": [1], "unread_count": 1, "unseen_count": 1}]
            assert [offset for _, offset, _ in device.publications] == [1, 2, 3]
        assert other.publications == []
        again = await page.ask({"id": 3, "rpc": {"method": "read", "data": {"offsets": [1]}}})
        assert again["rpc"]["data"] == {"unread": 1, "unseen": 1}
        assert await one.pipe.ask("XLEN", keys.log("@alice")) == 3


async def test_a_mark_is_recovered_like_any_publication(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        phone = Client(node)
        inbox = (await phone.connect("alice"))["connect"]["subs"]["inbox"]
        phone.vanish()
        await filled(node, 1)
        await call(node, "read", ids=["e1"])
        again = Client(node)
        recover = {"inbox": {"recover": True, "epoch": inbox["epoch"], "offset": 0}}
        found = (await again.connect("alice", subs=recover))["connect"]["subs"]["inbox"]["publications"]
        assert [one["offset"] for one in found] == [1, 2]
        told = found[1]["data"]
        assert told["type"] == "tocsin.state"
        assert told["data"] == {"read": [1], "unread_count": 0, "unseen_count": 0}
        assert set(told) == {"id", "type", "data", "created_at"}


async def test_each_mark_its_trail_and_its_count(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        await filled(node, 3)
        for name, numbers in (
            ("read", [1]), ("unread", [1]), ("archive", [1, 2]), ("unarchive", [1]), ("read", [3]),
        ):  # fmt: skip
            await call(node, name, offsets=numbers)
            await call(node, name, offsets=numbers)
        assert await trail(node) == [
            ("e1", "read"),
            ("e1", "unread"),
            ("e1", "archived"),
            ("e2", "archived"),
            ("e1", "unarchived"),
            ("e3", "read"),
        ]
        assert [await reads(node, number) for number in (1, 2, 3)] == [b"1", b"1", b"1"]
        assert await node.pipe.ask("XLEN", keys.log("@alice")) == 3 + 5
        for key in (keys.trail("alice"), keys.archived("alice"), keys.log("@alice")):
            assert await node.pipe.ask("TTL", key) > 600


async def test_ids_offsets_that_are_not_there_and_state_publications_change_nothing(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "LOOK", 2)
    async with running_node(redis_server.url, keys) as node:
        await filled(node, 5)
        assert await call(node, "read", ids=["e1", "e4", "none"]) == {"unread": 3, "unseen": 3}
        assert await offsets(node, state="unread") == [5, 3, 2]
        before = await node.pipe.ask("XLEN", keys.log("@alice"))
        for name in ("read", "unread", "archive", "unarchive"):
            await call(node, name, offsets=[6, 99])
            await call(node, name, ids=["none"])
        assert await node.pipe.ask("XLEN", keys.log("@alice")) == before


async def test_all_up_to_the_newest_however_many(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "AT_ONCE", 2)
    async with running_node(redis_server.url, keys) as node:
        page = Client(node)
        await page.connect("alice")
        await filled(node, 6)
        assert await call(node, "read", upto=5) == {"unread": 1, "unseen": 1}
        assert await call(node, "archive", offsets=[6, 5, 4]) == {"unread": 0, "unseen": 0}
        await page.until(lambda c: len(states(c)) == 5)
        assert [state["read"] for state in states(page)[:3]] == [[1, 2], [3, 4], [5]]
        assert [state["archived"] for state in states(page)[3:]] == [[6, 5], [4]]


async def test_seen_is_the_newest_notification_and_never_goes_back(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        page = Client(node)
        await page.connect("alice")
        await filled(node, 3)
        assert await call(node, "seen", upto=2) == {"unread": 3, "unseen": 1}
        assert await call(node, "seen", upto=99) == {"unread": 3, "unseen": 0}
        assert await call(node, "seen", upto=99) == {"unread": 3, "unseen": 0}
        assert await call(node, "seen", upto=1) == {"unread": 3, "unseen": 0}
        await page.until(lambda c: len(states(c)) == 2)
        assert [state["seen"] for state in states(page)] == [2, 3]
        assert await node.pipe.ask("HGET", keys.meta("@alice"), "seen") == b"3"
        assert [item["seen"] for item in (await call(node, "inbox.list"))["items"]] == [True] * 3
        await call(node, "read", offsets=[1])
        assert await call(node, "inbox.count") == {"unread": 2, "unseen": 0, "total": 3}


async def test_what_the_inbox_no_longer_holds_is_not_unread(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        await filled(node, 4)
        await node.pipe.ask("XTRIM", keys.log("@alice"), "MAXLEN", 3)
        assert (await call(node, "inbox.count")) == {"unread": 3, "unseen": 3, "total": 3}
        await node.pipe.ask("DEL", keys.body(keys.partition("@alice"), "4.test/e2"))
        assert (await call(node, "inbox.count")) == {"unread": 2, "unseen": 2, "total": 2}
        await node.pipe.ask("DEL", keys.body(keys.partition("@alice"), "4.test/e4"))
        assert await offsets(node, state="unread") == [3]
        assert await call(node, "read", upto=9) == {"unread": 0, "unseen": 0}
        await node.pipe.ask("DEL", keys.log("@alice"))
        assert (await call(node, "inbox.count")) == {"unread": 0, "unseen": 0, "total": 0}


async def test_marks_of_a_full_inbox_push_out_the_oldest(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys, inbox_size=4) as node:
        await filled(node, 4)
        await call(node, "read", offsets=[4])
        assert await offsets(node, state="all") == [4, 3, 2]
        assert (await call(node, "inbox.count"))["unread"] == 2


async def test_a_position_that_lags_behind_its_log_is_no_hindrance(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        await filled(node, 3)
        await node.pipe.ask("HSET", keys.meta("@alice"), "top", 2)
        await call(node, "read", offsets=[1])
        assert await node.pipe.ask("HGET", keys.meta("@alice"), "top") == b"4"


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("inbox.list", {"limit": 0}),
        ("read", {}),
        ("unread", {"upto": 5}),
        ("seen", {}),
        ("ack", {"to": 1}),
        ("ack", {"ids": [7]}),
    ],
)
async def test_wrong_parameters(redis_server: RedisSite, keys: Keys, name: str, params: dict[str, Any]) -> None:
    async with running_node(redis_server.url, keys) as node:
        assert (await refused(node, name, **params)).kind is Wrong.BAD_PARAMS


# Acknowledgements by hand ----------------------------------------------------------------------------------------


async def test_over_a_connection_only_what_it_was_given_counts(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        producer = await filled(node, 3)
        alice = Client(node)
        epoch = (await alice.connect("alice"))["connect"]["subs"]["inbox"]["epoch"]

        async def ack(id: int, **data: Any) -> Any:
            return await alice.ask({"id": id, "rpc": {"method": "ack", "data": {"epoch": epoch, **data}}})

        assert (await ack(2, to=3))["rpc"]["data"] == {"acked": 0}
        for n in range(3):
            await producer.notify("alice", n)
        await alice.until(lambda c: len(c.publications) == 3)
        assert (await ack(3, to=99))["rpc"]["data"] == {"acked": 3}
        assert (await ack(4, to=99))["rpc"]["data"] == {"acked": 0}
        assert await acked(node) == ((4, 6),)
        assert (await ack(5, ids=["e1", "e5"]))["rpc"]["data"] == {"acked": 0}
        wrong = await ack(6, to=6, epoch="other")
        assert wrong["error"]["code"] == 107
        assert "/epoch" in wrong["error"]["message"]


async def test_over_http_what_is_named_and_nothing_before_it(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        await filled(node, 8)
        epoch = (await call(node, "inbox.list"))["epoch"]
        assert await call(node, "ack", to=3, epoch=epoch) == {"acked": 1}
        assert await call(node, "ack", to=6, epoch=epoch, **{"from": 5}) == {"acked": 2}
        assert await call(node, "ack", ids=["e8", "none"]) == {"acked": 1}
        assert await call(node, "ack", ids=["none"]) == {"acked": 0}
        assert await call(node, "ack", offsets=[1]) == {"acked": 1}
        assert await acked(node) == ((1, 1), (3, 3), (5, 6), (8, 8))
        assert (await refused(node, "ack", to=9, epoch=epoch)).faults[0].pointer == "/to"
        assert (await refused(node, "ack", to=3, epoch="other")).faults[0].pointer == "/epoch"


async def test_of_what_is_above_the_newest_nothing_is_acknowledged(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts_module, "OFFSETS", 2)
    async with running_node(redis_server.url, keys) as node:
        await filled(node, 5)
        epoch = (await call(node, "inbox.list"))["epoch"]
        assert (await refused(node, "ack", to=7, epoch=epoch, **{"from": 1})).faults[0].pointer == "/to"
        assert await acked(node) == ()
        assert await call(node, "ack", to=5, epoch=epoch, **{"from": 1}) == {"acked": 5}
        assert await acked(node) == ((1, 5),)


async def test_the_same_over_http(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        phone = Client(node)
        await phone.connect("alice")
        await filled(node, 3)
        await phone.until(lambda c: len(c.publications) == 3)
        app = application(node, lambda work: work.close())
        headers = {"authorization": f"Bearer {token('alice')}"}
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway/v1/me", headers=headers) as http:
            page = (await http.get("/inbox?limit=2&state=unread")).json()
            assert [item["offset"] for item in page["items"]] == [3, 2]
            assert (await http.post("/read", json={"ids": ["e2"]})).json() == {"unread": 2, "unseen": 2}
            assert (await http.post("/ack", json={"ids": ["e1"]})).json() == {"acked": 1}
            assert (await http.post("/ack", json={"to": 9, "epoch": page["epoch"]})).status_code == 400
            assert (await http.get("/inbox/count")).json() == {"unread": 2, "unseen": 2, "total": 3}
        await phone.until(states)
        assert states(phone) == [{"read": [2], "unread_count": 2, "unseen_count": 2}]


async def test_marks_and_notifications_at_once_leave_no_hole(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        page, phone = Client(node), Client(node)
        await page.connect("alice")
        await phone.connect("alice")
        producer = Producer(node.pipe, keys, kept=1_000)
        async with asyncio.TaskGroup() as group:
            for n in range(30):
                group.create_task(producer.notify("alice", {"id": f"e{n}"}))
                group.create_task(call(node, "read", upto=1_000))
                group.create_task(call(node, "archive", offsets=[n + 1]))
        top = int(await node.pipe.ask("HGET", keys.meta(inbox_of("alice")), "top"))
        for device in (page, phone):
            await device.until(lambda c: len(c.publications) == top)
            assert [offset for _, offset, _ in device.publications] == list(range(1, top + 1))
        assert states(page) == states(phone)


# What is kept ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["read", "archive"])
async def test_what_was_empty_for_a_while_still_goes_in_time(redis_server: RedisSite, keys: Keys, how: str) -> None:
    async with asyncio.timeout(90), running_node(redis_server.url, keys) as node:
        producer = await filled(node, 2)
        unread = keys.unread("alice")
        assert await node.pipe.ask("TTL", unread) > 0
        await call(node, how, offsets=[1, 2])
        assert await node.pipe.ask("EXISTS", unread) == 0
        await producer.notify("alice", {"id": "e3", "type": "test"})
        assert await node.pipe.ask("TTL", unread) > 0
        await node.pipe.ask("DEL", keys.log("@alice"))  # as if its time had come
        await call(node, "inbox.list")
        assert await node.pipe.ask("EXISTS", unread) == 0
        await producer.notify("alice", {"id": "e4", "type": "test"})
        assert await node.pipe.ask("TTL", unread) > 0
