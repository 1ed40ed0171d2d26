"""`tocsin rekey`: everything private is sealed anew with the first of `directory_keys`, and how far that has come."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

from bus.clock import Clock
from bus.keys import Keys
from bus.people.directory import Directory
from bus.people.rekey import Progress, Rekeying
from bus.people.vault import vault_of
from bus.pipe import opened
from gateway.settings import GatewaySettings
from tocsin.trouble import CONFIG, Trouble

Show = Callable[[Any, Sequence[str]], int]
EVERY: Final = 1.0
"""How often is said how far it has come, in seconds."""


async def run(settings: GatewaySettings, clock: Clock, show: Show, say: Callable[[str], None]) -> int:
    """Reseal all. Raises `Trouble` without keys, `BadSetting`, `BusError`."""
    vault = vault_of(settings.directory_keys, settings.directory_index_key)
    if vault is None:
        raise Trouble("directory_keys is empty, so nothing is encrypted; `tocsin keys` makes one", CONFIG)
    keys = Keys(settings.prefix, settings.partitions)
    said = clock.monotonic()

    def told(progress: Progress) -> None:
        nonlocal said
        if clock.monotonic() - said >= EVERY:
            said = clock.monotonic()
            say(f"{progress.people:,} people, {progress.devices:,} devices, {progress.resealed:,} sealed anew …")

    async with opened(settings.redis_url, name="tocsin-rekey", clock=clock) as pipe:
        done = await Rekeying(pipe, keys, Directory(pipe, keys, vault, clock)).run(told)
    lines = [f"{done.people:,} people and {done.devices:,} devices, {done.resealed:,} of them sealed anew"]
    if done.unreadable:
        lines.append(f"{done.unreadable:,} cannot be opened with any of directory_keys, and stay as they are")
    return show(asdict(done), lines)


def to_stderr(text: str) -> None:
    """For people who watch; stdout stays for the result."""
    print(f"tocsin: {text}", file=sys.stderr, flush=True)
