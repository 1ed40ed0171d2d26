"""Who sent an HTTP request, by the token or ticket it carries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from gateway.api.keys import unauthenticated
from gateway.api.problem import Refusal, unavailable
from gateway.effects import Claims, Denied, Failed, Verified
from gateway.tickets import is_ticket
from gateway.wire.codes import Error

SECONDS: Final = 5.0
"""How long the check may take; it asks Redis for a ticket, and may fetch an issuer's keys for a token."""

Authenticate = Callable[[str, Callable[[Verified | Denied | Failed], None]], None]
"""What a token or ticket grants, told by a callback."""


async def claims_of(token: str, authenticate: Authenticate) -> Claims | Refusal:
    """What it grants, or the answer to who sent it."""
    answered: asyncio.Future[Verified | Denied | Failed] = asyncio.get_running_loop().create_future()
    authenticate(token, lambda answer: None if answered.done() else answered.set_result(answer))
    try:
        async with asyncio.timeout(SECONDS):
            answer = await answered
    except TimeoutError:
        return unavailable("tokens cannot be checked now")
    if isinstance(answer, Verified):
        return answer.claims
    if isinstance(answer.error, Error) and answer.error.value.temporary:
        return unavailable("tokens cannot be checked now")
    if answer.error is Error.TOKEN_EXPIRED:
        return unauthenticated("the ticket was used, or is too old" if is_ticket(token) else "the token has expired")
    return unauthenticated("the token is not accepted here")
