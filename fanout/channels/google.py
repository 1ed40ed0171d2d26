"""The access token of a Google service account, which lasts an hour.

One exchange at a time: a thousand messages that find the token old wait for one new one, or for one refusal.
"""

from __future__ import annotations

import asyncio
from typing import Final

from bus.clock import Clock
from bus.outcome import Outcome, Retry, Unavailable
from fanout.channels.http import Answer, Http
from fanout.channels.push import unanswered
from fanout.channels.service_account import AccessToken, ServiceAccount, granted, refusal

GRANT: Final = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"
"""As a form carries it."""


class AccessTokens:
    """The current token of an account."""

    def __init__(self, account: ServiceAccount, http: Http, clock: Clock) -> None:
        self._account, self._http, self._clock = account, http, clock
        self._last: AccessToken | Outcome | None = None
        self._exchanges = 0
        self._lock = asyncio.Lock()

    async def token(self, *, instead_of: str | None = None) -> str | Outcome:
        """The current token, or why there is none. `instead_of`: one that was refused although it is not old."""
        begun = self._exchanges
        async with self._lock:
            if self._exchanges == begun and not self._serves(instead_of):
                self._last = await self._exchange()
                self._exchanges += 1
            assert self._last is not None
            return self._last.text if isinstance(self._last, AccessToken) else self._last

    def _serves(self, instead_of: str | None) -> bool:
        last = self._last
        return isinstance(last, AccessToken) and last.text != instead_of and self._clock.wall() < last.renew_at

    async def _exchange(self) -> AccessToken | Outcome:
        now = self._clock.wall()
        form = f"grant_type={GRANT}&assertion={self._account.assertion(now)}"
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await self._http.post(self._account.token_uri, headers=headers, body=form.encode())
        if not isinstance(answer, Answer):
            # Nothing was sent to the device yet, so a broken exchange is an absence too.
            outcome = unanswered(answer)
            return Unavailable(outcome.reason) if isinstance(outcome, Retry) else outcome
        if answer.status != 200:
            return refusal(answer.status)
        return granted(answer.body, now)
