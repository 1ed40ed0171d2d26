"""Text messages, by Twilio or any service with an HTTP API: to E.164 numbers that the operator allows, and short ones.

The operator names the service, so its address may be private; who can be reached by it is what has limits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, assert_never

from bus import callback
from bus.clock import Clock
from bus.outcome import Expired, Gone, Misconfigured, Outcome, Rejected, Retry, Unavailable
from fanout.channels import phone, sms_gateway, sms_text, twilio
from fanout.channels.delivery import Delivery, PhoneNumber, Sms
from fanout.channels.http import Answer, Broken, Forbidden, Http, Unreached
from fanout.channels.sms_gateway import Service
from fanout.channels.table import Table
from fanout.channels.twilio import Account

COMMON: Final = ("kind", "segments", "countries", "timeout", "connections")
TWILIO: Final = ("account_sid", "auth_token", "api_key", "api_secret", "from", "base_url", "callbacks")
SERVICE: Final = ("url", "headers", "body", "format", "from", "code", "gone")
DAY: Final = 86_400.0
_SENDER: Final = re.compile(r"\+[1-9]\d{6,14}|\d{3,8}|MG[0-9a-f]{32}|(?=.*[A-Za-z])[A-Za-z0-9 &+_-]{1,11}", re.ASCII)
"""A number, a short code, a messaging service, or a name of letters and digits."""
_URL: Final = re.compile(r"https?://[!-~]+")


@dataclass(frozen=True, slots=True)
class Rules:
    """`countries`: the beginnings of numbers that may be sent to, none: all; `segments`: the most of one message."""

    segments: int
    countries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TwilioProfile:
    """`callbacks`: where the gateway is for Twilio, '' for no word on what became of a message."""

    account: Account
    callbacks: str
    secret: bytes


@dataclass(frozen=True, slots=True)
class ServiceProfile:
    """`sender`: what `{from}` stands for."""

    service: Service
    sender: str


Profile = TwilioProfile | ServiceProfile


class SmsSender:
    """One service."""

    def __init__(self, name: str, http: Http, clock: Clock, profile: Profile, rules: Rules) -> None:
        self.name = name
        self._http, self._clock, self._profile, self._rules = http, clock, profile, rules

    @classmethod
    def from_settings(cls, name: str, table: Mapping[str, Any], clock: Clock, *, allow_private: bool) -> Self:
        """From `[deliver.sms.NAME]`. Raises `BadSetting`."""
        where = f"deliver.sms.{name}"
        kind = table.get("kind", "twilio")
        if kind not in ("twilio", "http"):
            raise Table(where, {}, ()).fault("kind", "must be one of twilio, http")
        read = Table(where, table, COMMON + (TWILIO if kind == "twilio" else SERVICE))
        rules = Rules(read.whole("segments", 4, 1, 10), read.texts("countries", ()))
        if not all(map(phone.is_country, rules.countries)):
            raise read.fault("countries", "must hold the beginnings of numbers, such as +41")
        http = Http(
            allow_private=True,
            timeout=read.number("timeout", 20.0, 0.05, 60.0),
            connections=read.whole("connections", 50, 1, 1_000),
        )
        return cls(name, http, clock, _twilio(read) if kind == "twilio" else _service(read, table), rules)

    async def send(self, delivery: Delivery) -> Outcome:
        """See `Sender`."""
        target, message, now = delivery.target, delivery.message, self._clock.wall()
        if not isinstance(target, PhoneNumber) or not isinstance(message, Sms):
            return Rejected("this is no text message")
        if delivery.expires_at is not None and now >= delivery.expires_at:
            return Expired()
        if not phone.is_number(target.number):
            return Gone("the number is not of the form +41791234567 (E.164)")
        if fault := phone.fault(target.number, self._rules.countries):
            return Rejected(f"not sent: {fault}")
        if not message.text.strip():
            return Rejected("not sent: there is nothing to say")
        text = sms_text.fit(message.text, self._rules.segments)
        match self._profile:
            case TwilioProfile() as profile:
                return await self._by_twilio(profile, delivery, target.number, text, now)
            case ServiceProfile() as profile:
                return await self._by_service(profile, delivery, target.number, text)
            case _:
                assert_never(self._profile)

    async def close(self) -> None:
        """See `Sender`."""
        await self._http.close()

    async def _by_twilio(
        self, profile: TwilioProfile, delivery: Delivery, number: str, text: str, now: float
    ) -> Outcome:
        account = profile.account
        told = None
        if profile.callbacks:
            about = callback.Told(self.name, delivery.channel, delivery.user, delivery.event.ref)
            told = f"{profile.callbacks}{callback.PATH}twilio/{callback.make(profile.secret, about)}"
        result = await self._http.post(
            account.url,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=twilio.form(account, number, text, delivery.lifetime(now, DAY), told),
            basic=(account.user, account.password),
        )
        return twilio.outcome(result, self._clock.wall()) if isinstance(result, Answer) else _unanswered(result)

    async def _by_service(self, profile: ServiceProfile, delivery: Delivery, number: str, text: str) -> Outcome:
        service = profile.service
        values = {
            "to": number,
            "digits": number.removeprefix("+"),
            "text": text,
            "from": profile.sender,
            "id": delivery.id,
        }
        headers = {"Content-Type": sms_gateway.MEDIA[service.format], **service.headers}
        result = await self._http.post(service.url, headers=headers, body=sms_gateway.body(service, values))
        if isinstance(result, Answer):
            return sms_gateway.outcome(service, result, self._clock.wall())
        return _unanswered(result)


def _unanswered(result: Unreached | Broken | Forbidden) -> Outcome:
    match result:
        case Unreached(reason):
            return Unavailable(f"the service was not reached: {reason}")
        case Broken(reason):
            return Retry(f"the service did not answer: {reason}")
        case Forbidden(reason):
            return Misconfigured(f"the service's URL is not one to ask: {reason}")
        case _:
            assert_never(result)


# Settings ----------------------------------------------------------------------------------------------------------


def _twilio(read: Table) -> TwilioProfile:
    sid, token = read.text("account_sid"), read.text("auth_token", "")
    key, key_secret = read.text("api_key", ""), read.text("api_secret", "")
    if bool(key) != bool(key_secret):
        raise read.fault("api_secret", "and api_key belong together")
    callbacks = read.text("callbacks", "").rstrip("/")
    if not token and (callbacks or not key):
        raise read.fault("auth_token", "is required, for callbacks also beside an API key")
    sender = read.text("from")
    if not _SENDER.fullmatch(sender):
        raise read.fault("from", "must be a number, a short code, a name, or the SID of a messaging service (MG…)")
    base_url = _web(read, "base_url", read.text("base_url", "https://api.twilio.com"))
    if callbacks:
        _web(read, "callbacks", callbacks)
    account = Account(sid, key or sid, key_secret or token, sender, base_url)
    return TwilioProfile(account, callbacks, callback.secret_of(token))


def _service(read: Table, table: Mapping[str, Any]) -> ServiceProfile:
    form, body, headers = read.text("format", "json"), table.get("body"), table.get("headers", {})
    if form not in sms_gateway.MEDIA:
        raise read.fault("format", "must be json or form")
    if not isinstance(body, Mapping) or not body:
        raise read.fault("body", "must be a table of what is sent")
    if form == "form" and not all(isinstance(value, str) for value in body.values()):
        raise read.fault("body", "must hold strings only, where it is sent as a form")
    if unknown := sms_gateway.unknown_place(body):
        raise read.fault(
            "body", f"has {{{unknown}}}, which stands for nothing; there is {', '.join(sms_gateway.PLACES)}"
        )
    if not isinstance(headers, Mapping) or not all(map(_is_header, headers.items())):
        raise read.fault("headers", "must be a table of names and values without line breaks")
    service = Service(
        url=_web(read, "url", read.text("url")),
        body=body,
        format=form,
        headers=headers,
        code=read.text("code", ""),
        gone=read.texts("gone", ()),
    )
    return ServiceProfile(service, read.text("from", ""))


def _is_header(pair: tuple[object, object]) -> bool:
    return all(isinstance(text, str) and text.isascii() and text.isprintable() and text for text in pair)


def _web(read: Table, key: str, url: str) -> str:
    if not _URL.fullmatch(url):
        raise read.fault(key, "must begin with https:// (or http://)")
    return url.rstrip("/")
