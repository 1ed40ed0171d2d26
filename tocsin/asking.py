"""Asks the gateway over HTTP with an API key, as a producer's own code would."""

from __future__ import annotations

import http.client
import json
from typing import Any, Final
from urllib.parse import urlsplit

from tocsin.trouble import FAILED, UNAVAILABLE, USAGE, Trouble

TIMEOUT: Final = 10.0


def ask(url: str, api_key: str, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """The gateway's answer; `url` is where it is, `path` what is asked. Raises `Trouble`."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Trouble(f"--url {url}: give the gateway's address, as in http://127.0.0.1:8000", USAGE)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=TIMEOUT)
    headers = {"Authorization": f"Bearer {api_key}"}
    sent = None
    if body is not None:
        sent = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    try:
        connection.request(method, parts.path.rstrip("/") + path, sent, headers)
        response = connection.getresponse()
        status, answer = response.status, _json(response.read())
    except (OSError, http.client.HTTPException) as error:
        raise Trouble(f"no gateway answers at {url} ({error}); is `tocsin dev` running?", UNAVAILABLE) from error
    finally:
        connection.close()
    if status not in (200, 202, 204):
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
