"""What every role that deals with people must agree on: the categories, the default ladder, the directory's keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bus.settings import BusSettings, secret


@dataclass(frozen=True, slots=True)
class PeopleSettings(BusSettings):
    """The same in every role, so best set at the top of `tocsin.toml`."""

    inbox_size: int = 1_000
    """Most entries kept in an inbox: notifications, and what tells devices of marks."""
    inbox_ttl: int = 30 * 86_400
    """How long an inbox is kept after its last notification, in seconds."""
    categories: Mapping[str, Any] = field(default_factory=dict)
    """`[categories.NAME]`: what kinds of notifications there are, and the rules of each."""
    ladder: tuple[Mapping[str, Any], ...] = ()
    """Steps for events that bring none and whose category has none, as a list of tables with `via`, `after` (seconds
    after the step before) and `unless` (acked, read); empty: live, push after 30 unless acked, e-mail after 600 unless
    read."""
    default_locale: str = "en"
    """Language of people who have not chosen one."""
    default_timezone: str = "UTC"
    """Time zone of people who have not chosen one: where their quiet hours are."""
    directory_keys: tuple[str, ...] = secret(())
    """Keys that contacts and push targets are encrypted with, each `id:base64url of 32 bytes`. The first encrypts, all
    decrypt; without any, no contact can be stored. `tocsin keys` makes one."""
    directory_index_key: str = secret("")
    """Key (base64url of 32 bytes) of the index by which a person is found by address, and of unsubscribe links."""
