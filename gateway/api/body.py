"""Reading a request's body: never more than the limit, and never for longer than the deadline."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson
from starlette.requests import ClientDisconnect, Request

from bus.tree import MAX_DEPTH, depth_of
from gateway.api.problem import Kind, Refusal, bad_request

DEADLINE: Final = 30.0
"""Seconds within which a body must have come."""


async def read_body(request: Request, limit: int, seconds: float | None = None) -> bytes | Refusal:
    """The whole body of at most `limit` bytes, come within `seconds` (`DEADLINE` unless told); or why not."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and (len(announced) > 18 or int(announced) > limit):
        return _too_large(request, limit)
    body = bytearray()
    try:
        async with asyncio.timeout(DEADLINE if seconds is None else seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    return _too_large(request, limit)
    except TimeoutError:
        return Refusal(Kind.TIMEOUT, headers={"Connection": "close"})
    except ClientDisconnect:
        return Refusal(Kind.BAD_REQUEST, "the body broke off")
    return bytes(body)


def announced(request: Request, limit: int) -> int:
    """How many bytes a body may come to have: what it announces, at most `limit`, which is also for one that does not
    say."""
    length = request.headers.get("content-length", "")
    return min(limit, int(length)) if length.isdigit() and len(length) <= 18 else limit


def read_object(body: bytes) -> dict[str, Any] | Refusal:
    """A body as a JSON object. It nests no deeper than what comes over a connection, for what goes through it may
    recurse."""
    try:
        raw = orjson.loads(body)
    except orjson.JSONDecodeError:
        return bad_request("is not valid JSON in UTF-8")
    if not isinstance(raw, dict):
        return bad_request("must be a JSON object")
    # Long lists of names have few brackets, and are not gone through here.
    deep = body.count(b"{") + body.count(b"[") > MAX_DEPTH and depth_of(raw) > MAX_DEPTH
    return bad_request(f"must not nest deeper than {MAX_DEPTH} levels") if deep else raw


def _too_large(request: Request, limit: int) -> Refusal:
    # What still comes is read and thrown away: to close with unread input would reset the connection and could destroy
    # the answer on its way. Only a client that waits to be asked (RFC 9110 §10.1.1) may keep its body to itself.
    waits = request.headers.get("expect", "").lower() == "100-continue"
    headers = {"Connection": "close"} if waits else {}
    return Refusal(Kind.TOO_LARGE, f"a body may have at most {limit} bytes", headers=headers)
