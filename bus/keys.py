"""Every Redis key, built here and nowhere else.

A key is `prefix:{tag}:part:part`, its parts escaped so that no two names can meet in one key. A topic is named as the
hub names it: `news:sport` is a topic, `@alice` is alice's inbox, which is a topic of her own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from bus.partition import balanced_tags, partition_of

INBOX = "@"
"""First character of an inbox's topic name; producers cannot use it for a topic of theirs."""

_ESCAPES = str.maketrans({"%": "%25", ":": "%3A", "{": "%7B", "}": "%7D"})

_LITERAL = re.compile(r"[*?\[\]\\^-]")
"""What means something in a glob."""


def escape(name: str) -> str:
    """A name that can stand between colons: injective, and free of braces, which would move the hash tag."""
    return name if name.isalnum() else name.translate(_ESCAPES)


def unescape(part: str) -> str:
    """The name that `escape` made this of."""
    return unquote(part) if "%" in part else part


def inbox_of(user: str) -> str:
    """The topic name of a user's inbox."""
    return INBOX + user


@lru_cache(maxsize=8)
def _heads(prefix: str, partitions: int) -> tuple[str, ...]:
    """How the keys of each partition begin."""
    return tuple(prefix + ":{" + tag + "}" for tag in balanced_tags(partitions))


_ref = lru_cache(maxsize=1_024)(escape)
"""An event's reference, which goes into the keys of all who get it."""


@lru_cache(maxsize=4_096)
def _person(prefix: str, partitions: int, user: str) -> str:
    """How the keys of a person begin: whoever works for somebody needs several of them."""
    return f"{_heads(prefix, partitions)[partition_of(user, partitions)]}:user:{escape(user)}"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one installation: its prefix and its number of partitions."""

    prefix: str
    partitions: int

    # Where a name lives -----------------------------------------------------------------------------------------

    def partition(self, topic: str) -> int:
        """Partition of a topic or inbox; an inbox lives with its user."""
        return partition_of(topic.removeprefix(INBOX), self.partitions)

    def tagged(self, partition: int, *parts: str) -> str:
        """A key of a partition."""
        return ":".join((_heads(self.prefix, self.partitions)[partition], *parts))

    def pattern(self, *parts: str) -> str:
        """A glob (as SCAN takes it) of the keys of all partitions that have these parts; `*` stands for any."""
        return ":".join((_LITERAL.sub(r"\\\g<0>", self.prefix), "{*}", *parts))

    def named(self, key: bytes) -> tuple[str, ...]:
        """The parts of a key of a partition behind its tag, unescaped."""
        return tuple(map(unescape, key.decode().removeprefix(self.prefix).split(":")[2:]))

    # The partition's own ----------------------------------------------------------------------------------------

    def events(self, partition: int) -> str:
        """Stream: ingest."""
        return self.tagged(partition, "events")

    def lease(self, partition: int) -> str:
        """String with TTL: `owner fence` of the worker that holds the partition."""
        return self.tagged(partition, "lease")

    def head(self, partition: int) -> str:
        """Hash: `fence` (last one given), `acked` (checkpoint), `entry` and `attempts` of the entry being worked; of
        what is acknowledged and kept for a while: `marks` (a moment in ms, the entry up to which all was acknowledged
        then, the next moment …), `gone` (entry up to which nothing is kept), `given` (generations of all partitions,
        as they were when they were given it)."""
        return self.tagged(partition, "head")

    def generation(self, partition: int) -> str:
        """Hash: `n` (number), `name` (unlike any other's) and `server` (run id) of the generation, `at` (ms: when the
        server was noted); `before` and `was`: the same name and server of the generation before it."""
        return self.tagged(partition, "generation")

    def dead(self, partition: int) -> str:
        """Stream: buried entries, each with its reason."""
        return self.tagged(partition, "dead")

    def timers(self, partition: int) -> str:
        """Sorted set: what is due later, by its time (ms, Redis's clock)."""
        return self.tagged(partition, "timers")

    def body(self, partition: int, ref: str) -> str:
        """Hash with TTL: the content of an event, once per partition."""
        return self.tagged(partition, "body", _ref(ref))

    def body_prefix(self, partition: int) -> str:
        """What a script puts before an escaped event reference to find its body."""
        return self.tagged(partition, "body", "")

    def seen(self, partition: int, ref: str) -> str:
        """Hash with TTL: topic → offset already given to this event; the idempotence of a re-run."""
        return self.tagged(partition, "seen", _ref(ref))

    def withdrawn(self, partition: int, ref: str) -> str:
        """String with TTL: set first when an event is withdrawn."""
        return self.tagged(partition, "withdrawn", _ref(ref))

    def accepted(self, partition: int, ref: str) -> str:
        """String with TTL: stream position of an event accepted under an Idempotency-Key."""
        return self.tagged(partition, "accepted", _ref(ref))

    def idempotency(self, digest: str) -> str:
        """Hash with TTL: fingerprint, state and answer of one request with an Idempotency-Key."""
        return self.tagged(partition_of(digest, self.partitions), "idempotency", digest)

    def allowance(self, name: str) -> str:
        """String with TTL: when the bucket of a producer is full again, and when that was noted (µs); gone by then."""
        return self.tagged(partition_of(name, self.partitions), "allowance", escape(name))

    def counts(self, partition: int, ref: str) -> str:
        """Hash with TTL: how many recipients of an event in this partition are in which state."""
        return self.tagged(partition, "counts", _ref(ref))

    def counts_prefix(self, partition: int) -> str:
        """What a script puts before an escaped event reference to find its counts."""
        return self.tagged(partition, "counts", "")

    def bulk(self, partition: int) -> str:
        """Stream: walks over many recipients (followers of a topic, withdrawals), beside the live lane."""
        return self.tagged(partition, "bulk")

    def bulk_head(self, partition: int) -> str:
        """Hash: as `head`, of the bulk stream, and how far the walk under way has come."""
        return self.tagged(partition, "bulk_head")

    def jobs(self, partition: int, channel: str) -> str:
        """Stream: work for the senders of a channel."""
        return self.tagged(partition, "jobs", channel)

    def jobs_lease(self, partition: int, channel: str) -> str:
        """String with TTL: `owner fence` of the delivery worker that works these jobs."""
        return self.tagged(partition, "jobs_lease", channel)

    def jobs_head(self, partition: int, channel: str) -> str:
        """Hash: `fence`, as in `head`."""
        return self.tagged(partition, "jobs_head", channel)

    def later(self, partition: int, channel: str) -> str:
        """Sorted set: jobs that are to be tried again, by their time (ms, Redis's clock)."""
        return self.tagged(partition, "later", channel)

    def index(self, digest: str) -> str:
        """Hash with TTL or none: who has the contact or push target of this blind index."""
        return self.tagged(partition_of(digest, self.partitions), "index", digest)

    # A person's: all live in the partition of their user ----------------------------------------------------------

    def _user(self, user: str, *parts: str) -> str:
        return ":".join((_person(self.prefix, self.partitions, user), *parts))

    def sending(self, user: str) -> tuple[str, str, str, str, str, str]:
        """Meta, unread, inbox, profile, preferences and devices: what a sender reads, at the price of one key."""
        base = _person(self.prefix, self.partitions, user)
        return f"{base}:meta", f"{base}:unread", f"{base}:inbox", f"{base}:profile", f"{base}:prefs", f"{base}:devices"

    def unread(self, user: str) -> str:
        """Sorted set: offsets of notifications that were not read, by themselves."""
        return self._user(user, "unread")

    def archived(self, user: str) -> str:
        """Sorted set: offsets of notifications that were put away, by themselves."""
        return self._user(user, "archived")

    def profile(self, user: str) -> str:
        """Hash: locale, time zone, name, encrypted contacts."""
        return self._user(user, "profile")

    def preferences(self, user: str) -> str:
        """Hash: `doc` (the person's preferences as JSON), and a field `live:<category>` for each that is muted."""
        return self._user(user, "prefs")

    def devices(self, user: str) -> str:
        """Hash: device id → the device as JSON, its push target encrypted."""
        return self._user(user, "devices")

    def trail(self, user: str) -> str:
        """Stream: what became of each of the person's notifications, step by step."""
        return self._user(user, "trail")

    def places(self, user: str) -> str:
        """Hash with TTL: node id → how many places for connections it has borrowed for the person, and until when."""
        return self._user(user, "places")

    def address_places(self, digest: str) -> str:
        """Hash with TTL: the same for an address, by its keyed hash."""
        return self.tagged(partition_of(digest, self.partitions), "places", digest)

    def follows(self, user: str) -> str:
        """Set: topics that the person follows durably."""
        return self._user(user, "follows")

    def digest(self, user: str, channel: str, category: str) -> str:
        """List: events gathered for one message."""
        return self._user(user, "digest", escape(channel), escape(category))

    def digests(self, user: str) -> str:
        """Set: the digests under way, each `channel category` escaped, so that erasing a person finds them."""
        return self._user(user, "digests")

    def members(self, topic: str, partition: int) -> str:
        """Sorted set, all scores 0: durable followers of a topic who live in this partition."""
        return self.tagged(partition, "topic", escape(topic), "members")

    # A topic's or inbox's ---------------------------------------------------------------------------------------

    def _topic(self, topic: str, inbox: str, other: str) -> str:
        if topic.startswith(INBOX):
            return self.tagged(self.partition(topic), "user", escape(topic.removeprefix(INBOX)), inbox)
        return self.tagged(self.partition(topic), "topic", escape(topic), other)

    def listening(self, topic: str) -> tuple[str, str, str, str]:
        """Log, meta, routes, and the prefix of bodies: what a join needs, at the price of one key."""
        head = _heads(self.prefix, self.partitions)[self.partition(topic)]
        if topic.startswith(INBOX):
            base, log = f"{head}:user:{escape(topic.removeprefix(INBOX))}:", "inbox"
        else:
            base, log = f"{head}:topic:{escape(topic)}:", "log"
        return base + log, base + "meta", base + "routes", head + ":body:"

    def log(self, topic: str) -> str:
        """Stream: entries `<offset>-0`, each pointing to a body."""
        return self._topic(topic, "inbox", "log")

    def meta(self, topic: str) -> str:
        """Hash: `epoch`, `top` (offset of the newest entry), `kept` (Unix ms: TTLs were set anew), `gen` (generation
        that the epoch is of, where not the first), `survived` (former epochs and up to where their offsets count); of
        a topic also `followed` (`1`: somebody follows it durably); of a person also `written` (highest offset on any
        socket), `acked` (ranges of offsets, `a-b,c-d`), `seen` (offset up to which the bell was opened), `last_seen`
        (ms)."""
        return self._topic(topic, "meta", "meta")

    def routes(self, topic: str) -> str:
        """Hash: node id → when it last said so (ms), the nodes that hold a live connection interested in it."""
        return self._topic(topic, "routes", "routes")

    def presence(self, topic: str) -> str:
        """Hash: client id → its info as JSON."""
        return self._topic(topic, "presence", "presence")

    def presence_expiry(self, topic: str) -> str:
        """Sorted set: client id by the time (ms, Redis's clock) at which it is forgotten unless refreshed."""
        return self._topic(topic, "presence_expiry", "presence_expiry")

    # A node's, and the installation's ---------------------------------------------------------------------------

    def _node(self, node: str, part: str) -> str:
        return ":".join((self.prefix, "{node-" + escape(node) + "}", part))

    def node_deliveries(self, node: str) -> str:
        """Stream: what a gateway node must put on its sockets; the entry id is its own sequence number."""
        return self._node(node, "deliveries")

    def node_sequence(self, node: str) -> str:
        """Counter behind the ids of the node's stream."""
        return self._node(node, "sequence")

    def node_alive(self, node: str) -> str:
        """String with TTL: the node is there."""
        return self._node(node, "alive")

    def ticket(self, ticket: str) -> str:
        """String with TTL: what a single-use ticket stands for (hashed name, never the ticket itself)."""
        return ":".join((self.prefix, "ticket", escape(ticket)))

    def worker_bell(self, worker: str) -> str:
        """List with TTL: partitions in which somebody set a timer that is due before all others of it."""
        return ":".join((self.prefix, "{worker-" + escape(worker) + "}", "bell"))

    def _control(self, part: str) -> str:
        return ":".join((self.prefix, "{control}", part))

    @property
    def revoked(self) -> str:
        """Hash, gone with the last of them: revoked tokens and users, and people sent away, by name; each `until` (ms)
        and what it says."""
        return self._control("revoked")

    @property
    def revoked_until(self) -> str:
        """Sorted set, gone with `revoked`: its names by the time (ms, Redis's clock) at which they are forgotten."""
        return self._control("revoked_until")

    @property
    def revoked_version(self) -> str:
        """String, gone with `revoked`: another one after every change of it."""
        return self._control("revoked_version")

    @property
    def rules(self) -> str:
        """Hash, gone when the last is deleted: namespace → rules made at run time, as JSON."""
        return self._control("rules")

    @property
    def rules_version(self) -> str:
        """String, gone with `rules`: another one after every change of it."""
        return self._control("rules_version")

    @property
    def nodes(self) -> str:
        """Sorted set: live gateway nodes by expiry (ms, Redis's clock)."""
        return f"{self.prefix}:nodes"

    @property
    def workers(self) -> str:
        """Sorted set: live fan-out workers by expiry (ms, Redis's clock)."""
        return f"{self.prefix}:workers"

    def deliverers(self, channel: str) -> str:
        """Sorted set: live delivery workers of a channel by expiry (ms, Redis's clock)."""
        return f"{self.prefix}:deliverers:{channel}"

    @property
    def installation(self) -> str:
        """Hash: `partitions`, fixed at first start; every process compares it with its own setting."""
        return f"{self.prefix}:installation"

    @property
    def mailbox(self) -> str:
        """List: newest mails of the development mailbox. Development only."""
        return f"{self.prefix}:mailbox"

    def phone(self, user: str) -> str:
        """List: newest pushes to the pretend phone of a user. Development only."""
        return f"{self.prefix}:phone:{escape(user)}"

    @property
    def demo_feed(self) -> str:
        """String with TTL: which run of the demo page's price feed goes on, and how far it is. Development only."""
        return f"{self.prefix}:demo_feed"
