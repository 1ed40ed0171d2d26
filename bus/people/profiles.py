"""Profiles and preferences in Redis. Contacts are sealed before they go there.

Whoever changes something reads it, decides, and writes it only if it still is as it was read; else they begin again.
An index leads from an address to those who have it. A person's profile names every index they may be in, from before
they are put there until after they are taken out, so that a crash in between leaves nothing that cannot be found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson

from bus.errors import Overloaded
from bus.people import preferences as prefs
from bus.people.preferences import Faults, Preferences
from bus.people.profile import CONTACTS, INDEXED, BadProfile, Contacts, Profile, normal
from bus.people.store import ATTEMPTS, NoKeys, Store, pairs
from bus.people.vault import Unreadable

MAX_FOUND: Final = 100
"""Most people that a lookup by address gives."""
GONE: Final = "gone_"
"""Before the kind of a contact: the field in which senders note what was sealed there when they found nobody."""

FAILING: Final = "failing_"
"""Before the kind of a contact: the field in which senders note since when it has only failed."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored of a person."""

    profile: Profile
    unreadable: tuple[str, ...] = ()
    """Kinds of contacts that are there and cannot be opened."""
    version: int = 0
    indexes: frozenset[str] = frozenset()
    sealed: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Contacts as they are stored, by kind."""
    gone: tuple[str, ...] = ()
    """Kinds of contacts whose providers say that nobody is there. They are not used until they change."""
    failing: Mapping[str, str] = field(default_factory=dict)
    """Since when contacts have only failed, as it is stored, by kind."""


class Profiles(Store):
    """Reads and writes what is known of people, and what they chose. All methods raise `BusError`."""

    async def get(self, user: str) -> Known | None:
        """A person's profile, contacts opened."""
        found = pairs(await self._pipe.ask("HGETALL", self._keys.profile(user)))
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
        fields = self._fields(user, profile, known)
        listed, version = known.indexes | wanted, known.version
        if wanted - known.indexes:
            version = await self._write(user, version, self._fields(user, known.profile, known), listed)
            if not version:
                return None
        # All of them, for one that is listed may be gone from the index: somebody crashed who was taking it away.
        await self._asks(("HSET", self._keys.index(digest), user, "1") for digest in sorted(wanted))
        version = await self._write(user, version, fields, listed)
        if version and listed - wanted:
            await self._asks(("HDEL", self._keys.index(digest), user) for digest in sorted(listed - wanted))
            # Whoever wrote since then has the same to do, and does it.
            await self._write(user, version, fields, wanted)
        gone = tuple(kind for kind in CONTACTS if GONE + kind in fields)
        return Known(profile, version=version, indexes=wanted, gone=gone) if version else None

    async def _write(self, user: str, version: int, fields: Mapping[str, str], indexes: frozenset[str]) -> int:
        flat = [part for pair in {**fields, "indexes": " ".join(sorted(indexes))}.items() for part in pair]
        return int(await self._pipe.script("change_profile", [self._keys.profile(user)], [version, *flat]))

    async def renew_profile(self, user: str) -> bool | None:
        """Seal contacts with the first key, and index them with the index key of now; whether there was need to.
        None: something cannot be opened, and stays as it is."""
        for _ in range(ATTEMPTS):
            known = await self.get(user)
            if known is None or self._vault is None:
                return False
            if known.unreadable:
                return None
            stale = any(map(self._stale, known.sealed.values()))
            if not stale and known.indexes == self._indexes(known.profile.contacts):
                return False
            if await self._store(user, known, known.profile) is not None:
                return True
        raise Overloaded("others change this profile all the time")

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

    def opened_contact(self, user: str, kind: str, sealed: str) -> Contacts | Unreadable:
        """One contact as it is stored, in the clear."""
        text = self._open(sealed, user, kind)
        return text if isinstance(text, Unreadable) else Contacts.from_texts({kind: text})

    def _indexes(self, contacts: Contacts) -> frozenset[str]:
        texts, vault = contacts.texts(), self._vault
        if vault is None:
            return frozenset()
        return frozenset(vault.index(kind, normal(kind, texts[kind])) for kind in INDEXED if kind in texts)

    def _fields(self, user: str, profile: Profile, known: Known) -> dict[str, str]:
        data = orjson.dumps(profile.data).decode() if profile.data else None
        plain = {"locale": profile.locale, "timezone": profile.timezone, "name": profile.name, "data": data}
        fields = {name: text for name, text in plain.items() if text is not None}
        before = known.profile.contacts.texts()
        for kind, text in profile.contacts.texts().items():
            same = before.get(kind) == text and kind in known.sealed
            kept = same and not self._stale(known.sealed[kind])
            fields[kind] = known.sealed[kind] if kept else self._seal(text, user, kind)
            if same and kind in known.gone:
                fields[GONE + kind] = fields[kind]
            if same and kind in known.failing:
                fields[FAILING + kind] = known.failing[kind]
        return fields

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
        return Known(
            profile,
            unreadable=tuple(kind for kind in opened if kind not in texts),
            version=int(found.get("version", 0)),
            indexes=indexes,
            sealed={kind: found[kind] for kind in opened},
            gone=tuple(kind for kind in opened if found.get(GONE + kind) == found[kind]),
            failing={kind: found[FAILING + kind] for kind in opened if found.get(FAILING + kind)},
        )

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


def _has(contacts: Contacts, kind: str, text: str) -> bool:
    return kind in (texts := contacts.texts()) and normal(kind, texts[kind]) == text
