"""Firebase Cloud Messaging, HTTP v1: one request per device, under an access token of a service account."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from bus.clock import Clock
from bus.outcome import Expired, Outcome, Rejected
from fanout.channels import fcm_wire
from fanout.channels.delivery import Delivery
from fanout.channels.google import AccessTokens
from fanout.channels.http import Answer, Http, Result
from fanout.channels.push import parcel, unanswered
from fanout.channels.service_account import ServiceAccount
from fanout.channels.table import Table

BASE_URL: Final = "https://fcm.googleapis.com"
TIMEOUT: Final = 20.0
"""Seconds; Google asks for ten or more."""
CONNECTIONS: Final = 256
"""Unless the settings say otherwise: one for each push that a worker has under way at most."""
KNOWN: Final = ("service_account", "service_account_file", "project", "base_url", "token_uri", "timeout", "connections")


class Fcm:
    """One Firebase project."""

    def __init__(self, name: str, http: Http, clock: Clock, tokens: AccessTokens, url: str) -> None:
        self.name = name
        self._http, self._clock, self._tokens, self._url = http, clock, tokens, url

    @classmethod
    def from_settings(cls, name: str, table: Mapping[str, Any], clock: Clock, *, allow_private: bool) -> Self:
        """From `[deliver.fcm.NAME]`: `service_account` (the JSON of a key file) or `service_account_file`.

        `allow_private` changes nothing: both addresses are the operator's own choice. Raises `BadSetting`.
        """
        given = Table(f"deliver.fcm.{name}", table, KNOWN)
        account = ServiceAccount.read(_key_file(given), token_uri=given.text("token_uri", ""))
        if isinstance(account, str):
            raise given.fault("service_account", account)
        # The addresses come from the operator, who may well run a proxy inside.
        http = Http(
            allow_private=True,
            timeout=given.number("timeout", TIMEOUT, 1, 60),
            connections=given.whole("connections", CONNECTIONS, 1, 1_000),
        )
        base = given.text("base_url", BASE_URL).rstrip("/")
        if not base.startswith(("https://", "http://")):
            raise given.fault("base_url", "must begin with https:// or http://")
        project = given.text("project", "") or account.project
        return cls(name, http, clock, AccessTokens(account, http, clock), f"{base}/v1/projects/{project}/messages:send")

    async def send(self, delivery: Delivery) -> Outcome:
        """See `Sender`."""
        found = parcel(delivery, "fcm")
        if isinstance(found, Rejected):
            return found
        now = self._clock.wall()
        if delivery.expires_at is not None and now >= delivery.expires_at:
            return Expired()
        body = fcm_wire.request(delivery, found.target.target, found.message, now)
        token = await self._tokens.token()
        if not isinstance(token, str):
            return token
        answer = await self._post(body, token)
        if isinstance(answer, Answer) and fcm_wire.wants_new_token(answer.status, answer.body):
            # A token may end before its time (a key was deleted, a clock is wrong): once more with a new one.
            token = await self._tokens.token(instead_of=token)
            if not isinstance(token, str):
                return token
            answer = await self._post(body, token)
        if not isinstance(answer, Answer):
            return unanswered(answer)
        return fcm_wire.verdict(answer.status, answer.headers, answer.body, self._clock.wall())

    async def _post(self, body: bytes, token: str) -> Result:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return await self._http.post(self._url, headers=headers, body=body)

    async def close(self) -> None:
        """See `Sender`."""
        await self._http.close()


def _key_file(given: Table) -> str:
    """The JSON of the key file, which is in the settings or in a file that they name. Raises `BadSetting`."""
    text, path = given.text("service_account", ""), given.text("service_account_file", "")
    if bool(text) is bool(path):
        raise given.fault("service_account", "or service_account_file is required, and not both")
    if text:
        return text
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise given.fault("service_account_file", "cannot be read") from error
