"""From the settings to senders: each provider's table made into one, with its rate, in the order of failover."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from bus.clock import Clock
from bus.settings import BadSetting
from fanout.channels.apns import Apns
from fanout.channels.delivery import Sender
from fanout.channels.email import Email
from fanout.channels.fcm import Fcm
from fanout.channels.sms import SmsSender
from fanout.channels.table import Table
from fanout.channels.webhook import Webhook
from fanout.channels.webpush import WebPush
from fanout.deliver.bucket import Bucket
from fanout.deliver.guard import Provider
from fanout.deliver.settings import BURST, KINDS, RATE, DeliverSettings

MOST_RATE: Final = 1_000_000.0
DEFAULTS: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {"webhook": {"default": {}}}
"""What there is where the settings name no provider: webhooks need none."""


class Make(Protocol):
    """How a table becomes a sender."""

    def __call__(self, name: str, table: Mapping[str, Any], clock: Clock, *, allow_private: bool) -> Sender:
        """Raises `BadSetting`."""


MAKERS: Final[Mapping[str, Make]] = {
    "webpush": WebPush.from_settings,
    "fcm": Fcm.from_settings,
    "apns": Apns.from_settings,
    "email": Email.from_settings,
    "sms": SmsSender.from_settings,
    "webhook": Webhook.from_settings,
}


def providers(settings: DeliverSettings, channel: str, clock: Clock) -> dict[str, tuple[Provider, ...]]:
    """The providers of a channel by kind, in the order of the settings. Raises `BadSetting`."""
    found: dict[str, tuple[Provider, ...]] = {}
    for kind in KINDS[channel]:
        tables = settings.providers(kind) or DEFAULTS.get(kind, {})
        made = tuple(_provider(settings, kind, name, table, clock) for name, table in tables.items())
        if made:
            found[kind] = made
    return found


def _provider(settings: DeliverSettings, kind: str, name: str, table: Mapping[str, Any], clock: Clock) -> Provider:
    bucket = _bucket(f"deliver.{kind}.{name}", table)
    own = {key: value for key, value in table.items() if key not in (RATE, BURST)}
    sender = MAKERS[kind](name, own, clock, allow_private=settings.allow_private_addresses)
    return Provider(name, sender, bucket)


def _bucket(where: str, table: Mapping[str, Any]) -> Bucket | None:
    if RATE not in table:
        if BURST in table:
            raise BadSetting(f"{where}.{BURST} means nothing without {RATE}")
        return None
    read = Table(where, {key: table[key] for key in (RATE, BURST) if key in table}, (RATE, BURST))
    rate = read.number(RATE, 1.0, 0.001, MOST_RATE)
    return Bucket(rate, read.number(BURST, max(1.0, rate), 1.0, MOST_RATE))
