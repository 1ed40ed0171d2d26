"""`tocsin keys`: new keys for a settings file, and the keys that `tocsin dev` makes for itself."""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class NewKeys:
    """One of each."""

    directory_key: str
    """`id:base64url`."""
    directory_index_key: str
    vapid_key: str
    webpush_public_key: str

    @classmethod
    def make(cls) -> NewKeys:
        """From the system's random numbers. The id of the first tells it from others in a list of keys."""
        from fanout.channels.vapid import generate  # only now: it takes long to load

        private, public = generate()
        return cls(f"k{secrets.token_hex(4)}:{_secret()}", _secret(), private, public)

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> NewKeys:
        """What `as_dict` gave. Raises TypeError for anything else."""
        return cls(**raw)

    def as_dict(self) -> dict[str, str]:
        """For a script."""
        return asdict(self)

    def as_toml(self) -> list[str]:
        """Lines for `tocsin.toml`."""
        return [
            "# Contacts and push targets are encrypted with the first of these; put a new one in front to rotate, and",
            "# run `tocsin rekey` before you take an old one away.",
            f'directory_keys = ["{self.directory_key}"]',
            "# Finds people by address and signs unsubscribe links: keep it, for links in old mails depend on it.",
            f'directory_index_key = "{self.directory_index_key}"',
            "",
            "# Web Push: the first half is for browsers, the other stays secret. Changing them ends all subscriptions.",
            "[gateway]",
            f'webpush_public_key = "{self.webpush_public_key}"',
            "",
            "[deliver.webpush.main]",
            f'vapid_key = "{self.vapid_key}"',
            'subject = "mailto:ops@example.com"',
        ]


def _secret() -> str:
    return urlsafe_b64encode(secrets.token_bytes(BYTES)).decode().rstrip("=")
