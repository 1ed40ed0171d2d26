"""Where Redis is, as a URL says it: one server, the master of a service that sentinels watch, or a cluster.

    redis://user:password@host:6379/0                      one server; rediss:// with TLS; unix:///path?db=0
    redis+sentinel://user:password@h1:26379,h2/service     the master of a service; all sentinels named
    redis+cluster://user:password@h1:6379,h2:6379          a cluster; some of its nodes named

`rediss+sentinel://` and `rediss+cluster://` use TLS everywhere. Special characters of a user or password are written as
%XX. Nothing here is ever said of what stands before the hosts: it is a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote

PORT: Final = 6379
SENTINEL_PORT: Final = 26379

TLS_OPTIONS: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
SENTINEL_OPTIONS: Final = ("sentinel_username", "sentinel_password")

_FORMS: Final[Mapping[str, str]] = {
    "redis": "redis://host:6379/0",
    "rediss": "rediss://host:6379/0",
    "unix": "unix:///path/of/the/socket?db=0",
    "redis+sentinel": "redis+sentinel://host1:26379,host2:26379,host3:26379/service",
    "rediss+sentinel": "rediss+sentinel://host1:26379,host2:26379,host3:26379/service",
    "redis+cluster": "redis+cluster://host1:6379,host2:6379",
    "rediss+cluster": "rediss+cluster://host1:6379,host2:6379",
}
_LABEL: Final = "[A-Za-z0-9_-]{1,63}"
_PLACE: Final = re.compile(rf"(\[[0-9A-Fa-f:.]+\]|{_LABEL}(?:\.{_LABEL})*\.?)(?::([0-9]{{1,5}}))?", re.ASCII)
_ENCODED: Final = "write characters such as @ / ? # : of a user or password as %40 %2F %3F %23 %3A"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A TCP port of a host."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Socket:
    """A Unix socket."""

    path: str


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are to a server: an ACL user and its password; without a user, `requirepass`. Both empty: nobody."""

    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Tls:
    """Files (PEM). Without `ca` the system's are trusted; `cert` and `key` are shown to servers that ask for them."""

    ca: str = ""
    cert: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class OneServer:
    """One server."""

    place: Place | Socket
    db: int = 0
    login: Login = Login()
    tls: Tls | None = None


@dataclass(frozen=True, slots=True)
class Sentinels:
    """The master of a service, as these sentinels name it. `watch`: who we are to the sentinels."""

    places: tuple[Place, ...]
    service: str
    db: int = 0
    login: Login = Login()
    watch: Login = Login()
    tls: Tls | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster, of which these nodes are known."""

    places: tuple[Place, ...]
    login: Login = Login()
    tls: Tls | None = None


Address = OneServer | Sentinels | Cluster


@dataclass(frozen=True, slots=True)
class BadAddress:
    """Why a URL says of no Redis where it is, and what to write; never a part of it that may be secret."""

    fault: str


class _Fault(Exception):
    pass


def read_address(url: str) -> Address | BadAddress:
    """A URL taken apart."""
    try:
        return _read(url)
    except _Fault as fault:
        return BadAddress(str(fault))


def _read(url: str) -> Address:
    scheme, mark, rest = url.partition("://")
    if not mark or scheme not in _FORMS:
        raise _Fault(f"must begin with {', '.join(f'{known}://' for known in _FORMS)}; for example {_FORMS['redis']}")
    rest, _, query = rest.partition("?")
    options = _options(query, scheme)
    tls = _tls(options) if scheme.startswith("rediss") else None
    authority, slash, path = rest.partition("/")
    before, _, hosts = authority.rpartition("@")
    login = _login(before)
    if scheme == "unix":
        return _unix(hosts, slash + path, options, login)
    if scheme.endswith("+cluster"):
        _only_zero(path, options)
        return Cluster(_places(hosts, PORT, scheme), login, tls)
    if scheme.endswith("+sentinel"):
        return _sentinels(_places(hosts, SENTINEL_PORT, scheme), path, options, login, tls)
    places = _places(hosts or "localhost", PORT, scheme)
    if len(places) > 1:
        raise _Fault(f"names several servers; one server is {_FORMS['redis']}, a cluster {_FORMS['redis+cluster']}")
    return OneServer(places[0], _db(options.get("db") or path or "0"), login, tls)


def _options(query: str, scheme: str) -> dict[str, str]:
    known = ["db"]
    known += TLS_OPTIONS if scheme.startswith("rediss") else ()
    known += SENTINEL_OPTIONS if scheme.endswith("+sentinel") else ()
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name in known:
            continue
        if name in TLS_OPTIONS:
            raise _Fault(f"has {name}, which is for TLS; write rediss instead of redis at its beginning")
        if re.fullmatch("[a-z_]{1,30}", name) and "@" not in query:  # else it may be the end of a password
            raise _Fault(f"has an option {name} that {scheme}:// does not know; it knows {', '.join(known)}")
        raise _Fault(f"has an option that {scheme}:// does not know; it knows {', '.join(known)}; {_ENCODED}")
    return options


def _login(text: str) -> Login:
    user, _, password = text.partition(":")
    return Login(unquote(user), unquote(password))


def _tls(options: Mapping[str, str]) -> Tls:
    ca, cert, key = (options.get(name, "") for name in TLS_OPTIONS)
    if key and not cert:
        raise _Fault("has ssl_keyfile without ssl_certfile; give both, or neither")
    return Tls(ca, cert, key)


def _places(hosts: str, port: int, scheme: str) -> tuple[Place, ...]:
    places: list[Place] = []
    for text in hosts.split(","):
        found = _PLACE.fullmatch(text)
        if found is None or not 0 < int(found[2] or port) < 65_536:
            raise _Fault(f"names no host and port where they should stand; write {_FORMS[scheme]}; {_ENCODED}")
        places.append(Place(found[1].strip("[]"), int(found[2] or port)))
    return tuple(dict.fromkeys(places))


def _db(text: str) -> int:
    if not re.fullmatch("[0-9]{1,6}", text, re.ASCII):
        raise _Fault(f"has no number where that of the database should stand; write {_FORMS['redis']}; {_ENCODED}")
    return int(text)


def _unix(host: str, path: str, options: Mapping[str, str], login: Login) -> OneServer:
    if host or len(path) < 2:
        raise _Fault(f"names no socket; write {_FORMS['unix']}")
    return OneServer(Socket(unquote(path)), _db(options.get("db") or "0"), login)


def _only_zero(path: str, options: Mapping[str, str]) -> None:
    if _db(path or "0") or _db(options.get("db") or "0"):
        raise _Fault("names a database, and a cluster has only 0; leave it out, and keep installations apart by prefix")


def _sentinels(
    places: Sequence[Place], path: str, options: Mapping[str, str], login: Login, tls: Tls | None
) -> Sentinels:
    service = unquote(path)
    if not service or "/" in service:
        form = _FORMS["redis+sentinel"]
        raise _Fault(f"does not name the service whose master is meant; write {form}, as in `sentinel monitor service`")
    watch = Login(*(options.get(name, "") for name in SENTINEL_OPTIONS))
    return Sentinels(tuple(places), service, _db(options.get("db") or "0"), login, watch, tls)
