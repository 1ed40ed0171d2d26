"""The header `Retry-After` (RFC 9110 §10.2.3) in both of its forms. Pure."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Final

LONGEST: Final = 3600.0
"""Seconds: a provider that asks for more is asked again after this."""


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait, at most `LONGEST`, or None where the header is absent or of no known form.

    `now`: Unix time in seconds, for the form that gives a date.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:10]), LONGEST)
    try:
        moment = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, moment - now), LONGEST)
