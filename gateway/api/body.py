"""Reading a request's body: never more than the limit, and never for longer than the deadline."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.requests import ClientDisconnect, Request

from gateway.api.problem import Kind, Refusal

DEADLINE: Final = 30.0
"""Seconds within which a body must have come."""


async def read_body(request: Request, limit: int, seconds: float | None = None) -> bytes | Refusal:
    """The whole body of at most `limit` bytes, come within `seconds` (`DEADLINE` unless told); or why not."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and (len(announced) > 18 or int(announced) > limit):
        return _too_large(limit)
    body = bytearray()
    try:
        async with asyncio.timeout(DEADLINE if seconds is None else seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    return _too_large(limit)
    except TimeoutError:
        return Refusal(Kind.TIMEOUT, headers={"Connection": "close"})
    except ClientDisconnect:
        return Refusal(Kind.BAD_REQUEST, "the body broke off")
    return bytes(body)


def _too_large(limit: int) -> Refusal:
    return Refusal(Kind.TOO_LARGE, f"a body may have at most {limit} bytes", headers={"Connection": "close"})
