"""The directory: what is known of each person, kept in Redis, with contacts and push targets sealed.

Whoever changes something reads it, decides, and writes it only if it still is as it was read; else they begin again.
An index leads from an address to those who have it. A person's profile names every index they may be in, from before
they are put there until after they are taken out, so that a crash in between leaves nothing that cannot be found.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

import orjson

from bus.clock import Clock
from bus.errors import Overloaded
from bus.keys import Keys
from bus.people import preferences as prefs
from bus.people.devices import Device, Registration
from bus.people.preferences import Faults, Preferences
from bus.people.profile import CONTACTS, INDEXED, BadProfile, Contacts, Profile, normal
from bus.people.vault import NONCE_BYTES, Unreadable, Vault
from bus.pipe import Pipe

T = TypeVar("T")

ATTEMPTS: Final = 20
"""How often something that others change at the same time is tried."""
MAX_DEVICES: Final = 50
"""Of one person; one more, and the one that registered longest ago is forgotten."""
MAX_FOUND: Final = 100
"""Most people that a lookup by address gives."""


@dataclass(frozen=True, slots=True)
class NoKeys:
    """Nothing private can be kept or read, for the settings have no directory keys."""

    reason: str = "directory_keys and directory_index_key are not set; `tocsin keys` makes them"


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored of a person."""

    profile: Profile
    unreadable: tuple[str, ...] = ()
    """Kinds of contacts that are there and cannot be opened."""
    version: int = 0
    indexes: frozenset[str] = frozenset()


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


class Directory:
    """Reads and writes what is known of people. All methods raise `BusError`."""

    def __init__(self, pipe: Pipe, keys: Keys, vault: Vault | None, clock: Clock) -> None:
        self._pipe, self._keys, self._vault, self._clock = pipe, keys, vault, clock

    @property
    def has_keys(self) -> bool:
        """Whether contacts and devices can be stored."""
        return self._vault is not None

    async def person(self, user: str, *, devices: bool = False) -> Person:
        """What a sender needs, in one trip; all empty for somebody of whom nothing is known."""
        commands = [("HGETALL", self._keys.profile(user)), ("HGET", self._keys.preferences(user), "doc")]
        if devices:
            commands.append(("HGETALL", self._keys.devices(user)))
        profile, doc, *rest = _raised(await self._pipe.asks(commands))
        known = self._known(user, _pairs(profile)) if profile else Known(Profile())
        found = _devices(rest[0]) if devices else ()
        return Person(known.profile, prefs.read(doc), found, known.unreadable)

    async def exists(self, user: str) -> bool:
        """Whether anything is stored of somebody."""
        keys = self._keys
        return bool(await self._pipe.ask("EXISTS", keys.profile(user), keys.preferences(user), keys.devices(user)))

    # Profiles ----------------------------------------------------------------------------------------------------

    async def get(self, user: str) -> Known | None:
        """A person's profile, contacts opened."""
        found = _pairs(await self._pipe.ask("HGETALL", self._keys.profile(user)))
        return self._known(user, found) if found else None

    async def put(self, user: str, profile: Profile) -> Known | NoKeys:
        """Store a profile in the place of what was there."""
        changed = await self.change(user, lambda _: profile)
        assert not isinstance(changed, BadProfile)
        return changed

    async def change(
        self, user: str, make: Callable[[Known | None], Profile | BadProfile]
    ) -> Known | BadProfile | NoKeys:
        """Store what `make` makes of the profile that is there (None: there is none). It may be asked several times."""
        for _ in range(ATTEMPTS):
            known = await self.get(user)
            profile = make(known)
            if isinstance(profile, BadProfile):
                return profile
            if profile.contacts.texts() and self._vault is None:
                return NoKeys()
            if (stored := await self._store(user, known or Known(profile), profile)) is not None:
                return stored
        raise Overloaded("others change this profile all the time")

    async def _store(self, user: str, known: Known, profile: Profile) -> Known | None:
        """None when another wrote it meanwhile."""
        wanted = self._indexes(profile.contacts)
        listed, version = known.indexes | wanted, known.version
        if wanted - known.indexes:
            version = await self._write(user, version, self._fields(user, known.profile), listed)
            if not version:
                return None
        # All of them, for one that is listed may be gone from the index: somebody crashed who was taking it away.
        await self._asks(("HSET", self._keys.index(digest), user, "1") for digest in sorted(wanted))
        version = await self._write(user, version, self._fields(user, profile), listed)
        if version and listed - wanted:
            await self._asks(("HDEL", self._keys.index(digest), user) for digest in sorted(listed - wanted))
            # Whoever wrote since then has the same to do, and does it.
            await self._write(user, version, self._fields(user, profile), wanted)
        return Known(profile, (), version, wanted) if version else None

    async def _write(self, user: str, version: int, fields: Mapping[str, str], indexes: frozenset[str]) -> int:
        flat = [part for pair in {**fields, "indexes": " ".join(sorted(indexes))}.items() for part in pair]
        return int(await self._pipe.script("change_profile", [self._keys.profile(user)], [version, *flat]))

    async def lookup(self, kind: str, text: str) -> tuple[str, ...] | NoKeys:
        """Who has an e-mail address or phone number, in the order of their names."""
        if self._vault is None:
            return NoKeys()
        text = normal(kind, text)
        users = await self._pipe.ask("HKEYS", self._keys.index(self._vault.index(kind, text)))
        names = sorted(user.decode() for user in users)[:MAX_FOUND]
        # The index may be ahead of a profile, or behind it.
        found = [(name, await self.get(name)) for name in names]
        return tuple(name for name, known in found if known and _has(known.profile.contacts, kind, text))

    def _indexes(self, contacts: Contacts) -> frozenset[str]:
        texts, vault = contacts.texts(), self._vault
        if vault is None:
            return frozenset()
        return frozenset(vault.index(kind, normal(kind, texts[kind])) for kind in INDEXED if kind in texts)

    def _fields(self, user: str, profile: Profile) -> dict[str, str]:
        plain = {"locale": profile.locale, "timezone": profile.timezone, "name": profile.name}
        data = orjson.dumps(profile.data).decode() if profile.data else None
        sealed = {kind: self._seal(text, user, kind) for kind, text in profile.contacts.texts().items()}
        return {name: text for name, text in (plain | {"data": data}).items() if text is not None} | sealed

    def _known(self, user: str, found: Mapping[str, str]) -> Known:
        opened = {kind: self._open(found[kind], user, kind) for kind in CONTACTS if kind in found}
        texts = {kind: text for kind, text in opened.items() if isinstance(text, str)}
        profile = Profile(
            locale=found.get("locale"),
            timezone=found.get("timezone"),
            name=found.get("name"),
            data=orjson.loads(found.get("data", "{}")),
            contacts=Contacts.from_texts(texts),
        )
        indexes = frozenset(found.get("indexes", "").split())
        return Known(profile, tuple(k for k in opened if k not in texts), int(found.get("version", 0)), indexes)

    # Preferences -------------------------------------------------------------------------------------------------

    async def preferences(self, user: str) -> Preferences:
        """What a person chose."""
        return prefs.read(await self._pipe.ask("HGET", self._keys.preferences(user), "doc"))

    async def change_preferences(
        self, user: str, make: Callable[[Preferences], Preferences | Faults]
    ) -> Preferences | Faults:
        """Store what `make` makes of the preferences that are there. It may be asked several times."""
        key = self._keys.preferences(user)
        for _ in range(ATTEMPTS):
            doc = await self._pipe.ask("HGET", key, "doc") or b""
            chosen = make(prefs.read(doc))
            if isinstance(chosen, Faults):
                return chosen
            raw = chosen.to_json()
            beside = [part for pair in prefs.live_fields(chosen).items() for part in pair]
            args = (doc, orjson.dumps(raw) if raw else b"", *beside)
            if await self._pipe.script("change_preferences", [key], args):
                return chosen
        raise Overloaded("others change these preferences all the time")

    # Devices -----------------------------------------------------------------------------------------------------

    async def devices(self, user: str) -> tuple[Device, ...]:
        """A person's devices, oldest first; those gone for long are forgotten on this occasion."""
        now = self._clock.wall()
        found = _devices(await self._pipe.ask("HGETALL", self._keys.devices(user)))
        for device in found:
            if device.forgotten(now):
                await self.remove_device(user, device.id)
        return tuple(device for device in found if not device.forgotten(now))

    def opened(self, user: str, device: Device) -> Device | Unreadable:
        """The device with its target and keys in the clear."""
        target = self._open(device.target, user, "target")
        if isinstance(target, Unreadable):
            return target
        keys = self._open(device.keys, user, "keys") if device.keys else ""
        return keys if isinstance(keys, Unreadable) else replace(device, target=target, keys=keys)

    async def register(self, user: str, registration: Registration) -> Device | NoKeys:
        """A device that is this person's from now on, and nobody else's any more."""
        if self._vault is None:
            return NoKeys()
        device_id = self._vault.index(registration.provider, registration.target)
        index, owner = self._keys.index(device_id), user.encode()
        for other in await self._pipe.script("claim", [index], [user]):
            # First the device, then the note that it may be there.
            await self._pipe.ask("HDEL", self._keys.devices(other.decode()), device_id)
            await self._pipe.script("disclaim", [index], [other, 1])
        now = self._clock.wall()
        sealed = replace(
            registration,
            target=self._seal(registration.target, user, "target"),
            keys=self._seal(registration.keys, user, "keys") if registration.keys else "",
        )
        device = await self.change_device(user, device_id, lambda old: sealed.onto(old, device_id, now))
        assert device is not None
        if await self._pipe.ask("HGET", index, "") != owner:  # somebody registered it at the same moment, and after us
            await self._pipe.ask("HDEL", self._keys.devices(user), device_id)
        await self._keep_few(user)
        return device

    async def _keep_few(self, user: str) -> None:
        found = sorted(await self.devices(user), key=lambda device: (device.reachable, device.last_registered_at))
        for device in found[: max(0, len(found) - MAX_DEVICES)]:
            await self.remove_device(user, device.id)

    async def change_device(
        self, user: str, device_id: str, make: Callable[[Device | None], Device | None]
    ) -> Device | None:
        """Store what `make` makes of a device, and give it back; None is one that is not there, or is to be no more.

        `make` may be asked several times. Senders say so what became of a push: `lambda d: d and d.succeeded(now)`.
        """
        key = self._keys.devices(user)
        for _ in range(ATTEMPTS):
            old = await self._pipe.ask("HGET", key, device_id) or b""
            device = make(Device.from_json(device_id, old) if old else None)
            new = device.to_json() if device else b""
            if new == old or await self._pipe.script("change_field", [key], [device_id, old, new]):
                return device
        raise Overloaded("others change this device all the time")

    async def remove_device(self, user: str, device_id: str) -> bool:
        """Forget a device; whether it was there. Whoever else has it by now keeps it."""
        await self._pipe.script("disclaim", [self._keys.index(device_id)], [user, 0])
        return bool(await self._pipe.ask("HDEL", self._keys.devices(user), device_id))

    # Erasing -----------------------------------------------------------------------------------------------------

    async def erase(self, user: str) -> None:
        """Forget profile, preferences and devices, and every index they are in. Needs no key."""
        keys = self._keys
        listed = await self._pipe.ask("HGET", keys.profile(user), "indexes") or b""
        await self._asks(("HDEL", keys.index(digest), user) for digest in listed.decode().split())
        for device_id in await self._pipe.ask("HKEYS", keys.devices(user)):
            await self.remove_device(user, device_id.decode())
        await self._asks([("DEL", keys.profile(user), keys.preferences(user), keys.devices(user))])

    # Sealing -----------------------------------------------------------------------------------------------------

    def _seal(self, text: str, user: str, kind: str) -> str:
        assert self._vault is not None
        return self._vault.seal(text, secrets.token_bytes(NONCE_BYTES), f"{user}\0{kind}")

    def _open(self, sealed: str, user: str, kind: str) -> str | Unreadable:
        return Unreadable(NoKeys().reason) if self._vault is None else self._vault.open(sealed, f"{user}\0{kind}")

    async def _asks(self, commands: Any) -> list[Any]:
        return _raised(await self._pipe.asks(commands))


def _raised(replies: Sequence[Any]) -> list[Any]:
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return list(replies)


def _pairs(flat: Sequence[bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}


def _devices(flat: Sequence[bytes]) -> tuple[Device, ...]:
    found = [Device.from_json(name.decode(), data) for name, data in zip(flat[::2], flat[1::2], strict=True)]
    return tuple(sorted(found, key=lambda device: (device.created_at, device.id)))


def _has(contacts: Contacts, kind: str, text: str) -> bool:
    return kind in (texts := contacts.texts()) and normal(kind, texts[kind]) == text
