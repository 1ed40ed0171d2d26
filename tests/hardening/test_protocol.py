"""What clients say that makes no sense, or is not for them to say: each gets its answer, over real sockets."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.hardening.conftest import PLANTED
from tests.hardening.peers import Peer, undisturbed
from tests.system import System, token

pytestmark = pytest.mark.slow

SUB = '{"id":9,"subscribe":{"channel":%s}}'


def said(method: str, /, **request: Any) -> str:
    return json.dumps({"id": 9, method: request})


CLOSES = {
    "nothing": "",
    "white space": " ",
    "an empty line": '\n{"id":9,"rpc":{}}',
    "no JSON": f"{{{PLANTED}",
    "two on a line": '{"id":9,"rpc":{}}{"id":10,"rpc":{}}',
    "not an object": "[]",
    "a number": "7",
    "a string": f'"{PLANTED}"',
    "null": "null",
    "deep": '{"id":9,"rpc":{"data":' + "[" * 10_000 + "]" * 10_000 + "}}",
    "deeper than allowed": '{"id":9,"rpc":{"data":' + "[" * 40 + "]" * 40 + "}}",
    "beyond a double": '{"id":9,"rpc":{"data":1e400}}',
    "NaN": '{"id":9,"rpc":{"data":NaN}}',
    "a lone surrogate": '{"id":9,"rpc":{"data":"\\ud800"}}',
    "a control character": '{"id":9,"rpc":{"data":"\x00"}}',
    "an id below zero": '{"id":-1,"rpc":{}}',
    "an id beyond 32 bits": '{"id":4294967296,"rpc":{}}',
    "a huge id": '{"id":' + "9" * 400 + ',"rpc":{}}',
    "half an id": '{"id":1.5,"rpc":{}}',
    "an id in words": '{"id":"9","rpc":{}}',
    "true for an id": '{"id":true,"rpc":{}}',
    "no id": '{"rpc":{}}',
    "an id alone": '{"id":9}',
    "two methods": '{"id":9,"rpc":{},"history":{"channel":"inbox"}}',
    "a request that is none": '{"id":9,"rpc":[]}',
    "connect again": said("connect", token=PLANTED),
    "a pong that nobody asked for": "{}",
    "no channel": said("subscribe"),
    "an empty channel": said("subscribe", channel=""),
    "a channel that is none": said("subscribe", channel={"a": PLANTED}),
    "an offset below zero": said("subscribe", channel="room:a", recover=True, epoch="x", offset=-1),
    "an offset in words": said("subscribe", channel="room:a", recover=True, epoch="x", offset="1; DROP"),
    "an offset beyond all": said("subscribe", channel="room:a", recover=True, epoch="x", offset=2**64),
    "an epoch that is none": said("subscribe", channel="room:a", recover=True, epoch=7, offset=1),
    "a limit that is none": said("history", channel="inbox", limit="all"),
    "a limit beyond all": said("history", channel="inbox", limit=2**40),
    "a refresh of nothing": said("refresh"),
    "a refresh by rubbish": said("refresh", token=PLANTED),
}
"""All with 3501, but for the last."""

INBOX_OF_BOB = ("@bob", "user:bob:inbox", "tocsin:{x}:user:bob:inbox", "@", "inbox:bob")
ERRORS = {
    "an unknown method": (said("ack", to=5), 108),
    "a prototype": (said("__proto__", polluted=True), 108),
    "a method of Python": (said("__class__"), 108),
    "the protocol's own ping": (said("ping"), 108),
    "an unknown call": (said("rpc", method=PLANTED), 104),
    "a call of nothing": (said("rpc"), 104),
    "a wildcard": (said("subscribe", channel="room:*"), 102),
    "braces": (said("subscribe", channel="room:{1}"), 102),
    "no namespace": (said("subscribe", channel="room"), 102),
    "only a namespace": (said("subscribe", channel="room:"), 102),
    "control characters": (said("subscribe", channel="room:a\r\nb"), 102),
    "NUL": (said("subscribe", channel="room:\x00"), 102),
    "10 KB": (said("subscribe", channel="room:" + "x" * 10_000), 107),
    "a closed namespace": (said("subscribe", channel="secret:a"), 103),
    "the inbox again": (said("subscribe", channel="inbox"), 105),
    "to leave the inbox": (said("unsubscribe", channel="inbox"), 103),
    "to publish into the inbox": (said("publish", channel="inbox", data=1), 103),
    "to publish nothing": (said("publish", channel="room:a"), 107),
    "to publish too much": (said("publish", channel="room:a", data="x" * 65_450), 106),
    "the inbox's presence": (said("presence", channel="inbox"), 108),
    "presence where there is none": (said("presence", channel="room:a"), 108),
    "history of another": (said("history", channel="@bob", limit=-1), 103),
    "history of a closed namespace": (said("history", channel="secret:a"), 103),
    "another epoch": (said("history", channel="inbox", limit=1, since={"epoch": "other", "offset": 0}), 112),
    "rather an error than a gap": (
        said("subscribe", channel="room:a", recover=True, epoch="other", offset=3, flag=2),
        112,
    ),
    "a subscription token of rubbish": (said("subscribe", channel="room:a", token=PLANTED), 103),
    "a refresh of no subscription": (said("sub_refresh", channel="room:a", token=PLANTED), 103),
}


async def test_what_is_no_command_ends_the_connection(running: System) -> None:
    gateway = running.gateways[0]
    wrong = {}
    async with undisturbed(running):
        for name, text in CLOSES.items():
            async with asyncio.timeout(30), Peer.connected(gateway, "mallory") as peer:
                await peer.say(text)
                heard = await peer.hear()
                if heard != (3500 if name == "a refresh by rubbish" else 3501):
                    wrong[name] = heard
    assert wrong == {}


async def test_what_cannot_be_done_is_answered_and_the_connection_goes_on(running: System) -> None:
    gateway = running.gateways[0]
    wrong = {}
    async with undisturbed(running), asyncio.timeout(30), Peer.connected(gateway, "mallory") as peer:
        for name, (text, code) in ERRORS.items():
            await peer.say(text)
            heard = await peer.hear()
            if not isinstance(heard, dict) or heard.get("error", {}).get("code") != code or heard["id"] != 9:
                wrong[name] = heard
    assert wrong == {}


@pytest.mark.parametrize("channel", INBOX_OF_BOB)
@pytest.mark.parametrize("method", ["subscribe", "publish", "history", "presence", "presence_stats", "unsubscribe"])
async def test_nobody_reaches_the_inbox_of_another(running: System, channel: str, method: str) -> None:
    gateway = running.gateways[0]
    async with asyncio.timeout(30), Peer.connected(gateway, "bob") as bob:
        async with Peer.connected(gateway, "mallory") as peer:
            reply = await peer.command(method, channel=channel, data={"forged": PLANTED}, limit=10)
            if method != "unsubscribe":
                assert reply["error"]["code"] in (102, 103, 108)
            reply = await peer.command("subscribe", channel=channel, token=token("mallory", topics=("room:a",)))
            assert reply["error"]["code"] in (102, 103)
        history = (await bob.command("history", channel="inbox", limit=10))["history"]
        assert history["publications"] == []


async def test_places_that_never_were_are_no_way_around_recovery(running: System) -> None:
    """A client may say that it was anywhere: it gets all it missed, or is told that it cannot."""
    gateway = running.gateways[0]
    async with asyncio.timeout(30), Peer.connected(gateway, "alice") as peer:
        for n in range(5):
            await peer.command("publish", channel="room:places", data=n)
        now = (await peer.command("subscribe", channel="room:places"))["subscribe"]
        while now["offset"] < 5:
            assert "push" in await peer.hear()
            now["offset"] += 1
        for epoch, offset, recovered in (
            (now["epoch"], 2, [2, 3, 4]),
            (now["epoch"], 5, []),
            (now["epoch"], 6, None),
            (now["epoch"], 2**53 - 1, None),
            ("another", 2, None),
            ("another", 2**53 - 1, None),
            ("x" * 10_000, 0, None),
            ("\x00", 1, None),
        ):
            await peer.command("unsubscribe", channel="room:places")
            reply = await peer.command("subscribe", channel="room:places", recover=True, epoch=epoch, offset=offset)
            result = reply["subscribe"]
            assert result["was_recovering"]
            assert result.get("recovered", False) is (recovered is not None)
            assert [pub["data"] for pub in result.get("publications", ())] == (recovered or [])
            assert result["epoch"] == now["epoch"]


async def test_commands_before_connect(running: System) -> None:
    gateway = running.gateways[0]
    async with asyncio.timeout(30):
        for text in (said("subscribe", channel="room:a"), said("rpc"), "{}", '{"send":{"data":1}}'):
            async with Peer.open(gateway) as peer:
                await peer.say(text)
                assert await peer.hear() == 3501
        async with Peer.open(gateway) as peer:
            assert (await peer.command("connect"))["error"]["code"] == 101
            await peer.say(said("subscribe", channel="room:a"))
            assert await peer.hear() == 3501


async def test_what_is_behind_a_refused_connect_is_void(running: System) -> None:
    """All in one message, as the SDKs send it."""
    async with asyncio.timeout(30), Peer.open(running.gateways[0]) as peer:
        first = json.dumps({"id": 1, "connect": {"token": token("mallory", ttl=-100)}})
        await peer.say(
            "\n".join((first, said("subscribe", channel="room:a"), said("publish", channel="room:a", data=1)))
        )
        assert await peer.hear() == {"id": 1, "error": {"code": 109, "message": "token expired"}}
        peer.writer.write_eof()
        assert await peer.rest() == b""
