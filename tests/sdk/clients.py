"""Unmodified SDKs behind one interface, so that one scenario tries them all."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from centrifuge import Client, ClientEventHandler, ReplyError, SubscriptionEventHandler

DRIVER = Path(__file__).with_name("driver.mjs")
SECONDS = 30.0

Event = dict[str, Any]


class Failure(Exception):
    """The server refused a command, with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Journal:
    """What an SDK told its application, in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._told = asyncio.Event()
        self._read = 0

    def tell(self, event: str, **details: Any) -> None:
        self.events.append({"event": event, **details})
        self._told.set()

    async def next(self, event: str, **details: Any) -> Event:
        """The next event that has at least these details; what lies before it is passed over."""
        wanted = {"event": event, **details}
        try:
            async with asyncio.timeout(SECONDS):
                while True:
                    while self._read < len(self.events):
                        self._read += 1
                        found = self.events[self._read - 1]
                        if wanted.items() <= found.items():
                            return found
                    self._told.clear()
                    await self._told.wait()
        except TimeoutError:
            raise AssertionError(f"{wanted} did not come; there came: {self.events}") from None

    def publications(self, channel: str) -> list[Any]:
        """Data of all publications so far."""
        return [e["data"] for e in self.events if e["event"] == "publication" and e["channel"] == channel]

    def count(self, event: str) -> int:
        return sum(e["event"] == event for e in self.events)


class Sdk(Protocol):
    """A client application."""

    journal: Journal

    async def do(self, action: str, **details: Any) -> Any:
        """One of the actions of driver.mjs. Raises `Failure`."""


# JavaScript ----------------------------------------------------------------------------------------------------------


class JavaScript:
    """driver.mjs in a process of its own."""

    def __init__(self, process: Process, new_token: Callable[[], str]) -> None:
        self.journal = Journal()
        self._process, self._new_token = process, new_token
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._id = 0

    @classmethod
    @asynccontextmanager
    async def running(cls, new_token: Callable[[], str], **options: str) -> AsyncIterator[JavaScript]:
        process = await asyncio.create_subprocess_exec("node", DRIVER, json.dumps(options), stdin=PIPE, stdout=PIPE)
        sdk = cls(process, new_token)
        assert process.stdin is not None
        try:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(sdk._read())
                yield sdk
                process.stdin.close()
                await reading
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def do(self, action: str, **details: Any) -> Any:
        async with asyncio.timeout(SECONDS):
            return await self._say(action, **details)

    def _say(self, action: str, **details: Any) -> asyncio.Future[Any]:
        self._id += 1
        answer = self._answers[self._id] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": self._id, "action": action, **details}).encode() + b"\n")
        return answer

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            match told.pop("event"):
                case "done":
                    self._answers.pop(told["id"]).set_result(told["result"])
                case "failed":
                    self._answers.pop(told["id"]).set_exception(Failure(told["code"]))
                case "token_wanted":
                    self.journal.tell("token_wanted")
                    self._say("token", token=self._new_token())
                case event:
                    self.journal.tell(event, **told)


# Python --------------------------------------------------------------------------------------------------------------


class PythonClient:
    """centrifuge-python in this process."""

    def __init__(self, new_token: Callable[[], str], endpoint: str, token: str) -> None:
        self.journal = journal = Journal()

        async def get_token() -> str:
            journal.tell("token_wanted")
            return new_token()

        self._client = Client(
            endpoint,
            events=_ClientEvents(journal),
            token=token,
            get_token=get_token,
            min_reconnect_delay=0.05,
            max_reconnect_delay=0.3,
            proxy=None,
        )

    @classmethod
    @asynccontextmanager
    async def running(cls, new_token: Callable[[], str], **options: str) -> AsyncIterator[PythonClient]:
        before = asyncio.all_tasks()
        sdk = cls(new_token, options["endpoint"], options["token"])
        try:
            yield sdk
        finally:
            await sdk._client.disconnect()
            if left := asyncio.all_tasks() - before:  # it closes its sockets in tasks that it does not wait for
                await asyncio.wait(left, timeout=SECONDS)

    async def do(self, action: str, **details: Any) -> Any:
        try:
            return await getattr(self, f"_{action}")(**details)
        except ReplyError as error:
            raise Failure(error.code) from error

    async def _connect(self) -> None:
        await self._client.connect()

    async def _disconnect(self) -> None:
        await self._client.disconnect()

    async def _subscribe(self, channel: str) -> None:
        subscription = self._client.new_subscription(channel, _SubscriptionEvents(self.journal, channel))
        await subscription.subscribe()

    async def _unsubscribe(self, channel: str) -> None:
        subscription = self._client.get_subscription(channel)
        assert subscription is not None
        await subscription.unsubscribe()

    async def _publish(self, channel: str, data: Any) -> None:
        await self._client.publish(channel, data)

    async def _presence(self, channel: str) -> list[str]:
        return sorted(info.user for info in (await self._client.presence(channel)).clients.values())

    async def _presence_stats(self, channel: str) -> dict[str, int]:
        stats = await self._client.presence_stats(channel)
        return {"numClients": stats.num_clients, "numUsers": stats.num_users}

    async def _history(self, channel: str, limit: int) -> list[dict[str, Any]]:
        found = await self._client.history(channel, limit=limit)
        return [{"offset": one.offset, "data": one.data} for one in found.publications]

    async def _rpc(self, method: str, data: Any) -> Any:
        return (await self._client.rpc(method, data)).data


class _ClientEvents(ClientEventHandler):  # type: ignore[misc]  # the SDK has no type marker
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def on_connecting(self, ctx: Any) -> None:
        self._journal.tell("connecting", code=ctx.code)

    async def on_connected(self, ctx: Any) -> None:
        self._journal.tell("connected", client=ctx.client)

    async def on_disconnected(self, ctx: Any) -> None:
        self._journal.tell("disconnected", code=ctx.code)

    async def on_error(self, ctx: Any) -> None:
        self._journal.tell("error", code=ctx.code)

    async def on_subscribed(self, ctx: Any) -> None:
        self._journal.tell("subscribed", channel=ctx.channel, wasRecovering=ctx.was_recovering, recovered=ctx.recovered)

    async def on_publication(self, ctx: Any) -> None:
        self._journal.tell("publication", channel=ctx.channel, offset=ctx.pub.offset, data=ctx.pub.data)


class _SubscriptionEvents(SubscriptionEventHandler):  # type: ignore[misc]
    def __init__(self, journal: Journal, channel: str) -> None:
        self._journal, self._channel = journal, channel

    def _tell(self, event: str, **details: Any) -> None:
        self._journal.tell(event, channel=self._channel, **details)

    async def on_subscribed(self, ctx: Any) -> None:
        self._tell("subscribed", wasRecovering=ctx.was_recovering, recovered=ctx.recovered)

    async def on_unsubscribed(self, ctx: Any) -> None:
        self._tell("unsubscribed", code=ctx.code)

    async def on_error(self, ctx: Any) -> None:
        self._tell("error", code=ctx.code)

    async def on_publication(self, ctx: Any) -> None:
        user = {"user": ctx.pub.info.user} if ctx.pub.info else {}
        self._tell("publication", offset=ctx.pub.offset, data=ctx.pub.data, **user)

    async def on_join(self, ctx: Any) -> None:
        self._tell("join", user=ctx.info.user)

    async def on_leave(self, ctx: Any) -> None:
        self._tell("leave", user=ctx.info.user)
