"""`tocsin acl`: the Redis users that the roles need, and nothing beyond, as lines for redis.conf or an ACL file.

Each role may run the commands that its own code and its scripts contain, by name, on the keys of this installation's
prefix; a producer that does without us may append to the streams of events. No category is given, so that a new version
of Redis opens nothing. INFO and ROLE count as dangerous, for they tell about the server: we ask them who it is.

Source: redis.io/docs/management/security/acl, as of Redis 6.2: no `%R~`, and subcommands can be given but not taken.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Final

from bus.keys import Keys
from tocsin.trouble import CONFIG, Trouble

CONNECTION: Final = (
    "asking client|setname cluster|info cluster|nodes cluster|slots evalsha info ping role script|load select"
)
"""What every connection of ours says, whatever it is for. HELLO and AUTH are open to everybody."""

COMMANDS: Final[Mapping[str, str]] = {
    "gateway": (
        "del exists expire get getdel getex hdel hexists hget hgetall hincrby hkeys hlen hmget hscan hset hsetnx hvals "
        "incr llen lrange lrem ltrim persist pexpire pexpireat pttl rpush sadd scan set smembers srem time ttl unlink "
        "wait xack xadd xclaim xdel xgroup|create xgroup|setid xinfo|groups xlen xpending xrange xread xreadgroup "
        "xrevrange xtrim zadd zcard zcount zrange zrangebylex zrangebyscore zrem zremrangebyscore zrevrange "
        "zrevrangebyscore zscan zscore"
    ),
    "fanout": (
        "blpop del exists expire get getex hdel hexists hget hgetall hincrby hkeys hlen hmget hscan hset hsetnx incr "
        "lrange ltrim pexpire pexpireat pttl rpush sadd set srem time ttl xack xadd xgroup|create xinfo|groups xrange "
        "xread xreadgroup xrevrange xtrim zadd zcard zcount zrange zrangebylex zrangebyscore zrem zremrangebyscore "
        "zscore"
    ),
    "deliver": (
        "del exists expire get getex hdel hget hgetall hincrby hkeys hlen hmget hset hsetnx hvals incr ltrim pexpire "
        "pexpireat pttl set srem time ttl xack xadd xclaim xdel xgroup|create xgroup|setid xinfo|groups xlen xpending "
        "xrange xread xreadgroup xrevrange xtrim zadd zcard zrange zrangebyscore zrem zremrangebyscore zscore"
    ),
    "cli": (
        "del exists expire get hdel hget hgetall hincrby hkeys hmget hset incr ltrim pexpire pexpireat pttl scan set "
        "srem time ttl xadd xdel xlen xrange xrevrange zadd zrem zscore"
    ),
}
"""What each role does; `cli` is who runs `tocsin dead` and `tocsin rekey`."""

PRODUCER: Final = "client|setname cluster|slots ping xadd"
SENTINEL: Final = "client|setname ping sentinel|get-master-addr-by-name sentinel|master"
"""What every role asks the sentinels, if there are any: they know users of their own."""

ROLES: Final = (*COMMANDS, "producer")

NOBODY: Final = "user default off resetpass ~* &* +@all"
"""The default user, who cannot log in, and yet keeps every right: without them Redis 7.0 silently leaves out every
transaction and all that scripts wrote when it reads its append-only file at a start (tried with 7.0.15; 6.2.14 reads
it all)."""


@dataclass(frozen=True, slots=True)
class User:
    """A Redis user of a role, `rules` as `ACL SETUSER` takes them, without its password."""

    name: str
    role: str
    rules: str
    sentinel_rules: str
    password: str

    @property
    def digest(self) -> str:
        """How Redis is told the password without learning it."""
        return "#" + sha256(self.password.encode()).hexdigest()

    def line(self, *, sentinel: bool = False) -> str:
        """For redis.conf or an ACL file; for that of a sentinel."""
        return f"user {self.name} on {self.digest} {self.sentinel_rules if sentinel else self.rules}"

    def command(self, *, sentinel: bool = False) -> str:
        """For redis-cli: what the user had before is taken away."""
        return f"ACL SETUSER {self.name} reset on {self.digest} {self.sentinel_rules if sentinel else self.rules}"


def users_of(prefix: str) -> list[User]:
    """A user for each role of the installation under a prefix, each with a new password of 256 bits.

    Raises `Trouble` for a prefix that cannot stand in a line of rules.
    """
    if not re.fullmatch(r"[!-~]+", prefix) or set(prefix) & set("\"'\\"):
        raise Trouble(
            f"the prefix {prefix!r} cannot be written into a rule: it has a space, a quote or the like", CONFIG
        )
    return [_user(role, prefix) for role in ROLES]


def _user(role: str, prefix: str) -> User:
    keys = Keys(prefix, 1)
    if role == "producer":
        pattern, commands = keys.pattern("events"), PRODUCER
    else:  # all partitions, and what is in none
        pattern, commands = keys.pattern().removesuffix("{*}") + "*", f"{CONNECTION} {COMMANDS[role]}"
    return User(
        name=f"{prefix}-{role}",
        role=role,
        rules=_rules(commands, f"~{pattern}"),
        sentinel_rules=_rules(SENTINEL),
        password=secrets.token_urlsafe(32),
    )


def _rules(commands: str, *keys: str) -> str:
    granted = (f"+{command}" for command in sorted({*commands.split()}))
    return " ".join(("resetkeys", *keys, "resetchannels", "-@all", *granted))


def as_rows(users: Sequence[User]) -> list[dict[str, str]]:
    """For a script, passwords in clear."""
    return [asdict(user) for user in users]


def told(users: Sequence[User]) -> list[str]:
    """The passwords, for whoever sets up the roles; they are told apart from the lines, which go into a file."""
    lines = [f"# {user.role}: user {user.name}, password {user.password}" for user in users]
    why = "# The default user is not needed, but must keep its rights, or Redis 7.0 forgets what scripts wrote:"
    return [*lines, why, f"# {NOBODY}"]
