"""A fake of Twilio's Messages resource: Basic credentials, the checks and error codes that Twilio documents, and signed
status callbacks."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from secrets import token_hex

import aiohttp
from aiohttp import web

from tests.providers.scripted import Script, Scripted, listening

SID = "AC" + "0" * 32


def error(status: int, code: int | None = None, headers: Mapping[str, str] | None = None) -> Scripted:
    """A refusal in Twilio's form. It quotes the number, as the real ones do."""
    words = {"message": "The 'To' number +41791234567 is not valid.", "status": status}
    body = words if code is None else words | {"code": code, "more_info": f"https://www.twilio.com/docs/errors/{code}"}
    return Scripted(status, headers or {}, json.dumps(body).encode())


@dataclass
class TwilioService:
    """What it took."""

    token: str = field(default_factory=lambda: token_hex(16))
    origin: str = ""
    script: Script = field(default_factory=Script)
    messages: list[dict[str, str]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        fields = {name: str(value) for name, value in (await request.post()).items()}
        if (scripted := self.script.take()) is not None:
            return await scripted.give(request)
        if request.headers.get("Authorization") != aiohttp.encode_basic_auth(SID, self.token):
            return await error(401, 20003).give(request)
        if request.path != f"/2010-04-01/Accounts/{SID}/Messages.json":
            return await error(404, 20404).give(request)
        if not fields.get("To", "").startswith("+"):
            return await error(400, 21211).give(request)
        if not fields.get("Body") or len(fields["Body"]) > 1600:
            return await error(400, 21617 if fields.get("Body") else 21602).give(request)
        self.messages.append(fields)
        made = {"sid": "SM" + token_hex(16), "status": "queued", "error_code": None}
        return web.json_response(made, status=201)

    def callback(self, url: str, status: str) -> tuple[dict[str, str], dict[str, str]]:
        """Fields and headers by which a status is told to a URL that came with a message, signed as Twilio signs."""
        fields = {"MessageSid": "SM" + "1" * 32, "MessageStatus": status, "AccountSid": SID, "To": "+41791234567"}
        signed = url + "".join(name + fields[name] for name in sorted(fields))
        signature = base64.b64encode(hmac.digest(self.token.encode(), signed.encode(), "sha1")).decode()
        return fields, {"X-Twilio-Signature": signature}


@asynccontextmanager
async def twilio_service() -> AsyncIterator[TwilioService]:
    """The service, for the length of the block."""
    service = TwilioService()
    async with listening(service.handle) as origin:
        service.origin = origin
        yield service
