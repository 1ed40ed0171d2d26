"""What all of the directory stands on: Redis, the vault, and how something is changed that others change too."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bus.clock import Clock
from bus.keys import Keys
from bus.people.vault import NONCE_BYTES, Unreadable, Vault
from bus.pipe import Arg, Pipe

ATTEMPTS: Final = 20
"""How often something that others change at the same time is tried."""


@dataclass(frozen=True, slots=True)
class NoKeys:
    """Nothing private can be kept or read, for the settings have no directory keys."""

    reason: str = "directory_keys and directory_index_key are not set; `tocsin keys` makes them"


class Store:
    """Base of the directory's parts."""

    def __init__(self, pipe: Pipe, keys: Keys, vault: Vault | None, clock: Clock) -> None:
        self._pipe, self._keys, self._vault, self._clock = pipe, keys, vault, clock

    @property
    def has_keys(self) -> bool:
        """Whether contacts and devices can be stored."""
        return self._vault is not None

    def _seal(self, text: str, user: str, kind: str) -> str:
        assert self._vault is not None
        return self._vault.seal(text, secrets.token_bytes(NONCE_BYTES), f"{user}\0{kind}")

    def _open(self, sealed: str, user: str, kind: str) -> str | Unreadable:
        return Unreadable(NoKeys().reason) if self._vault is None else self._vault.open(sealed, f"{user}\0{kind}")

    def _stale(self, sealed: str) -> bool:
        return self._vault is not None and self._vault.stale(sealed)

    async def _asks(self, commands: Iterable[Sequence[Arg]]) -> list[Any]:
        return raised(await self._pipe.asks(commands))


def raised(replies: Sequence[Any]) -> list[Any]:
    """Replies of which none is an error; raises the first that is."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return list(replies)


def pairs(flat: Sequence[bytes]) -> dict[str, str]:
    """A hash as Redis gives it."""
    return {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}
