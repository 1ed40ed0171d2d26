"""Who may do what to a topic: the rules of its namespace, applied to one user. An error, or None for yes."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Final

from bus.keys import INBOX
from bus.namespaces import Namespaces
from bus.naming import topic_fault
from gateway.wire.codes import Error

MAX_NAME: Final = 255


@dataclass(frozen=True, slots=True)
class Standing:
    """Whom the rules are applied to: the user's inbox, what the token grants, what is subscribed now."""

    inbox: str
    granted: Container[str]
    subscribed: Container[str]

    def meets(self, rule: str, topic: str) -> bool:
        """Whether a rule of `bus.namespaces.WHO` lets this user at a topic."""
        if rule == "subscriber":
            return topic in self.subscribed
        if rule == "token":
            return topic in self.granted
        return rule == "user"


def name_error(topic: str) -> Error | None:
    """What is wrong with the name itself; nobody reaches another's inbox by naming it."""
    if len(topic) > MAX_NAME:
        return Error.BAD_REQUEST
    if topic.startswith(INBOX):
        return Error.PERMISSION_DENIED
    return Error.UNKNOWN_CHANNEL if topic_fault(topic) else None


def subscribe_error(namespaces: Namespaces, standing: Standing, topic: str) -> Error | None:
    """Without a token for this very topic."""
    if error := name_error(topic):
        return error
    return None if standing.meets(namespaces.of(topic).subscribe, topic) else Error.PERMISSION_DENIED


def token_error(namespaces: Namespaces, topic: str) -> Error | None:
    """With a token for this very topic, which opens everything but what nobody may."""
    if error := name_error(topic):
        return error
    return Error.PERMISSION_DENIED if namespaces.of(topic).subscribe == "nobody" else None


def publish_error(namespaces: Namespaces, standing: Standing, topic: str) -> Error | None:
    """As a client; producers have their own way in."""
    if topic == standing.inbox:
        return Error.PERMISSION_DENIED
    if error := name_error(topic):
        return error
    return None if standing.meets(namespaces.of(topic).publish, topic) else Error.PERMISSION_DENIED


def presence_error(namespaces: Namespaces, standing: Standing, topic: str) -> Error | None:
    """An inbox has no presence, and neither has a namespace in which nobody may see it."""
    if topic == standing.inbox:
        return Error.NOT_AVAILABLE
    if error := name_error(topic):
        return error
    rule = namespaces.of(topic).presence
    if rule == "nobody":
        return Error.NOT_AVAILABLE
    return None if standing.meets(rule, topic) else Error.PERMISSION_DENIED


def history_error(namespaces: Namespaces, standing: Standing, topic: str) -> Error | None:
    """One's own inbox is always open to oneself."""
    if topic == standing.inbox:
        return None
    if error := name_error(topic):
        return error
    rules = namespaces.of(topic)
    if rules.history == "nobody" or not rules.recoverable:
        return Error.NOT_AVAILABLE
    return None if standing.meets(rules.history, topic) else Error.PERMISSION_DENIED
