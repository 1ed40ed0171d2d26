"""The real senders of every channel, before providers that repeat all they are told in their errors: nothing of what a
provider was given as proof, and nothing private, is in a log, a trail, a dead letter or the jobs that wait."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bus.clock import SystemClock
from bus.ece import point_of, to_text
from bus.keys import Keys
from bus.people.devices import Registration
from bus.people.profile import Contacts, Webhook
from fanout.deliver.guard import Provider
from fanout.deliver.providers import providers
from fanout.deliver.settings import DeliverSettings
from tests.fanout.office import ADDRESS, BODY, HOOK, INDEX, PHONE, SEAL, TITLE, TOKEN, Town, town
from tests.providers.scripted import listening
from tests.servers import RedisSite

PASSWORD, AUTH_TOKEN = "mail-password-0123456789", "f" * 32
VAPID = generate_private_key(SECP256R1())
VAPID_KEY = to_text(VAPID.private_numbers().private_value.to_bytes(32, "big"))
FCM_KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
FCM_PEM = FCM_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
BROWSER = {"p256dh": to_text(point_of(generate_private_key(SECP256R1()))), "auth": to_text(b"a" * 16)}
ACCESS = "access-token-0123456789"
SECRETS = (
    *(PASSWORD, AUTH_TOKEN, VAPID_KEY, ACCESS, SEAL, INDEX, HOOK.secret, HOOK.secret.removeprefix("whsec_")),
    *(FCM_PEM.splitlines()[1], BROWSER["auth"], BROWSER["p256dh"]),
    *(base64.b64encode(f"\0mailer\0{PASSWORD}".encode()).decode(), base64.b64encode(PASSWORD.encode()).decode()),
)
CHANNELS = ("push", "email", "sms", "webhook")


@asynccontextmanager
async def parrot(status: int) -> AsyncIterator[str]:
    """A service over HTTP whose every error repeats the request, headers and all; but for the tokens it gives."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            return web.json_response({"access_token": ACCESS, "expires_in": 3600})
        said = {name: value for name, value in request.headers.items()} | {"body": repr(await request.read())}
        error = {"error": {"code": status, "status": str(said), "message": str(said)}, "code": 20003, **said}
        return web.json_response(error, status=status, headers={"X-Error": "repeated"})

    async with listening(handle) as origin:
        yield origin


@asynccontextmanager
async def mail_parrot(code: int) -> AsyncIterator[int]:
    """A mail server that refuses whatever comes after the greeting, and repeats it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := await reader.readline():
            said = line.strip()
            known = said[:4].upper() == b"EHLO"
            writer.write(b"250-here\r\n250 AUTH PLAIN LOGIN\r\n" if known else b"%d 5.7.8 no: %s\r\n" % (code, said))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def settings_of(place: Town, origin: str, mail_port: int) -> DeliverSettings:
    account = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "k",
        "private_key": FCM_PEM,
        "client_email": "a@p.example",
        "token_uri": f"{origin}/token",
    }
    server = {"host": "127.0.0.1", "port": mail_port, "tls": "none", "username": "mailer", "password": PASSWORD}
    return place.settings(
        allow_private_addresses=True,
        email={"main": {**server, "from": "shop@example.com"}},
        webpush={"main": {"vapid_key": VAPID_KEY, "subject": "mailto:a@example.com"}},
        fcm={"main": {"service_account": json.dumps(account), "base_url": origin}},
        sms={
            "main": {
                "account_sid": "AC" + "0" * 32,
                "auth_token": AUTH_TOKEN,
                "from": "+15005550006",
                "base_url": origin,
            }
        },
    )


async def everything_said(place: Town) -> str:
    """All that is kept of jobs, whatever became of them."""
    p = place.keys.partition("alice")
    said = [str(await place.told()), str(await place.dead())]
    for channel in CHANNELS:
        said.append(str(await place.pipe.ask("ZRANGE", place.keys.later(p, channel), 0, -1)))
        said.append(str(await place.pipe.ask("XRANGE", place.keys.jobs(p, channel), "-", "+")))
    return "".join(said)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 429, 500])
async def test_nothing_that_was_given_in_confidence_is_told(
    redis_server: RedisSite, keys: Keys, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    caplog.set_level("DEBUG")
    async with town(redis_server.url, keys) as place, parrot(status) as origin, mail_parrot(535) as mail_port:
        await place.person(contacts=Contacts(ADDRESS, PHONE, Webhook(f"{origin}/hook", HOOK.secret)))
        token = await place.device()
        browser = Registration("webpush", f"{origin}/push/endpoint-of-alice", json.dumps(BROWSER))
        endpoint = await place.directory.register("alice", browser)
        for number, device in enumerate((token, endpoint)):
            await place.send("push", number, target=getattr(device, "id", ""))
        for number, channel in enumerate(("email", "sms", "webhook"), start=2):
            await place.send(channel, number)
        made = settings_of(place, origin, mail_port)
        found: dict[str, tuple[Provider, ...]] = {}
        for channel in CHANNELS:
            found |= providers(made, channel, SystemClock())
        async with place.working(*CHANNELS, providers=found):
            await place.quiet(*CHANNELS)
        assert len(await place.told()) >= 5
        said = await everything_said(place)
    ours = (record for record in caplog.records if record.name != "aiohttp.access")  # which is the service's own
    said += "".join(f"{record.getMessage()} {record.__dict__} {record.exc_text}" for record in ours)
    private: tuple[Any, ...] = (ADDRESS, PHONE, TOKEN, "endpoint-of-alice", TITLE, BODY)
    for secret in (*SECRETS, *private):
        assert secret not in said
