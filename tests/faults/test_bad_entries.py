"""What is XADDed by hand and is no event is buried with a reason that helps and tells nothing; what is behind it flows.

The entries go in by plain XADD into a running system, and the reasons are read as an operator reads them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import pytest

from bus.keys import Keys
from tests.faults.crowd import INBOX, Person, eventually, gathered
from tests.redis_clients import client as redis_client
from tests.system import System, system

KEYS = Keys("tocsin", 8)
SECRET = "s3cret"
"""Stands somewhere in every bad entry."""
FINE = {"type": "note", "to": {"users": ["alice"]}}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with system(tmp_path_factory.mktemp("system"), partitions=KEYS.partitions, log_level="debug") as made:
        yield made


def event(**changes: Any) -> bytes:
    """JSON of an event with a secret in it."""
    return json.dumps({**FINE, "data": {"card": SECRET}, **changes}).encode()


def after(text: str, changed: str) -> bytes:
    """The same, with a part of the JSON exchanged for what `json` would not write."""
    return event().decode().replace(text, changed).encode()


BAD: Mapping[str, tuple[dict[str, bytes], str]] = {
    "no field e": ({"event": event()}, "no field e"),
    "many fields, no e": ({f"{SECRET}{n}": b"x" for n in range(1_000)}, "no field e"),
    "nothing in it": ({"e": b"", "x": SECRET.encode()}, "not valid JSON"),
    "not JSON": ({"e": f"{SECRET}=1".encode()}, "not valid JSON"),
    "half JSON": ({"e": event()[:-1]}, "not valid JSON"),
    "two of JSON": ({"e": event() * 2}, "not valid JSON"),
    "not UTF-8": ({"e": event() + b"\xff"}, "not valid JSON"),
    "binary": ({"e": bytes(range(256)) + SECRET.encode()}, "not valid JSON"),
    "no number": ({"e": after('"note"', f'"note", "{SECRET}": NaN')}, "not valid JSON"),
    "a lone surrogate": ({"e": after(SECRET, SECRET + "\\ud800")}, "not valid JSON"),
    "a list": ({"e": b"[" + event() + b"]"}, "must be a JSON object"),
    "a string": ({"e": json.dumps(SECRET).encode()}, "must be a JSON object"),
    "of a later release": ({"v": b"2", "e": event()}, "schema version 2"),
    "of no release": ({"v": SECRET.encode(), "e": event()}, "schema version"),
    "over 64 KiB": ({"e": event(body=SECRET * 12_000)}, "at most 65536 bytes"),
    "one MB": ({"e": event(body=SECRET * 200_000)}, "at most 65536 bytes"),
    "a depth bomb": ({"e": after(f'"{SECRET}"', "[" * 10_000 + "]" * 10_000), "x": SECRET.encode()}, "nest"),
    "a flat depth bomb": ({"e": after(f'"{SECRET}"', "[" * 33 + "]" * 33), "x": SECRET.encode()}, "32 levels"),
    "a reserved type": ({"e": event(type=f"tocsin.{SECRET}")}, "/type must not begin with tocsin."),
    "no type": ({"e": event(type=None)}, "/type is required"),
    "an empty type": ({"e": event(type="")}, "/type must not be empty"),
    "a type over lines": ({"e": event(type=f"{SECRET}\r\nid: 7")}, "/type must not contain control characters"),
    "nobody": ({"e": event(to={})}, "/to names nobody"),
    "no to": ({"e": event(to=None)}, "/to must be an object"),
    "somebody else's shape": ({"e": event(to={"users": SECRET})}, "/to/users must be a list"),
    "users as objects": ({"e": event(to={"users": [{"id": SECRET}]})}, "/to/users/0 must be a string"),
    "users by name": ({"e": event(to={"users": {SECRET: True}})}, "/to/users must be a list"),
    "unknown members": ({"e": event(to={"groups": [SECRET], "users": ["alice"]})}, "1 unknown member"),
    "a control character": ({"e": event(to={"users": ["alice", f"{SECRET}\x00"]})}, "/to/users/1 must not contain"),
    "too many users": ({"e": event(to={"users": list(range(10_001))})}, "at most 10000"),
    "an inbox by its topic": ({"e": event(to={"topics": [f"@{SECRET}"]})}, "/to/topics/0 must be of the form"),
    "an inbox with a colon": ({"e": event(to={"topics": [f"@{SECRET}:x"]})}, "/to/topics/0 must not begin with @"),
    "a pattern": ({"e": event(to={"topics": [f"room:{SECRET}*"]})}, "/to/topics/0 must not begin"),
    "a topic of 10 KB": ({"e": event(to={"topics": ["room:" + SECRET * 2_000]})}, "at most 255 characters"),
    "a huge number": ({"e": event(data={SECRET: 10**30})}, "/data must fit into 64 bits"),
    "a huge number outside": ({"e": event(**{SECRET: 10**30})}, "must fit into 64 bits"),
    "an infinite number": ({"e": after(f'"{SECRET}"', "1e400"), "x": SECRET.encode()}, "beyond a double"),
    "a time in words": ({"e": event(at=f"tomorrow {SECRET}")}, "/at must be an RFC 3339"),
    "a time that never comes": ({"e": event(at="2026-02-31T00:00:00Z")}, "/at must be an RFC 3339"),
    "ttl for ever": ({"e": event(ttl=9e18)}, "/ttl must be a whole number"),
    "a ladder to nowhere": ({"e": event(ladder=[{"via": SECRET}])}, "/ladder/0/via must be one of"),
    "everything at once": ({"e": event(type=7, to=SECRET, ttl=SECRET, at=SECRET)}, "/type must be a string; /to must"),
}


async def test_bad_entries_are_buried_and_those_behind_them_flow(running: System) -> None:
    alice = Person("alice", [], [running.gateways[0].port], Random(1))
    stream = KEYS.events(KEYS.partition("alice"))
    with redis_client(running.redis.url) as redis:
        async with asyncio.timeout(90), gathered([alice]):
            entries = {}
            for number, (name, (fields, _)) in enumerate(BAD.items()):
                entries[redis.xadd(stream, dict(fields)).decode()] = name
                redis.xadd(stream, {"e": json.dumps({**FINE, "data": number})})
            await eventually(lambda: len(alice.got[INBOX]) == len(BAD))
            assert alice.got[INBOX] == list(range(len(BAD)))
    letters = json.loads(running.tocsin("dead", "ls", "--json"))
    reasons = {entries[letter["entry"]]: letter["reason"] for letter in letters}
    assert len(letters) == len(BAD)
    assert {name: reasons[name] for name, (_, reason) in BAD.items() if reason not in reasons[name]} == {}
    # The first attempt is the last for what is no event, so nobody waits for it.
    assert {letter["attempts"] for letter in letters} == {1}
    assert max(map(len, reasons.values())) < 600
    for said in (running.tocsin("dead", "ls"), json.dumps(letters), running.logged()):
        assert SECRET not in said
    assert running.logged().count("buried an entry") == len(BAD)
    assert running.log_faults() == []


async def test_a_recipient_whose_keys_are_broken_costs_the_others_nothing(running: System) -> None:
    people = [Person(user, [], [running.gateways[0].port], Random(1)) for user in ("alice", "bob")]
    partition = KEYS.partition("alice")
    with redis_client(running.redis.url) as redis:

        def send(number: int, *users: str) -> None:
            event = {"type": "note", "to": {"users": users}, "data": number}
            redis.xadd(KEYS.events(partition), {"e": json.dumps(event)})

        async with asyncio.timeout(90), gathered(people):
            send(0, "alice", "broken", "bob")
            await eventually(lambda: all(person.got[INBOX] == [0] for person in people))
            await eventually(lambda: redis.exists(KEYS.log("@broken")))
            redis.delete(KEYS.log("@broken"))
            redis.set(KEYS.log("@broken"), SECRET)
            before = redis.xlen(KEYS.dead(partition))
            send(1, "alice", "broken", "bob")
            send(2, "alice", "bob")
            await eventually(lambda: all(person.got[INBOX] == [0, 1, 2] for person in people))
            # It is tried again a few times first, in case it mends.
            await eventually(lambda: redis.xlen(KEYS.dead(partition)) == before + 1)
    letter = json.loads(running.tocsin("dead", "ls", "--limit", "1", "--json"))[0]
    assert letter["reason"] == "1 recipient(s) have keys of another type"
    assert letter["attempts"] > 1
    assert running.log_faults() == []


async def test_when_it_is_mended_the_entry_is_sent_again_and_reaches_the_one_alone(running: System) -> None:
    people = [Person(user, [], [running.gateways[0].port], Random(1)) for user in ("alice", "broken")]
    with redis_client(running.redis.url) as redis:
        redis.delete(KEYS.log("@broken"))
        async with asyncio.timeout(90), gathered(people):
            letter = json.loads(running.tocsin("dead", "ls", "--limit", "1", "--json"))[0]
            await asyncio.to_thread(running.tocsin, "dead", "replay", letter["name"])
            await eventually(lambda: people[1].got[INBOX] == [1])
            redis.xadd(KEYS.events(KEYS.partition("alice")), {"e": json.dumps({**FINE, "data": "last"})})
            await eventually(lambda: people[0].got[INBOX] == ["last"])
    assert letter["name"] not in running.tocsin("dead", "ls")
