"""Devices: where pushes go, and the life of each: active, suspect after failures in a row, gone when its provider says.

A device is what registered with a provider: a browser's subscription, an app's token. It is told from others by its
provider and target alone, so that whoever registers it last has it. Times are Unix seconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import Enum
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from bus.ece import Unreadable, receiver
from bus.event import Problem
from bus.people.preferences import locale_fault, timezone_fault

SUSPECT_AFTER: Final = 5
"""Failures in a row after which a device is suspect. It is still tried."""
FORGET_AFTER: Final = 30 * 86_400
"""Seconds for which a device that is gone is remembered, so that one can see why."""
MAX_REASON: Final = 100
PROVIDERS: Final = ("webpush", "fcm", "apns")
ENVIRONMENTS: Final = ("prod", "sandbox")
MAX_ENDPOINT: Final = 2_048
MEMBERS: Final = ("provider", "target", "keys", "app", "environment", "locale", "timezone")
_TOKEN: Final = {
    "fcm": re.compile(r"[!-~]{16,4096}", re.ASCII),
    "apns": re.compile(r"([0-9A-Fa-f]{2}){16,100}", re.ASCII),
}
_ENDPOINT: Final = re.compile(r"[!-~]+", re.ASCII)
_APP: Final = re.compile(r"[A-Za-z0-9._:-]{1,155}", re.ASCII)
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class State(Enum):
    """Whether pushes go there."""

    ACTIVE = "active"
    SUSPECT = "suspect"
    GONE = "gone"


class _Happening(Enum):
    REGISTERED = 1
    SUCCEEDED = 2
    FAILED = 3
    FAILED_OFTEN = 4
    REPORTED_GONE = 5


_NEXT: Final = {
    (State.ACTIVE, _Happening.REGISTERED): State.ACTIVE,
    (State.ACTIVE, _Happening.SUCCEEDED): State.ACTIVE,
    (State.ACTIVE, _Happening.FAILED): State.ACTIVE,
    (State.ACTIVE, _Happening.FAILED_OFTEN): State.SUSPECT,
    (State.ACTIVE, _Happening.REPORTED_GONE): State.GONE,
    (State.SUSPECT, _Happening.REGISTERED): State.ACTIVE,
    (State.SUSPECT, _Happening.SUCCEEDED): State.ACTIVE,
    (State.SUSPECT, _Happening.FAILED): State.SUSPECT,
    (State.SUSPECT, _Happening.FAILED_OFTEN): State.SUSPECT,
    (State.SUSPECT, _Happening.REPORTED_GONE): State.GONE,
    # Only registering brings a device back: what was still on its way when it went says nothing.
    (State.GONE, _Happening.REGISTERED): State.ACTIVE,
    (State.GONE, _Happening.SUCCEEDED): State.GONE,
    (State.GONE, _Happening.FAILED): State.GONE,
    (State.GONE, _Happening.FAILED_OFTEN): State.GONE,
    (State.GONE, _Happening.REPORTED_GONE): State.GONE,
}


@dataclass(frozen=True, slots=True)
class Device:
    """One device of a person. `target` and `keys` are sealed at rest; the directory opens them for the senders."""

    id: str
    provider: str
    """webpush, fcm or apns."""
    target: str = field(repr=False)
    """Endpoint (Web Push) or token."""
    keys: str = field(default="", repr=False)
    """Web Push: JSON with `p256dh` and `auth`; else empty."""
    app: str = ""
    """APNs: the topic, which is the app's bundle id; else what the app calls itself."""
    environment: str = ""
    """APNs: prod or sandbox; empty: the provider's own default."""
    locale: str | None = None
    timezone: str | None = None
    created_at: float = 0.0
    last_registered_at: float = 0.0
    last_success_at: float | None = None
    failures: int = 0
    """In a row."""
    state: State = State.ACTIVE
    gone_reason: str | None = None
    gone_at: float | None = None

    @property
    def reachable(self) -> bool:
        """Whether pushes are sent to it."""
        return self.state is not State.GONE

    def registered(self, now: float) -> Device:
        """The app registered it again: it lives, whatever was before."""
        device = self._after(_Happening.REGISTERED)
        return replace(device, last_registered_at=now, failures=0, gone_reason=None, gone_at=None)

    def succeeded(self, now: float) -> Device:
        """The provider took a push for it."""
        return replace(self._after(_Happening.SUCCEEDED), last_success_at=now, failures=0)

    def failed(self, now: float) -> Device:
        """A push for it was given up, though the provider does not call it gone."""
        failures = self.failures + 1
        often = failures >= SUSPECT_AFTER
        return replace(self._after(_Happening.FAILED_OFTEN if often else _Happening.FAILED), failures=failures)

    def gone(self, reason: str, now: float, since: float | None = None) -> Device:
        """The provider says that it is no more, `since` a time where it says so too (APNs does).

        If it registered after that time, the provider speaks of an earlier life, and nothing changes.
        """
        if self.state is State.GONE or (since is not None and self.last_registered_at > since):
            return self
        return replace(self._after(_Happening.REPORTED_GONE), gone_reason=reason[:MAX_REASON], gone_at=now)

    def forgotten(self, now: float) -> bool:
        """Whether it has been gone for so long that nobody asks why any more."""
        return self.gone_at is not None and now - self.gone_at >= FORGET_AFTER

    def _after(self, happening: _Happening) -> Device:
        return replace(self, state=_NEXT[self.state, happening])

    def to_json(self) -> bytes:
        """As it is kept: what is absent left out."""
        raw = {name: value for name in _STORED if (value := getattr(self, name)) is not None}
        return orjson.dumps(raw | {"state": self.state.value})

    @classmethod
    def from_json(cls, id: str, data: bytes) -> Device:
        """What `to_json` made; members of a newer release are passed over."""
        raw: dict[str, Any] = orjson.loads(data)
        known = {name: raw[name] for name in _STORED if name in raw}
        return cls(id=id, **known | {"state": State(raw["state"])})

    def shown(self) -> dict[str, Any]:
        """For people: everything but the target and its keys."""
        raw = asdict(self) | {"state": self.state.value}
        return {name: value for name, value in raw.items() if value is not None and name not in ("target", "keys")}


# Registering -----------------------------------------------------------------------------------------------------


_STORED: Final = tuple(f.name for f in fields(Device) if f.name != "id")


@dataclass(frozen=True, slots=True)
class Registration:
    """What an app tells of its device; the fields are those of `Device`."""

    provider: str
    target: str = field(repr=False)
    keys: str = field(default="", repr=False)
    app: str = ""
    environment: str = ""
    locale: str | None = None
    timezone: str | None = None

    def onto(self, old: Device | None, id: str, now: float) -> Device:
        """The device after this registration; `old` is what was known of it."""
        told = {f.name: getattr(self, f.name) for f in fields(self)}
        if old is None:
            return Device(id, **told, created_at=now, last_registered_at=now)
        return replace(old.registered(now), **told)


def parse(raw: object) -> Registration | tuple[Problem, ...]:
    """Decoded JSON to a registration, or every fault of it. Never quotes a value.

    `{"provider": "webpush", "target": endpoint, "keys": {"p256dh", "auth"}}`, or `{"provider": "fcm" or "apns",
    "target": token}`; all may have `app`, `environment`, `locale`, `timezone`.
    """
    if not isinstance(raw, Mapping):
        return (Problem("", "must be a JSON object"),)
    provider = raw.get("provider")
    if provider not in PROVIDERS:
        return (Problem("/provider", f"must be one of {', '.join(PROVIDERS)}"),)
    problems = [
        Problem(f"/{name}", fault)
        for name, fault in (
            ("target", _target_fault(provider, raw.get("target"))),
            ("keys", _keys_fault(provider, raw.get("keys"))),
            ("app", _app_fault(raw.get("app"))),
            ("environment", _environment_fault(raw.get("environment"))),
            ("locale", raw.get("locale") and locale_fault(raw["locale"])),
            ("timezone", raw.get("timezone") and timezone_fault(raw["timezone"])),
        )
        if fault
    ]
    if not raw.keys() <= set(MEMBERS):
        problems.append(Problem("", f"must have no members but {', '.join(MEMBERS)}"))
    if problems:
        return tuple(problems)
    keys = orjson.dumps({name: raw["keys"][name] for name in ("p256dh", "auth")}).decode() if raw.get("keys") else ""
    plain = (raw.get("app") or "", raw.get("environment") or "")
    return Registration(provider, raw["target"], keys, *plain, raw.get("locale") or None, raw.get("timezone") or None)


def _target_fault(provider: str, raw: object) -> str | None:
    if provider == "webpush":
        return (
            None
            if _is_endpoint(raw)
            else "must be the endpoint of a push subscription: a URL that begins with https://"
        )
    fine = isinstance(raw, str) and _TOKEN[provider].fullmatch(raw)
    return None if fine else f"must be a registration token of {provider}"


def _is_endpoint(raw: object) -> bool:
    if not isinstance(raw, str) or len(raw) > MAX_ENDPOINT or not _ENDPOINT.fullmatch(raw):
        return False
    try:
        parts = urlsplit(raw)
        _ = parts.port
    except ValueError:  # an address in brackets that is none; a port that is no number
        return False
    if parts.username is not None or parts.password is not None or not parts.hostname:
        return False
    # Without TLS only to this machine, as browsers have it for their own push service in tests.
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)


def _keys_fault(provider: str, raw: object) -> str | None:
    if provider != "webpush":
        return None if raw is None else "is for webpush alone"
    if (
        not isinstance(raw, Mapping)
        or set(raw) != {"p256dh", "auth"}
        or not all(isinstance(v, str) for v in raw.values())
    ):
        return "must be an object with p256dh and auth, as PushSubscription.toJSON() gives it"
    found = receiver(raw["p256dh"], raw["auth"])
    return f"does not hold what it should: {found.reason}" if isinstance(found, Unreadable) else None


def _app_fault(raw: object) -> str | None:
    fine = raw in (None, "") or (isinstance(raw, str) and _APP.fullmatch(raw))
    return None if fine else "must be the name of an app: letters, digits and . _ : -"


def _environment_fault(raw: object) -> str | None:
    return None if raw in (None, "", *ENVIRONMENTS) else f"must be one of {', '.join(ENVIRONMENTS)}"
