"""How a browser reads an event stream: grammar and steps of WHATWG HTML §9.2, for tests to hold ours against."""

from __future__ import annotations

import re
from dataclasses import dataclass

# §9.2.5 Parsing: stream = [ bom ] *event; event = *( comment / field ) end-of-line
_ANY = r"[^\r\n]"
_LINE = rf"(?::{_ANY}*|[^\r\n:]+(?::{_ANY}*)?)\n"
GRAMMAR = re.compile(rf"(?:(?:{_LINE})*\n)*")


@dataclass
class Received:
    """One dispatched event, as a browser has it."""

    data: str
    type: str
    last_event_id: str


class Browser:
    """The parser of §9.2.6, step by step."""

    def __init__(self) -> None:
        self.events: list[Received] = []
        self.last_event_id = ""
        self.retry: int | None = None
        self._id_buffer = ""
        self._clear()

    def _clear(self) -> None:
        self._data, self._type = "", ""

    def feed(self, stream: bytes) -> None:
        for line in re.split(r"\r\n|\r|\n", stream.decode().removeprefix("\ufeff"))[:-1]:
            if not line:
                self._dispatch()
            elif not line.startswith(":"):
                field, _, value = line.partition(":")
                self._process(field, value.removeprefix(" "))

    def _process(self, field: str, value: str) -> None:
        if field == "event":
            self._type = value
        elif field == "data":
            self._data += value + "\n"
        elif field == "id" and "\0" not in value:
            self._id_buffer = value
        elif field == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value)

    def _dispatch(self) -> None:
        self.last_event_id = self._id_buffer
        if self._data:
            self.events.append(Received(self._data.removesuffix("\n"), self._type or "message", self.last_event_id))
        self._clear()
