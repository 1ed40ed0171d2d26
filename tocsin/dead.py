"""`tocsin dead`: the events that could not be worked, each with its reason."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from bus.clock import SystemClock
from bus.codec import iso
from bus.dead import Graveyard
from bus.keys import Keys
from bus.letters import DeadLetter, Selection, select
from bus.pipe import opened
from tocsin.settings import CliSettings
from tocsin.trouble import USAGE, Trouble

DONE: Final[Mapping[str, str]] = {"drop": "dropped", "replay": "sent again"}
_AGO: Final = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
_UNITS: Final[Mapping[str, int]] = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

Show = Callable[[Any, Sequence[str]], int]


async def run(arguments: argparse.Namespace, settings: CliSettings, url: str, show: Show) -> int:
    """One of ls, show, drop, replay. Raises `Trouble`, `BusError`."""
    selection = _selection(arguments)
    async with opened(url, name="tocsin-dead", clock=SystemClock()) as pipe:
        return await _do(Graveyard(pipe, Keys(settings.prefix, settings.partitions)), selection, arguments, show)


async def _do(graveyard: Graveyard, selection: Selection, arguments: argparse.Namespace, show: Show) -> int:
    names: list[str] = arguments.letters
    match arguments.action:
        case "ls":
            return await _ls(graveyard, selection, arguments.limit, show)
        case "show":
            return await _show(graveyard, _named(names), show)
        case action if names and not arguments.dry_run:
            return await _each(names, graveyard.drop if action == "drop" else graveyard.replay, DONE[action], show)
        case action:
            return await _many(graveyard, _meant(selection, action), action, arguments, show)


def _selection(arguments: argparse.Namespace) -> Selection:
    """What the options mean. Raises `Trouble`."""
    given = {name: getattr(arguments, name) for name in ("channel", "queue", "reason")}
    given |= {name: _moment(getattr(arguments, name)) for name in ("since", "until")}
    given["names"] = arguments.letters
    chosen = select({name: value for name, value in given.items() if value})
    if isinstance(chosen, Selection):
        return chosen
    raise Trouble("; ".join(f"--{fault.pointer.removeprefix('/')} {fault.message}" for fault in chosen), USAGE)


def _moment(text: str | None) -> str | None:
    """A date and time as it is, and `2h` as the time so long ago."""
    if text is None or not (ago := _AGO.fullmatch(text)):
        return text
    return iso(SystemClock().wall() - int(ago[1]) * _UNITS[ago[2]])


def _named(names: Sequence[str]) -> Sequence[str]:
    if not names:
        raise Trouble("which? Give names as `tocsin dead ls` prints them, such as 12/1700000000000-0", USAGE)
    return names


def _meant(selection: Selection, action: str) -> Selection:
    """Nobody drops or sends everything again by leaving something out."""
    if selection.everything:
        raise Trouble(
            f"which? Give names as `tocsin dead ls` prints them, such as 12/1700000000000-0, or say which to {action} "
            "by --channel, --queue, --reason, --since or --until; `--since 3650d` means all",
            USAGE,
        )
    return selection


async def _ls(graveyard: Graveyard, selection: Selection, limit: int, show: Show) -> int:
    found = await graveyard.find(selection, limit)
    lines = [_line(letter) for letter in found.letters]
    if found.more and selection.everything:
        total = await graveyard.count()
        lines.append(f"… and {total - len(found.letters)} older: --limit {total}")
    elif found.more:
        lines.append("… and older ones: --limit")
    return show([_summary(letter) for letter in found.letters], lines or ["nothing is buried"])


def _line(letter: DeadLetter) -> str:
    of = f"{letter.channel}: " if letter.channel else ""
    return f"{letter.name:<22} {_when(letter)}  {of}{letter.reason}"


async def _many(
    graveyard: Graveyard, selection: Selection, action: str, arguments: argparse.Namespace, show: Show
) -> int:
    """Drop or send again all that is meant, at most `--limit`, newest first."""
    found = await graveyard.find(selection, arguments.limit)
    if arguments.dry_run:
        names = [letter.name for letter in found.letters]
        lines = [*map(_line, found.letters), f"{len(names)} would be {DONE[action]}"]
    else:
        act = graveyard.drop_all if action == "drop" else graveyard.replay_all
        names = await act(found.letters)
        lines = [f"{len(names)} {DONE[action]}"]
        if left := len(found.letters) - len(names):
            lines.append(f"{left} stayed: nothing was kept of them, or they were gone already")
    if found.more:
        lines.append("more are meant than --limit lets; repeat it for the rest")
    return show({"action": action, "dry_run": arguments.dry_run, "letters": names, "more": found.more}, lines)


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
        **letter.about,
    }


def _when(letter: DeadLetter) -> str:
    return datetime.fromtimestamp(letter.buried_at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _text(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    return {
        name.decode(errors="backslashreplace"): value.decode(errors="backslashreplace")
        for name, value in fields.items()
    }
