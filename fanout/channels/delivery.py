"""What a sender is given: one message for one target of one person, and what every sender promises. Pure.

Everything is decided by then (preferences, wording, the decrypted target): a sender knows its provider and nothing
else. Addresses and secrets have no place in a `repr`, so none gets into a log by accident.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from bus.event import Event
from bus.outcome import Outcome

# Targets ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EmailAddress:
    """Where mail goes; `name` may be empty."""

    address: str = field(repr=False)
    name: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """Where a text message goes; E.164."""

    number: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PushTarget:
    """One device of a person."""

    device: str
    """Its id in the directory."""
    provider: str
    """webpush, fcm or apns."""
    target: str = field(repr=False)
    """Endpoint URL of Web Push, token of FCM and APNs."""
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Web Push: `p256dh` and `auth`, base64url without padding (RFC 8291 §2); else empty."""
    app: str = ""
    """APNs topic (bundle id), or the app's name at the producer; empty: the provider's own default."""
    environment: str = ""
    """APNs: `prod` or `sandbox`; empty: the provider's own default."""
    registered_at: float = 0.0
    """Unix time in seconds of its last registration: what a service says about the time before is no longer true."""


@dataclass(frozen=True, slots=True)
class HookTarget:
    """Where a webhook goes, and the secret that signs it (`whsec_…`, several separated by spaces; may be empty)."""

    url: str = field(repr=False)
    secret: str = field(default="", repr=False)


Target = EmailAddress | PhoneNumber | PushTarget | HookTarget

# Messages --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mail:
    """An e-mail; without `html` it is plain text alone."""

    subject: str
    text: str
    html: str | None = None


@dataclass(frozen=True, slots=True)
class Push:
    """A notification on a device."""

    title: str
    body: str
    url: str | None = None
    """Where a click leads."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Anything for the app, as JSON."""
    withdrawn: bool = False
    """It takes the place of one that was withdrawn: nothing is to be shown, and what is shown goes."""


@dataclass(frozen=True, slots=True)
class Sms:
    """A text message."""

    text: str


@dataclass(frozen=True, slots=True)
class Hook:
    """The body of a webhook, exactly as it is signed and sent."""

    body: bytes
    content_type: str = "application/json"


Message = Mail | Push | Sms | Hook

# The delivery ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message for one target."""

    id: str
    """32 hex digits, the idempotency key: the same over every retry and replay."""
    channel: str
    """push, email, sms or webhook."""
    user: str
    target: Target
    message: Message = field(repr=False)
    event: Event = field(repr=False)
    """What it is about; the newest one of a digest. Its audience is left out."""
    expires_at: float | None = None
    """Unix time in seconds from which on nobody wants it any more; None: never."""
    attempt: int = 1
    """Counts from 1."""
    locale: str = "en"
    unsubscribe: str | None = None
    """URL of one-click unsubscribing (RFC 8058) from this category and channel; None: there is nothing to leave."""
    category: str | None = None

    @property
    def collapse(self) -> str:
        """What it replaces: a later message under the same words takes the place of an earlier one not yet seen."""
        return self.event.collapse_key or self.event.ref

    def lifetime(self, now: float, most: float) -> int:
        """Whole seconds for which a provider may keep it, 0 to `most`; `now` is Unix time."""
        if self.expires_at is None:
            return int(most)
        return int(min(most, max(0.0, self.expires_at - now)))


class Sender(Protocol):
    """One provider of a channel, made from its table in the settings.

    Every sender is a class with `from_settings(name, table, …)`, which raises `BadSetting` and names the key.
    """

    async def send(self, delivery: Delivery) -> Outcome:
        """Hand it to the provider, once.

        `Done` when it took it; `Unavailable` when it was never reached; `Retry` when it may or may not have taken it
        (a timeout after sending, 5xx); `Throttled`, `Gone` (the target), `Rejected` (the message), `Misconfigured`
        (our credentials), `Expired`. Reasons hold no address, no secret and nothing of the message.
        """

    async def close(self) -> None:
        """Let connections go. Nothing is sent afterwards."""
