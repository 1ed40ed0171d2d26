"""Settings: a frozen dataclass per role, read once from `tocsin.toml` and `TOCSIN_*`.

A field `redis_url` is the key `redis_url` of the file's table and the variable `TOCSIN_REDIS_URL`; the environment
wins. A key that nobody knows is an error that names it. Fields marked `secret()` are never shown.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, TypeVar, get_type_hints

from bus.address import BadAddress, read_address
from bus.partition import DEFAULT_PARTITIONS

PREFIX: Final = "TOCSIN_"
T = TypeVar("T")


class BadSetting(ValueError):
    """A setting is unknown or not of its form; the text names it and says what is expected."""


def secret(default: Any) -> Any:
    """A field whose value is masked wherever settings are shown."""
    return field(default=default, repr=False, metadata={"secret": True})


@dataclass(frozen=True, slots=True)
class BusSettings:
    """What every role must agree on."""

    redis_url: str = secret("redis://127.0.0.1:6379/0")
    """Where Redis is; may carry a password. `redis://user:password@host:6379/0`, with TLS `rediss://`, or
    `unix:///path?db=0`; `redis+sentinel://user:password@h1:26379,h2:26379/service` for the master that sentinels name;
    `redis+cluster://user:password@h1:6379,h2:6379`. `rediss+sentinel://` and `rediss+cluster://` use TLS; its options
    are `?ssl_ca_certs=FILE&ssl_certfile=FILE&ssl_keyfile=FILE`, and of sentinels
    `?db=0&sentinel_username=U&sentinel_password=P`."""
    prefix: str = "tocsin"
    """First part of every key: two installations can share one Redis under two prefixes."""
    partitions: int = DEFAULT_PARTITIONS
    """Number of partitions, fixed for good at first start."""
    log_level: str = "info"
    """debug, info, warning or error."""
    producers: Mapping[str, Any] = field(default_factory=dict)
    """`[producers.NAME]`: how much a producer may send, over all processes: `rate` (events a second), `burst` (at once;
    a second's worth), `channels` (sends a second by channel). `"*"` is for all that have no table of their own and
    write to Redis themselves. Best set at the top of `tocsin.toml`, for all roles."""

    def __post_init__(self) -> None:
        address = read_address(self.redis_url)
        if isinstance(address, BadAddress):
            raise BadSetting(f"redis_url (TOCSIN_REDIS_URL) {address.fault}")


def read_file(path: Path) -> Mapping[str, Any]:
    """The settings file as a mapping; empty when there is none. Raises `BadSetting` when it is not TOML."""
    if not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSetting(f"{path}: {error}") from error


def read(kind: type[T], file: Mapping[str, Any], environ: Mapping[str, str], *, table: str) -> T:
    """Settings of one role: top-level keys of the file are for all roles, those of `[table]` for this one.

    Raises `BadSetting` for an unknown key of the role's own table and for a value of the wrong form.
    """
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    own = file.get(table, {})
    if not isinstance(own, Mapping):
        raise BadSetting(f"[{table}] must be a table")
    for key in own:
        if key not in known:
            raise BadSetting(f"[{table}] has no setting {key}; it has: {', '.join(sorted(known))}")
    shared = {key: value for key, value in file.items() if key in known}
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for name in known:
        if (text := environ.get(PREFIX + name.upper())) is not None:
            values[name] = _from_text(name, text, hints[name])
        elif name in own or name in shared:
            values[name] = _from_toml(name, own.get(name, shared.get(name)), hints[name])
    return kind(**values)


def check_top_level(file: Mapping[str, Any], kinds: Mapping[str, type[Any]]) -> None:
    """Every top-level key must be a role's table or a setting of some role. Raises `BadSetting`."""
    known = set(kinds) | {f.name for kind in kinds.values() for f in fields(kind)}
    for key in file:
        if key not in known:
            raise BadSetting(f"tocsin.toml has an unknown setting {key}; it may have: {', '.join(sorted(known))}")


def shown(settings: Any) -> dict[str, Any]:
    """The settings for people and logs, secrets masked."""
    return {
        f.name: "***" if f.metadata.get("secret") and getattr(settings, f.name) else getattr(settings, f.name)
        for f in fields(settings)
    }


_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def _from_text(name: str, text: str, hint: Any) -> Any:
    variable = PREFIX + name.upper()
    if hint is bool:
        if text.lower() not in _TRUE + _FALSE:
            raise BadSetting(f"{variable} must be true or false")
        return text.lower() in _TRUE
    if hint in (int, float):
        return _number(variable, text, hint)
    if hint == tuple[str, ...]:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if hint is str:
        return text
    raise BadSetting(f"{variable} cannot be set by a variable; use tocsin.toml")


def _number(variable: str, text: str, hint: type[int] | type[float]) -> float:
    try:
        value = hint(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadSetting(f"{variable} must be a {'whole ' if hint is int else ''}number")
    return value


def _from_toml(name: str, value: Any, hint: Any) -> Any:
    if hint == tuple[str, ...]:
        return _list(name, value, str, "strings")
    if hint == tuple[Mapping[str, Any], ...]:
        return _list(name, value, Mapping, "tables")
    if hint is float and type(value) is int:
        return float(value)
    if hint in (str, int, float, bool):
        if type(value) is not hint or (hint is float and not math.isfinite(value)):
            raise BadSetting(f"{name} must be of type {hint.__name__}")
    elif not isinstance(value, Mapping):
        raise BadSetting(f"{name} must be a table")
    return value


def _list(name: str, value: Any, kind: type[Any], kinds: str) -> tuple[Any, ...]:
    if not isinstance(value, list) or not all(isinstance(v, kind) for v in value):
        raise BadSetting(f"{name} must be a list of {kinds}")
    return tuple(value)
