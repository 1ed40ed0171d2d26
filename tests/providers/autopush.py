"""The push service of Firefox on loopback: its WebSocket to browsers (autopush's protocol), and beside it the endpoint
to which senders post, which checks them as `push_service` does and hands on what it cannot read.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.server import ServerConnection, serve

from tests.providers.push_service import Browser, PushService, from_text, push_service, to_text

TAKEN = 100
"""Code of an acknowledgement: it was decrypted and given to the page's worker."""


@dataclass
class Remote(Browser):
    """A subscription of a real browser: only that browser can read what is sent to it."""

    outbox: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)

    def read(self, body: bytes) -> bytes:
        """Pass it on as it is."""
        self.outbox.put_nowait(body)
        return b""


class Autopush:
    """`service` is the side of the senders. `browsers`: subscriptions by channel."""

    def __init__(self, service: PushService) -> None:
        self.service = service
        self.url = ""
        """What `dom.push.serverURL` must be."""
        self.connected = asyncio.Event()
        """A browser has said hello: from now on a page may subscribe."""
        self.acks: asyncio.Queue[int] = asyncio.Queue()
        """Codes of what browsers acknowledged."""
        self.browsers: dict[str, Remote] = {}

    async def handle(self, socket: ServerConnection) -> None:
        """One browser's connection."""
        async with asyncio.TaskGroup() as group:
            async for text in socket:
                message = json.loads(text)
                match message["messageType"]:
                    case "hello":
                        answer = {"uaid": uuid.uuid4().hex, "status": 200, "use_webpush": True, "broadcasts": {}}
                        await self._send(socket, "hello", **answer)
                        self.connected.set()
                    case "register":
                        endpoint = self._register(message["channelID"], message.get("key"))
                        await self._send(socket, "register", channelID=message["channelID"], status=200, **endpoint)
                        group.create_task(self._pass_on(socket, message["channelID"]))
                    case "ack":
                        for one in message["updates"]:
                            self.acks.put_nowait(one["code"])
            raise _Over

    def _register(self, channel: str, key: str | None) -> dict[str, str]:
        server_key = None if key is None else to_text(from_text(key.rstrip("=")))
        browser = Remote("", server_key=server_key)
        self.service.adopt(browser)
        self.browsers[channel] = browser
        return {"pushEndpoint": browser.endpoint}

    async def _pass_on(self, socket: ServerConnection, channel: str) -> None:
        while True:
            body = await self.browsers[channel].outbox.get()
            said = {"channelID": channel, "version": uuid.uuid4().hex, "data": to_text(body)}
            await self._send(socket, "notification", **said, headers={"encoding": "aes128gcm"})

    @staticmethod
    async def _send(socket: ServerConnection, kind: str, **fields: Any) -> None:
        await socket.send(json.dumps({"messageType": kind, **fields}))


class _Over(Exception):
    """The browser went away; what was passed on to it ends too."""


@asynccontextmanager
async def autopush() -> AsyncIterator[Autopush]:
    """A running service."""

    async def connection(socket: ServerConnection) -> None:
        try:
            await made.handle(socket)
        except* _Over:
            pass

    async with push_service(time.time) as service:
        made = Autopush(service)
        async with serve(connection, "127.0.0.1", 0, subprotocols=["push-notification"]) as server:  # type: ignore[list-item]
            made.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"
            yield made
