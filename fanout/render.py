"""From events to a message: the template for the channel and the person's locale, or the events' own words.

A folder holds `<name>/<locale or default>/<channel>.<part>.j2`; every file is read at the start and compiled when it is
first used. An event without a template gets the one named `default`, a digest the one named `digest`, where there are
such. A part that is missing is made: subject and title from the event, text from the HTML.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jinja2 import FunctionLoader, TemplateError, TemplateNotFound, TemplateSyntaxError, UndefinedError
from jinja2.exceptions import SecurityError

from bus.clock import Clock, SystemClock
from bus.settings import BadSetting
from fanout import plain_text, wording
from fanout.channels.delivery import Mail, Push, Sms
from fanout.locales import DEFAULT, chain, normal
from fanout.sandbox import Sandbox
from fanout.wording import Content

PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "email": ("subject", "text", "html"),
    "push": ("title", "body"),
    "sms": ("text",),
    "live": ("title", "body"),
}
"""What each channel's message is made of."""
SUFFIX: Final = ".j2"
SHARED: Final = "_"
"""Folders whose names begin so hold what templates include or extend, and are none themselves."""
DIGEST: Final = "digest"
MAX_SOURCE: Final = 262_144
MAX_PART: Final = 262_144
"""Characters of a finished part."""
FAILURES: Final = (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RecursionError)
"""What an expression of a template can raise, most of them because of the data it meets."""


@dataclass(frozen=True, slots=True)
class Unrenderable:
    """No message can be made. The reason names a file of the operator's and a line in it, and nothing of the data."""

    reason: str


Rendered = Mail | Push | Sms | Unrenderable


class _TooLong(SecurityError):
    """A part grew beyond `MAX_PART`."""


class Templates:
    """All templates of a folder; without one, every message has its events' own words.

    Raises `BadSetting` when the folder or a file in it cannot be read. For one thread.
    """

    def __init__(self, folder: Path | None = None, clock: Clock | None = None) -> None:
        self._sources = {} if folder is None else dict(_read(folder))
        self._found = _sorted_out(self._sources)
        self._sandbox = Sandbox(FunctionLoader(self._load), (clock or SystemClock()).monotonic)

    @property
    def names(self) -> tuple[str, ...]:
        """Every template's name."""
        return tuple(sorted(self._found))

    def locales(self, name: str) -> tuple[str, ...]:
        """The locales a template has, in normal form. Raises `KeyError` for an unknown name."""
        return tuple(sorted(self._found[name]))

    def parts(self, name: str, locale: str, channel: str) -> tuple[str, ...]:
        """The parts that a template has for a channel in this very locale."""
        has = self._found[name].get(normal(locale), {})
        return tuple(part for part in PARTS[channel] if f"{channel}.{part}" in has)

    def render(self, channel: str, content: Content, locale: str, *, template: str | None = None) -> Rendered:
        """The message of a channel (email, push, sms; live gives its words as a `Push`).

        `template` takes the place of the one that the event names.
        """
        name = template or (DIGEST if content.is_digest else content.newest.template) or DEFAULT
        if name not in self._found and name not in (DEFAULT, DIGEST):
            return Unrenderable("there is no template of the name that the event gives")
        made = self._make(channel, content, locale, self._choose(name, channel, locale))
        return made if isinstance(made, Unrenderable) else _message(channel, content, made)

    # Choosing ----------------------------------------------------------------------------------------------------

    def _choose(self, name: str, channel: str, locale: str) -> tuple[str, Mapping[str, str]]:
        """A folder of wording and its files by part: the most fitting locale that has anything for the channel.

        All parts are from one folder, so that no message speaks two languages. A template that has nothing for the
        channel leaves it to the default one; a digest, whose facts are others, does not.
        """
        for candidate in (name, DEFAULT) if name != DIGEST else (name,):
            folders = self._found.get(candidate, {})
            for folder in chain(locale):
                files = {
                    part: file
                    for part in PARTS[channel]
                    if (file := folders.get(folder, {}).get(f"{channel}.{part}")) is not None
                }
                if files:
                    return folder, files
        return DEFAULT, {}

    # Making ------------------------------------------------------------------------------------------------------

    def _make(
        self, channel: str, content: Content, locale: str, chosen: tuple[str, Mapping[str, str]]
    ) -> dict[str, str] | Unrenderable:
        folder, files = chosen
        if not files:
            return {}
        known = wording.facts(content, locale, "" if folder == DEFAULT else folder)
        made: dict[str, str] = {}
        self._sandbox.begin()
        for part, file in files.items():
            try:
                text = self._fill(file, known)
            except FAILURES as error:
                return Unrenderable(_told(error, file, self._sources))
            made[part] = wording.one_line(text) if part in ("subject", "title") else wording.lines(text)
            known = {**known, part: made[part]} if part == "subject" else known
        return made

    def _fill(self, file: str, known: Mapping[str, Any]) -> str:
        pieces, length = [], 0
        for piece in self._sandbox.get_template(file).generate(known):
            pieces.append(piece)
            length += len(piece)
            if length > MAX_PART:
                raise _TooLong
        return "".join(pieces)

    def _load(self, name: str) -> tuple[str, str, None] | None:
        source = self._sources.get(name)
        return None if source is None else (source, name, None)


def _message(channel: str, content: Content, made: Mapping[str, str]) -> Mail | Push | Sms:
    if channel == "sms":
        return Sms(made.get("text") or wording.whole(content))
    title = made.get("subject") or made.get("title") or wording.title(content)
    if channel == "email":
        html = made.get("html")
        text = made.get("text") or (plain_text.from_html(html) if html else wording.body(content) or title)
        return Mail(title, text, html)
    data = content.newest.data
    url = wording.link(content.newest) or None
    return Push(title, made.get("body", wording.body(content)), url, data if isinstance(data, Mapping) else {})


# Reading -----------------------------------------------------------------------------------------------------------


def _read(folder: Path) -> Iterator[tuple[str, str]]:
    """The path of each template file beneath the folder, with `/` between its parts, and what is in it."""
    if not folder.is_dir():
        raise BadSetting(f"templates: {folder} is not a folder")
    for path in sorted(folder.rglob("*" + SUFFIX)):
        name = path.relative_to(folder).as_posix()
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadSetting(f"templates: {name} cannot be read: {type(error).__name__}") from error
        if len(text) > MAX_SOURCE:
            raise BadSetting(f"templates: {name} has more than {MAX_SOURCE} characters")
        yield name, text


def _sorted_out(sources: Mapping[str, str]) -> dict[str, dict[str, dict[str, str]]]:
    """Template name → locale in normal form → `channel.part` → file. Raises `BadSetting` for a file that is nothing."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    known = {f"{channel}.{part}" for channel, parts in PARTS.items() for part in parts}
    for file in sources:
        if file.startswith(SHARED):
            continue
        name, _, rest = file.partition("/")
        locale, _, last = rest.rpartition("/")
        part = last.removesuffix(SUFFIX)
        if part not in known or not locale or "/" in locale:
            raise BadSetting(f"templates: {file} is not of the form NAME/LOCALE/CHANNEL.PART{SUFFIX}")
        found.setdefault(name, {}).setdefault(normal(locale), {})[part] = file
    return found


# What went wrong ---------------------------------------------------------------------------------------------------


def _told(error: BaseException, file: str, sources: Mapping[str, str]) -> str:
    """The failure for people: where it is, and what it is, in words that are not the data's."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in sources]
    where, line = (frames[-1].filename, frames[-1].lineno) if frames else (file, None)
    if isinstance(error, TemplateSyntaxError):
        where, line = error.filename or file, error.lineno
    return f"template {where}{f' line {line}' if line else ''}: {_what(error, sources.get(where, ''))}"


def _what(error: BaseException, source: str) -> str:
    if isinstance(error, TemplateSyntaxError):
        return "it is not of Jinja's form"
    if isinstance(error, UndefinedError):
        name = str(error)
        return f"{name} is missing" if name.isidentifier() and name in source else "something it names is missing"
    if isinstance(error, TemplateNotFound):
        return "it includes what is not there"
    if isinstance(error, _TooLong | RecursionError):
        return "it grows too large"
    if isinstance(error, SecurityError):
        return "it takes too long, or does what templates may not"
    return f"a value is not of the kind that it needs ({type(error).__name__})"
