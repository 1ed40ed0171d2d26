"""Every error and disconnect code we use. The number of a disconnect says whether a client should come back:
3000–3499 yes, 3500–3999 no (Centrifuge client protocol v2)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """An error in a reply; a temporary one is worth repeating."""

    code: int
    message: str
    temporary: bool = False


class Error(Enum):
    """Answers to a command that cannot be served; the connection goes on."""

    INTERNAL = ErrorInfo(100, "internal server error", True)
    UNAUTHORIZED = ErrorInfo(101, "unauthorized")
    UNKNOWN_CHANNEL = ErrorInfo(102, "unknown channel")
    PERMISSION_DENIED = ErrorInfo(103, "permission denied")
    METHOD_NOT_FOUND = ErrorInfo(104, "method not found")
    ALREADY_SUBSCRIBED = ErrorInfo(105, "already subscribed")
    LIMIT_EXCEEDED = ErrorInfo(106, "limit exceeded")
    BAD_REQUEST = ErrorInfo(107, "bad request")
    NOT_AVAILABLE = ErrorInfo(108, "not available")
    TOKEN_EXPIRED = ErrorInfo(109, "token expired")
    EXPIRED = ErrorInfo(110, "expired")
    TOO_MANY_REQUESTS = ErrorInfo(111, "too many requests", True)
    UNRECOVERABLE_POSITION = ErrorInfo(112, "unrecoverable position")


@dataclass(frozen=True, slots=True)
class CloseInfo:
    """Code and reason of a close frame; the reason has at most 123 bytes (RFC 6455 §5.5)."""

    code: int
    reason: str


class Disconnect(Enum):
    """Why the server ends a connection."""

    CLOSED = CloseInfo(3000, "connection closed")
    SHUTDOWN = CloseInfo(3001, "shutdown")
    SERVER_ERROR = CloseInfo(3004, "internal server error")
    EXPIRED = CloseInfo(3005, "connection expired")
    SUBSCRIPTION_EXPIRED = CloseInfo(3006, "subscription expired")
    SLOW = CloseInfo(3008, "slow")
    WRITE_ERROR = CloseInfo(3009, "write error")
    INSUFFICIENT_STATE = CloseInfo(3010, "insufficient state")
    FORCE_RECONNECT = CloseInfo(3011, "force reconnect")
    NO_PONG = CloseInfo(3012, "no pong")
    TOO_MANY_REQUESTS = CloseInfo(3013, "too many requests")
    INVALID_TOKEN = CloseInfo(3500, "invalid token")
    BAD_REQUEST = CloseInfo(3501, "bad request")
    STALE = CloseInfo(3502, "stale")
    FORCE_NO_RECONNECT = CloseInfo(3503, "force disconnect")
    CONNECTION_LIMIT = CloseInfo(3504, "connection limit")
    CHANNEL_LIMIT = CloseInfo(3505, "channel limit")
    INAPPROPRIATE_PROTOCOL = CloseInfo(3506, "inappropriate protocol")
    PERMISSION_DENIED = CloseInfo(3507, "permission denied")
    NOT_AVAILABLE = CloseInfo(3508, "not available")
    TOO_MANY_ERRORS = CloseInfo(3509, "too many errors")


class Unsubscribed(Enum):
    """Why the server ends one subscription: from 2500 on the client subscribes again by itself."""

    SERVER = CloseInfo(2000, "server unsubscribe")
    INSUFFICIENT_STATE = CloseInfo(2500, "insufficient state")
    EXPIRED = CloseInfo(2501, "subscription expired")
