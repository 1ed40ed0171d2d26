"""A mail address as SMTP takes it (RFC 5321 §4.1.2, RFC 6531 for what is not ASCII), or nothing. Pure.

Strict where it guards: whatever could end a command or a header (line breaks, spaces, angle brackets outside of quotes)
makes it no address. Address literals (`user@[10.0.0.1]`) are none of a person's and are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MAX_ADDRESS: Final = 254
"""Octets: what fits between the angle brackets of RCPT (RFC 5321 §4.5.3.1.3)."""
MAX_LOCAL: Final = 64
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u00a1-\U0010fffd-]+"
_LOCAL: Final = re.compile(rf'{_ATOM}(?:\.{_ATOM})*|"(?:[ !#-\[\]-~\u00a1-\U0010fffd]|\\[ -~])+"')
_LABEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address in two parts: the local one as it came, quotes and all, the domain in ASCII (A-labels)."""

    local: str
    domain: str

    @property
    def address(self) -> str:
        """As MAIL and RCPT take it."""
        return f"{self.local}@{self.domain}"

    @property
    def international(self) -> bool:
        """Whether only a server with SMTPUTF8 takes it."""
        return not self.local.isascii()


def read(address: str) -> Mailbox | None:
    """The address, or None where it is none."""
    local, at, domain = address.rpartition("@")
    ascii_domain = _ascii(domain)
    if not at or ascii_domain is None or not _LOCAL.fullmatch(local) or not local.isprintable():
        return None
    octets = len(local.encode(errors="replace"))
    if octets > MAX_LOCAL or octets + 1 + len(ascii_domain) > MAX_ADDRESS:
        return None
    return Mailbox(local, ascii_domain)


def _ascii(domain: str) -> str | None:
    try:
        found = domain.encode("idna").decode("ascii").lower()
    except UnicodeError:  # a label that is empty, too long, or of characters that no name has
        return None
    return found if found and all(_LABEL.fullmatch(label) for label in found.split(".")) else None
