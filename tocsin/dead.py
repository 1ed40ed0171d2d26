"""`tocsin dead`: the events that could not be worked, each with its reason."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bus.connect import client
from bus.dead import DeadLetter, Graveyard
from bus.keys import Keys
from tocsin.settings import CliSettings
from tocsin.trouble import USAGE, Trouble

Show = Callable[[Any, Sequence[str]], int]


async def run(arguments: argparse.Namespace, settings: CliSettings, url: str, show: Show) -> int:
    """One of ls, show, drop, replay. Raises `Trouble`, `BusError`."""
    redis = client(url, name="tocsin-dead")
    graveyard = Graveyard(redis, Keys(settings.prefix, settings.partitions))
    names: list[str] = arguments.letters
    try:
        match arguments.action:
            case "ls":
                return await _ls(graveyard, arguments.limit, show)
            case "show":
                return await _show(graveyard, _named(names), show)
            case "drop":
                return await _each(_named(names), graveyard.drop, "dropped", show)
            case _:
                return await _each(_named(names), graveyard.replay, "sent again", show)
    finally:
        await redis.aclose()


def _named(names: Sequence[str]) -> Sequence[str]:
    if not names:
        raise Trouble("which? Give names as `tocsin dead ls` prints them, such as 12/1700000000000-0", USAGE)
    return names


async def _ls(graveyard: Graveyard, limit: int, show: Show) -> int:
    letters = await graveyard.ls(limit)
    total = await graveyard.count()
    lines = [f"{letter.name:<22} {_when(letter)}  {letter.reason}" for letter in letters]
    if total > len(letters):
        lines.append(f"… and {total - len(letters)} older: --limit {total}")
    return show([_summary(letter) for letter in letters], lines or ["nothing is buried"])


async def _show(graveyard: Graveyard, names: Sequence[str], show: Show) -> int:
    found = [(name, await graveyard.get(name)) for name in names]
    letters = [_found(name, letter) for name, letter in found]
    shown = [_summary(letter) | {"fields": _text(letter.fields)} for letter in letters]
    return show(shown, [json.dumps(one, indent=2, ensure_ascii=False) for one in shown])


async def _each(names: Sequence[str], act: Callable[[str], Any], done: str, show: Show) -> int:
    results = {name: _found(name, await act(name) or None) for name in names}
    return show(results, [f"{name} {done}" for name in results])


def _found(name: str, thing: Any) -> Any:
    if thing is None:
        raise Trouble(f"there is no dead letter {name}; `tocsin dead ls` shows those there are")
    return thing


def _summary(letter: DeadLetter) -> dict[str, Any]:
    return {
        "name": letter.name,
        "buried_at": _when(letter),
        "reason": letter.reason,
        "attempts": letter.attempts,
        "queue": letter.queue,
        "entry": letter.entry,
    }


def _when(letter: DeadLetter) -> str:
    return datetime.fromtimestamp(letter.buried_at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _text(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    return {
        name.decode(errors="backslashreplace"): value.decode(errors="backslashreplace")
        for name, value in fields.items()
    }
