"""Profile: what a backend tells of a person, and where that person can be reached.

Addresses are checked once, here, whichever way they come in. At rest they are sealed; only the directory opens them.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from bus.event import Problem
from bus.people.preferences import locale_fault, timezone_fault
from bus.tree import depth_of, unfit_number

CONTACTS: Final = ("email", "phone", "webhook")
INDEXED: Final = ("email", "phone")
"""Contacts by which a person can be found."""
MAX_NAME: Final = 200
MAX_DATA: Final = 8_192
"""Bytes of `data` as JSON."""
MAX_URL: Final = 2_048
MEMBERS: Final = ("locale", "timezone", "name", "data", *CONTACTS)

_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL: Final = re.compile(rf"(?=.{{3,254}}\Z)(?=[^@]{{1,64}}@){_ATOM}(\.{_ATOM})*@{_LABEL}(\.{_LABEL})+", re.ASCII)
_PHONE: Final = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)
_URL: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)
_SECRET: Final = re.compile(r"whsec_[A-Za-z0-9+/]+={0,2}", re.ASCII)
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where a person's own server takes notifications, and the secret they are signed with (Standard Webhooks)."""

    url: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Contacts:
    """Where a person can be reached, in the clear."""

    email: str | None = field(default=None, repr=False)
    phone: str | None = field(default=None, repr=False)
    """E.164."""
    webhook: Webhook | None = field(default=None, repr=False)

    def texts(self) -> dict[str, str]:
        """By kind, as the text that is sealed."""
        webhook = orjson.dumps([self.webhook.url, self.webhook.secret]).decode() if self.webhook else None
        found = {"email": self.email, "phone": self.phone, "webhook": webhook}
        return {kind: text for kind, text in found.items() if text is not None}

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> Contacts:
        """What `texts` gave."""
        webhook = Webhook(*orjson.loads(texts["webhook"])) if "webhook" in texts else None
        return cls(texts.get("email"), texts.get("phone"), webhook)


@dataclass(frozen=True, slots=True)
class Profile:
    """A person, as the backend describes them."""

    locale: str | None = None
    timezone: str | None = None
    name: str | None = field(default=None, repr=False)
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """For templates."""
    contacts: Contacts = field(default_factory=Contacts, repr=False)

    def document(self) -> dict[str, Any]:
        """As `parse` reads it, all in the clear: what a patch is merged into."""
        hook = self.contacts.webhook
        out: dict[str, Any] = {"locale": self.locale, "timezone": self.timezone, "name": self.name}
        out |= {"data": dict(self.data), "email": self.contacts.email, "phone": self.contacts.phone}
        out["webhook"] = hook and {"url": hook.url, "secret": hook.secret}
        return {name: value for name, value in out.items() if value}

    def to_json(self, *, masked: bool) -> dict[str, Any]:
        """For the API: absent members left out, contacts masked or in the clear. A secret is never shown."""
        out = self.document()
        if hook := self.contacts.webhook:
            out["webhook"] = {"url": mask("webhook", hook.url) if masked else hook.url}
        if masked:
            out |= {kind: mask(kind, out[kind]) for kind in INDEXED if kind in out}
        return out


@dataclass(frozen=True, slots=True)
class BadProfile:
    """Why something is no profile. Never quotes a value."""

    problems: tuple[Problem, ...]


def mask(kind: str, text: str) -> str:
    """An address such that its owner knows it again and nobody else learns it."""
    match kind:
        case "email":
            local, _, domain = text.rpartition("@")
            return f"{local[:1]}…@{domain}"
        case "phone":
            return f"{text[:3]}…{text[-2:]}"
        case _:
            parts = urlsplit(text)
            return f"{parts.scheme}://{parts.hostname}/…"


def normal(kind: str, text: str) -> str:
    """An address as it is looked up: RFC 5321 §2.4 lets a server tell case apart before the @, but none does."""
    return text.lower() if kind == "email" else text


def address_fault(kind: str, raw: object) -> str | None:
    """What is wrong with an e-mail address or phone number."""
    if kind == "email":
        fine = isinstance(raw, str) and _EMAIL.fullmatch(raw)
        return None if fine else "must be an e-mail address: name@domain, in ASCII (a domain in its xn-- form)"
    fine = isinstance(raw, str) and _PHONE.fullmatch(raw)
    return None if fine else "must be a phone number in E.164: + and 7 to 15 digits"


def parse(raw: object, new_secret: str) -> Profile | BadProfile:
    """Decoded JSON to a profile; `new_secret` (`whsec_…`) is for a webhook that comes without one."""
    if not isinstance(raw, Mapping):
        return BadProfile((Problem("", "must be a JSON object"),))
    problems = [
        Problem(f"/{name}", fault)
        for name, check in _CHECKS.items()
        if raw.get(name) is not None and (fault := check(raw[name]))
    ]
    if not raw.keys() <= set(MEMBERS):
        problems.append(Problem("", f"must have no members but {', '.join(MEMBERS)}"))
    if problems:
        return BadProfile(tuple(problems))
    hook = raw.get("webhook")
    webhook = Webhook(hook["url"], hook.get("secret") or new_secret) if hook else None
    contacts = Contacts(raw.get("email"), raw.get("phone"), webhook)
    return Profile(raw.get("locale"), raw.get("timezone"), raw.get("name"), raw.get("data") or {}, contacts)


def _name_fault(raw: object) -> str | None:
    fine = isinstance(raw, str) and 0 < len(raw) <= MAX_NAME and not _UNPRINTABLE.search(raw)
    return None if fine else f"must be 1 to {MAX_NAME} characters on one line"


def _data_fault(raw: object) -> str | None:
    if not isinstance(raw, dict) or depth_of(raw) > 8 or unfit_number(raw) is not None:
        return "must be an object, not nested deeper than 8 levels, its numbers within 64 bits"
    return None if len(orjson.dumps(raw)) <= MAX_DATA else f"must be at most {MAX_DATA} bytes as JSON"


def _webhook_fault(raw: object) -> str | None:
    if not isinstance(raw, Mapping) or not {"url"} <= raw.keys() <= {"url", "secret"}:
        return "must be an object with url, and perhaps secret"
    if not _is_url(raw["url"]):
        return f"must have a url that begins with https:// or http://, without a user name, of at most {MAX_URL} bytes"
    secret = raw.get("secret")
    return (
        None
        if secret is None or _is_secret(secret)
        else "must have a secret of the form whsec_ and 24 to 64 bytes in base64"
    )


def _is_url(raw: object) -> bool:
    if not isinstance(raw, str) or len(raw) > MAX_URL or not _URL.fullmatch(raw):
        return False
    try:
        parts = urlsplit(raw)
        port = parts.port
    except ValueError:  # an address in brackets that is none; a port that is no number
        return False
    plain = parts.username is None and parts.password is None and not parts.fragment and port != 0
    return parts.scheme in ("https", "http") and bool(parts.hostname) and plain


def _is_secret(raw: object) -> bool:
    if not isinstance(raw, str) or not _SECRET.fullmatch(raw):
        return False
    try:
        return 24 <= len(base64.b64decode(raw.removeprefix("whsec_"), validate=True)) <= 64
    except binascii.Error:
        return False


_CHECKS: Final = {
    "locale": locale_fault,
    "timezone": timezone_fault,
    "name": _name_fault,
    "data": _data_fault,
    "email": lambda raw: address_fault("email", raw),
    "phone": lambda raw: address_fault("phone", raw),
    "webhook": _webhook_fault,
}
