"""Logs: one JSON object a line, made so that what people sent cannot get into them.

Use the standard library: `log = logging.getLogger(__name__)`, a constant message, and what varies in `extra`. Only the
names in `FIELDS` are written; the text itself, which other libraries fill with what they like, is scrubbed of tokens,
addresses and query strings; of an exception, its type and place are written, its text only where the type is our own.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, TextIO

FIELDS: Final = (
    "event",
    "source",
    "partition",
    "position",
    "topic",
    "node",
    "worker",
    "producer",
    "channel",
    "provider",
    "client",
    "code",
    "status",
    "method",
    "path",
    "count",
    "attempt",
    "seconds",
    "reason",
)
"""Everything a log line may carry beside its text: ids, numbers, and reasons that are ours."""
MAX_VALUE: Final = 300
"""Longest text written of one value, in characters."""
_LOOKED_AT: Final = 4 * MAX_VALUE
OURS: Final = ("bus", "gateway", "fanout", "tocsin", "__main__")
ACCESS: Final = "uvicorn.access"

_SCRUBBED: Final = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        (r"\beyJ[\w-]+(?:\.[\w-]*){1,4}", "[token]"),
        (r"\btkt_[\w-]+", "[ticket]"),
        (r"(?i)\b(bearer|basic)\s+[^\s\"',]+", r"\1 [token]"),
        (r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/@\"']*@", r"\1[secret]@"),
        (r"\?[^\s\"']+", "?[query]"),
        (r"[^\s\"'<>@:,]+@[^\s\"'<>@:,]+\.[^\s\"'<>@:,]+", "[address]"),
        (r"\b\d{1,3}(?:\.\d{1,3}){3}\b(?::\d+)?", "[address]"),
        (r"(?i)(?<![\w:.])(?:[0-9a-f]{1,4}:){3,7}(?::?[0-9a-f]{1,4})+(?![\w:])", "[address]"),
        (
            r"(?i)(?<![\w:])(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4})*)?::(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4})*)?(?![\w:])",
            "[address]",
        ),
        (r"\+\d{7,15}\b", "[address]"),
    )
)


def configure(level: str, *, role: str, node: str = "", stream: TextIO | None = None) -> None:
    """Send all logs of this process to `stream` (standard error) as JSON lines, at `level` and above.

    `role` is what this process does, `node` its id where it has one; both stand on every line. Give uvicorn
    `log_config=None`, so that its loggers come here too. Raises `ValueError` for an unknown level.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(role, node))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


class JsonLines(logging.Formatter):
    """A record as one line of JSON."""

    def __init__(self, role: str, node: str = "") -> None:
        super().__init__()
        self._always = {"role": role, "node": node} if node else {"role": role}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        } | self._always
        if record.name == ACCESS and isinstance(record.args, tuple) and len(record.args) == 5:
            line |= _access(record.args)
        else:
            line["message"] = scrub(record.getMessage())
            line |= _fields(record)
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = _error(record.exc_info[1], record.exc_info[2])
        return json.dumps(line, ensure_ascii=False)


def scrub(text: str) -> str:
    """The text without tokens, addresses and query strings, and not longer than `MAX_VALUE`."""
    if len(text) > _LOOKED_AT:
        # Between two words, for half an address would not be known as one. What has no words is not a text of ours.
        text = text[:_LOOKED_AT].rpartition(" ")[0] + " …"
    for pattern, instead in _SCRUBBED:
        text = pattern.sub(instead, text)
    return text[:MAX_VALUE]


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in FIELDS:
        value = record.__dict__.get(name)
        if isinstance(value, bool | int | float):
            found[name] = value
        elif value is not None:
            found[name] = scrub(str(value)) if name in ("reason", "path") else str(value)[:MAX_VALUE]
    return found


def _access(args: tuple[object, ...]) -> dict[str, Any]:
    """What uvicorn says of a request, without who asked and without the query, where tickets travel."""
    _, method, path, _, status = args
    return {"message": "request", "method": method, "path": scrub(str(path).partition("?")[0]), "status": status}


def _error(error: BaseException, trace: TracebackType | None) -> dict[str, Any]:
    kind = type(error)
    frames = traceback.extract_tb(trace)
    out: dict[str, Any] = {
        "type": f"{kind.__module__}.{kind.__qualname__}",
        "where": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-12:]],
    }
    if kind.__module__.partition(".")[0] in OURS:
        out["text"] = scrub(str(error))
    return out
