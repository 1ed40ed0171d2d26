"""Devices: where pushes go, and the life of each: active, suspect after failures in a row, gone when its provider says.

A device is what registered with a provider: a browser's subscription, an app's token. It is told from others by its
provider and target alone, so that whoever registers it last has it. Times are Unix seconds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from enum import Enum
from typing import Any, Final

import orjson

SUSPECT_AFTER: Final = 5
"""Failures in a row after which a device is suspect. It is still tried."""
FORGET_AFTER: Final = 30 * 86_400
"""Seconds for which a device that is gone is remembered, so that one can see why."""
MAX_REASON: Final = 100


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
    target: str
    """Endpoint (Web Push) or token."""
    keys: str = ""
    """Web Push: JSON with `p256dh` and `auth`; else empty."""
    app: str = ""
    """APNs: the topic, which is the app's bundle id; else what the app calls itself."""
    environment: str = "production"
    """APNs: production or sandbox."""
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
        raw = asdict(self) | {"state": self.state.value}
        return orjson.dumps({name: value for name, value in raw.items() if value is not None and name != "id"})

    @classmethod
    def from_json(cls, id: str, data: bytes) -> Device:
        """What `to_json` made; members of a newer release are passed over."""
        raw: dict[str, Any] = orjson.loads(data)
        known = {f.name for f in fields(cls)} & raw.keys()
        return cls(id=id, **{name: raw[name] for name in known - {"id", "state"}}, state=State(raw["state"]))

    def shown(self) -> dict[str, Any]:
        """For people: everything but the target and its keys."""
        raw = asdict(self) | {"state": self.state.value}
        return {name: value for name, value in raw.items() if value is not None and name not in ("target", "keys")}
