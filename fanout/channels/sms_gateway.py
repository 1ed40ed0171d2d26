"""Any SMS service with an HTTP API: a request made from patterns in the settings, and answers read by status. Pure.

In the patterns `{to}`, `{digits}` (the number without its plus sign), `{text}`, `{from}` and `{id}` stand for their
values, which are put in before the body is encoded, so none can break out of its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

import orjson

from bus.outcome import Done, Gone, Misconfigured, Outcome, Rejected, Retry, Scope, Throttled
from fanout.channels.http import Answer
from fanout.channels.retry_after import retry_after

THROTTLE: Final = 10.0
PLACES: Final = ("to", "digits", "text", "from", "id")
_PLACE: Final = re.compile(r"\{(\w+)\}")
MEDIA: Final = {"json": "application/json", "form": "application/x-www-form-urlencoded"}


@dataclass(frozen=True, slots=True)
class Service:
    """`code`: where in a JSON answer the reason stands (`error.code`); `gone`: reasons that say that the number is bad.

    `headers` may hold a secret.
    """

    url: str
    body: Mapping[str, Any]
    format: str = "json"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    code: str = ""
    gone: tuple[str, ...] = ()


def unknown_place(pattern: Any) -> str | None:
    """The first name in braces that stands for nothing, in a pattern or anything beneath it; None where all do."""
    if isinstance(pattern, Mapping):
        return next((found for value in pattern.values() if (found := unknown_place(value))), None)
    if isinstance(pattern, list | tuple):
        return next((found for value in pattern if (found := unknown_place(value))), None)
    if isinstance(pattern, str):
        return next((name for name in _PLACE.findall(pattern) if name not in PLACES), None)
    return None


def body(service: Service, values: Mapping[str, str]) -> bytes:
    """The body of the request."""
    filled = _filled(service.body, values)
    return orjson.dumps(filled) if service.format == "json" else urlencode(filled).encode()


def _filled(pattern: Any, values: Mapping[str, str]) -> Any:
    if isinstance(pattern, Mapping):
        return {name: _filled(value, values) for name, value in pattern.items()}
    if isinstance(pattern, list | tuple):
        return [_filled(value, values) for value in pattern]
    if isinstance(pattern, str):
        return _PLACE.sub(lambda place: values[place[1]], pattern)
    return pattern


def outcome(service: Service, answer: Answer, now: float) -> Outcome:
    """What an answer means. `now`: Unix time in seconds."""
    if 200 <= answer.status < 300:
        return Done()
    said = f"the service answered {answer.status}"
    if service.code and _at(service.code, answer.body) in service.gone:
        return Gone(f"{said} and that the number is not one to send to")
    after = retry_after(answer.headers.get("retry-after"), now)
    if answer.status == 429:
        return Throttled(THROTTLE if after is None else after, Scope.ENDPOINT, said)
    if answer.status in (401, 402, 403, 404, 405) or 300 <= answer.status < 400:
        return Misconfigured(said)
    return Retry(said, after) if answer.status >= 500 or answer.status in (408, 425) else Rejected(said)


def _at(path: str, content: bytes) -> str:
    """What stands at a dotted path of a JSON document, as text; '' for nothing."""
    try:
        found: Any = orjson.loads(content)
    except orjson.JSONDecodeError:
        return ""
    for name in path.split("."):
        if not isinstance(found, Mapping) or name not in found:
            return ""
        found = found[name]
    return str(found)
