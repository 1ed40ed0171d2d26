"""The demo page's real feed, running: publishes the prices step by step until they end or somebody stops it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import orjson

from bus.errors import BusError
from bus.event import Event
from bus.keys import Keys
from bus.naming import name_fault
from bus.pipe import Pipe
from gateway.api.prices import SOURCE, Step, events_of, read_steps
from gateway.api.problem import Refusal, bad_request
from gateway.ingest import Ingest

LAPSE_MS: Final = 15_000
"""A feed whose node died is over after this long."""

Spawn = Callable[[Coroutine[Any, Any, None]], object]
"""Runs a coroutine in the node's TaskGroup."""


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """How fast, how far a fall is news, and for whom."""

    interval: float = 0.5
    """Seconds between two months."""
    drop: float = 10.0
    """Per cent."""
    users: tuple[str, ...] = ("alice", "bob")

    @classmethod
    def read(cls, raw: object) -> FeedOptions | Refusal:
        """From decoded JSON; what is absent has its default."""
        if not isinstance(raw, Mapping):
            return bad_request("must be a JSON object")
        interval, drop, users = (raw.get(name, getattr(DEFAULT_FEED, name)) for name in ("interval", "drop", "users"))
        if not _is_number(interval, 0.02, 10):
            return bad_request("must be seconds, 0.02 to 10", "/interval")
        if not _is_number(drop, 0, 100):
            return bad_request("must be per cent, 0 to 100", "/drop")
        if not isinstance(users, list | tuple) or len(users) > 10 or any(name_fault(user) for user in users):
            return bad_request("must be a list of at most 10 user names", "/users")
        return cls(float(interval), float(drop), tuple(users))


DEFAULT_FEED: Final = FeedOptions()


def _is_number(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


class PriceFeed:
    """A replay of real prices, one at a time in the installation, ended by its own end.

    Redis holds who runs it: a node goes on only while the entry is its own, so any node can stop it, and two that
    start at once are one.
    """

    def __init__(self, pipe: Pipe, keys: Keys, ingest: Ingest, spawn: Spawn) -> None:
        self._pipe = pipe
        self._key = keys.demo_feed
        self._ingest = ingest
        self._spawn = spawn

    async def status(self) -> dict[str, Any]:
        """Whether it runs, and how far it is. Raises `BusError`."""
        found = await self._pipe.ask("GET", self._key)
        return {"running": False} if found is None else {"running": True, **orjson.loads(found)}

    async def start(self, options: FeedOptions) -> dict[str, Any]:
        """Start it unless it runs. Raises `BusError`."""
        run, steps = token_hex(8), installed_steps()
        if not steps:
            return {"running": False, "reason": "no price data: pip install vega-datasets"}
        if await self._pipe.ask("SET", self._key, _progress(run, 0, steps), "NX", "PX", LAPSE_MS):
            self._spawn(self._run(run, steps, options))
        return await self.status()

    async def stop(self) -> dict[str, Any]:
        """Stop it if it runs; at its next step it will see that. Raises `BusError`."""
        await self._pipe.ask("DEL", self._key)
        return {"running": False}

    async def _run(self, run: str, steps: list[Step], options: FeedOptions) -> None:
        before: dict[str, float] = {}
        try:
            for number, step in enumerate(steps, 1):
                if not await self._still(run, number, steps):
                    return
                await self._publish(step, before, options)
                before.update(step.prices)
                await asyncio.sleep(options.interval)
            await self._pipe.ask("DEL", self._key)
        except BusError:
            return  # Redis went away; the entry lapses, and nobody waits for a demo

    async def _still(self, run: str, number: int, steps: list[Step]) -> bool:
        found = await self._pipe.ask("GET", self._key)
        if found is None or orjson.loads(found)["run"] != run:
            return False
        progress = _progress(run, number, steps)
        return bool(await self._pipe.ask("SET", self._key, progress, "XX", "PX", LAPSE_MS))

    async def _publish(self, step: Step, before: Mapping[str, float], options: FeedOptions) -> None:
        read = [
            self._ingest.read(raw, producer=SOURCE, default_id=token_hex(16))
            for raw in events_of(step, before, options.drop, options.users)
        ]
        for accepted in await self._ingest.accept([event for event in read if isinstance(event, Event)], SOURCE):
            if isinstance(accepted, BusError):
                raise accepted


def _progress(run: str, number: int, steps: list[Step]) -> bytes:
    return orjson.dumps({"run": run, "step": number, "of": len(steps), "date": steps[max(number, 1) - 1].date})


def installed_steps() -> list[Step]:
    """The prices, read from the installed package's file: importing it would load pandas to no purpose.

    Empty when the package is not installed.
    """
    found = find_spec("vega_datasets")
    if found is None or found.origin is None:
        return []
    with (Path(found.origin).parent / "_data" / "stocks.csv").open(encoding="utf-8") as lines:
        return read_steps(lines)
