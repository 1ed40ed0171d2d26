"""`tocsin template`: list the templates, see what one makes of a sample, and try them all on theirs.

A template's `samples.json` holds events by a name for each: `{"two books": {"event": {…}, "name": "Alice"}}`, with
`events` for a digest, and `user`, `name`, `timezone`, `unsubscribe` for the person. An event needs no `to`.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, assert_never

from bus.clock import SystemClock
from bus.event import Event, Invalid, parse
from fanout.channels.delivery import Mail, Push, Sms
from fanout.render import PARTS, Templates, Unrenderable
from fanout.wording import Content
from tocsin.trouble import FAILED, USAGE, Trouble

SAMPLES: Final = "samples.json"
EXAMPLES: Final = Path(__file__).parents[1] / "templates"
PERSON: Final = ("user", "name", "timezone", "unsubscribe")
Show = Callable[[Any, Sequence[str]], int]


@dataclass(frozen=True, slots=True)
class Tried:
    """One template, locale, channel and sample; `fault` is empty when all is well."""

    template: str
    locale: str
    channel: str
    sample: str
    fault: str


def run(arguments: Namespace, configured: str, show: Show) -> int:
    """One of ls, render, test; the exit code. Raises `Trouble` and `BadSetting`."""
    folder = _folder(arguments.folder or configured)
    templates = Templates(folder)
    match arguments.action:
        case "ls":
            return _ls(templates, show)
        case "render":
            return _render(arguments, folder, templates, show)
        case _:
            return _test(folder, templates, show)


def _folder(named: str) -> Path:
    if named:
        return Path(named)
    if EXAMPLES.is_dir():
        return EXAMPLES
    raise Trouble("which templates? Name their folder: --folder, or the setting templates of [deliver]", USAGE)


# What there is -----------------------------------------------------------------------------------------------------


def _ls(templates: Templates, show: Show) -> int:
    rows = [
        {"template": name, "locale": locale, "channel": channel, "parts": list(parts)}
        for name, locale, channel, parts in _all(templates)
    ]
    return show(rows, [f"{r['template']:24}{r['locale']:12}{r['channel']:8}{' '.join(r['parts'])}" for r in rows])


def _all(templates: Templates) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    for name in templates.names:
        for locale in templates.locales(name):
            for channel in PARTS:
                if parts := templates.parts(name, locale, channel):
                    yield name, locale, channel, parts


# One message -------------------------------------------------------------------------------------------------------


def _render(arguments: Namespace, folder: Path, templates: Templates, show: Show) -> int:
    name, channel = arguments.name, arguments.channel
    if name not in templates.names:
        raise Trouble(f"there is no template {name!r} in {folder}; it has: {', '.join(templates.names)}", USAGE)
    if arguments.data is None:
        content = next(iter(_samples(folder, name).values()))
    else:
        content = _content(_json(arguments.data), "--data")
    made = templates.render(channel, content, arguments.locale, template=name)
    if isinstance(made, Unrenderable):
        raise Trouble(made.reason, FAILED)
    return show(asdict(made), _lines(made))


def _lines(made: Mail | Push | Sms) -> list[str]:
    match made:
        case Mail(subject, text, html):
            return [f"Subject: {subject}", "", text, *(["", html] if html else [])]
        case Push(title, body, url):
            return [title, body, *([url] if url else [])]
        case Sms(text):
            return [text]
        case _:
            assert_never(made)


def _json(given: str) -> Any:
    """JSON as it is, or in a file of that name."""
    try:
        text = given if given.lstrip().startswith(("{", "[")) else Path(given).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Trouble(f"--data: {given} is neither JSON nor a file that can be read", USAGE) from error
    return _decoded(text, "--data")


# Samples -----------------------------------------------------------------------------------------------------------


def _samples(folder: Path, name: str) -> dict[str, Content]:
    path = folder / name / SAMPLES
    try:
        found = _decoded(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise Trouble(f"{path} cannot be read; it holds the samples of the template", FAILED) from error
    if not isinstance(found, dict) or not found:
        raise Trouble(f"{path} must be an object with a sample or more by their names", FAILED)
    return {sample: _content(raw, f"{path}: {sample}") for sample, raw in found.items()}


def _decoded(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Trouble(f"{where} is not JSON: {error}", USAGE) from error


def _content(raw: Any, where: str) -> Content:
    """A sample, or an event by itself."""
    if not isinstance(raw, Mapping):
        raise Trouble(f"{where} must be an object: an event, or a sample with event or events", USAGE)
    given = raw if {"event", "events"} & raw.keys() else {"event": raw}
    person: dict[str, Any] = {key: given[key] for key in PERSON if key in given}
    events = given.get("events", [given.get("event")])
    if unknown := set(given) - {"event", "events", *PERSON}:
        raise Trouble(f"{where} has an unknown member {min(unknown)}", USAGE)
    if not isinstance(events, list) or not events or not all(isinstance(value, str) for value in person.values()):
        raise Trouble(f"{where} is not of the form of a sample", USAGE)
    told = tuple(_event(one, number, where) for number, one in enumerate(events))
    return Content(told, **{"user": "alice", **person})


def _event(raw: Any, number: int, where: str) -> Event:
    if not isinstance(raw, Mapping):
        raise Trouble(f"{where} has an event that is no object", USAGE)
    full = {"type": "sample", "to": {"users": ["alice"]}, **raw}
    found = parse(full, default_id=f"sample-{number}", default_source="sample", now=SystemClock().wall())
    if isinstance(found, Invalid):
        problem = found.problems[0]
        raise Trouble(f"{where}: the event is at fault: {problem.pointer or '/'} {problem.message}", USAGE)
    return found


# All of them -------------------------------------------------------------------------------------------------------


def _test(folder: Path, templates: Templates, show: Show) -> int:
    tried = list(_tried(folder, templates))
    bad = [one for one in tried if one.fault]
    named = (" ".join(filter(None, (one.template, one.locale, one.channel))) for one in bad)
    lines = [f"{name}, {one.sample}: {one.fault}" for name, one in zip(named, bad, strict=True)]
    show([asdict(one) for one in tried], [*lines, f"{len(tried)} renderings, {len(bad)} failed"])
    return FAILED if bad else 0


def _tried(folder: Path, templates: Templates) -> Iterator[Tried]:
    for name in templates.names:
        try:
            samples = _samples(folder, name)
        except Trouble as trouble:
            yield Tried(name, "", "", SAMPLES, str(trouble))
            continue
        for locale in templates.locales(name):
            for channel in PARTS:
                if templates.parts(name, locale, channel):
                    for sample, content in samples.items():
                        made = templates.render(channel, content, locale, template=name)
                        yield Tried(name, locale, channel, sample, _fault(made))


def _fault(made: Mail | Push | Sms | Unrenderable) -> str:
    match made:
        case Unrenderable(reason):
            return reason
        case Mail(subject, text):
            return "" if subject and text else "the mail has an empty subject or text"
        case Push(title):
            return "" if title else "the title is empty"
        case Sms(text):
            return "" if text else "the text is empty"
        case _:
            assert_never(made)
