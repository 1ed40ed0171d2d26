"""What people do for themselves over a connection: preferences, devices, and topics that they may subscribe to."""

from __future__ import annotations

import base64
from typing import Any

from bus.keys import Keys
from gateway.node import Node
from gateway.people import MAX_FOLLOWS
from gateway.procedures import Caller
from tests.gateway.stand import Client, running_node, token
from tests.servers import RedisSite

KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
KEYED: dict[str, Any] = {
    "directory_keys": (f"k:{KEY}",),
    "directory_index_key": KEY,
    "webpush_public_key": "BPUBLIC",
    "categories": {"news": {"title": "News"}, "account": {"required": True}},
    "namespaces": {"open": {"subscribe": "user"}, "closed": {}},
}
PHONE = {"provider": "fcm", "target": "token-of-a-phone-123"}


class Person:
    """A client that makes calls."""

    def __init__(self, node: Node) -> None:
        self.client = Client(node)
        self._next = 10

    async def call(self, method: str, **params: Any) -> Any:
        """The result, or the error's code and message."""
        self._next += 1
        answer = await self.client.ask({"id": self._next, "rpc": {"method": method, "data": params}})
        return answer["rpc"]["data"] if "rpc" in answer else (answer["error"]["code"], answer["error"]["message"])


async def alice(node: Node, user: str = "alice", **claims: Any) -> Person:

    person = Person(node)
    await person.client.ask({"id": 1, "connect": {"token": token(user, **claims)}})
    return person


async def test_preferences(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys, **KEYED) as node:
        person = await alice(node)
        found = await person.call("prefs.get")
        assert (found["preferences"], [c["name"] for c in found["categories"]]) == ({}, ["news", "account"])
        changed = await person.call("prefs.set", categories={"news": {"email": False}}, locale="de")
        assert changed["preferences"] == {"locale": "de", "categories": {"news": {"email": False}}}
        assert await person.call("prefs.get") == changed
        code, message = await person.call("prefs.set", categories={"account": False})
        assert (code, message) == (
            107,
            "bad request: /categories: turns off something of a category that cannot be turned off",
        )
        assert (await person.call("prefs.set", timezone="Mars/Olympus"))[0] == 107
        assert await person.call("prefs.get") == changed
        assert (await (await alice(node, "bob")).call("prefs.get"))["preferences"] == {}


async def test_devices(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys, **KEYED) as node:
        person, other = await alice(node), await alice(node, "bob")
        assert await person.call("devices.key") == {"webpush": "BPUBLIC"}
        device = (await person.call("devices.add", **PHONE))["device"]
        assert await person.call("devices.list") == {"devices": [device]}
        assert "token-of-a-phone" not in str(device)
        assert (await other.call("devices.remove", id=device["id"]))[0] == 108
        assert (await person.call("devices.add", provider="fcm", target="x"))[0] == 107
        assert (await person.call("devices.remove"))[0] == 107
        # Somebody else signs in on the same phone.
        await other.call("devices.add", **PHONE)
        assert await person.call("devices.list") == {"devices": []}
        assert await other.call("devices.remove", id=device["id"]) == {}
        assert await other.call("devices.list") == {"devices": []}


async def test_without_keys_no_device_is_stored(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        person = await alice(node)
        assert await person.call("devices.key") == {"webpush": None}
        code, message = await person.call("devices.add", **PHONE)
        assert code == 108
        assert "devices cannot be stored here" in message


async def test_one_follows_only_what_one_may_subscribe_to(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys, **KEYED) as node:
        person = await alice(node, topics=["closed:granted"])
        assert await person.call("topics.follow", topic="open:a") == {}
        assert await person.call("topics.follow", topic="closed:granted") == {}
        assert (await person.call("topics.follow", topic="closed:b"))[0] == 103
        for wrong in ("@bob", "open", "open:*", 7, None):
            assert (await person.call("topics.follow", topic=wrong))[0] == 107
            assert (await person.call("topics.unfollow", topic=wrong))[0] == 107
        assert await person.call("topics.list") == {"topics": ["closed:granted", "open:a"]}
        # What one may no longer subscribe to one may still leave.
        assert await person.call("topics.unfollow", topic="closed:b") == {}
        assert await person.call("topics.unfollow", topic="open:a") == {}
        assert await person.call("topics.list") == {"topics": ["closed:granted"]}


async def test_one_follows_so_many_topics(redis_server: RedisSite, keys: Keys) -> None:

    async with running_node(redis_server.url, keys, **KEYED) as node:
        person = await alice(node)
        command = ["SADD", keys.follows("alice"), *(f"open:{n}" for n in range(MAX_FOLLOWS))]
        await node.pipe.ask(*command)
        assert (await person.call("topics.follow", topic="open:more"))[0] == 106
        assert await person.call("topics.follow", topic="open:1") == {}


async def test_over_http_the_token_says_what_one_may_follow(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys, **KEYED) as node:

        async def follow(topic: str, *granted: str) -> Any:
            caller = Caller("alice", granted=granted)
            return await node.procedures.call(caller, "topics.follow", {"topic": topic})

        assert await follow("open:a") == {}
        assert await follow("closed:a", "closed:a") == {}
        assert (await follow("closed:a", "closed:b")).detail == "you may not subscribe to this topic"
