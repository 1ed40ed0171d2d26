"""What things may be called: the rules of names and of topics, the same on every way in."""

from __future__ import annotations

import re
from typing import Final

from bus.keys import INBOX

MAX_NAME: Final = 128
MAX_TOPIC: Final = 255
"""Lengths in characters."""

_CONTROL: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
"""Control characters, and halves of surrogate pairs, which no UTF-8 can carry."""


def _has_control(text: str) -> bool:
    return _CONTROL.search(text) is not None


def name_fault(name: object, limit: int = MAX_NAME) -> str | None:
    """What is wrong with an id, type or user name, or None: 1 to `limit` characters, no control characters."""
    if not isinstance(name, str):
        return "must be a string"
    if not name:
        return "must not be empty"
    if len(name) > limit:
        return f"must have at most {limit} characters"
    if _has_control(name) or name != name.strip():
        return "must not contain control characters or surrounding spaces"
    return None


def topic_fault(topic: object) -> str | None:
    """What is wrong with a topic's name, or None: `<namespace>:<name>`, at most 255 characters, no pattern signs."""
    if fault := name_fault(topic, MAX_TOPIC):
        return fault
    assert isinstance(topic, str)
    namespace, colon, rest = topic.partition(":")
    if not colon or not namespace or not rest:
        return "must be of the form namespace:name"
    if topic.startswith(INBOX) or any(c in topic for c in "*{}$#"):
        return "must not begin with @ or contain any of * { } $ #"
    return None
