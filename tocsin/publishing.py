"""`tocsin publish`: one event by POST, as a producer would send it."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from tocsin.trouble import FAILED, UNAVAILABLE, USAGE, Trouble

TIMEOUT: Final = 10.0
DEFAULT_TYPE: Final = "note"


@dataclass(frozen=True, slots=True)
class Draft:
    """The event as the command line gives it; None and empty are left out."""

    users: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    type: str = DEFAULT_TYPE
    title: str | None = None
    body: str | None = None
    data: str | None = None
    """JSON."""
    event_id: str | None = None
    source: str | None = None
    ephemeral: bool = False


def to_event(draft: Draft) -> dict[str, Any]:
    """The event's JSON object. Raises `Trouble` when it is for nobody or its data is not JSON."""
    if not draft.users and not draft.topics:
        raise Trouble("for whom? Give --user NAME or --topic NAMESPACE:NAME, each as often as you like", USAGE)
    to = {"users": list(draft.users), "topics": list(draft.topics)}
    event: dict[str, Any] = {"type": draft.type, "to": {k: v for k, v in to.items() if v}}
    named = {"title": draft.title, "body": draft.body, "id": draft.event_id, "source": draft.source}
    event |= {name: value for name, value in named.items() if value is not None}
    if draft.data is not None:
        try:
            event["data"] = json.loads(draft.data)
        except ValueError as error:
            raise Trouble(f"--data is not JSON: {error}; as in --data '{{\"price\": 12.5}}'", USAGE) from error
    if draft.ephemeral:
        event["ephemeral"] = True
    return event


def post(url: str, api_key: str, event: dict[str, Any]) -> dict[str, Any]:
    """POST one event to the gateway at `url`; its answer. Raises `Trouble`."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Trouble(f"--url {url}: give the gateway's address, as in http://127.0.0.1:8000", USAGE)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=TIMEOUT)
    headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
    try:
        connection.request("POST", parts.path.rstrip("/") + "/v1/events", json.dumps(event).encode(), headers)
        response = connection.getresponse()
        status, body = response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise Trouble(f"no gateway answers at {url} ({error}); is `tocsin dev` running?", UNAVAILABLE) from error
    finally:
        connection.close()
    answer = _json(body)
    if status != 202:
        raise _refused(url, status, answer)
    return answer


def _json(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _refused(url: str, status: int, problem: dict[str, Any]) -> Trouble:
    """An RFC 9457 problem as one message."""
    text = str(problem.get("detail") or problem.get("title") or f"{url} does not look like a gateway")
    faults = [
        f"{e.get('pointer', '')} {e.get('message', '')}" for e in problem.get("errors", []) if isinstance(e, dict)
    ]
    hint = "; the key comes from TOCSIN_API_KEY, and `tocsin dev` knows dev-key" if status in (401, 403) else ""
    return Trouble(
        f"refused with {status}: {'; '.join([text, *faults])}{hint}", UNAVAILABLE if status >= 500 else FAILED
    )
