"""Which wording a person is given: their locale, then ever more general ones (RFC 4647 §3.4, "lookup"). Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

DEFAULT: Final = "default"
"""The folder of the wording for everyone else."""
MAX_LOCALE: Final = 64
"""Characters of a locale that are looked at."""


def normal(locale: str) -> str:
    """One spelling for all: `pt_BR` and `PT-br` are `pt-br`."""
    return locale.strip().replace("_", "-").lower()


@lru_cache(maxsize=256)
def chain(locale: str) -> tuple[str, ...]:
    """Normal names to look for, best first: `zh-Hant-TW` → `zh-hant-tw`, `zh-hant`, `zh`, `default`.

    A single letter or digit never ends a name (RFC 4647 §3.4): `de-x-office` → `de-x-office`, `de`, `default`.
    """
    parts = [part.strip() for part in normal(locale[:MAX_LOCALE]).split("-") if part.strip()]
    names = []
    while parts:
        names.append("-".join(parts))
        parts.pop()
        while len(parts) > 1 and len(parts[-1]) == 1:
            parts.pop()
    return (*names, DEFAULT) if DEFAULT not in names else (DEFAULT,)
