"""The directory: what is known of each person, kept in Redis, with contacts and push targets sealed."""

from __future__ import annotations

from dataclasses import dataclass, field

from bus.people import preferences as prefs
from bus.people.device_store import MAX_DEVICES, DeviceStore, read_devices
from bus.people.devices import Device
from bus.people.preferences import Preferences
from bus.people.profile import Profile
from bus.people.profiles import Known, Profiles
from bus.people.store import NoKeys, pairs, raised

__all__ = ["MAX_DEVICES", "Directory", "Known", "NoKeys", "Person"]


@dataclass(frozen=True, slots=True)
class Person:
    """All that a sender looks at. Targets of the devices are still sealed: see `Directory.opened`."""

    profile: Profile
    preferences: Preferences
    devices: tuple[Device, ...] = field(default=(), repr=False)
    unreadable: tuple[str, ...] = ()

    def locale(self, default: str) -> str:
        """In which language to write to them."""
        return self.preferences.locale or self.profile.locale or default

    def timezone(self, default: str) -> str:
        """Where their clock is."""
        return self.preferences.timezone or self.profile.timezone or default


class Directory(Profiles, DeviceStore):
    """All of it in one. All methods raise `BusError`."""

    async def person(self, user: str, *, devices: bool = False) -> Person:
        """What a sender needs, in one trip; all empty for somebody of whom nothing is known."""
        commands = [("HGETALL", self._keys.profile(user)), ("HGET", self._keys.preferences(user), "doc")]
        if devices:
            commands.append(("HGETALL", self._keys.devices(user)))
        profile, doc, *rest = raised(await self._pipe.asks(commands))
        known = self._known(user, pairs(profile)) if profile else Known(Profile())
        found = read_devices(rest[0]) if devices else ()
        return Person(known.profile, prefs.read(doc), found, known.unreadable)

    async def exists(self, user: str) -> bool:
        """Whether anything is stored of somebody."""
        keys = self._keys
        return bool(await self._pipe.ask("EXISTS", keys.profile(user), keys.preferences(user), keys.devices(user)))

    async def erase(self, user: str) -> None:
        """Forget profile, preferences and devices, and every index they are in. Needs no key."""
        keys = self._keys
        listed = await self._pipe.ask("HGET", keys.profile(user), "indexes") or b""
        await self._asks(("HDEL", keys.index(digest), user) for digest in listed.decode().split())
        for device_id in await self._pipe.ask("HKEYS", keys.devices(user)):
            await self.remove_device(user, device_id.decode())
        await self._asks([("DEL", keys.profile(user), keys.preferences(user), keys.devices(user))])
