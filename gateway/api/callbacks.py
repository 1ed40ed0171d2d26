"""`POST /v1/callbacks/twilio/{token}`: a provider's later word on a message, noted in the trail and the counts.

The URL names the message and only we can make one; who calls it must besides sign as the provider does, so a URL that
leaked is of no use.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bus import callback
from bus.callback import Told
from bus.errors import BusError
from bus.keys import Keys, escape
from bus.pipe import Pipe
from bus.settings import BadSetting
from bus.trail import Kind
from gateway import twilio
from gateway.api.body import read_body
from gateway.api.problem import Kind as ProblemKind
from gateway.api.problem import Refusal, bad_request, unavailable
from gateway.settings import GatewaySettings

PATH: Final = f"{callback.PATH}twilio/{{token}}"
MAX_BODY: Final = 16_384
MAX_FIELDS: Final = 100
LOOKED_AT: Final = 500
"""Newest entries of a trail among which the message is looked for."""


class Callbacks:
    """The endpoint. Raises `BadSetting` when `[gateway.twilio]` does not hold texts."""

    def __init__(self, settings: GatewaySettings, pipe: Pipe, keys: Keys) -> None:
        if not all(isinstance(token, str) and token for token in settings.twilio.values()):
            raise BadSetting('[gateway.twilio] must hold auth tokens: NAME = "…", named as in [deliver.sms.NAME]')
        self._tokens = dict(settings.twilio)
        self._base = settings.public_url.rstrip("/")
        self._ttl = settings.inbox_ttl
        self._pipe, self._keys = pipe, keys

    def route(self) -> Route:
        """Its path."""
        return Route(PATH, self.twilio, methods=["POST"])

    async def twilio(self, request: Request) -> Response:
        """Twilio's status callback: 204 also for what changes nothing, for it is not to be told again."""
        token = request.path_params["token"]
        auth_token = self._tokens.get(callback.provider_of(token) or "")
        told = callback.read(callback.secret_of(auth_token), token) if auth_token else None
        if auth_token is None or told is None:
            return Refusal(ProblemKind.NOT_FOUND).response()
        fields = await _form(request)
        if isinstance(fields, Refusal):
            return fields.response()
        url = f"{self._base}{callback.PATH}twilio/{token}"
        if not twilio.is_signed(auth_token, url, fields, request.headers.get("x-twilio-signature", "")):
            return Refusal(ProblemKind.FORBIDDEN, "the signature is not Twilio's for this URL and body").response()
        if (fate := twilio.fate(fields)) is not None:
            try:
                await self._note(told, *fate)
            except BusError:
                return unavailable("Redis does not take it now").response()
        return Response(status_code=204)

    async def _note(self, told: Told, kind: Kind, reason: str) -> None:
        keys = [self._keys.trail(told.user), self._keys.counts(self._keys.partition(told.user), told.ref)]
        args = [escape(told.ref), told.channel, kind.value, reason, self._ttl, LOOKED_AT]
        await self._pipe.script("fate", keys, args)


async def _form(request: Request) -> dict[str, str] | Refusal:
    body = await read_body(request, MAX_BODY)
    if isinstance(body, Refusal):
        return body
    try:
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError:
        return bad_request("is not a form")
