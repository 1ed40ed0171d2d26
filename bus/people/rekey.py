"""Sealing everything anew, after a key was put in front of the others: then the old ones can be taken away.

It may run while people come and go, be stopped at any time, and be begun again: what is sealed with the newest key is
passed over. With a new index key it also moves everybody to their new place in the index.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from bus.keys import Keys
from bus.people.directory import Directory
from bus.pipe import Pipe

PART: Final = 1_000


@dataclass(slots=True)
class Progress:
    """How far it has come."""

    people: int = 0
    """Profiles looked at."""
    devices: int = 0
    resealed: int = 0
    """Profiles and devices that were sealed anew, or moved in the index."""
    unreadable: int = 0
    """Contacts and devices that no key opens. They stay as they are."""


class Rekeying:
    """Goes through all profiles and devices. `run` raises `BusError`."""

    def __init__(self, pipe: Pipe, keys: Keys, directory: Directory) -> None:
        self._pipe, self._keys, self._directory = pipe, keys, directory
        self.progress = Progress()

    async def run(self, told: Callable[[Progress], None]) -> Progress:
        """Seal anew what is not sealed with the first key; `told` is called now and then."""
        async for users in self._users("profile"):
            for user in users:
                await self._profile(user)
            told(self.progress)
        async for users in self._users("devices"):
            for user in users:
                await self._devices(user)
            told(self.progress)
        return self.progress

    async def _profile(self, user: str) -> None:
        self.progress.people += 1
        renewed = await self._directory.renew_profile(user)
        self.progress.resealed += renewed is True
        self.progress.unreadable += renewed is None

    async def _devices(self, user: str) -> None:
        for device in await self._directory.devices(user):
            self.progress.devices += 1
            renewed = await self._directory.renew_device(user, device)
            self.progress.resealed += renewed is True
            self.progress.unreadable += renewed is None

    async def _users(self, part: str) -> AsyncIterator[list[str]]:
        async for found in self._pipe.scan(self._keys.pattern("user", "*", part), PART):
            # A key may be named twice, which does no harm here.
            yield [self._keys.named(key)[1] for key in found]
